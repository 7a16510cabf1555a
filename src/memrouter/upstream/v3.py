"""Reads the provider's URL out of a /v3 path, in every spelling that clients and proxies make."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

from memrouter.domain import Target
from memrouter.errors import BadRequest, UpstreamRefused
from memrouter.upstream.allowlist import PORTS, Allowlist, parse_authority
from memrouter.upstream.providers import Dialect, Provider, Providers
from memrouter.upstream.target import Header, Sent, key_headers

FormatName = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini_generate"]

_SCHEME = re.compile(r"/*([a-z][a-z0-9+.-]*)(?::|%3a)(?:/|%2f)+", re.IGNORECASE)
_SLASH = "(/|%2f)"
_APPENDED = re.compile(
    rf"(?P<slash>{_SLASH}?)(?P<endpoint>chat{_SLASH}completions|v1{_SLASH}messages|messages"
    "|responses|embeddings)$",
    re.IGNORECASE,
)
"""What SDKs append to a base URL, at the end of a query's value."""
_DOUBLED = re.compile(r"(/chat/completions|/messages|/responses|/embeddings)(?:/v1)?\1/*$")
_DOUBLE_VERSION = re.compile(r"/v1(?:/v1)+(?=/)")
_END = re.compile(
    r"/(chat/completions|responses|messages|models/[^/]+:(?:streamG|g)enerateContent)/?$"
)
_HINT = "Use /v3/https://host/path, as /v3/https://api.openai.com/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class V3Url:
    """What a /v3 path and query say."""

    host: str
    origin: str
    path: str
    """The provider's path, still encoded."""
    query: str
    """The query that belongs to the URL, ours in it too: `userId`, `apiKey`, memory control."""
    guarded: bool
    format: FormatName | None
    """The wire format at this path; None passes through."""
    dialect: Dialect
    provider: Provider | None
    """The provider whose host it is, if it is in the table."""

    @property
    def name(self) -> str:
        """What to call the provider."""
        return self.provider.name if self.provider else self.host


def parse(raw_path: str, query: str, providers: Providers, allowed: Allowlist) -> V3Url:
    """The provider's URL behind /v3.

    raw_path  the path after `/v3`, as it came: not decoded
    query     the query string, as it came
    raises    BadRequest if there is no URL, UpstreamRefused if this one may not be called
    """
    scheme, authority, path, inner = _taken_apart(raw_path)
    query = "&".join(part for part in (inner, query) if part)
    host, port = parse_authority(authority, scheme)
    guarded = allowed.check(scheme, host, port)
    path, query = _rejoined(path, query)
    provider = providers.at_host(host)
    named = format_at(path)
    place = host if port == PORTS[scheme] else f"{host}:{port}"
    return V3Url(
        host=host,
        origin=f"{scheme}://{place}",
        path=path,
        query=query,
        guarded=guarded,
        format=named,
        dialect=_dialect(path, named, provider),
        provider=provider,
    )


def target(url: V3Url, *, query: str, sent: Sent, stored: str = "") -> Target:
    """The target of a /v3 request.

    query   `url.query` without our parameters
    sent    what the client sent for its provider, which stays where its SDK put it
    stored  the account's key for this provider, "" if it has none
    raises  ProviderKeyMissing if a known provider would get no key
    """
    return Target(
        provider=url.name,
        url=f"{url.origin}{url.path}" + (f"?{query}" if query else ""),
        headers=_key_headers(url, sent, stored),
        guarded=url.guarded,
    )


def _key_headers(url: V3Url, sent: Sent, stored: str) -> tuple[Header, ...]:
    as_sent = {
        "authorization": sent.authorization,
        "x-api-key": sent.x_api_key,
        "x-goog-api-key": sent.x_goog_api_key,
    }
    own = tuple((name, value) for name, value in as_sent.items() if value)
    if not sent.provider_key and (own or sent.query_key):
        return own
    if url.provider is not None:
        return key_headers(url.provider, url.dialect, sent, stored)
    return (("authorization", f"Bearer {sent.provider_key}"),) if sent.provider_key else ()


def _taken_apart(raw_path: str) -> tuple[str, str, str, str]:
    """Scheme, authority, path and query of the URL; only what was encoded as a whole is decoded."""
    match = _SCHEME.match(raw_path)
    if match is None:
        raise BadRequest("There is no provider URL behind /v3", _HINT)
    scheme = match[1].lower()
    if scheme not in PORTS:
        raise UpstreamRefused("The provider's URL is neither https nor http", _HINT)
    # Up to the first plain slash stands the host, or all of a URL that came percent-encoded.
    first, slash, rest = raw_path[match.end() :].partition("/")
    first = _decoded(first)
    if "\\" in first or "#" in first:
        raise UpstreamRefused("The provider's URL holds a fragment or backslash", _HINT)
    first, _, inner = first.partition("?")
    authority, path_slash, path = first.partition("/")
    path = quote(path_slash + path, safe="/%:@!$&'()*+,;=-._~[]", errors="surrogateescape")
    if inner:  # an encoded URL with a query, to which the SDK added the endpoint
        return scheme, authority, path or "/", inner + slash + rest
    joined = path.rstrip("/") + slash + rest if slash else path
    return scheme, authority, joined or "/", ""


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    decoded = unquote(text, errors="surrogateescape")
    authority = re.split(r"[/?]", decoded, maxsplit=1)[0]
    if "%" in authority and not authority.startswith("["):
        raise UpstreamRefused("The host is percent-encoded twice", _HINT)
    return decoded


def _rejoined(path: str, query: str) -> tuple[str, str]:
    """Path and query as they were meant, where an SDK appended its endpoint to `…?userId=user`.

    Some put the endpoint behind the query's last value, some behind `userId`, with or without a
    slash; the path keeps a slash at its end then.
    """
    bare = path.rstrip("/")
    parts = query.split("&") if query else []
    for at, part in enumerate(parts):
        name, _, value = part.partition("=")
        if name != "userId" and at != len(parts) - 1:
            continue
        appended = _APPENDED.search(value)
        # Without a slash on either side, a user is just called so: "bot-messages".
        if appended and (
            appended["slash"] or "/" in unquote(appended["endpoint"]) or path.endswith("/")
        ):
            parts[at] = f"{name}={value[: appended.start()]}"
            endpoint = unquote(appended["endpoint"])
            path = bare if _ends_in(bare, endpoint) else f"{bare}/{endpoint}"
            break
    path = _DOUBLED.sub(r"\1", path)
    path = _DOUBLE_VERSION.sub("/v1", path)
    return (path.rstrip("/") if _END.search(path) else path), "&".join(parts)


def _ends_in(path: str, endpoint: str) -> bool:
    return path.endswith("/" + endpoint.removeprefix("v1/"))


def format_at(path: str) -> FormatName | None:
    """The wire format that is spoken at a path; None passes through."""
    match = _END.search(path)
    if match is None:
        return None
    names: dict[str, FormatName] = {
        "chat/completions": "openai_chat",
        "responses": "openai_responses",
        "messages": "anthropic_messages",
    }
    return names.get(match[1], "gemini_generate")


def _dialect(path: str, named: FormatName | None, provider: Provider | None) -> Dialect:
    if named in {"openai_chat", "openai_responses"} or "/openai/" in path:
        return "openai"
    if named == "anthropic_messages":
        return "anthropic"
    if named == "gemini_generate":
        return "gemini"
    return provider.native if provider else "openai"
