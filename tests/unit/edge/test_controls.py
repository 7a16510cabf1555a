from __future__ import annotations

from typing import Any

import pytest

from memrouter.domain import MemoryOptions, Mode
from memrouter.edge.controls import BODY_FIELDS, read, user_id
from memrouter.errors import BadRequest

Source = dict[str, str]
Body = dict[str, Any]

ON = (True, True, True)
READ = (True, False, False)
WRITE = (False, True, True)
OFF = (False, False, False)


def switches(options: MemoryOptions) -> tuple[bool, bool, bool]:
    return options.recall, options.store_input, options.store_reply


# suffix, headers, query, body → recall, store input, store reply
MODES: dict[str, tuple[Mode | None, Source, Source, Body, tuple[bool, bool, bool]]] = {
    "nothing": (None, {}, {}, {}, ON),
    "suffix read": (Mode.READ, {}, {}, {}, READ),
    "suffix write": (Mode.WRITE, {}, {}, {}, WRITE),
    "suffix off": (Mode.OFF, {}, {}, {}, OFF),
    "header": (None, {"x-memory-mode": "read"}, {}, {}, READ),
    "header, capitals": (None, {"x-memory-mode": " READ "}, {}, {}, READ),
    "header, empty": (None, {"x-memory-mode": ""}, {}, {}, ON),
    "header over suffix": (Mode.OFF, {"x-memory-mode": "on"}, {}, {}, ON),
    "query mode": (None, {}, {"mode": "read"}, {}, READ),
    "query memory": (None, {}, {"memory": "off"}, {}, OFF),
    "query memory, boolean": (None, {}, {"memory": "false"}, {}, OFF),
    "query memory, mode": (None, {}, {"memory": "write"}, {}, WRITE),
    "query over header": (None, {"x-memory-mode": "off"}, {"mode": "write"}, {}, WRITE),
    "body memory false": (None, {}, {}, {"memory": False}, OFF),
    "body memory true": (Mode.OFF, {}, {}, {"memory": True}, ON),
    "body memory, mode": (None, {}, {}, {"memory": "read"}, READ),
    "body memory, word": (None, {}, {}, {"memory": "false"}, OFF),
    "body mode": (None, {}, {}, {"memory_mode": "write"}, WRITE),
    "body null": (Mode.READ, {}, {}, {"memory": None, "memory_mode": None}, READ),
    "body over query": (None, {}, {"memory": "off"}, {"memory_mode": "on"}, ON),
    "body over all": (
        *(Mode.WRITE, {"x-memory-mode": "off"}, {"mode": "off"}, {"memory_mode": "read"}),
        READ,
    ),
    "the seed's body": (
        *(None, {}, {}),
        {
            "memory": False,
            "memory_mode": "read",
            "memory_store": False,
            "memory_store_response": False,
        },
        OFF,
    ),
    "both names, what both allow": (
        *(None, {}, {}, {"memory": "write", "memory_mode": "read"}),
        OFF,
    ),
    "memory true does not undo the mode": (
        *(None, {}, {}, {"memory": True, "memory_mode": "read"}),
        READ,
    ),
    "default": (Mode.OFF, {"x-memory-mode": "default"}, {}, {}, ON),
    "all": (Mode.OFF, {}, {"mode": "all"}, {}, ON),
    "none": (None, {}, {}, {"memory_mode": "none"}, OFF),
    "store header": (None, {"x-memory-store": "false"}, {}, {}, (True, False, True)),
    "store input header": (None, {"x-store-input": "0"}, {}, {}, (True, False, True)),
    "store reply header": (
        *(None, {"x-memory-store-response": "false"}, {}, {}),
        (True, True, False),
    ),
    "store response header": (None, {"x-store-response": "no"}, {}, {}, (True, True, False)),
    "store query": (None, {}, {"store": "false"}, {}, (True, False, True)),
    "store_input query": (None, {}, {"store_input": "false"}, {}, (True, False, True)),
    "store_response query": (None, {}, {"store_response": "off"}, {}, (True, True, False)),
    "store body": (None, {}, {}, {"memory_store": False}, (True, False, True)),
    "store_input body": (None, {}, {}, {"store_input": False}, (True, False, True)),
    "store_response body": (None, {}, {}, {"store_response": "false"}, (True, True, False)),
    "store reply body": (None, {}, {}, {"memory_store_response": 0}, (True, True, False)),
    "two names, one false": (
        *(None, {}, {}, {"memory_store": True, "store_input": False}),
        (True, False, True),
    ),
    "true stores nothing more": (Mode.READ, {}, {}, {"memory_store": True}, READ),
    "true over a wider false": (None, {"x-memory-store": "false"}, {"store": "true"}, {}, ON),
    "false in write": (Mode.WRITE, {}, {"store": "false"}, {}, (False, False, True)),
    "openai's own store": (None, {}, {}, {"store": False}, ON),
}


