from __future__ import annotations

from collections.abc import Mapping

import pytest

from memrouter.errors import BadRequest, MemrouterError, ProviderKeyMissing, UpstreamRefused
from memrouter.upstream import v3
from memrouter.upstream.allowlist import Allowlist
from memrouter.upstream.providers import table
from memrouter.upstream.target import Sent

PROVIDERS = table({})
ALLOWED = Allowlist(PROVIDERS.known_hosts, ["127.0.0.1:9000", "llm.internal", "[::1]:9000"])

CHAT = "https://api.openai.com/v1/chat/completions"

# path behind /v3, query → URL, query that is left
SPELLINGS: dict[str, tuple[str, str, str, str]] = {
    "as it is": ("/https://api.openai.com/v1/chat/completions", "", CHAT, ""),
    "one slash": ("/https:/api.openai.com/v1/chat/completions", "", CHAT, ""),
    "three slashes": ("/https:///api.openai.com/v1/chat/completions", "", CHAT, ""),
    "no slash in front": ("https://api.openai.com/v1/chat/completions", "", CHAT, ""),
    "slash at the end": ("/https://api.openai.com/v1/chat/completions/", "", CHAT, ""),
    "encoded whole": ("/https%3A%2F%2Fapi.openai.com%2Fv1%2Fchat%2Fcompletions", "", CHAT, ""),
    "encoded, lower case": (
        "/https%3a%2f%2fapi.openai.com%2fv1%2fchat%2fcompletions",
        *("", CHAT, ""),
    ),
    "base encoded": ("/https%3A%2F%2Fapi.openai.com%2Fv1/chat/completions", "", CHAT, ""),
    "colon encoded": ("/https%3A//api.openai.com/v1/chat/completions", "", CHAT, ""),
    "slashes encoded": ("/https:%2F%2Fapi.openai.com/v1/chat/completions", "", CHAT, ""),
    "one slash encoded": ("/https:/%2Fapi.openai.com/v1/chat/completions", "", CHAT, ""),
    "host encoded": ("/https://api%2Eopenai%2Ecom/v1/chat/completions", "", CHAT, ""),
    "upper case": ("/HTTPS://API.OpenAI.Com/v1/chat/completions", "", CHAT, ""),
    "dot at the end": ("/https://api.openai.com./v1/chat/completions", "", CHAT, ""),
    "default port": ("/https://api.openai.com:443/v1/chat/completions", "", CHAT, ""),
    "empty port": ("/https://api.openai.com:/v1/chat/completions", "", CHAT, ""),
    "user in the query": (
        "/https://api.openai.com/v1/chat/completions",
        *("userId=user123", CHAT, "userId=user123"),
    ),
    "the seed's base URL, openai 3.52": (
        "/https://api.openai.com/v1/chat/completions/",
        *("userId=user123chat/completions", CHAT, "userId=user123"),
    ),
    "the same with further parameters": (
        "/https://api.openai.com/v1/chat/completions/",
        *("userId=user123chat%2Fcompletions&a=b", CHAT, "userId=user123&a=b"),
    ),
    "joined by a slash": (
        "/https://api.openai.com/v1/chat/completions",
        *("userId=user123/chat/completions", CHAT, "userId=user123"),
    ),
    "joined, path before the query": (
        "/https://api.openai.com/v1/chat/completions/chat/completions",
        *("userId=user123", CHAT, "userId=user123"),
    ),
    "base without endpoint, openai 3.52": (
        "/https://api.openai.com/v1/",
        *("userId=user123chat/completions", CHAT, "userId=user123"),
    ),
    "base without endpoint, joined": (
        "/https://api.openai.com/v1",
        *("userId=user123/chat/completions", CHAT, "userId=user123"),
    ),
    "behind another parameter": (
        "/https://api.openai.com/v1",
        *("userId=u&v=1/chat/completions", CHAT, "userId=u&v=1"),
    ),
    "encoded with its query": (
        "/https%3A%2F%2Fapi.openai.com%2Fv1%3FuserId%3Duser123/chat/completions",
        *("", CHAT, "userId=user123"),
    ),
    "all encoded, query too": (
        "/https%3A%2F%2Fapi.openai.com%2Fv1%2Fchat%2Fcompletions%3FuserId%3Duser%2520123",
        *("a=b", CHAT, "userId=user%20123&a=b"),
    ),
    "anthropic sdk": (
        "/https://api.anthropic.com/v1/messages",
        *("beta=true", "https://api.anthropic.com/v1/messages", "beta=true"),
    ),
    "anthropic sdk, base with v1": (
        "/https://api.anthropic.com/v1/v1/messages",
        *("", "https://api.anthropic.com/v1/messages", ""),
    ),
    "anthropic sdk, full base": (
        "/https://api.anthropic.com/v1/messages/v1/messages",
        *("", "https://api.anthropic.com/v1/messages", ""),
    ),
    "anthropic sdk, user in the base": (
        "/https://api.anthropic.com",
        *("userId=u1/v1/messages", "https://api.anthropic.com/v1/messages", "userId=u1"),
    ),
    "anthropic sdk, user in the full base": (
        "/https://api.anthropic.com/v1/messages",
        *("userId=u1/v1/messages", "https://api.anthropic.com/v1/messages", "userId=u1"),
    ),
    "a user called like an endpoint": (
        "/https://api.anthropic.com/v1/messages",
        *("userId=bot-messages", "https://api.anthropic.com/v1/messages", "userId=bot-messages"),
    ),
    "gemini": (
        "/https://generativelanguage.googleapis.com/v1beta/models/gemini-3-flash:generateContent",
        "key=AIza",
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-flash:generateContent",
        "key=AIza",
    ),
    "pass-through keeps its path": (
        "/https://api.openai.com/v1/files/a%2Fb/content/",
        *("x=%20", "https://api.openai.com/v1/files/a%2Fb/content/", "x=%20"),
    ),
    "no path": ("/https://api.openai.com", "", "https://api.openai.com/", ""),
    "allowed by port": (
        "/http://127.0.0.1:9000/v1/chat/completions",
        *("", "http://127.0.0.1:9000/v1/chat/completions", ""),
    ),
    "allowed on any port": (
        "/http:/LLM.internal:8000/v1/chat/completions",
        *("", "http://llm.internal:8000/v1/chat/completions", ""),
    ),
    "allowed IPv6": (
        "/http://[0:0:0:0:0:0:0:1]:9000/v1/chat/completions",
        *("", "http://[::1]:9000/v1/chat/completions", ""),
    ),
    "allowed IPv6, encoded": (
        "/http%3A%2F%2F%5B%3A%3A1%5D%3A9000/v1/chat/completions",
        *("", "http://[::1]:9000/v1/chat/completions", ""),
    ),
}


