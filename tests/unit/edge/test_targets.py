from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from memrouter.config import Provider
from memrouter.domain import AccountId, KeyId, KeyRecord, Target, VaultId
from memrouter.edge import auth
from memrouter.edge.asgi import Request
from memrouter.edge.callers import Caller
from memrouter.edge.headers import parameters
from memrouter.edge.provider_keys import ProviderKeys
from memrouter.edge.targets import Targets
from memrouter.errors import BadRequest, ProviderKeyMissing, UpstreamRefused
from memrouter.secrets import SealBroken, Sealer
from memrouter.testing.directory import MemoryDirectory
from memrouter.upstream import providers
from memrouter.upstream.allowlist import Allowlist

KEY = "mk_" + "k" * 40
TABLE = providers.table(
    {
        "openai": Provider(api_key="sk-server"),
        "own": Provider(base_url="http://10.0.0.1:8000/v1", models=("llama*",)),
    }
)
TARGETS = Targets(TABLE, Allowlist(TABLE.known_hosts, ("10.0.0.1:8000",)))
RECORD = KeyRecord(
    id=KeyId("k"),
    account=AccountId("a"),
    vault=VaultId("v"),
    name="n",
    is_account=False,
    created=datetime(2026, 6, 5, tzinfo=UTC),
    masked="mk_…",
)


def asked(path: str, query: str = "", **headers: str) -> tuple[Request, Caller]:
    named = {n.replace("_", "-"): v for n, v in headers.items()}
    if not any("mk_" in value for value in (*named.values(), query)):
        named["x-memory-key"] = KEY
    request = Request(
        method="POST",
        path=path,
        query=query,
        headers=list(named.items()),
        named=named,
        parameters=parameters(query),
        surface="v3" if path.startswith("/v3") else "v1",
    )
    shown = auth.find(request.headers, request.parameters, v3=request.surface == "v3")
    return request, Caller(key=RECORD, shown=shown)


async def v1(path: str, model: str | None, query: str = "", **headers: str) -> Target:
    request, caller = asked(path, query, **headers)
    route = TARGETS.route(request, model)
    return await TARGETS.at_route(route, request.path, request, caller)


async def v3(path: str, query: str = "", **headers: str) -> Target:
    request, caller = asked(f"/v3/{path}", query, **headers)
    url = TARGETS.url(request)
    return await TARGETS.at_url(url, request, caller)


CHAT = "/v1/chat/completions"
SERVER = (("authorization", "Bearer sk-server"),)

# what is asked → provider, URL, model to put in, headers to add
WHERE: dict[str, tuple[tuple[str, str | None, str, dict[str, str]], tuple[Any, ...]]] = {
    "a prefix": (
        (CHAT, "openai/gpt-5.5", "", {}),
        ("openai", "https://api.openai.com/v1/chat/completions", "gpt-5.5", SERVER),
    ),
    "no prefix": (
        (CHAT, "gpt-5.5", "", {}),
        ("openai", "https://api.openai.com/v1/chat/completions", None, SERVER),
    ),
    "no model": (
        ("/v1/files", None, "", {}),
        ("openai", "https://api.openai.com/v1/files", None, SERVER),
    ),
    "one of one's own": (
        (CHAT, "llama-4", "", {}),
        ("own", "http://10.0.0.1:8000/v1/chat/completions", None, ()),
    ),
    "the client's key": (
        (CHAT, "gpt-5.5", "", {"authorization": "Bearer sk-client"}),
        (
            "openai",
            "https://api.openai.com/v1/chat/completions",
            None,
            (("authorization", "Bearer sk-client"),),
        ),
    ),
    "X-Provider-Key": (
        (CHAT, "gpt-5.5", "", {"authorization": f"Bearer {KEY}", "x_provider_key": "sk-x"}),
        (
            "openai",
            "https://api.openai.com/v1/chat/completions",
            None,
            (("authorization", "Bearer sk-x"),),
        ),
    ),
    "our parameters are cut, theirs stay": (
        (CHAT, "gpt-5.5", "memory=off&a=1&store=false&b=%20&mode=read&session_id=s", {}),
        ("openai", "https://api.openai.com/v1/chat/completions?a=1&b=%20", None, SERVER),
    ),
}


@pytest.mark.parametrize(("said", "expected"), WHERE.values(), ids=WHERE)
async def test_where_a_request_on_v1_goes(said: Any, expected: tuple[Any, ...]) -> None:
    path, model, query, headers = said
    target = await v1(path, model, query, **headers)
    assert (target.provider, target.url, target.headers) == (expected[0], expected[1], expected[3])
    request, _ = asked(path, query, **headers)
    assert TARGETS.route(request, model).model == expected[2]
    assert not target.guarded


