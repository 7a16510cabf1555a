"""Accounts over the whole router: keys and their memory, stored provider keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memrouter.edge import auth
from memrouter.testing.provider import ScriptedProvider

from .conftest import CHAT, PROVIDER_KEY, World, started

STORED = "/v1/account/provider-keys"
BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}
MINE = "sk-of-the-account-1234"


async def mint(world: World, **body: object) -> dict[str, str]:
    answer = await world.client(world.account_key).post("/v1/keys", body)
    assert answer.status == 201, answer.body
    minted: dict[str, str] = answer.json
    return minted


# --- keys ---


async def test_a_life_of_a_key(world: World) -> None:
    account = world.client(world.account_key)
    minted = await mint(world, name="user:42")
    path = f"/v1/keys/{minted['id']}"
    await world.ask(minted["key"], "My walrus is called Odo.")

    renamed = await account.send("PATCH", path, {"name": "user:43"})
    assert renamed.json["name"] == "user:43"

    rotated = (await account.post(f"{path}/rotate", b"")).json
    assert (await world.ask(minted["key"], "still there?")).status == 401
    assert "My walrus is called Odo." in await world.stored(rotated["key"])

    listed = (await account.get("/v1/keys")).json["keys"]
    assert [key["name"] for key in listed if not key["account"]] == ["user:43"]

    assert (await account.post(f"{path}/revoke", b"")).status == 200
    assert (await world.ask(rotated["key"], "still there?")).status == 401
    assert (await account.send("DELETE", path)).status == 404


@pytest.mark.parametrize(("query", "left"), [("", 1), ("?memory=true", 0)])
async def test_a_deleted_key_leaves_its_memory_or_takes_it_along(
    world: World, query: str, left: int
) -> None:
    minted = await mint(world)
    await world.client(minted["key"]).post(
        "/v1/memory/upload", b'{"content": "The walrus has a password."}'
    )
    file = await world.vault_file(minted["key"])
    path = f"/v1/keys/{minted['id']}{query}"
    answer = await world.client(world.account_key).send("DELETE", path)
    assert answer.json["memories_deleted"] == 1 - left
    await world.embedded()
    held = b"".join(p.read_bytes() for p in file.parent.glob(f"{file.stem}*"))
    assert (b"The walrus has a password." in held) == bool(left)


async def test_a_key_for_a_user_of_v3(world: World, served: tuple[ScriptedProvider, int]) -> None:
    url = f"/v3/http://127.0.0.1:{served[1]}/v1/chat/completions"
    said = {**BODY, "messages": [{"role": "user", "content": "I am the walrus."}]}
    headers = {"x_sm_user_id": "user-7", "x_provider_key": "sk-x"}
    answer = await world.client(world.account_key, **headers).post(url, said)
    assert answer.status == 200, answer.body
    minted = await mint(world, user_id="user-7")
    assert "I am the walrus." in await world.stored(minted["key"])
    assert "I am the walrus." not in await world.stored(world.account_key)


async def test_a_revoked_key_is_dead_in_every_process(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> None:
    settings: dict[str, Any] = {"account_key": "mk_" + "a" * 40}
    async with (
        started(tmp_path, provider, served[1], **settings) as one,
        started(tmp_path, provider, served[1], **settings) as other,
    ):
        key = "mk_" + "a" * 40
        minted = (await one.client(key).post("/v1/keys", {})).json
        assert (await other.ask(minted["key"], "hello")).status == 200
        await one.client(key).post(f"/v1/keys/{minted['id']}/revoke", b"")
        assert (await other.ask(minted["key"], "hello")).status == 401


async def test_the_configured_account_key_stays(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> None:
    key = "mk_" + "a" * 40
    async with started(tmp_path, provider, served[1], account_key=key) as world:
        record = await world.parts.directory.key(auth.digest(key))
        assert record is not None
        for method, path in (("POST", "/rotate"), ("POST", "/revoke"), ("DELETE", "")):
            answer = await world.client(key).send(method, f"/v1/keys/{record.id}{path}")
            assert answer.status == 409


# --- provider keys ---


def holding(folder: Path, text: str) -> list[str]:
    """Names of the files that hold a text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [file.name for file in files if text.encode() in file.read_bytes()]


async def store(world: World, provider: str = "openai", key: str = MINE) -> None:
    path = f"{STORED}/{provider}"
    answer = await world.client(world.account_key).send("PUT", path, {"key": key})
    assert answer.status == 200, answer.body


