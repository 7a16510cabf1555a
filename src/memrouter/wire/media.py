"""The text of a message made of several parts, with markers where it shows something else."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Medium(enum.Enum):
    """What a part holds that is no text; memory keeps the marker in its place."""

    IMAGE = "[image]"
    AUDIO = "[audio]"
    VIDEO = "[video]"
    FILE = "[file]"


def medium_of(mime_type: str) -> Medium:
    """The medium of a MIME type; a file, if it is none of the others."""
    kind = mime_type.partition("/")[0].lower()
    return {"image": Medium.IMAGE, "audio": Medium.AUDIO, "video": Medium.VIDEO}.get(
        kind, Medium.FILE
    )


def joined(pieces: Iterable[str | Medium]) -> str:
    """Texts and markers, a line break between them; "" if no text is there to go with."""
    lines = []
    spoken = False
    for piece in pieces:
        if isinstance(piece, Medium):
            lines.append(piece.value)
        elif piece:
            lines.append(piece)
            spoken = spoken or not piece.isspace()
    return "\n".join(lines) if spoken else ""
