"""From what a format finds in messages to the turns that memory reads."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from memrouter import tokens
from memrouter.domain import Role, Turn, turn_digest
from memrouter.native import compiled
from memrouter.wire.written import HEADS, assistant_text, user_text


class Medium(enum.Enum):
    """What a part holds that is no text: memory keeps a marker of it next to text."""

    IMAGE = "[image]"
    AUDIO = "[audio]"
    VIDEO = "[video]"
    FILE = "[file]"

    @property
    def tokens(self) -> int:
        return _MEDIUM_TOKENS[self]


_MEDIUM_TOKENS = {
    Medium.IMAGE: tokens.IMAGE_TOKENS,
    Medium.AUDIO: tokens.AUDIO_TOKENS,
    Medium.VIDEO: tokens.FILE_TOKENS,
    Medium.FILE: tokens.FILE_TOKENS,
}


def medium_of(mime_type: str) -> Medium:
    """The medium of a MIME type; a file, if it is none of the others."""
    kind = mime_type.partition("/")[0].lower()
    return {"image": Medium.IMAGE, "audio": Medium.AUDIO, "video": Medium.VIDEO}.get(
        kind, Medium.FILE
    )


_AUTHORS: dict[Role, Callable[[str], str]] = {
    "user": user_text,
    "assistant": assistant_text,
    "system": str,
}
"""What of a message each author wrote; results of tools are nobody's words."""


class Found:
    """What a format found in one message."""

    __slots__ = ("answers", "calls", "extra", "flat", "glued", "memory", "pieces", "role", "signed")

    def __init__(self, role: Role, message: Any) -> None:
        self.role = role
        self.memory = not (isinstance(message, dict) and message.get("memory") is False)
        self.pieces: list[str | Medium] = []
        """Its texts and media, in order."""
        self.extra: list[str] = []
        """Texts that only count: tool traffic and thinking."""
        self.flat = tokens.MESSAGE_TOKENS
        """Tokens of what is no text."""
        self.calls: list[str] = []
        self.answers: list[str] = []
        self.glued = False
        self.signed = False

    def show(self, medium: Medium) -> None:
        """Add a medium as a piece."""
        self.pieces.append(medium)
        self.flat += medium.tokens

    def call(self, id: str, *texts: str) -> None:
        """Add a tool call with its name and arguments."""
        if id:
            self.calls.append(id)
        self.extra += texts
        self.flat += tokens.CALL_TOKENS

    def answer(self, id: str) -> None:
        """Add that it holds the result of a tool call."""
        if id:
            self.answers.append(id)


def turns_of(found: Sequence[Found]) -> tuple[Turn, ...]:
    """One turn for each message that was read."""
    return tuple(map(_turn, found))


def reader(
    find: Callable[[Any], Found], roles: dict[str, Role], telling: tuple[str, ...]
) -> Callable[[list[Any]], tuple[Turn, ...]]:
    """What makes turns of the messages of a format, `find` being what reads one of them.

    Most messages are objects whose `role` and `content` are strings; compiled, their turns are
    made without `find`.

    roles    what is in `role` of such a message → the role
    telling  fields that say more of it, unless they are null
    """

    def turn(message: Any) -> Turn:
        return _turn(find(message))

    def turns(messages: list[Any]) -> tuple[Turn, ...]:
        return tuple(map(turn, messages))

    if _native is None:
        return turns
    given = Turn, turn_digest, tokens.estimate, roles, telling, HEADS, tokens.MESSAGE_TOKENS
    plain = _native.Reader(*given)
    return lambda messages: plain.read(messages, turn)


_native: Any = compiled("turns")


def _counted(found: Found) -> str:
    pieces = found.pieces
    if len(pieces) == 1 and not found.extra and isinstance(pieces[0], str):
        return pieces[0]
    return "\n".join([p for p in pieces if isinstance(p, str)] + found.extra)


def _turn(found: Found) -> Turn:
    text = _text(found)
    return Turn(
        role=found.role,
        text=text,
        written=bool(text) and found.role in ("user", "assistant"),
        memory=found.memory,
        tokens=found.flat + tokens.estimate(_counted(found)),
        calls=tuple(found.calls),
        answers=tuple(found.answers),
        glued=found.glued,
        signed=found.signed,
    )


def _text(found: Found) -> str:
    read = _AUTHORS.get(found.role)
    if read is None or not found.pieces:
        return ""
    return joined([p if isinstance(p, Medium) else read(p) for p in found.pieces])


def joined(pieces: Iterable[str | Medium]) -> str:
    """Texts and markers, a line break between them; "" if no text is there to go with.

    A single text stays as it is; of several, each loses the line breaks at its end, which some
    agents add when they put messages together.
    """
    lines = []
    spoken = False
    for piece in pieces:
        if isinstance(piece, Medium):
            lines.append(piece.value)
        elif piece and not piece.isspace():
            lines.append(piece)
            spoken = True
    if not spoken:
        return ""
    if len(lines) == 1:
        return lines[0]
    return "\n".join([line.rstrip("\n") for line in lines])


def runs_joined(turns: Sequence[Turn], separator: str) -> tuple[Turn, ...]:
    """With the texts of assistant messages that follow one another in the first that has text.

    For histories that hold one answer in several messages: it is one turn then, as it was when it
    came, and its messages stay together.
    """
    result = list(turns)
    start = 0
    for end in range(1, len(turns) + 1):
        if end < len(turns) and turns[end].role == turns[start].role == "assistant":
            continue
        if end - start > 1:
            result[start:end] = _run_joined(turns[start:end], separator)
        start = end
    return tuple(result)


def _run_joined(run: Sequence[Turn], separator: str) -> list[Turn]:
    texts = [turn.text for turn in run if turn.text]
    bearer = next((i for i, turn in enumerate(run) if turn.text), None)
    return [
        replace(
            turn,
            text=separator.join(texts) if i == bearer else "",
            written=i == bearer,
            glued=turn.glued or i < len(run) - 1,
        )
        for i, turn in enumerate(run)
    ]