def sent(world: World, header: str = "authorization") -> str | None:
    return world.provider.requests[-1].header(header)


async def test_the_order_of_provider_keys(world: World) -> None:
    key = await world.key()
    await world.ask(key, "hello")
    assert sent(world) == f"Bearer {PROVIDER_KEY}"
    await store(world)
    await world.ask(key, "hello")
    assert sent(world) == f"Bearer {MINE}"
    own = world.client("sk-own", x_memory_key=key)
    assert (await own.post(CHAT, BODY)).status == 200
    assert sent(world) == "Bearer sk-own"
    first = world.client("sk-own", x_memory_key=key, x_provider_key="sk-first")
    assert (await first.post(CHAT, BODY)).status == 200
    assert sent(world) == "Bearer sk-first"
    await world.client(world.account_key).send("DELETE", f"{STORED}/openai")
    await world.ask(key, "hello")
    assert sent(world) == f"Bearer {PROVIDER_KEY}"


@pytest.mark.parametrize(
    ("path", "name", "header"),
    [
        ("/v1/messages", "anthropic", "x-api-key"),
        ("/v1beta/models/gemini-3.5-flash:generateContent", "gemini", "x-goog-api-key"),
        ("/v1/embeddings", "openai", "authorization"),
    ],
)
async def test_a_stored_key_goes_where_its_provider_wants_it(
    world: World, path: str, name: str, header: str
) -> None:
    await store(world, name)
    key = await world.key()
    body = {"model": "m", "messages": BODY["messages"], "contents": [], "input": "x"}
    await world.client(key).post(path, {**body, "max_tokens": 5})
    assert (sent(world, header) or "").removeprefix("Bearer ") == MINE


async def test_a_stored_key_is_nobody_elses(world: World) -> None:
    directory = world.parts.directory
    stranger = auth.mint()
    await directory.add_key(
        await directory.add_account(),
        auth.digest(stranger),
        masked="mk_…",
        name="n",
        now=world.clock.now(),
        is_account=True,
    )
    await store(world)
    await world.ask(stranger, "hello")
    assert sent(world) == f"Bearer {PROVIDER_KEY}"
    assert (await world.client(stranger).get(STORED)).json == {"provider_keys": []}


async def test_no_provider_key_at_all(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> None:
    async with started(tmp_path, provider, served[1]) as world:
        key = await world.key()
        body = {**BODY, "model": "mistral/m"}
        answer = await world.client(key).post(CHAT, body)
        assert answer.status == 400
        assert answer.json["error"] == "No API key configured for provider: mistral"


async def test_stored_keys_outlive_the_router_and_lie_sealed(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> None:
    settings: dict[str, Any] = {"account_key": "mk_" + "a" * 40}
    async with started(tmp_path, provider, served[1], **settings) as world:
        world.account_key = settings["account_key"]
        await store(world)
    assert not holding(tmp_path, MINE)
    async with started(tmp_path, provider, served[1], **settings) as world:
        await world.ask(settings["account_key"], "hello")
        assert sent(world) == f"Bearer {MINE}"


async def test_under_another_secret_key_the_request_says_what_to_do(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> None:
    """It is not sent with the server's own key instead: that would be somebody else's money."""
    key = "mk_" + "a" * 40
    settings: dict[str, Any] = {"account_key": key, "secret_key": "first-secret-of-some-length"}
    async with started(tmp_path, provider, served[1], **settings) as world:
        world.account_key = key
        await store(world)
    settings["secret_key"] = "second-secret-of-some-length"
    async with started(tmp_path, provider, served[1], **settings) as world:
        asked = len(provider.requests)
        answer = await world.ask(key, "hello")
        assert answer.status == 500
        assert "SECRET_KEY" in answer.json["hint"]
        assert len(provider.requests) == asked
        own = world.client("sk-own", x_memory_key=key)
        assert (await own.post(CHAT, BODY)).status == 200
        shown = (await world.client(key).get(STORED)).json
        assert shown == {"provider_keys": [{"provider": "openai", "key": None}]}
    settings["secret_key"] = "second-secret-of-some-length,first-secret-of-some-length"
    async with started(tmp_path, provider, served[1], **settings) as world:
        await world.ask(key, "hello")
        assert sent(world) == f"Bearer {MINE}"
