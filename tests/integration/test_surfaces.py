"""Two surfaces and four formats, one memory."""

from __future__ import annotations

from typing import Any

import pytest

from memrouter.testing.asgi import Answer
from memrouter.testing.provider import ScriptedProvider

from .conftest import World, messages

Served = tuple[ScriptedProvider, int]
FACT = "My dog is called Rex."
QUESTION = "What is my dog called?"

# format → path, body that says a text
FORMATS: dict[str, tuple[str, Any]] = {
    "chat": (
        "/v1/chat/completions",
        lambda text: {"model": "gpt-5.5", "messages": messages([text])},
    ),
    "responses": ("/v1/responses", lambda text: {"model": "gpt-5.5", "input": text}),
    "messages": (
        "/v1/messages",
        lambda text: {"model": "claude-opus-4.1", "max_tokens": 9, "messages": messages([text])},
    ),
    "gemini": (
        "/v1beta/models/gemini-3.5-flash:generateContent",
        lambda text: {"contents": [{"role": "user", "parts": [{"text": text}]}]},
    ),
}


async def say(world: World, key: str, format: str, text: str, stream: bool = False) -> Answer:
    path, body = FORMATS[format]
    sent = body(text)
    if stream and format == "gemini":
        path = path.replace(":generate", ":streamGenerate") + "?alt=sse"
    elif stream:
        sent["stream"] = True
    return await world.client(key).post(path, sent)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("written", FORMATS)
async def test_what_one_format_stores_every_other_recalls(
    world: World, written: str, stream: bool
) -> None:
    key = await world.key()
    assert (await say(world, key, written, FACT, stream)).status == 200
    await world.embedded()
    assert (await world.stored(key))[0] == FACT
    for read in FORMATS:
        answer = await say(world, f"{key}:read", read, QUESTION, stream)
        assert answer.status == 200
        assert "x-memory-error" not in answer.headers
        prompt = world.provider.prompts[-1]
        assert "Rex" in prompt.memory, read
        assert prompt.question == QUESTION


@pytest.mark.parametrize("format", FORMATS)
async def test_every_format_stores_once_and_the_reply(world: World, format: str) -> None:
    key = await world.key()
    for _ in range(3):
        await say(world, key, format, FACT)
    assert await world.stored(key) == [FACT, "Noted."]


@pytest.mark.parametrize("format", FORMATS)
async def test_errors_of_ours_come_in_the_formats_shape(world: World, format: str) -> None:
    answer = await say(world, "mk_" + "x" * 40, format, "hi")
    assert answer.status == 401
    error = answer.json
    match format:
        case "messages":
            assert error["type"] == "error"
            assert error["error"]["type"] == "authentication_error"
        case "gemini":
            assert error["error"]["code"] == 401
            assert error["error"]["status"] == "UNAUTHENTICATED"
        case _:
            assert error["error"]
    assert "Invalid Memory Key" in answer.body.decode()


# --- /v3 ---


class Router:
    """The other surface: the provider's URL in the path, users in a header."""

    def __init__(self, world: World, port: int) -> None:
        self.world = world
        self.base = f"/v3/http://127.0.0.1:{port}/v1"

    async def ask(self, *texts: str, user: str = "", **more: Any) -> Answer:
        headers = {"x-supermemory-api-key": self.world.account_key}
        headers |= {"x-sm-user-id": user} if user else {}
        headers |= more.pop("headers", {})
        path = more.pop("path", f"{self.base}/chat/completions")
        body = {"model": "gpt-5.5", "messages": messages(texts), **more}
        client = self.world.client("")
        client.headers = {"authorization": "Bearer sk-client", "content-type": "application/json"}
        return await client.send("POST", path, body, headers)


@pytest.fixture
def router(world: World, served: Served) -> Router:
    return Router(world, served[1])


async def test_the_seeds_six_headers_and_one_more(router: Router) -> None:
    first = await router.ask(FACT, user="ann", headers={"x-sm-conversation-id": "conv_123"})
    named = {n: v for n, v in first.headers.items() if n.startswith("x-supermemory-")}
    assert named == {
        "x-supermemory-conversation-id": "conv_123",
        "x-supermemory-context-modified": "false",
        "x-supermemory-tokens-processed": named["x-supermemory-tokens-processed"],
        "x-supermemory-chunks-created": "1",
        "x-supermemory-chunks-deleted": "0",
        "x-supermemory-docs-deleted": "0",
        "x-supermemory-chunks-retrieved": "0",
    }
    assert int(named["x-supermemory-tokens-processed"]) > 3
    await router.world.embedded()
    second = await router.ask(QUESTION, user="ann")
    assert second.headers["x-supermemory-context-modified"] == "true"
    assert int(second.headers["x-supermemory-chunks-retrieved"]) > 0
    assert second.headers["x-supermemory-conversation-id"]
    assert "x-memory-tokens-injected" not in second.headers