@pytest.mark.parametrize(("path", "query", "url", "left"), SPELLINGS.values(), ids=SPELLINGS)
def test_spellings(path: str, query: str, url: str, left: str) -> None:
    got = v3.parse(path, query, PROVIDERS, ALLOWED)
    assert (got.origin + got.path, got.query) == (url, left)


REFUSED: dict[str, str] = {
    "unknown host": "https://evil.example/v1",
    "known name, another domain": "https://api.openai.com.evil.example/v1",
    "known name in front": "https://api.openai.com-evil.example/v1",
    "subdomain of a known host": "https://x.api.openai.com/v1",
    "user name": "https://api.openai.com@evil.example/v1",
    "user name of a known host": "https://user:pass@api.openai.com/v1",
    "user name, encoded": "https://api.openai.com%40evil.example/v1",
    "fragment": "https://evil.example%23.api.openai.com/v1",
    "fragment, encoded whole": "https%3A%2F%2Fapi.openai.com%23%2Fv1",
    "backslash": "https://evil.example%5C.api.openai.com/v1",
    "plain backslash": "https://evil.example\\.api.openai.com/v1",
    "http to a known host": "http://api.openai.com/v1",
    "other port of a known host": "https://api.openai.com:8443/v1",
    "port 0": "https://llm.internal:0/v1",
    "port too large": "https://llm.internal:65536/v1",
    "port of letters": "https://llm.internal:http/v1",
    "port in full-width digits": "https://llm.internal:４４３/v1",
    "port in encoded full-width digits": "https://llm.internal:%EF%BC%94/v1",
    "two ports": "https://llm.internal:80:80/v1",
    "another port than allowed": "http://127.0.0.1:9001/v1",
    "file": "file:///etc/passwd",
    "ftp": "ftp://api.openai.com/v1",
    "gopher": "gopher://api.openai.com/v1",
    "websocket": "wss://api.openai.com/v1",
    "encoded scheme": "file%3A%2F%2F%2Fetc%2Fpasswd",
    "loopback": "https://127.0.0.1/v1",
    "loopback name": "https://localhost/v1",
    "another loopback": "http://127.1.2.3:9000/v1",
    "short loopback": "http://127.1:9000/v1",
    "decimal": "http://2130706433:9000/v1",
    "hexadecimal": "http://0x7f000001:9000/v1",
    "hexadecimal by part": "http://0x7f.0.0.1:9000/v1",
    "octal": "http://0177.0.0.1:9000/v1",
    "octal whole": "http://017700000001:9000/v1",
    "leading zeros": "http://127.000.000.001:9000/v1",
    "five parts": "http://127.0.0.1.0:9000/v1",
    "zero": "http://0:9000/v1",
    "unspecified": "http://0.0.0.0:9000/v1",
    "unspecified IPv6": "http://[::]:9000/v1",
    "private 10": "https://10.0.0.1/v1",
    "private 172": "https://172.16.0.1/v1",
    "private 192": "https://192.168.0.1/v1",
    "shared": "https://100.64.0.1/v1",
    "link-local": "https://169.254.0.1/v1",
    "metadata": "http://169.254.169.254/latest/meta-data",
    "metadata, decimal": "http://2852039166/latest",
    "metadata IPv6": "http://[fd00:ec2::254]/latest",
    "metadata name": "http://metadata.google.internal/computeMetadata",
    "multicast": "https://224.0.0.1/v1",
    "multicast IPv6": "https://[ff02::1]/v1",
    "broadcast": "https://255.255.255.255/v1",
    "reserved": "https://240.0.0.1/v1",
    "public address": "https://93.184.216.34/v1",
    "loopback IPv6, other port": "http://[::1]:9001/v1",
    "unique local": "https://[fc00::1]/v1",
    "link-local IPv6": "https://[fe80::1]/v1",
    "zone id": "https://[fe80::1%25eth0]/v1",
    "zone id of loopback": "http://[::1%25lo]:9000/v1",
    "IPv4-mapped": "http://[::ffff:127.0.0.1]:9000/v1",
    "IPv4-mapped, hexadecimal": "http://[::ffff:7f00:1]:9000/v1",
    "IPv4-compatible": "http://[::127.0.0.1]:9000/v1",
    "NAT64": "http://[64:ff9b::7f00:1]:9000/v1",
    "6to4": "http://[2002:7f00:1::]:9000/v1",
    "brackets around IPv4": "http://[127.0.0.1]:9000/v1",
    "brackets not closed": "http://[::1:9000/v1",
    "IPv6 without brackets": "http://::1:9000/v1",
    "full-width dots": "https://api．openai．com/v1",
    "full-width dots, encoded": "https://api%EF%BC%8Eopenai%EF%BC%8Ecom/v1",
    "ideographic dots": "https://127。0。0。1/v1",
    "circled digits": "https://%E2%91%A0%E2%91%A1%E2%91%A6.0.0.1/v1",
    "cyrillic": "https://api.оpenai.com/v1",
    "punycode": "https://api.xn--penai-7ye.com/v1",
    "two dots at the end": "https://api.openai.com../v1",
    "empty label": "https://api..openai.com/v1",
    "space": "https://api.openai.com%20/v1",
    "tab": "https://api.openai%09.com/v1",
    "newline": "https://api.openai.com%0d%0ahost:evil/v1",
    "NUL": "https://api.openai.com%00.evil.example/v1",
    "not UTF-8": "https://api.openai.com%ff/v1",
    "encoded twice": "https://api%252Eopenai.com/v1",
    "no host": "https:///v1",
    "only a port": "https://:443/v1",
}


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED)
def test_refused(url: str) -> None:
    with pytest.raises(UpstreamRefused) as caught:
        v3.parse("/" + url, "", PROVIDERS, ALLOWED)
    assert caught.value.status == 403
    assert caught.value.hint


