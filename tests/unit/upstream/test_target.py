from __future__ import annotations

import pytest

from memrouter.config import Provider as Settings
from memrouter.errors import BadRequest, ProviderKeyMissing
from memrouter.upstream.providers import Dialect, table
from memrouter.upstream.target import Sent, dialect_of, endpoint, pick, target

PROVIDERS = table(
    {
        "mine": Settings(base_url="http://h:1/api", models=("house-model",)),
        "claudes": Settings(base_url="http://h:2", format="anthropic", models=("claude-house",)),
    }
)
CHAT = "/v1/chat/completions"
GOOGLE = "https://generativelanguage.googleapis.com"
FLASH = "models/gemini-3.5-flash:generateContent"

# path, model → URL, model to put in
ROUTES: dict[str, tuple[str, str | None, str, str | None]] = {
    "prefix": (CHAT, "openai/gpt-5.5", "https://api.openai.com/v1/chat/completions", "gpt-5.5"),
    "prefix of an alias": (
        *(CHAT, "x-ai/grok-4"),
        *("https://api.x.ai/v1/chat/completions", "grok-4"),
    ),
    "prefix in capitals": (
        *(CHAT, "OpenAI/gpt-5.5"),
        *("https://api.openai.com/v1/chat/completions", "gpt-5.5"),
    ),
    "prefix is cut once": (
        *(CHAT, "openrouter/anthropic/claude-opus-4.8"),
        *("https://openrouter.ai/api/v1/chat/completions", "anthropic/claude-opus-4.8"),
    ),
    "prefix of one's own": (CHAT, "mine/a/b", "http://h:1/api/chat/completions", "a/b"),
    "unknown prefix": (
        *(CHAT, "meta-llama/llama-3.3-70b"),
        *("https://api.openai.com/v1/chat/completions", None),
    ),
    "prefix without a model": (
        *(CHAT, "openai/"),
        *("https://api.openai.com/v1/chat/completions", None),
    ),
    "anthropic model on chat": (
        *(CHAT, "anthropic/claude-opus-4.8"),
        *("https://api.anthropic.com/v1/chat/completions", "claude-opus-4.8"),
    ),
    "google model on chat": (
        *(CHAT, "gemini-3.5-flash"),
        *(GOOGLE + "/v1beta/openai/chat/completions", None),
    ),
    "family": (CHAT, "grok-4", "https://api.x.ai/v1/chat/completions", None),
    "configured model": (CHAT, "house-model", "http://h:1/api/chat/completions", None),
    "no model": ("/v1/files", None, "https://api.openai.com/v1/files", None),
    "default": (CHAT, "llama3", "https://api.openai.com/v1/chat/completions", None),
    "responses": ("/v1/responses", "gpt-5.5", "https://api.openai.com/v1/responses", None),
    "one response": (
        *("/v1/responses/resp_1/input_items", None),
        *("https://api.openai.com/v1/responses/resp_1/input_items", None),
    ),
    "responses elsewhere": (
        *("/v1/responses", "groq/openai/gpt-oss-20b"),
        *("https://api.groq.com/openai/v1/responses", "openai/gpt-oss-20b"),
    ),
    "messages": (
        *("/v1/messages", "claude-opus-4.8"),
        *("https://api.anthropic.com/v1/messages", None),
    ),
    "messages, any model": (
        *("/v1/messages", "gpt-5.5"),
        *("https://api.anthropic.com/v1/messages", None),
    ),
    "messages, prefix": (
        *("/v1/messages", "deepseek/deepseek-chat"),
        *("https://api.deepseek.com/anthropic/v1/messages", "deepseek-chat"),
    ),
    "messages, configured model": ("/v1/messages", "claude-house", "http://h:2/v1/messages", None),
    "messages, version doubled": (
        *("/v1/v1/messages", "claude-opus-4.8"),
        *("https://api.anthropic.com/v1/messages", None),
    ),
    "slashes doubled": (
        *("//v1//messages", "claude-opus-4.8"),
        *("https://api.anthropic.com/v1/messages", None),
    ),
    "count tokens": (
        *("/v1/messages/count_tokens", "anthropic/claude-opus-4.8"),
        *("https://api.anthropic.com/v1/messages/count_tokens", "claude-opus-4.8"),
    ),
    "gemini": (f"/v1/{FLASH}", "gemini-3.5-flash", f"{GOOGLE}/v1beta/{FLASH}", None),
    "gemini, beta": (f"/v1beta/{FLASH}", "gemini-3.5-flash", f"{GOOGLE}/v1beta/{FLASH}", None),
    "gemini, other verb": (
        *("/v1beta/models/gemini-3.5-flash:countTokens", "gemini-3.5-flash"),
        *(GOOGLE + "/v1beta/models/gemini-3.5-flash:countTokens", None),
    ),
    "gemini, caches": ("/v1beta/cachedContents", None, GOOGLE + "/v1beta/cachedContents", None),
    "gemini, uploads": ("/upload/v1beta/files", None, GOOGLE + "/upload/v1beta/files", None),
    "gemini's own openai path": (
        *("/v1beta/openai/chat/completions", "gemini-3.5-flash"),
        *(GOOGLE + "/v1beta/openai/chat/completions", None),
    ),
    "encoded path": ("/v1/files/a%2Fb", None, "https://api.openai.com/v1/files/a%2Fb", None),
}