async def test_on_v3_the_providers_key_stays_and_ours_goes(router: Router) -> None:
    await router.ask(FACT, user="ann-canary")
    sent = router.world.provider.requests[-1]
    assert sent.path == "/v1/chat/completions"
    assert sent.header("authorization") == "Bearer sk-client"
    told = f"{sent.headers}{sent.query}{sent.body!r}"
    assert router.world.account_key not in told
    assert "ann-canary" not in told
    assert "supermemory" not in told


async def test_what_v3_stores_v1_recalls_and_the_reverse(router: Router) -> None:
    world = router.world
    await router.ask(FACT, user="ann")
    await world.embedded()
    ann = {"headers": {"x_sm_user_id": "ann"}}
    await world.ask(world.account_key, QUESTION, **ann)
    assert "Rex" in world.provider.prompts[-1].memory
    await world.ask(world.account_key, "My cat is called Tom.", **ann)
    await world.embedded()
    await router.ask("What is my cat called?", user="ann")
    assert "Tom" in world.provider.prompts[-1].memory


async def test_users_of_an_account_are_strangers(router: Router) -> None:
    world = router.world
    await router.ask(FACT, user="ann")
    await world.embedded()
    for user in ("bob", "Ann", "", "ann "):
        await router.ask(QUESTION, user=user)
        seen = "Rex" in world.provider.prompts[-1].memory
        assert seen is (user == "ann "), user  # white space around an id does not count
    assert (await router.ask(QUESTION, user="ann")).status == 200
    assert "Rex" in world.provider.prompts[-1].memory


async def test_the_seeds_base_url_with_a_user_in_its_query(router: Router) -> None:
    """What the OpenAI SDK makes of `…/chat/completions?userId=user123`."""
    broken = f"{router.base}/chat/completions/?userId=user123chat/completions"
    assert (await router.ask(FACT, path=broken)).status == 200
    sent = router.world.provider.requests[-1]
    assert (sent.path.rstrip("/"), sent.query) == ("/v1/chat/completions", "")
    await router.world.embedded()
    await router.ask(QUESTION, user="user123")
    assert "Rex" in router.world.provider.prompts[-1].memory


async def test_a_minted_key_on_v3_has_its_own_vault_and_no_users(router: Router) -> None:
    world = router.world
    key = await world.key()
    mine = {"x-supermemory-api-key": key}
    assert (await router.ask(FACT, headers=mine)).status == 200
    assert await world.stored(key) == [FACT, "Noted."]
    refused = await router.ask(QUESTION, user="ann", headers=mine)
    assert refused.status == 403
    assert "hint" in refused.json


# --- conversations that never end ---


def long_talk(turns: int) -> list[str]:
    filler = "This is what we said about the weather on that day. " * 20
    return [f"Turn {n}: {filler}" for n in range(turns)]


async def test_a_long_conversation_is_cut_and_what_is_cut_is_recalled(router: Router) -> None:
    talk = ["My locker code is 9381.", "Noted.", *long_talk(200)]
    question = "What is my locker code?"
    answer = await router.ask(*talk, question, user="ann")
    assert answer.status == 200
    sent = router.world.provider.requests[-1]
    assert len(sent.json["messages"]) < 100
    assert sent.json["messages"][0]["role"] == "user"
    assert answer.headers["x-supermemory-context-modified"] == "true"
    assert int(answer.headers["x-supermemory-tokens-processed"]) > 20_000
    prompt = router.world.provider.prompts[-1]
    assert "9381" in prompt.memory
    assert prompt.tokens < 20_000


async def test_most_requests_keep_the_prefix_of_the_one_before(router: Router) -> None:
    talk = long_talk(121)
    kept = moved = 0
    before: list[Any] = []
    for n in range(12):
        await router.ask(*talk, user="ann", headers={"x-sm-conversation-id": "c"})
        now = router.world.provider.requests[-1].json["messages"]
        kept += now[: len(before)] == before
        moved += now[: len(before)] != before
        before = now
        talk += [f"Noted {n}.", *long_talk(1)]
    assert moved <= 3
    assert kept >= 9


async def test_with_a_conversation_id_only_the_new_turn_needs_to_be_sent(router: Router) -> None:
    named = {"x-sm-conversation-id": "conv_123"}
    await router.ask("My name is Alice", user="u", headers=named)
    await router.ask("What's my name?", user="u", headers=named)
    sent = router.world.provider.requests[-1].json["messages"]
    assert [m["content"] for m in sent[:2]] == ["My name is Alice", "Noted."]
    assert sent[-1]["content"].endswith("What's my name?")


async def test_a_short_conversation_is_sent_as_it_came(router: Router) -> None:
    talk = long_talk(21)
    await router.ask(*talk, user="ann")
    assert router.world.provider.requests[-1].json["messages"] == messages(talk)
