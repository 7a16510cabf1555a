"""What to ask memory: built from the recent turns of a prompt, the last user turn first."""

from __future__ import annotations

from collections.abc import Sequence

from memrouter.domain import Turn

LONGEST = 2_000
"""Characters of a turn that are looked at: what is asked stands at its ends."""
RECENT = 2
"""How many turns before the last user turn a question may refer to."""
NEAR = 600
"""Characters of each of them that are looked at."""


def question(turns: Sequence[Turn]) -> str:
    """The last user turn as text; "" where no user wrote anything."""
    for turn in reversed(turns):
        if turn.asks:
            return _ends(turn.text.strip())
    return ""


def surroundings(turns: Sequence[Turn]) -> str:
    """The turns just before the question, newest first: what "it" and "there" may refer to."""
    asks = [i for i, turn in enumerate(turns) if turn.asks]
    if not asks:
        return ""
    before = [t for t in turns[: asks[-1]] if t.written and t.role != "system" and t.text.strip()]
    return "\n".join(_ends(t.text.strip(), NEAR) for t in reversed(before[-RECENT:]))


def _ends(text: str, longest: int = LONGEST) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} {text[-half:]}"
