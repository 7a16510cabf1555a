"""Compiled, the same as in Python."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memrouter.domain import ROLES, Turn
from memrouter.wire import written
from memrouter.wire.anthropic_messages import AnthropicMessages
from memrouter.wire.format import WireFormat
from memrouter.wire.openai_chat import OpenAIChat
from memrouter.wire.turns import Found, reader

native = pytest.importorskip("memrouter.native.turns", reason="there is no C compiler")

ROOM = 300  # characters around whose number the digest takes another block: 128, 256
LONG = st.integers(0, ROOM).map("a b".__mul__) | st.integers(0, 9_000).map("é".__mul__)
TEXTS = st.text() | st.text("aé😀\ud800 \n\0<", max_size=20) | LONG
ROLE = st.sampled_from(ROLES)


BEGINNINGS = st.sampled_from(
    [
        *written.HEADS,
        *written.BEGINNINGS,
        "<think>a</think>",
        "<system-reminder>",
        "[",
        "### Task",
        "",
    ]
)
PADDED = st.builds(
    "{}{}{}".format, st.sampled_from(["", "\n \t", "\u3000" * 210]), BEGINNINGS, TEXTS
)
CONTENT = TEXTS | PADDED | st.none() | st.just([{"type": "text", "text": "said"}]) | st.just(3)
NAMES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "", "x"])
REST: dict[str, Any] = {
    "memory": st.sampled_from([None, False, True]),
    "name": st.text(max_size=3),
    "tool_calls": st.none() | st.just([{"id": "c", "function": {"name": "f", "arguments": "{}"}}]),
    "reasoning": st.none() | st.text(max_size=9),
    "tool_call_id": st.text(max_size=3),
}
FIELDS = st.fixed_dictionaries({}, optional={"role": NAMES | st.none(), "content": CONTENT, **REST})
USUAL = st.fixed_dictionaries({"role": NAMES, "content": CONTENT})
MESSAGES = st.lists(FIELDS | USUAL | st.none() | st.just("x"), max_size=6)


@pytest.mark.parametrize("wire", [OpenAIChat(), AnthropicMessages()], ids=lambda wire: wire.name)
@given(messages=MESSAGES)
@example(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": " \n"}])
@example(messages=[{"role": "user", "content": "\0"}, {"role": "system", "content": "\u2028"}])
@example(messages=[{"role": "user", "content": "a < b"}, {"role": "assistant", "content": " <b"}])
def test_messages_become_the_same_turns(wire: WireFormat, messages: list[Any]) -> None:
    """Lists of parts are read in Python: a message with one of two parts shows what is wanted."""
    apart = [_in_parts(message) for message in messages]
    made, expected = (wire.turns({"messages": sent}) for sent in (messages, apart))
    assert made == expected
    assert [turn.digest for turn in made] == [turn.digest for turn in expected]
    assert [hash(turn) for turn in made] == [hash(turn) for turn in expected]


def _in_parts(message: Any) -> Any:
    """A message that is read in Python, and says the same."""
    if isinstance(message, dict) and isinstance(message.get("content"), str):
        return {**message, "content": [{"type": "text", "text": message["content"]}]}
    return message


class _Named(dict[str, Any]):
    """An object that is no plain dict."""


def test_what_is_no_plain_message_is_left_to_the_format() -> None:
    asked: list[Any] = []

    def find(message: Any) -> Found:
        asked.append(message)
        return Found("tool", message)

    plain = {"role": "u", "content": "said"}
    others = [_Named(plain), {**plain, "role": "v"}, {**plain, "content": 3}, {**plain, "more": 0}]
    turns = reader(find, {"u": "user"}, ("more",))
    assert [turn.role for turn in turns([plain, *others])] == ["user", *["tool"] * 4]
    assert asked == others
    assert turns([{**plain, "more": None, "else": 1}])[0] == Turn(
        role="user", text="said", tokens=5
    )