NO_URL = {
    "nothing": "",
    "slash": "/",
    "no scheme": "/api.openai.com/v1",
    "no slashes": "/https:api.openai.com/v1",
    "encoded twice": "/https%253A%252F%252Fapi.openai.com",
    "a path of ours": "/v1/chat/completions",
}


@pytest.mark.parametrize("path", NO_URL.values(), ids=NO_URL)
def test_no_url(path: str) -> None:
    with pytest.raises(BadRequest) as caught:
        v3.parse(path, "", PROVIDERS, ALLOWED)
    assert "/v3/https://" in caught.value.hint


FORMATS: dict[str, tuple[str, str | None, str]] = {
    "chat": ("api.openai.com/v1/chat/completions", "openai_chat", "openai"),
    "chat elsewhere": ("api.groq.com/openai/v1/chat/completions", "openai_chat", "openai"),
    "chat at google": (
        "generativelanguage.googleapis.com/v1beta/openai/chat/completions",
        *("openai_chat", "openai"),
    ),
    "chat at anthropic": ("api.anthropic.com/v1/chat/completions", "openai_chat", "openai"),
    "responses": ("api.openai.com/v1/responses", "openai_responses", "openai"),
    "one response": ("api.openai.com/v1/responses/resp_1", None, "openai"),
    "compact": ("api.openai.com/v1/responses/compact", None, "openai"),
    "messages": ("api.anthropic.com/v1/messages", "anthropic_messages", "anthropic"),
    "messages elsewhere": ("openrouter.ai/api/v1/messages", "anthropic_messages", "anthropic"),
    "count tokens": ("api.anthropic.com/v1/messages/count_tokens", None, "anthropic"),
    "generate": (
        "generativelanguage.googleapis.com/v1beta/models/gemini-3-flash:generateContent",
        *("gemini_generate", "gemini"),
    ),
    "stream": (
        "generativelanguage.googleapis.com/v1/models/gemini-3-flash:streamGenerateContent",
        *("gemini_generate", "gemini"),
    ),
    "other verb": (
        "generativelanguage.googleapis.com/v1beta/models/gemini-3-flash:countTokens",
        *(None, "gemini"),
    ),
    "embeddings": ("api.openai.com/v1/embeddings", None, "openai"),
    "legacy completions": ("api.openai.com/v1/completions", None, "openai"),
}