@pytest.mark.parametrize(("path", "model", "url", "put"), ROUTES.values(), ids=ROUTES)
def test_routes(path: str, model: str | None, url: str, put: str | None) -> None:
    route = pick(PROVIDERS, path=path, model=model)
    assert (route.url(path), route.model) == (url, put)


def test_the_default_is_configured() -> None:
    providers = table({"claudes": Settings(base_url="http://h:2", format="anthropic")}, "claudes")
    assert pick(providers, path="/v1/messages", model="x").url("/v1/messages") == (
        "http://h:2/v1/messages"
    )
    groq = table({}, "groq")
    assert pick(groq, path=CHAT, model="llama-3.3").provider.name == "groq"
    assert pick(groq, path="/v1/messages", model="llama-3.3").provider.name == "anthropic"


NOT_SPOKEN: dict[str, tuple[str, str, str]] = {
    "openai on messages": ("/v1/messages", "openai/gpt-5.5", "Anthropic Messages API"),
    "mistral on gemini": (f"/v1/{FLASH}", "mistral/x", "Gemini API"),
    "one's own on messages": ("/v1/messages", "mine/x", "Anthropic Messages API"),
    "anthropic on responses": ("/v1/responses", "claude-opus-4.8", "Responses API"),
    "google on responses": ("/v1/responses", "google/gemini-3.5-flash", "Responses API"),
    "an anthropic server on chat": (CHAT, "claudes/x", "OpenAI's API"),
}


