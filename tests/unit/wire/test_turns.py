"""From what was found in messages to turns."""

from __future__ import annotations

import pytest

from memrouter import tokens
from memrouter.domain import Role, Turn
from memrouter.wire.turns import Found, Medium, joined, medium_of, runs_joined, turns_of

JOINED: dict[str, tuple[list[str | Medium], str]] = {
    "nothing": ([], ""),
    "one text, as it is": ([" a\n"], " a\n"),
    "two texts": (["a\n\n", "b\n"], "a\nb"),
    "blank texts go": (["", " \n", "a"], "a"),
    "an image next to text": ([Medium.IMAGE, "a"], "[image]\na"),
    "an image alone": ([Medium.IMAGE], ""),
    "an image next to a blank": ([Medium.IMAGE, " "], ""),
    "all media": (
        ["a", Medium.AUDIO, Medium.VIDEO, Medium.FILE],
        "a\n[audio]\n[video]\n[file]",
    ),
}


@pytest.mark.parametrize(("pieces", "text"), JOINED.values(), ids=JOINED)
def test_joined(pieces: list[str | Medium], text: str) -> None:
    assert joined(pieces) == text


@pytest.mark.parametrize(
    ("mime_type", "medium"),
    [
        ("image/png", Medium.IMAGE),
        ("AUDIO/wav", Medium.AUDIO),
        ("video/mp4", Medium.VIDEO),
        ("application/pdf", Medium.FILE),
        ("", Medium.FILE),
    ],
)
def test_medium(mime_type: str, medium: Medium) -> None:
    assert medium_of(mime_type) is medium


def found(role: Role, *pieces: str, message: object = None) -> Found:
    it = Found(role, message)
    it.pieces += pieces
    return it


def test_who_wrote_what() -> None:
    reminder = "<system-reminder>\nx\n</system-reminder>"
    turns = turns_of(
        [
            found("system", "Be good."),
            found("user", reminder),
            found("user", reminder, "Hi"),
            found("assistant", "<think>hm</think>Hello"),
            found("tool", "result"),
            found("user", message={"memory": False}),
            found("user", "Not this.", message={"memory": False}),
            found("user", "This.", message={"memory": True}),
        ]
    )
    assert [(t.role, t.text, t.written, t.memory) for t in turns] == [
        ("system", "Be good.", False, True),
        ("user", "", False, True),
        ("user", "Hi", True, True),
        ("assistant", "Hello", True, True),
        ("tool", "", False, True),
        ("user", "", False, False),
        ("user", "Not this.", True, False),
        ("user", "This.", True, True),
    ]
    assert [t.asks for t in turns] == [False, False, True, False, False, False, True, True]
    assert [t.storable for t in turns] == [False, False, True, True, False, False, False, True]


def test_tokens_count_what_is_no_text_too() -> None:
    plain = found("user", "Hello there")
    rich = found("user", "Hello there")
    rich.show(Medium.IMAGE)
    rich.extra.append("A result of a tool that is somewhat longer.")
    call = found("assistant")
    call.call("id", "weather", '{"city": "Paris"}')
    counts = [turn.tokens for turn in turns_of([plain, rich, call])]
    assert counts[0] == tokens.MESSAGE_TOKENS + tokens.estimate("Hello there")
    assert counts[1] > counts[0] + tokens.IMAGE_TOKENS + 5
    assert counts[2] > tokens.MESSAGE_TOKENS + tokens.CALL_TOKENS + 3


def turn(role: Role, text: str = "", *, calls: tuple[str, ...] = (), glued: bool = False) -> Turn:
    return Turn(role=role, text=text, written=bool(text), calls=calls, glued=glued, tokens=1)


def test_one_answer_in_several_messages_is_one_turn() -> None:
    turns = runs_joined(
        [
            turn("user", "q"),
            turn("assistant", glued=True),
            turn("assistant", "a"),
            turn("assistant", calls=("c",)),
            turn("tool"),
            turn("assistant", "b"),
            turn("assistant", "c"),
            turn("user", "d"),
            turn("assistant", "e"),
        ],
        "\n",
    )
    assert [t.text for t in turns] == ["q", "", "a", "", "", "b\nc", "", "d", "e"]
    assert [t.written for t in turns] == [bool(t.text) for t in turns]
    assert [t.glued for t in turns] == [False, True, True, False, False, True, False, False, False]
    assert [t.tokens for t in turns] == [1] * 9
    assert runs_joined([], "") == ()