@pytest.mark.parametrize(("suffix", "headers", "query", "body", "got"), MODES.values(), ids=MODES)
def test_modes(
    suffix: Mode | None, headers: Source, query: Source, body: Body, got: tuple[bool, bool, bool]
) -> None:
    asked = read(suffix=suffix, headers=headers, query=query, body=body)
    assert switches(asked.options) == got
    assert asked.options.off == (got == OFF)


# headers, query, body → attribute, value
VALUES: dict[str, tuple[Source, Source, Body, str, Any]] = {
    "density body": ({}, {}, {"density": "high"}, "density", "high"),
    "density alias": ({}, {}, {"memory_density": "XHigh"}, "density", "xhigh"),
    "density query": ({}, {"density": "low"}, {}, "density", "low"),
    "density header": ({"x-memory-density": "low"}, {}, {}, "density", "low"),
    "density none": ({}, {}, {}, "density", "default"),
    "density, most specific": (
        {"x-memory-density": "low"},
        *({"density": "high"}, {"density": "xhigh"}, "density", "xhigh"),
    ),
    "limit body": ({}, {}, {"context_limit": 5}, "context_limit", 5),
    "limit alias": ({}, {}, {"memory_limit": "7"}, "context_limit", 7),
    "limit, a whole float": ({}, {}, {"context_limit": 5.0}, "context_limit", 5),
    "limit query": ({}, {"context_limit": "5"}, {}, "context_limit", 5),
    "limit query alias": ({}, {"memory_limit": "5"}, {}, "context_limit", 5),
    "limit header": ({"x-context-limit": "5"}, {}, {}, "context_limit", 5),
    "limit header alias": ({"x-memory-limit": "5"}, {}, {}, "context_limit", 5),
    "limit none": ({}, {}, {}, "context_limit", None),
    "limit zero recalls nothing": ({}, {}, {"context_limit": 0}, "recall", False),
    "limit zero still stores": ({}, {}, {"context_limit": 0}, "store_input", True),
}


@pytest.mark.parametrize(("headers", "query", "body", "name", "value"), VALUES.values(), ids=VALUES)
def test_values(headers: Source, query: Source, body: Body, name: str, value: Any) -> None:
    got = getattr(read(headers=headers, query=query, body=body).options, name)
    assert got == value
    assert type(got) is type(value)


SESSIONS: dict[str, tuple[Source, Source, Body, str]] = {
    "none": ({}, {}, {}, ""),
    "header": ({"x-session-id": "s"}, {}, {}, "s"),
    "query": ({"x-session-id": "h"}, {"session_id": "s"}, {}, "s"),
    "body": ({"x-session-id": "h"}, {"session_id": "q"}, {"session_id": "s"}, "s"),
    "number": ({}, {}, {"session_id": 42}, "42"),
    "empty": ({"x-session-id": "s"}, {}, {"session_id": ""}, "s"),
    "UTF-8 in a header": ({"x-session-id": "日本".encode().decode("latin-1")}, {}, {}, "日本"),
    "configured header": ({"x-chat": "s"}, {}, {}, "s"),
    "ours before the configured": ({"x-chat": "c", "x-session-id": "s"}, {}, {}, "s"),
    "a header that is not configured": ({"x-other": "s"}, {}, {}, ""),
}


@pytest.mark.parametrize(("headers", "query", "body", "session"), SESSIONS.values(), ids=SESSIONS)
def test_sessions(headers: Source, query: Source, body: Body, session: str) -> None:
    asked = read(headers=headers, query=query, body=body, session_headers=("x-chat",))
    assert asked.session == session


def test_conversation_and_embedding() -> None:
    headers = {"x-sm-conversation-id": "conv_123", "x-embedding-model": "big"}
    asked = read(headers=headers, query={}, body={"embeddings": "bigger"})
    assert (asked.conversation, asked.embedding) == ("conv_123", "bigger")
    assert read(headers=headers, query={}).embedding == "big"