@pytest.mark.parametrize(("url", "name", "dialect"), FORMATS.values(), ids=FORMATS)
def test_formats(url: str, name: str | None, dialect: str) -> None:
    got = v3.parse(f"/https://{url}", "", PROVIDERS, ALLOWED)
    assert (got.format, got.dialect) == (name, dialect)


def test_known_hosts_are_guarded_and_named_hosts_are_not() -> None:
    known = v3.parse("/https://api.openai.com/v1/files", "", PROVIDERS, ALLOWED)
    named = v3.parse("/http://127.0.0.1:9000/v1/files", "", PROVIDERS, ALLOWED)
    assert known.guarded
    assert not named.guarded
    assert v3.target(known, query="a=b", sent=Sent(authorization="Bearer x")).guarded
    assert (known.name, named.name) == ("openai", "127.0.0.1")


def headers_of(url: str, sent: Sent, stored: str = "") -> Mapping[str, str]:
    parsed = v3.parse("/" + url, "", PROVIDERS, ALLOWED)
    return dict(v3.target(parsed, query="", sent=sent, stored=stored).headers)


KEYS: dict[str, tuple[str, Sent, str, dict[str, str]]] = {
    "stays where the sdk put it": (
        "https://api.anthropic.com/v1/messages",
        Sent(x_api_key="sk-ant-api"),
        *("stored", {"x-api-key": "sk-ant-api"}),
    ),
    "all of them": (
        "https://openrouter.ai/api/v1/messages",
        Sent(x_api_key="a", authorization="Bearer b"),
        *("", {"x-api-key": "a", "authorization": "Bearer b"}),
    ),
    "in the query": (
        "https://generativelanguage.googleapis.com/v1beta/models/x:generateContent",
        Sent(query_key="AIza"),
        *("stored", {}),
    ),
    "X-Provider-Key wins": (
        "https://api.openai.com/v1/chat/completions",
        Sent(provider_key="sk-own", authorization="Bearer other"),
        *("stored", {"authorization": "Bearer sk-own"}),
    ),
    "stored": (
        "https://api.anthropic.com/v1/messages",
        Sent(),
        *("sk-ant-api", {"x-api-key": "sk-ant-api"}),
    ),
    "unknown provider, none": ("http://127.0.0.1:9000/v1/files", Sent(), "", {}),
    "unknown provider, X-Provider-Key": (
        "http://127.0.0.1:9000/v1/files",
        Sent(provider_key="k"),
        *("", {"authorization": "Bearer k"}),
    ),
}


@pytest.mark.parametrize(("url", "sent", "stored", "headers"), KEYS.values(), ids=KEYS)
def test_keys(url: str, sent: Sent, stored: str, headers: dict[str, str]) -> None:
    assert headers_of(url, sent, stored) == headers


def test_a_known_provider_needs_a_key() -> None:
    with pytest.raises(ProviderKeyMissing):
        headers_of("https://api.openai.com/v1/chat/completions", Sent())


def test_errors_do_not_repeat_credentials() -> None:
    with pytest.raises(MemrouterError) as caught:
        v3.parse("/https://user:secret@evil.example/v1", "apiKey=secret", PROVIDERS, ALLOWED)
    assert "secret" not in str(caught.value) + caught.value.hint
