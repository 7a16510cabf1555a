"""Which provider serves a request, at which URL, with whose key."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field

from memrouter.domain import Target
from memrouter.errors import BadRequest, ProviderKeyMissing
from memrouter.upstream.providers import Dialect, KeyHeader, Provider, Providers

Header = tuple[str, str]

_VERSION = re.compile(r"/+(?:v1/+)*(v1beta/+openai|v1beta|v1alpha|v1)(?=/|$)/*")
"""The version in front of an endpoint; agents double it when the base URL already ends in it."""
_GOOGLE_VERSIONS = ("v1beta", "v1alpha")
_GEMINI = re.compile(r"(?:tuned)?models/[^?]+:\w+$", re.IGNORECASE)
_FAMILY_NAMES: dict[Dialect, str] = {
    "openai": "OpenAI's API",
    "anthropic": "the Anthropic Messages API",
    "gemini": "the Gemini API",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a request goes, before it is known with which key."""

    provider: Provider
    dialect: Dialect
    model: str | None = None
    """The model name to put into the request, where a prefix was cut; None leaves it."""

    def url(self, path: str, query: str = "") -> str:
        """The provider's URL for the client's (raw, still encoded) path and the query left over."""
        base = self.provider.base(self.dialect)
        assert base is not None  # `pick` chose a provider that speaks the dialect
        rest = endpoint(path)
        if rest.startswith("upload/"):  # Google's uploads stand beside the version, not under it
            _, _, rest = rest.partition("/")
            base = self.provider.origin + "/upload" + base.removeprefix(self.provider.origin)
            rest = endpoint("/" + rest)
        return f"{base}/{rest}" + (f"?{query}" if query else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The provider credentials that a client sent along, memory keys already taken out."""

    provider_key: str = field(default="", repr=False)
    """X-Provider-Key."""
    authorization: str = field(default="", repr=False)
    """The whole value, as `Bearer …`."""
    x_api_key: str = field(default="", repr=False)
    x_goog_api_key: str = field(default="", repr=False)
    query_key: str = field(default="", repr=False)
    """Gemini's `?key=`, which stays in the URL."""


TELLING = frozenset({"anthropic-version", "x-goog-api-client"})
"""Headers by which a dialect is told where paths collide."""


def endpoint(path: str) -> str:
    """A client's path without slashes and version in front: `/v1/v1/messages` → `messages`."""
    version = _VERSION.match(path)
    return path[version.end() :] if version else path.lstrip("/")


def dialect_of(path: str, header_names: Container[str] = ()) -> Dialect:
    """What is spoken at a path of ours; `header_names` (lower case) decide where paths collide."""
    rest = endpoint(path)
    if rest == "messages" or rest.startswith("messages/"):
        return "anthropic"
    version = _VERSION.match(path)
    if version and version[1] in _GOOGLE_VERSIONS:
        return "gemini"
    if _GEMINI.match(rest) or rest.startswith("upload/"):
        return "gemini"
    if rest.startswith(("chat/", "responses", "completions", "embeddings")):
        return "openai"
    if "anthropic-version" in header_names:
        return "anthropic"
    return "gemini" if "x-goog-api-client" in header_names else "openai"


def pick(
    providers: Providers, *, path: str, model: str | None, header_names: Container[str] = ()
) -> Route:
    """Choose the provider: by prefix, configuration, endpoint, model family, or the default.

    path          the client's path, as it came
    model         the model asked for, prefix and all; None or "" where a request names none
    header_names  lower case; only looked at where a path alone does not tell the dialect
    raises        BadRequest if the provider asked for does not speak what the client speaks
    """
    dialect = dialect_of(path, header_names)
    model = model or ""
    prefix, slash, rest = model.partition("/")
    # Gemini's own names may start with `models/`, which no provider is called.
    named = providers.get(prefix) if slash and rest else None
    if named is not None:
        return _checked(Route(provider=named, dialect=dialect, model=rest), path)
    provider = (
        providers.listing(model, dialect)
        or _of_endpoint(providers, dialect)
        or providers.of_family(model)
        or providers.default
    )
    return _checked(Route(provider=provider, dialect=dialect), path)


def _of_endpoint(providers: Providers, dialect: Dialect) -> Provider | None:
    """Whose endpoint it is; OpenAI's is everybody's, so it says nothing."""
    if dialect == "openai":
        return None
    if providers.default.native == dialect:
        return providers.default
    return providers.get("anthropic" if dialect == "anthropic" else "google")


def _checked(route: Route, path: str) -> Route:
    provider = route.provider
    if route.dialect not in provider.paths:
        spoken = " or ".join(_FAMILY_NAMES[d] for d in provider.paths)
        raise BadRequest(
            f"{provider.name} does not speak {_FAMILY_NAMES[route.dialect]}",
            f"Send {provider.name} models to {spoken}, or prefix the model with another provider",
        )
    is_responses = route.dialect == "openai" and endpoint(path).split("/", 1)[0] == "responses"
    if is_responses and not provider.responses:
        raise BadRequest(
            f"{provider.name} does not serve the Responses API",
            "Use /v1/chat/completions, or prefix the model with a provider that does",
        )
    return route


def target(
    route: Route, *, path: str, query: str = "", sent: Sent | None = None, stored: str = ""
) -> Target:
    """The target of a request.

    path, query  as in Route.url; our own parameters already cut
    sent         what the client brought along
    stored       the account's key for this provider, "" if it has none
    raises       ProviderKeyMissing if there is no key at all and the provider needs one
    """
    provider = route.provider
    headers = key_headers(provider, route.dialect, sent or Sent(), stored)
    return Target(
        provider=provider.name, url=route.url(path, query), headers=headers, model=route.model
    )


def key_headers(
    provider: Provider, dialect: Dialect, sent: Sent, stored: str = ""
) -> tuple[tuple[str, str], ...]:
    """Authentication at a provider, first match wins.

    X-Provider-Key; the auth header the client sent; the account's key; the configuration's.
    """
    header = provider.key_header(dialect)
    if sent.provider_key:
        return (_as_header(sent.provider_key, header),)
    if sent.authorization or sent.x_api_key or sent.x_goog_api_key:
        return (_client_header(sent, header),)
    if sent.query_key:
        return () if dialect == "gemini" else (_as_header(sent.query_key, header),)
    if key := stored or provider.api_key:
        return (_as_header(key, header),)
    if provider.needs_key:
        raise ProviderKeyMissing(provider.name)
    return ()


_TOKENS = ("sk-ant-oat", "sk-ant-ort", "ya29.", "eyJ")
"""Starts of OAuth tokens and JWTs: they go as a bearer even where keys have their own header."""
_KEYS = ("sk-", "AIza")
"""Starts of API keys: sent as a bearer, they still go in the provider's own header."""


def _as_header(key: str, header: KeyHeader) -> Header:
    """The header for a key that came without one."""
    scheme, _, token = key.strip().partition(" ")
    if token and scheme.lower() != "bearer":
        return ("authorization", key.strip())  # some other scheme: the provider's to judge
    token = token.strip() or scheme
    if header == "authorization" or token.startswith(_TOKENS):
        return ("authorization", f"Bearer {token}")
    return (header, token)


def _client_header(sent: Sent, header: KeyHeader) -> Header:
    """The header for the key that the client sent, best in the provider's own header."""
    own = {"x-api-key": sent.x_api_key, "x-goog-api-key": sent.x_goog_api_key}.get(header)
    if own or not sent.authorization:
        return _as_header(own or sent.x_api_key or sent.x_goog_api_key, header)
    token = sent.authorization.strip().partition(" ")[2].strip()
    if header != "authorization" and token.startswith(_KEYS):
        return _as_header(token, header)
    return ("authorization", sent.authorization)