REFUSED: dict[str, tuple[Source, Source, Body, str, str]] = {
    "mode header": ({"x-memory-mode": "raed"}, {}, {}, "x-memory-mode", "read"),
    "mode query": ({}, {"mode": "x"}, {}, "mode", "none"),
    "mode body": ({}, {}, {"memory_mode": "x"}, "memory_mode", "write"),
    "mode body, boolean": ({}, {}, {"memory_mode": True}, "memory_mode", "write"),
    "mode body, list": ({}, {}, {"memory_mode": ["on"]}, "memory_mode", "write"),
    "memory body": ({}, {}, {"memory": "maybe"}, "memory", "false"),
    "memory body, object": ({}, {}, {"memory": {}}, "memory", "read"),
    "memory query": ({}, {"memory": "maybe"}, {}, "memory", "off"),
    "boolean header": ({"x-memory-store": "maybe"}, {}, {}, "x-memory-store", "true and false"),
    "boolean query": ({}, {"store": "2"}, {}, "store", "true and false"),
    "boolean body": ({}, {}, {"memory_store": []}, "memory_store", "true and false"),
    "boolean body, number": ({}, {}, {"store_response": 2}, "store_response", "true"),
    "density": ({}, {}, {"density": "dense"}, "density", "low, default, high, xhigh"),
    "density, number": ({}, {}, {"density": 3}, "density", "xhigh"),
    "limit, negative": ({}, {}, {"context_limit": -1}, "context_limit", "from 0 to 1000"),
    "limit, too large": ({}, {"context_limit": "1001"}, {}, "context_limit", "1000"),
    "limit, huge": ({}, {}, {"context_limit": 10**400}, "context_limit", "1000"),
    "limit, many digits": ({}, {"context_limit": "9" * 5_000}, {}, "context_limit", "1000"),
    "limit, fraction": ({}, {}, {"context_limit": 1.5}, "context_limit", "whole"),
    "limit, boolean": ({}, {}, {"context_limit": True}, "context_limit", "whole"),
    "limit, word": ({"x-context-limit": "ten"}, {}, {}, "x-context-limit", "whole"),
    "limit, not a number": ({}, {}, {"memory_limit": float("nan")}, "memory_limit", "whole"),
    "limit, infinite": ({}, {}, {"memory_limit": float("inf")}, "memory_limit", "whole"),
    "session, list": ({}, {}, {"session_id": ["s"]}, "session_id", "string"),
    "session, boolean": ({}, {}, {"session_id": True}, "session_id", "string"),
    "session, long": ({"x-session-id": "s" * 257}, {}, {}, "x-session-id", "shorter"),
    "session, controls": ({}, {}, {"session_id": "a\0b"}, "session_id", "letters"),
}


@pytest.mark.parametrize(
    ("headers", "query", "body", "name", "hint"), REFUSED.values(), ids=REFUSED
)
def test_refused(headers: Source, query: Source, body: Body, name: str, hint: str) -> None:
    with pytest.raises(BadRequest, match=f"^{name} ") as caught:
        read(headers=headers, query=query, body=body)
    assert hint in caught.value.hint
    assert len(str(caught.value)) < 100


def test_configured_densities() -> None:
    asked = read(headers={}, query={"density": "huge"}, densities=("default", "huge"))
    assert asked.options.density == "huge"


def test_fields_to_strip() -> None:
    body: Body = {
        "model": "m",
        "messages": [],
        "memory": True,
        "session_id": "s",
        "density": None,
        "store": True,
        "user": "u",
        "metadata": {"memory": 1},
    }
    assert read(headers={}, query={}, body=body).fields == {"memory", "session_id", "density"}
    assert read(headers={}, query={}, body=None).fields == frozenset()


def test_fields_of_providers_are_not_ours() -> None:
    assert not BODY_FIELDS & {"store", "user", "metadata", "mode", "safety_identifier", "model"}


USERS: dict[str, tuple[Source, Body | None, str, str]] = {
    "header": ({"x-sm-user-id": "a"}, {"user": "b"}, "c", "a"),
    "body": ({}, {"user": "b"}, "c", "b"),
    "url": ({}, {}, "c", "c"),
    "no body": ({}, None, "c", "c"),
    "none": ({}, {}, "", ""),
    "empty header": ({"x-sm-user-id": ""}, {"user": "b"}, "", "b"),
    "body of another type": ({}, {"user": {"id": 1}}, "c", "c"),
}


@pytest.mark.parametrize(("headers", "body", "url", "user"), USERS.values(), ids=USERS)
def test_users(headers: Source, body: Body | None, url: str, user: str) -> None:
    assert user_id(headers, body=body, from_url=url) == user


def test_users_in_configured_headers() -> None:
    assert user_id({"x-openwebui-user-id": "u"}, names=("x-openwebui-user-id",)) == "u"
    assert user_id({"x-sm-user-id": "u"}, names=("x-openwebui-user-id",)) == ""
    with pytest.raises(BadRequest, match="x-sm-user-id"):
        user_id({"x-sm-user-id": "u" * 300})
