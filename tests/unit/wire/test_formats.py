"""What every dialect promises: nothing else changes, and no JSON object is too odd for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from memrouter.domain import Turn
from memrouter.errors import BadRequest
from memrouter.wire import raw
from memrouter.wire.format import RawBody, WireFormat
from memrouter.wire.table import FORMATS

each_format = pytest.mark.parametrize("wire", FORMATS.values(), ids=FORMATS)

PATHS = ("/v1/chat/completions", "/v1beta/models/gemini-3.5-flash:generateContent", "", ":")
MODELS = (None, "gpt-5.5", "claude-opus-4-8", "claude-sonnet-5")
OURS = frozenset(("memory", "session_id"))

# --- any JSON object ---

KEYS = (
    *("messages", "input", "contents", "role", "content", "parts", "text", "type", "memory"),
    *("tool_calls", "function", "function_call", "tool_call_id", "tool_use_id", "call_id", "id"),
    *("name", "arguments", "input_text", "system", "instructions", "systemInstruction", "model"),
    *("metadata", "user_id", "client_metadata", "prompt_cache_key", "conversation", "stream"),
    *("functionCall", "functionResponse", "inlineData", "mimeType", "thought", "summary", "output"),
    *("max_tokens", "tools", "thinking", "x-codex-turn-metadata", "previous_response_id"),
)
WORDS = (
    *("user", "assistant", "model", "system", "tool", "developer", "function", "message", ""),
    *("text", "input_text", "output_text", "image", "image_url", "tool_use", "tool_result"),
    *("thinking", "reasoning", "function_call", "function_call_output", "item_reference", "{}"),
    *("<system-reminder>\nx\n</system-reminder>", "Hello", '{"session_id": 1}', "a\ud800b"),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip
bodies = st.dictionaries(st.sampled_from(KEYS), values, max_size=5)


@each_format
@given(body=bodies, path=st.sampled_from(PATHS), model=st.sampled_from(MODELS))
def test_no_object_is_too_odd(
    wire: WireFormat, body: dict[str, Any], path: str, model: str | None
) -> None:
    text = json.dumps(body).encode()
    read = raw.parse(text)
    refusal = refused(wire, read)
    if refusal:
        assert wire.messages_field in str(refusal)
        assert refusal.hint
    turns = wire.turns(read)
    assert all(turn.tokens > 0 for turn in turns)
    wire.model(read, path)
    wire.streams(read, path)
    wire.stateful(read)
    wire.conversation(read)
    wire.chore(read)
    wire.system_text(read)
    fields = raw.split_object(text)
    changed = [
        wire.with_model(fields, path, "other")[0],
        wire.strip(fields, OURS),
        wire.inject(fields, {0: "block", 1: "block", 99: "block", -1: "block"}, model),
        wire.keep(fields, [0, 2, 99]),
        wire.lead(fields, [Turn(role="user", text="a"), Turn(role="assistant", text="b")]),
    ]
    for result in changed:
        raw.parse(raw.join_object(result))
    if not refusal:
        assert len(messages(wire, wire.keep(fields, range(len(turns))))) == len(turns)


def refused(wire: WireFormat, body: dict[str, Any]) -> BadRequest | None:
    try:
        wire.check(body)
    except BadRequest as e:
        return e
    return None


# --- sound requests: all that is not meant to change stays byte for byte ---

VERBATIM = (
    b"123456789012345678901234567890",
    b"1.0",
    b"1E400",
    rb'"\u00e9\/\ud800"',
    b'{"a":1, "a":2}',
)
WRITTEN = (b'"Hello"', rb'"caf\u00e9 \ud83d\ude00 \ud800 end"', '"Привет \u2028"'.encode(), b'" "')
EXTRA = st.lists(st.sampled_from(VERBATIM), max_size=2).map(
    lambda values: b"".join(b',"x%d": %b' % (i, v) for i, v in enumerate(values))
)
TEXT = st.sampled_from(WRITTEN)


def chat_message(role: bytes, text: bytes, extra: bytes, *, parts: bool, kind: bytes) -> bytes:
    content = b'[{"type":"%b","text":%b%b}, {"type":"image", "n": 1.0}]' % (kind, text, extra)
    return b'{"role":"%b","content":%b%b}' % (role, content if parts else text, extra)


def chat(role: bytes, text: bytes, extra: bytes, *, parts: bool) -> bytes:
    return chat_message(role, text, extra, parts=parts, kind=b"text")


def responses(role: bytes, text: bytes, extra: bytes, *, parts: bool) -> bytes:
    return chat_message(role, text, extra, parts=parts, kind=b"input_text")


def gemini(role: bytes, text: bytes, extra: bytes, *, parts: bool) -> bytes:
    role = b"model" if role == b"assistant" else role
    one = b'{"text": %b%b}' % (text, extra)
    more = b'[%b ,{"inlineData":{"mimeType":"image/png","data":"AA"}}]' % one
    return b'{"role":"%b","parts":%b%b}' % (role, more if parts else b"[%b]" % one, extra)


MAKERS: dict[str, Callable[..., bytes]] = {
    "openai_chat": chat,
    "anthropic_messages": chat,
    "openai_responses": responses,
    "gemini_generate": gemini,
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[WireFormat, bytes]:
    wire = draw(st.sampled_from(list(FORMATS.values())))
    make = MAKERS[wire.name]
    roles = st.sampled_from([b"user", b"assistant", b"system"])
    made = [
        make(draw(roles), draw(TEXT), draw(EXTRA), parts=draw(st.booleans()))
        for _ in range(draw(st.integers(1, 5)))
    ]
    listed = b" , ".join(made)
    field = wire.messages_field.encode()
    body = b'{"model":"m"%b, "%b" : [%b]%b}' % (draw(EXTRA), field, listed, draw(EXTRA))
    return wire, body


def messages(wire: WireFormat, body: RawBody) -> list[bytes]:
    value = body.get(wire.messages_field, Raw(b"[]"))
    if raw.first_byte(value) != "[":
        return [] if raw.first_byte(value) == "n" else [bytes(value)]
    return [bytes(item) for item in raw.split_array(value)]


def parts_of(message: bytes) -> list[tuple[str, bytes]]:
    """Fields of an object and the bytes of their values; white space between them is no matter."""
    return [(name, bytes(value)) for name, value in raw.split_object(message).items()]


def others(wire: WireFormat, body: RawBody) -> dict[str, bytes]:
    return {k: bytes(v) for k, v in body.items() if k != wire.messages_field}


@given(requests(), st.data(), st.sampled_from(MODELS))
def test_inject_changes_one_place(
    request: tuple[WireFormat, bytes], data: st.DataObject, model: str | None
) -> None:
    wire, text = request
    fields = raw.split_object(text)
    before = messages(wire, fields)
    at = data.draw(st.integers(0, len(before) - 1))
    injected = wire.inject(fields, {at: "A <block>"}, model)
    after = messages(wire, injected)
    assert others(wire, injected) == others(wire, fields)
    assert list(injected) == list(fields)
    if len(after) > len(before):  # a message of its own, after the turn
        assert after.pop(at + 1) == b'{"role":"system","content":"A <block>"}'
        assert after == before
        return
    assert after[:at] + after[at + 1 :] == before[:at] + before[at + 1 :]
    assert_in_front(before[at], after[at])
    assert wire.inject(fields, {}, model) == fields


def assert_in_front(before: bytes, after: bytes) -> None:
    """That of a message only its content changed, and of that nothing but what is in front."""
    old, new = raw.split_object(before), raw.split_object(after)
    name = "parts" if "parts" in old else "content"
    assert list(new) == list(old)
    assert {k: bytes(v) for k, v in new.items() if k != name} == {
        k: bytes(v) for k, v in old.items() if k != name
    }
    if raw.first_byte(old[name]) == '"':
        assert bytes(new[name]) == rb'"A <block>\n\n' + bytes(old[name])[1:]
        return
    parts = [bytes(part) for part in raw.split_array(new[name])]
    added = [i for i, part in enumerate(parts) if b"<block>" in part]
    assert len(added) == 1
    assert json.loads(parts.pop(added[0]))["text"] == "A <block>\n\n"
    assert parts == [bytes(part) for part in raw.split_array(old[name])]


@given(requests(), st.data())
def test_keep_keeps_bytes(request: tuple[WireFormat, bytes], data: st.DataObject) -> None:
    wire, text = request
    fields = raw.split_object(text)
    before = messages(wire, fields)
    indexes = sorted(data.draw(st.sets(st.integers(0, len(before) - 1))))
    kept = wire.keep(fields, indexes)
    assert messages(wire, kept) == [before[i] for i in indexes]
    assert others(wire, kept) == others(wire, fields)


@given(requests())
def test_lead_puts_turns_in_front_and_reads_them_alike(request: tuple[WireFormat, bytes]) -> None:
    wire, text = request
    fields = raw.split_object(text)
    before = messages(wire, fields)
    led = wire.lead(fields, [Turn(role="user", text="a\n"), Turn(role="assistant", text="b")])
    after = messages(wire, led)
    at = next(i for i, message in enumerate(after) if i >= len(before) or message != before[i])
    assert after[:at] + after[at + 2 :] == before
    turns = wire.turns(raw.parse(raw.join_object(led)))
    assert [turn.role for turn in turns[at : at + 2]] == ["user", "assistant"]
    assert turns[at].text == "a\n"
    assert turns[at + 1].text.startswith("b")  # what follows of the same speaker may be one with it
    if wire.name != "anthropic_messages":
        assert all(turn.role == "system" for turn in turns[:at])


@given(requests(), st.sampled_from([b"false", b"true", b"null", rb'"\u0061"']), st.booleans())
def test_strip_takes_ours_and_nothing_else(
    request: tuple[WireFormat, bytes], value: bytes, escaped: bool
) -> None:
    wire, text = request
    fields = raw.split_object(text)
    before = messages(wire, fields)
    name = rb"\u006demory" if escaped else b"memory"
    marked = [m[:-1] + b',"%b":%b}' % (name, value) for m in before]
    ours: RawBody = {**fields, "session_id": Raw(b'"s"'), "memory": Raw(b"true")}
    ours[wire.messages_field] = Raw(b"[" + b",".join(marked) + b"]")
    stripped = wire.strip(ours, OURS)
    assert [parts_of(m) for m in messages(wire, stripped)] == [parts_of(m) for m in before]
    assert others(wire, stripped) == others(wire, fields)
    assert wire.strip(fields, OURS) == fields


@given(requests())
def test_what_was_injected_is_not_the_users(request: tuple[WireFormat, bytes]) -> None:
    wire, text = request
    block = "<memory_context>\n[MEMORY - x] y\n</memory_context>"
    fields = raw.split_object(text)
    before = wire.turns(raw.parse(text))
    at = max((i for i, turn in enumerate(before) if turn.asks), default=None)
    if at is None:
        return
    after = wire.turns(raw.parse(raw.join_object(wire.inject(fields, {at: block}, None))))
    assert [turn.text.strip("\n") for turn in after] == [turn.text.strip("\n") for turn in before]


@each_format
def test_names(wire: WireFormat) -> None:
    assert FORMATS[wire.name] is wire
