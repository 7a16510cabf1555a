"""Local inference mode, and looking after a vault: the seed's examples, every bad input."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from memrouter.edge import auth

from .conftest import World
from .memory_client import SESSION, UPLOAD, Api

ASK = {"messages": [{"role": "user", "content": "What should I focus on today?"}]}
EXCHANGE = {
    "model": "openai/gpt-5.5",
    "messages": [
        {"role": "user", "content": "What should I focus on today?"},
        {
            "role": "assistant",
            "content": "Focus on the launch checklist and your 6am training block.",
        },
    ],
}
CONTEXT = (
    "<memory_context>\n"
    "[MEMORY - 2 days ago (Wed, Jun 3, 9:14 AM)] "
    "User prefers concise coaching and trains at 6am.\n"
    "</memory_context>\n\n"
    "The above are retrieved memories from past conversations. "
    "Use them as background context, do not respond to them directly."
)


@pytest.fixture
async def api(world: World) -> Api:
    return Api(world, await world.key())


# --- the seed, word for word ---


async def test_prepare_finds_nothing_in_an_empty_vault(api: Api) -> None:
    answer = await api("POST", "/prepare", {**ASK, "density": "default"}, **SESSION)
    assert answer.pop("metrics")["total_ms"] >= 0
    assert answer == {
        "context": None,
        "memories_found": 0,
        "memory_tokens": 0,
        "retrieval_tokens": 0,
        "tokens_billed": 12,
    }


async def test_prepare_returns_the_seeds_block(api: Api) -> None:
    line = {
        "content": "User prefers concise coaching and trains at 6am.",
        "timestamp": 1780478040000,  # Wed, Jun 3 2026, 9:14 AM UTC
    }
    await api("POST", "/upload", line)
    ask = {"messages": [{"role": "user", "content": "At what time does the user train?"}]}
    answer = await api("POST", "/prepare", ask)
    assert answer["context"] == CONTEXT
    assert answer["memories_found"] == 1
    assert answer["memory_tokens"] > answer["retrieval_tokens"] > 0
    assert answer["tokens_billed"] > answer["memory_tokens"]


async def test_ingest(api: Api) -> None:
    assert await api("POST", "/ingest", EXCHANGE, status=202, **SESSION) == {
        "accepted": True,
        "queued": True,
        "retrieval_tokens": 29,
        "response_tokens": 17,
        "message": "Ingest accepted for background processing",
    }
    first, second = (await api("GET", ""))["memories"]
    assert [first["role"], second["role"]] == ["user", "assistant"]
    assert {first["session_id"], second["session_id"]} == {"conversation_abc"}
    assert [first["model"], second["model"]] == [None, "openai/gpt-5.5"]
    assert first["conversation_id"] == second["conversation_id"]


async def test_search(api: Api) -> None:
    await api.say("I prefer dark mode and concise responses")
    api.world.clock.advance(days=136)
    await api.say("I like to eat noodles on Fridays")
    asked = {"query": "what does the user prefer", "limit": 20}
    found = await api("POST", "/search", asked)
    first = found["memories"][0]
    assert 0 < first.pop("score") <= 1
    assert first == {
        "id": "memory_1",
        "role": "user",
        "content": "I prefer dark mode and concise responses",
        "window": "longterm",
        "timestamp": "2026-06-05T21:00:00.000Z",
        "source": "core",
    }
    scores = [memory["score"] for memory in found.pop("memories")[1:]]
    assert scores == sorted(scores, reverse=True)
    assert found.pop("memoryKey").startswith("mk_")
    assert found.pop("tokenCount") > 0
    assert found == {
        "query": "what does the user prefer",
        "sessionId": None,
        "totalMemories": 2,
        "windowBreakdown": {"hot": 1, "working": 0, "longterm": 1},
    }


async def test_upload(api: Api) -> None:
    done = await api("POST", "/upload", UPLOAD, content_type="application/x-ndjson")
    assert done.pop("memoryKey").startswith("mk_")
    assert done == {
        "status": "complete",
        "vault": "core",
        "stats": {"inputItems": 3, "memories": 3, "stored": 3, "failed": 0},
        "message": "Stored 3 memories from 3 items",
    }
    stored = (await api("GET", ""))["memories"]
    assert [(m["role"], m["timestamp"]) for m in stored] == [
        ("user", "2024-11-30T20:53:20.000Z"),
        ("user", "2026-06-05T21:00:00.000Z"),
        ("assistant", "2026-06-05T21:00:00.000Z"),
    ]
    there = await api("POST", "/upload", UPLOAD, **SESSION)
    assert (there["vault"], there["sessionId"]) == ("session", "conversation_abc")
    assert len(await api.texts(**SESSION)) == 3


async def test_stats_and_warmup(api: Api) -> None:
    empty = await api("GET", "/stats")
    assert empty.pop("key").startswith("mk_")
    assert empty == {
        "memories": 0,
        "total_tokens": 0,
        "oldest": None,
        "newest": None,
        "sessions": 0,
        "pending": 0,
        "embeddings": None,
    }
    await api("POST", "/upload", UPLOAD)
    await api.say("turnips", **SESSION)
    await api.world.embedded()
    stats = await api("GET", "/stats")
    assert (stats["memories"], stats["sessions"], stats["pending"]) == (4, 1, 0)
    assert stats["embeddings"] == "wordllama-256"
    assert (await api("GET", "/stats", **SESSION))["memories"] == 1
    warm = await api("POST", "/warmup")
    assert (warm["status"], warm["memories_loaded"]) == ("warm", 4)
    assert warm["warmup_ms"] >= 0
    assert (await api("POST", "/warmup", **SESSION))["status"] == "warm"


async def test_delete(api: Api) -> None:
    await api("POST", "/upload", UPLOAD)
    await api.say("turnips", x_session_id="session-123")
    gone = await api("DELETE", "", x_session_id="session-123")
    assert gone.pop("key").startswith("mk_")
    assert gone == {
        "sessionCleared": "session-123",
        "deleted": 1,
        "reset": False,
        "message": "Memory of the session cleared",
    }
    assert len(await api.texts()) == 3
    gone = await api("DELETE", "")
    assert (gone["sessionCleared"], gone["deleted"], gone["reset"]) == (None, 3, False)
    await api.say("turnips")
    gone = await api("DELETE", "?reset=true")
    assert (gone["sessionCleared"], gone["deleted"], gone["reset"]) == (None, 1, True)
    assert (await api("GET", "/stats"))["embeddings"] is None
    assert await api.texts() == []
    await api.say("Life goes on.")
    assert await api.texts() == ["Life goes on."]


# --- prepare ---


async def test_the_same_request_gets_the_same_context_and_stores_nothing(api: Api) -> None:
    await api.say("My dog is called Rex.", "Noted.")
    ask = {"messages": [{"role": "user", "content": "What is my dog called?"}]}
    first = await api("POST", "/prepare", ask)
    await api.world.embedded()  # vectors that are made meanwhile change nothing
    again = await api("POST", "/prepare", ask)
    assert again["context"] == first["context"]
    assert "My dog is called Rex." in first["context"]
    await api.say("Rex, my dog, is called the King.")
    assert "King" in (await api("POST", "/prepare", ask))["context"]
    await api("DELETE", "/memory_3")
    assert "King" not in (await api("POST", "/prepare", ask))["context"]
    assert await api.texts() == ["My dog is called Rex.", "Noted."]


async def test_turns_in_the_messages_are_not_recalled(api: Api) -> None:
    await api.say("My dog is called Rex.")
    await api.say("My dog hates the vet.")
    said = ["My dog is called Rex.", "Noted.", "What does my dog hate?"]
    messages = [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(said)]
    answer = await api("POST", "/prepare", {"messages": messages})
    assert "hates the vet" in answer["context"]
    assert "Rex" not in answer["context"]


async def test_prepare_recalls_what_the_relay_stored_and_the_other_way_round(api: Api) -> None:
    await api.world.ask(api.key, "My dog is called Rex.")
    ask = {"messages": [{"role": "user", "content": "What is my dog called?"}]}
    assert "called Rex" in (await api("POST", "/prepare", ask))["context"]
    await api.say("My cat is called Tom.")
    answer = await api.world.ask(api.key, "What is my cat called?")
    assert "Tom" in answer.json["choices"][0]["message"]["content"]


async def test_a_conversation_that_was_ingested_is_known_to_the_relay(api: Api) -> None:
    await api.say("My dog is called Rex.", "Noted.")
    await api.world.ask(api.key, "My dog is called Rex.", "Noted.", "And my cat is Tom.")
    assert (await api.texts())[:3] == ["My dog is called Rex.", "Noted.", "And my cat is Tom."]


ANTHROPIC = [
    {
        "role": "user",
        "content": [
            {"type": "image", "source": {"type": "base64", "data": "aGk=", "media_type": "a/b"}},
            {"type": "text", "text": "<system-reminder>\nBe nice.\n</system-reminder>"},
            {"type": "text", "text": "My dog is called Rex."},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "A dog!", "signature": "x"},
            {"type": "text", "text": "I note it."},
            {"type": "tool_use", "id": "t1", "name": "note", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "stored Rex"}],
    },
    {"role": "assistant", "content": "Done."},
]
OPENAI = [
    {"role": "system", "content": "Be nice."},
    {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            {"type": "text", "text": "My dog is called Rex."},
        ],
    },
    {
        "role": "assistant",
        "content": "I note it.",
        "tool_calls": [{"id": "t1", "function": {"name": "note", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "t1", "content": "stored Rex"},
    {"role": "assistant", "content": "Done."},
]


@pytest.mark.parametrize("messages", [ANTHROPIC, OPENAI], ids=["anthropic", "openai"])
async def test_messages_of_both_kinds_are_stored_as_their_authors_wrote_them(
    api: Api, messages: list[Any]
) -> None:
    await api("POST", "/ingest", {"messages": messages}, status=202)
    assert await api.texts() == ["[image]\nMy dog is called Rex.", "I note it.", "Done."]
    ask = {"messages": [{"role": "user", "content": [{"type": "text", "text": "My dog's name?"}]}]}
    assert "Rex" in (await api("POST", "/prepare", ask))["context"]


async def test_density_and_limit(api: Api) -> None:
    lines = [{"content": f"Dog number {n} is called Rex{n}."} for n in range(40)]
    await api("POST", "/upload", "\n".join(map(json.dumps, lines)).encode())
    ask = {"messages": [{"role": "user", "content": "What are the dogs called?"}]}
    found = {
        density: (await api("POST", "/prepare", {**ask, "density": density}))["memories_found"]
        for density in ("low", "default", "high", "xhigh")
    }
    assert found["low"] == 10
    assert found["default"] == 30
    assert found["xhigh"] == found["high"] == 40
    three = await api("POST", "/prepare", {**ask, "context_limit": 3})
    assert three["memories_found"] == 3
    assert (await api("POST", "/prepare", {**ask, "context_limit": 0}))["context"] is None


# --- ingest ---


async def test_each_turn_is_ingested_once(api: Api) -> None:
    for _ in range(3):
        await api.say("My dog is called Rex.", "Noted.")
    again = await api.say("My dog is called Rex.", "Noted.", "My cat is called Tom.")
    assert again["queued"]
    known = await api.say("My dog is called Rex.", "Noted.", "My cat is called Tom.")
    assert known == {
        **again,
        "queued": False,
        "message": "Nothing was stored: there is nothing new to remember in these messages",
    }
    assert await api.texts() == ["My dog is called Rex.", "Noted.", "My cat is called Tom."]


async def test_what_was_deleted_comes_back_by_ingest_alone(api: Api) -> None:
    await api.say("My dog is called Rex.", "Noted.")
    await api("DELETE", "/memory_1")
    await api.world.ask(api.key, "My dog is called Rex.", "Noted.", "Hello there, friend.")
    assert "My dog is called Rex." not in await api.texts()
    for _ in range(2):
        await api.say("My dog is called Rex.", "Noted.")
    assert (await api.texts()).count("My dog is called Rex.") == 1


async def test_what_was_kept_out_comes_in_by_ingest(api: Api) -> None:
    await api.world.ask(api.key, "My dog is called Rex.", memory_store=False)
    assert "My dog is called Rex." not in await api.texts()
    await api.say("My dog is called Rex.")
    assert (await api.texts()).count("My dog is called Rex.") == 1


STORED: dict[str, tuple[dict[str, str], dict[str, Any], list[str]]] = {
    "all": ({}, {}, ["question", "answer"]),
    "no input, header": ({"x_memory_store": "false"}, {}, ["answer"]),
    "no input, body": ({}, {"memory_store": False}, ["answer"]),
    "no reply, header": ({"x_memory_store_response": "false"}, {}, ["question"]),
    "no reply, body": ({}, {"memory_store_response": False}, ["question"]),
    "write": ({"x_memory_mode": "write"}, {}, ["question", "answer"]),
    "read": ({"x_memory_mode": "read"}, {}, []),
    "off": ({}, {"memory": False}, []),
    "mode off": ({}, {"memory_mode": "off"}, []),
    "neither": ({"x_memory_store": "0", "x_memory_store_response": "0"}, {}, []),
}


@pytest.mark.parametrize(("headers", "body", "stored"), STORED.values(), ids=STORED)
async def test_what_ingest_stores(
    api: Api, headers: dict[str, str], body: dict[str, Any], stored: list[str]
) -> None:
    said = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    answer = await api("POST", "/ingest", {"messages": said, **body}, status=202, **headers)
    assert await api.texts() == stored
    assert answer["accepted"] is answer["queued"] is bool(stored)
    assert answer["retrieval_tokens"] > answer["response_tokens"] > 0
    if not stored:
        assert answer["message"].startswith("Nothing was stored")


async def test_single_messages_are_kept_out(api: Api) -> None:
    messages = [
        {"role": "user", "content": "Remember this", "memory": True},
        {"role": "user", "content": "Do not store this", "memory": False},
    ]
    await api("POST", "/ingest", {"messages": messages}, status=202)
    assert await api.texts() == ["Remember this"]


async def test_the_session_of_the_body_wins(api: Api) -> None:
    said = {"messages": [{"role": "user", "content": "tea"}], "session_id": "body"}
    await api("POST", "/ingest", said, status=202, x_session_id="header")
    assert await api.texts(x_session_id="body") == ["tea"]


async def test_texts_that_are_hard_to_store(api: Api) -> None:
    body = b'{"messages":[{"role":"user","content":"\\ud800 turnips \\u0000 \\udc00"}]}'
    await api("POST", "/ingest", body, status=202)
    assert await api.texts() == ["\ufffd turnips \0 \ufffd"]
    ask = b'{"messages":[{"role":"user","content":"turnips? \\ud800"}]}'
    assert "turnips" in (await api("POST", "/prepare", ask))["context"]
    found = await api("POST", "/search", b'{"query":"turnips \\ud800"}')
    assert found["totalMemories"] == 1


async def test_no_messages_at_all(api: Api) -> None:
    assert (await api("POST", "/prepare", {"messages": []}))["context"] is None
    answer = await api("POST", "/ingest", {"messages": []}, status=202)
    assert (answer["accepted"], answer["queued"]) == (True, False)


async def test_chores_of_clients_are_no_memories(api: Api) -> None:
    task = "### Task:\nGenerate a concise title for the chat history.\n### Output:\nJSON"
    await api.say("My dog is called Rex.")
    ask = {
        "messages": [{"role": "user", "content": f"{task}\n<chat_history>My dog?</chat_history>"}]
    }
    assert (await api("POST", "/prepare", ask))["context"] is None
    await api("POST", "/ingest", ask, status=202)
    assert await api.texts() == ["My dog is called Rex."]


# --- modes of the key ---

MODES = {"": (True, True), ":read": (True, False), ":write": (False, True), ":off": (False, False)}


@pytest.mark.parametrize(("suffix", "does"), MODES.items(), ids=str)
async def test_key_suffixes(api: Api, suffix: str, does: tuple[bool, bool]) -> None:
    await api.say("My dog is called Rex.")
    moded = Api(api.world, f"{api.key}{suffix}")
    recalls, stores = does
    ask = {"messages": [{"role": "user", "content": "What is my dog called?"}]}
    assert ((await moded("POST", "/prepare", ask))["context"] is not None) == recalls
    assert (await moded.say("My cat is called Tom."))["accepted"] == stores
    upload = await moded.raw("POST", "/upload", UPLOAD)
    assert upload.status == (200 if stores else 403)
    assert bool(upload.json.get("hint")) != stores
    assert len(await moded.texts()) == (5 if stores else 1)  # who asks in so many words is told
    found = await moded("POST", "/search", {"query": "dog", "limit": 1})
    assert found["memories"][0]["content"] == "My dog is called Rex."


# --- users of an account ---


@pytest.mark.parametrize("header", ["x_openwebui_user_id", "x_sm_user_id"])
async def test_an_account_key_may_name_users(world: World, header: str) -> None:
    account = Api(world, world.account_key)
    await account.say("I am Ann.", **{header: "ann"})
    await account.say("I am Bob.", **{header: "bob"})
    assert await account.texts(**{header: "ann"}) == ["I am Ann."]
    assert await account.texts() == []
    assert (await account("DELETE", "", **{header: "ann"}))["deleted"] == 1
    assert await account.texts(**{header: "bob"}) == ["I am Bob."]


async def test_a_minted_key_may_not(api: Api) -> None:
    await api.say("I am Ann.", x_openwebui_user_id="bob")
    assert await api.texts() == ["I am Ann."]


async def test_vaults_do_not_mix(api: Api) -> None:
    await api.say("My dog is called Rex.")
    other = Api(api.world, await api.world.key())
    assert await other.texts() == []
    assert (await other("POST", "/search", {"query": "dog"}))["memories"] == []
    assert (await other.raw("GET", "/memory_1")).status == 404
    assert (await other.raw("DELETE", "/memory_1")).status == 404
    assert (await other("DELETE", ""))["deleted"] == 0
    assert await api.texts() == ["My dog is called Rex."]


# --- embedding models ---


@pytest.mark.parametrize("name", ["default", "wordllama-256"])
async def test_the_configured_embedding_model_may_be_named(api: Api, name: str) -> None:
    said = {"messages": [{"role": "user", "content": "My dog is called Rex."}], "embeddings": name}
    await api("POST", "/ingest", said, status=202)
    await api("POST", "/upload", UPLOAD, x_embedding_model=name)
    await api("POST", "/prepare", {**ASK, "embeddings": name})
    await api("POST", "/search", {"query": "dog"}, x_embedding_model=name)
    assert (await api("DELETE", "?reset=true", x_embedding_model=name))["reset"]


UNKNOWN = [
    ("/prepare", {**ASK, "embeddings": "bge"}, {}),
    ("/ingest", {**EXCHANGE, "embeddings": "bge"}, {}),
    ("/search", {"query": "x", "embeddings": "bge"}, {}),
    ("/prepare", ASK, {"x_embedding_model": "bge"}),
    ("/upload", UPLOAD, {"x_embedding_model": "bge"}),
]


@pytest.mark.parametrize(("path", "body", "headers"), UNKNOWN)
async def test_unknown_embedding_models_are_refused(
    api: Api, path: str, body: Any, headers: dict[str, str]
) -> None:
    wrong = await api("POST", path, body, status=400, **headers)
    assert "'bge'" in wrong["error"]
    assert wrong["hint"] == "Configured are default, wordllama-256"
    assert await api.texts() == []


async def test_another_embedding_model_than_the_vaults_is_a_conflict(api: Api) -> None:
    await api.say("My dog is called Rex.")
    await api.world.embedded()
    store = api.world.parts.store
    record = await api.world.parts.directory.key(auth.digest(api.key))
    assert record is not None
    await store.reset(record.vault)
    [chunk] = await store.pending(record.vault, 10)
    vector = np.eye(1, 256, dtype=np.float32)
    await store.set_vectors(record.vault, "another-model", [chunk.id], vector)
    wrong = await api("POST", "/prepare", {**ASK, "embeddings": "default"}, status=409)
    assert "another-model" in wrong["error"]
    assert "reset=true" in wrong["hint"]
    ask = {"messages": [{"role": "user", "content": "What is my dog called?"}]}
    assert "Rex" in (await api("POST", "/prepare", ask))["context"]  # words find it all the same
    await api("DELETE", "?reset=true")
    await api("POST", "/prepare", {**ASK, "embeddings": "default"})


# --- list, get, delete one ---


async def test_pages(api: Api) -> None:
    lines = [{"content": f"Item {n}", "session_id": f"s{n % 2}"} for n in range(25)]
    await api("POST", "/upload", "\n".join(map(json.dumps, lines)).encode())
    found: list[str] = []
    after = ""
    while True:
        page = await api("GET", f"?limit=10{after}")
        found += [memory["content"] for memory in page["memories"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == [f"Item {n}" for n in range(25)]
    assert (await api("GET", "?limit=25"))["next"] is None
    assert len(await api.texts(x_session_id="s1")) == 12


async def test_get_and_delete_one(api: Api) -> None:
    await api.say("My dog is called Rex.", **SESSION)
    (listed,) = (await api("GET", ""))["memories"]
    assert await api("GET", f"/{listed['id']}") == listed
    assert await api("GET", f"/{listed['id']}", **SESSION) == listed
    assert (await api.raw("GET", f"/{listed['id']}", x_session_id="other")).status == 404
    assert (await api.raw("DELETE", f"/{listed['id']}", x_session_id="other")).status == 404
    gone = await api("DELETE", f"/{listed['id']}")
    assert (gone["id"], gone["deleted"]) == (listed["id"], True)
    wrong = await api("DELETE", f"/{listed['id']}", status=404)
    assert wrong["hint"]
    ask = {"messages": [{"role": "user", "content": "What is my dog called?"}]}
    assert (await api("POST", "/prepare", ask, **SESSION))["context"] is None


# --- bad requests ---

BAD: dict[str, tuple[str, str, Any]] = {
    "no JSON": ("POST", "/prepare", b"{"),
    "empty": ("POST", "/prepare", b""),
    "an array": ("POST", "/prepare", []),
    "invalid UTF-8": ("POST", "/prepare", b'{"messages":[{"role":"user","content":"\xff"}]}'),
    "no messages": ("POST", "/prepare", {}),
    "messages of another type": ("POST", "/prepare", {"messages": "hello"}),
    "messages that are none": ("POST", "/prepare", {"messages": [5]}),
    "unknown density": ("POST", "/prepare", {**ASK, "density": "enormous"}),
    "density of another type": ("POST", "/prepare", {**ASK, "density": 5}),
    "limit in words": ("POST", "/prepare", {**ASK, "context_limit": "many"}),
    "negative limit": ("POST", "/prepare", {**ASK, "context_limit": -1}),
    "limit too high": ("POST", "/prepare", {**ASK, "context_limit": 10**20}),
    "session too long": ("POST", "/prepare", {**ASK, "session_id": "x" * 300}),
    "session of another type": ("POST", "/prepare", {**ASK, "session_id": ["x"]}),
    "model of embeddings": ("POST", "/prepare", {**ASK, "embeddings": 5}),
    "unknown mode": ("POST", "/prepare", {**ASK, "memory_mode": "sometimes"}),
    "unknown mode in the query": ("POST", "/prepare?mode=sometimes", ASK),
    "ingest: no messages": ("POST", "/ingest", {"model": "x"}),
    "ingest: messages that are none": ("POST", "/ingest", {"messages": [5]}),
    "ingest: an array": ("POST", "/ingest", []),
    "ingest: model of another type": ("POST", "/ingest", {**EXCHANGE, "model": 5}),
    "ingest: model too long": ("POST", "/ingest", {**EXCHANGE, "model": "x" * 300}),
    "ingest: switch": ("POST", "/ingest", {**EXCHANGE, "memory_store": "perhaps"}),
    "search: no query": ("POST", "/search", {"limit": 5}),
    "search: empty query": ("POST", "/search", {"query": "", "limit": 5}),
    "search: query too long": ("POST", "/search", {"query": "x" * 20_001, "limit": 5}),
    "search: query of another type": ("POST", "/search", {"query": 5, "limit": 5}),
    "search: limit in words": ("POST", "/search", {"query": "x", "limit": "many"}),
    "search: no result": ("POST", "/search", {"query": "x", "limit": 0}),
    "search: negative limit": ("POST", "/search", {"query": "x", "limit": -1}),
    "search: limit too high": ("POST", "/search", {"query": "x", "limit": 1_001}),
    "list: limit in words": ("GET", "?limit=many", b""),
    "list: no result": ("GET", "?limit=0", b""),
    "list: limit too high": ("GET", "?limit=1001", b""),
    "list: limit of many digits": ("GET", f"?limit={'9' * 5000}", b""),
    "list: cursor": ("GET", "?after=yesterday", b""),
    "list: cursor of many digits": ("GET", f"?after=memory_{'9' * 5000}", b""),
    "list: cursor too high": ("GET", f"?after={1 << 63}", b""),
    "delete: unknown parameter": ("DELETE", "?sessionId=conversation_abc", b""),
    "delete: no session": ("DELETE", "?session_id=", b""),
    "delete: reset": ("DELETE", "?reset=perhaps", b""),
    "delete: reset of a session": ("DELETE", "?reset=true&session_id=conversation_abc", b""),
}


@pytest.mark.parametrize(("method", "path", "body"), BAD.values(), ids=BAD)
async def test_bad_requests(api: Api, method: str, path: str, body: Any) -> None:
    await api.say("My dog is called Rex.", **SESSION)
    wrong = await api(method, path, body, status=400)
    assert wrong["error"]
    assert wrong["hint"]
    assert await api.texts() == ["My dog is called Rex."]


async def test_a_delete_with_an_empty_session_header_deletes_nothing(api: Api) -> None:
    await api.say("My dog is called Rex.")
    assert (await api("DELETE", "", status=400, x_session_id=" "))["hint"]
    assert await api.texts() == ["My dog is called Rex."]


@pytest.mark.parametrize("id", ["0", "99", "9" * 30, "9" * 5000, "x", "1%00", "-1", "١"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_memories_that_are_not_there(api: Api, method: str, id: str) -> None:
    wrong = await api(method, f"/memory_{id}", status=404)
    assert wrong["error"]
    assert wrong["hint"]


ENDPOINTS = [
    ("POST", "/prepare"),
    ("POST", "/ingest"),
    ("POST", "/search"),
    ("POST", "/upload"),
    ("GET", "/export"),
    ("GET", "/stats"),
    ("POST", "/warmup"),
    ("GET", ""),
    ("DELETE", ""),
    ("GET", "/memory_1"),
    ("DELETE", "/memory_1"),
]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_only_with_a_key(world: World, method: str, path: str) -> None:
    nobody = Api(world, "mk_" + "x" * 40)
    wrong = await nobody(method, path, {"messages": []}, status=401)
    assert wrong["error"]
    assert wrong["hint"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/prepare"), ("PUT", ""), ("GET", "/search")])
async def test_other_methods(api: Api, method: str, path: str) -> None:
    assert (await api(method, path, status=405))["hint"].startswith("Use ")