@pytest.mark.parametrize(("path", "model", "said"), NOT_SPOKEN.values(), ids=NOT_SPOKEN)
def test_what_a_provider_does_not_speak(path: str, model: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        pick(PROVIDERS, path=path, model=model)
    assert caught.value.hint


DIALECTS: dict[str, tuple[str, list[str], Dialect]] = {
    "chat": (CHAT, ["anthropic-version"], "openai"),
    "embeddings": ("/v1/embeddings", ["x-goog-api-client"], "openai"),
    "messages": ("/v1/messages", [], "anthropic"),
    "batches": ("/v1/messages/batches", [], "anthropic"),
    "not messages": ("/v1/messages2", [], "openai"),
    "gemini": (f"/v1/{FLASH}", [], "gemini"),
    "tuned": ("/v1beta/tunedModels/x:generateContent", [], "gemini"),
    "a model's page": ("/v1/models/gpt-5", [], "openai"),
    "files": ("/v1/files", [], "openai"),
    "files of anthropic": ("/v1/files", ["anthropic-version"], "anthropic"),
    "files of google": ("/v1/files", ["x-goog-api-client"], "gemini"),
}


@pytest.mark.parametrize(("path", "names", "dialect"), DIALECTS.values(), ids=DIALECTS)
def test_dialects(path: str, names: list[str], dialect: Dialect) -> None:
    assert dialect_of(path, names) == dialect


ENDPOINTS = {
    "/v1/chat/completions": "chat/completions",
    "/v1/v1/messages": "messages",
    "/v1beta/models/x:y": "models/x:y",
    "/v1/v1beta/models/x:y": "models/x:y",
    "/v10/x": "v10/x",
    "/x": "x",
    "/v1": "",
}


@pytest.mark.parametrize(("path", "rest"), ENDPOINTS.items(), ids=ENDPOINTS)
def test_endpoints(path: str, rest: str) -> None:
    assert endpoint(path) == rest


MESSAGES = "/v1/messages"
AS_BEARER = (("authorization", "Bearer sk-x"),)

# path, model, sent, stored → headers
KEYS: dict[str, tuple[str, str, Sent, str, tuple[tuple[str, str], ...]]] = {
    "X-Provider-Key": (CHAT, "gpt-5", Sent(provider_key="sk-x"), "s", AS_BEARER),
    "X-Provider-Key with its scheme": (
        CHAT,
        "gpt-5",
        Sent(provider_key="bearer sk-x"),
        "",
        AS_BEARER,
    ),
    "X-Provider-Key before others": (
        *(CHAT, "gpt-5", Sent(provider_key="sk-x", authorization="Bearer y"), "s"),
        AS_BEARER,
    ),
    "X-Provider-Key at anthropic": (
        *(MESSAGES, "claude-x", Sent(provider_key="sk-x"), ""),
        (("x-api-key", "sk-x"),),
    ),
    "X-Provider-Key at anthropic, OAuth": (
        *(MESSAGES, "claude-x", Sent(provider_key="sk-ant-oat01-x"), ""),
        (("authorization", "Bearer sk-ant-oat01-x"),),
    ),
    "X-Provider-Key at anthropic's openai": (
        *(CHAT, "claude-x", Sent(provider_key="sk-x"), ""),
        AS_BEARER,
    ),
    "X-Provider-Key at google": (
        *(f"/v1/{FLASH}", "gemini-x", Sent(provider_key="AIza"), ""),
        (("x-goog-api-key", "AIza"),),
    ),
    "authorization as it came": (
        *(CHAT, "gpt-5", Sent(authorization="bearer  sk-x"), "s"),
        (("authorization", "bearer  sk-x"),),
    ),
    "some other scheme": (
        *(CHAT, "gpt-5", Sent(authorization="Basic eA=="), ""),
        (("authorization", "Basic eA=="),),
    ),
    "anthropic key as a bearer": (
        *(MESSAGES, "claude-x", Sent(authorization="Bearer sk-ant-api03-x"), ""),
        (("x-api-key", "sk-ant-api03-x"),),
    ),
    "anthropic OAuth token": (
        *(MESSAGES, "claude-x", Sent(authorization="Bearer sk-ant-oat01-x"), "s"),
        (("authorization", "Bearer sk-ant-oat01-x"),),
    ),
    "anthropic, some token": (
        *(MESSAGES, "claude-x", Sent(authorization="Bearer gateway-token"), ""),
        (("authorization", "Bearer gateway-token"),),
    ),
    "anthropic, x-api-key": (
        *(MESSAGES, "claude-x", Sent(x_api_key="sk-x"), ""),
        (("x-api-key", "sk-x"),),
    ),
    "anthropic, OAuth token in x-api-key": (
        *(MESSAGES, "claude-x", Sent(x_api_key="sk-ant-oat01-x"), ""),
        (("authorization", "Bearer sk-ant-oat01-x"),),
    ),
    "the provider's own header first": (
        *(MESSAGES, "claude-x", Sent(x_api_key="sk-x", authorization="Bearer y"), ""),
        (("x-api-key", "sk-x"),),
    ),
    "x-api-key at openai": (CHAT, "gpt-5", Sent(x_api_key="sk-x"), "", AS_BEARER),
    "google, header": (
        *(f"/v1/{FLASH}", "gemini-x", Sent(x_goog_api_key="AIza"), ""),
        (("x-goog-api-key", "AIza"),),
    ),
    "google, key as a bearer": (
        *(f"/v1/{FLASH}", "gemini-x", Sent(authorization="Bearer AIza"), ""),
        (("x-goog-api-key", "AIza"),),
    ),
    "google, OAuth": (
        *(f"/v1/{FLASH}", "gemini-x", Sent(authorization="Bearer ya29.x"), ""),
        (("authorization", "Bearer ya29.x"),),
    ),
    "google, in the query": (f"/v1/{FLASH}", "gemini-x", Sent(query_key="AIza"), "s", ()),
    "in the query, at openai": (CHAT, "gpt-5", Sent(query_key="sk-x"), "", AS_BEARER),
    "stored": (CHAT, "gpt-5", Sent(), "sk-x", AS_BEARER),
    "configured": (CHAT, "deepseek/x", Sent(), "", (("authorization", "Bearer sk-conf"),)),
    "stored before configured": (CHAT, "deepseek/x", Sent(), "sk-x", AS_BEARER),
    "none needed": (CHAT, "ollama/llama3", Sent(), "", ()),
    "none needed, one sent": (CHAT, "ollama/llama3", Sent(provider_key="sk-x"), "", AS_BEARER),
    "one's own, none": (CHAT, "mine/x", Sent(), "", ()),
}


@pytest.mark.parametrize(("path", "model", "sent", "stored", "headers"), KEYS.values(), ids=KEYS)
def test_keys(
    path: str, model: str, sent: Sent, stored: str, headers: tuple[tuple[str, str], ...]
) -> None:
    providers = table(
        {"deepseek": Settings(api_key="sk-conf"), "mine": Settings(base_url="http://h:1")}
    )
    route = pick(providers, path=path, model=model)
    got = target(route, path=path, sent=sent, stored=stored)
    assert got.headers == headers
    assert not got.guarded


def test_no_key() -> None:
    route = pick(PROVIDERS, path=MESSAGES, model="claude-x")
    with pytest.raises(ProviderKeyMissing) as caught:
        target(route, path=MESSAGES)
    assert str(caught.value) == "No API key configured for provider: anthropic"
    assert caught.value.hint == (
        "Add your anthropic API key in your account settings, or pass X-Provider-Key header"
    )


def test_the_query_goes_along() -> None:
    route = pick(PROVIDERS, path=MESSAGES, model="claude-x")
    got = target(route, path=MESSAGES, query="beta=true&x=%20", sent=Sent(x_api_key="k"))
    assert got.url == "https://api.anthropic.com/v1/messages?beta=true&x=%20"
    assert (got.provider, got.model) == ("anthropic", None)


def test_keys_are_not_shown() -> None:
    sent = Sent(provider_key="hush", authorization="hush", x_api_key="hush", query_key="hush")
    assert "hush" not in repr(sent)