async def test_a_memory_key_in_the_query_never_leaves() -> None:
    path = "/v1beta/models/gemini-3.5-flash:generateContent"
    target = await v1(path, None, f"key={KEY}&alt=sse", x_provider_key="AIza")
    assert KEY not in f"{target.url}{target.headers}"
    assert target.url.endswith(":generateContent?alt=sse")
    kept = await v1(path, None, "key=AIza&alt=sse")
    assert "key=AIza" in kept.url


async def test_without_any_key_it_is_a_clear_error() -> None:
    with pytest.raises(ProviderKeyMissing, match="provider: anthropic"):
        await v1("/v1/messages", "claude-opus-4.8")


async def test_a_provider_that_does_not_speak_that_is_a_clear_error() -> None:
    with pytest.raises(BadRequest):
        await v1("/v1/messages", "openai/gpt-5.5")


async def test_on_v3_the_url_is_the_clients_and_guarded() -> None:
    target = await v3(
        "https://api.openai.com/v1/chat/completions",
        "userId=u&a=1&apiKey=x",
        authorization="Bearer sk-client",
    )
    assert target.url == "https://api.openai.com/v1/chat/completions?a=1"
    assert target.headers == (("authorization", "Bearer sk-client"),)
    assert target.guarded
    allowed = await v3("http://10.0.0.1:8000/v1/chat/completions", authorization="Bearer x")
    assert allowed.url == "http://10.0.0.1:8000/v1/chat/completions"
    assert not allowed.guarded


REFUSED = [
    "https://evil.example/v1",
    "http://127.0.0.1/v1",
    "http://169.254.169.254/x",
    "https://[::1]/v1",
    "https://api.openai.com.evil.example/v1",
    "https://api.openai.com@evil.example/v1",
    "http://10.0.0.1:8001/v1",
]


@pytest.mark.parametrize("url", REFUSED)
async def test_on_v3_other_hosts_are_refused(url: str) -> None:
    with pytest.raises((UpstreamRefused, BadRequest)):
        await v3(url)


# --- the account's stored keys ---


class Storing:
    """Targets of an account that has stored keys."""

    def __init__(self) -> None:
        self.directory = MemoryDirectory()
        self.keys = ProviderKeys(self.directory, Sealer("a secret of some length"))
        self.targets = Targets(TABLE, Allowlist(TABLE.known_hosts, ()), self.keys)

    async def header(self, path: str, query: str = "", **headers: str) -> tuple[str, str]:
        request, caller = asked(path, query, **headers)
        if path.startswith("/v3"):
            url = self.targets.url(request)
            found = await self.targets.at_url(url, request, caller)
        else:
            route = self.targets.route(request, None)
            found = await self.targets.at_route(route, request.path, request, caller)
        [header] = found.headers
        return header


STORED_KEYS: dict[str, tuple[str, dict[str, str], tuple[str, str]]] = {
    "stored before configured": (
        "/v1/chat/completions",
        {},
        ("authorization", "Bearer sk-stored"),
    ),
    "in the provider's own header": ("/v1/messages", {}, ("x-api-key", "sk-ant-stored")),
    "the client's first": (
        "/v1/chat/completions",
        {"authorization": "Bearer sk-mine"},
        ("authorization", "Bearer sk-mine"),
    ),
    "X-Provider-Key first": (
        "/v1/chat/completions",
        {"x_provider_key": "sk-mine"},
        ("authorization", "Bearer sk-mine"),
    ),
    "on /v3": (
        "/v3/https://api.openai.com/v1/chat/completions",
        {},
        ("authorization", "Bearer sk-stored"),
    ),
    "on /v3, the client's first": (
        "/v3/https://api.anthropic.com/v1/messages",
        {"x_api_key": "sk-mine"},
        ("x-api-key", "sk-mine"),
    ),
}


@pytest.mark.parametrize(("path", "headers", "header"), STORED_KEYS.values(), ids=STORED_KEYS)
async def test_stored_keys(path: str, headers: dict[str, str], header: tuple[str, str]) -> None:
    storing = Storing()
    await storing.keys.put(RECORD.account, "openai", "sk-stored")
    await storing.keys.put(RECORD.account, "anthropic", "sk-ant-stored")
    assert await storing.header(path, **headers) == header


async def test_a_stored_key_that_cannot_be_opened_is_only_missed_where_it_is_needed() -> None:
    storing = Storing()
    sealed = Sealer("another secret of some length").seal("sk-stored")
    await storing.directory.set_provider_key(RECORD.account, "openai", sealed)
    path = "/v1/chat/completions"
    with pytest.raises(SealBroken):
        await storing.header(path)
    found = await storing.header(path, authorization="Bearer sk-mine")
    assert found == ("authorization", "Bearer sk-mine")
