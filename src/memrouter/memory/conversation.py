"""Infinite Chat: what of a long conversation is sent, and what is put in front of a new turn.

Pure. The cut stands still while a conversation grows and then moves by a whole block, so that most
requests begin with the whole of the one before, and a provider's cache serves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from memrouter.domain import Memory, Turn
from memrouter.memory import lineage

ALIGNED = 200
"""Turns put in front begin at a multiple of this many, so that their start stands still, too."""
LOOKED_BACK = 2 * ALIGNED
"""How many stored turns of a conversation are looked at."""
MESSAGE_TOKENS = 4
_WHOLE_BLOCKS = 64
"""From this many blocks left out the cut moves by whole ones; from half as many, by halves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How much of a conversation is sent; see config.InfiniteChat."""

    threshold_tokens: int
    recent_tokens: int
    block_tokens: int


def lead(stored: Sequence[Memory], turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns to put in front of a prompt whose client sends only what is new.

    stored   the newest turns of the conversation, in order
    turns    the prompt
    returns  nothing if the prompt brings its own history
    """
    said = [turn for turn in turns if turn.role != "system"]
    if not stored or not only_new(turns):
        return ()
    own = [turn.digest for turn in said]
    held = [lineage.digest(memory.role, memory.text) for memory in stored]
    if len(own) > 1 and own[0] in held:
        return ()
    start = next((i for i, memory in enumerate(stored) if memory.position % ALIGNED == 0), 0)
    end = len(stored)
    if held[-len(own) :] == own:  # sent before, and never answered
        end -= len(own)
    return tuple(_as_turn(memory) for memory in stored[start:end])


def only_new(turns: Sequence[Turn]) -> bool:
    """Whether a prompt may lack its history: nothing in it was said by a model or a tool."""
    said = [turn for turn in turns if turn.role != "system"]
    return bool(said) and all(turn.role == "user" and not turn.answers for turn in said)


def _as_turn(memory: Memory) -> Turn:
    return Turn(role=memory.role, text=memory.text, tokens=memory.tokens + MESSAGE_TOKENS)


def with_lead(turns: Sequence[Turn], leading: Sequence[Turn]) -> tuple[Turn, ...]:
    """The prompt with turns put in front of its first that is no system message."""
    if not leading:
        return tuple(turns)
    at = head_of(turns)
    return (*turns[:at], *leading, *turns[at:])


def head_of(turns: Sequence[Turn]) -> int:
    """How many system messages a prompt begins with."""
    return next((i for i, turn in enumerate(turns) if turn.role != "system"), len(turns))


def kept(turns: Sequence[Turn], system_tokens: int, window: Window) -> tuple[int, ...] | None:
    """The messages to send, ascending; None sends them all.

    The system prompt, and the newest turns from a user turn on: at least `recent_tokens` of them,
    at most a block more. A tool call and its result stay or go together. Within a tool loop that
    is too long by itself, its user turn stays and the oldest calls go. What a provider signed is
    bound to all before it: such a conversation is sent whole.

    system_tokens  of a system prompt outside the messages
    """
    total = system_tokens + sum(turn.tokens for turn in turns)
    asks = [i for i, turn in enumerate(turns) if turn.asks]
    if total <= window.threshold_tokens or not asks or any(turn.signed for turn in turns):
        return None
    head = head_of(turns)
    whole = _starts(turns)
    cut = _cut(turns, head, [i for i in asks if whole[i]], window)
    loop = _loop_cut(turns, asks[-1], whole, window) if cut == asks[-1] else None
    if loop is not None:
        return (*range(head), asks[-1], *range(loop, len(turns)))
    if cut <= head:
        return None
    return (*range(head), *range(cut, len(turns)))


def _cut(turns: Sequence[Turn], head: int, starts: Sequence[int], window: Window) -> int:
    """The first message after the system prompt that is kept: the last of `starts` that leaves
    out no more than may be.
    """
    wanted = _dropped(turns[head:], window)
    passed = 0
    at = head
    while at < len(turns) and passed + turns[at].tokens <= wanted:
        passed += turns[at].tokens
        at += 1
    return max((i for i in starts if head <= i <= at), default=head)


def _loop_cut(
    turns: Sequence[Turn], last: int, whole: Sequence[bool], window: Window
) -> int | None:
    """Where to begin in a tool loop that is too long; None keeps it whole."""
    wanted = _dropped(turns[last + 1 :], window)
    passed = 0
    found = None
    for i in range(last + 1, len(turns)):
        if passed > wanted:
            break
        starts_call = bool(turns[i].calls) and not turns[i].answers and not turns[i - 1].glued
        if passed and starts_call and whole[i]:
            found = i
        passed += turns[i].tokens
    return found


def _dropped(turns: Sequence[Turn], window: Window) -> int:
    """Tokens to leave out at the front: whole steps, so that as many may come before it moves."""
    spare = sum(turn.tokens for turn in turns) - window.recent_tokens
    step = _step(spare, window.block_tokens)
    return max(0, spare // step * step)


def _step(spare: int, block: int) -> int:
    """How far the cut moves at a time: a quarter or half of a block while the conversation is
    short, where a block would be much of it.

    A step gets larger at a multiple of the larger one, so that the cut never moves back.
    """
    if spare >= _WHOLE_BLOCKS * block or block % 4:
        return block
    return block // 2 if spare >= _WHOLE_BLOCKS // 2 * block else block // 4


def _starts(turns: Sequence[Turn]) -> list[bool]:
    """Whether nothing from a message on answers a tool call before it; one a message."""
    opened = [0] * (len(turns) + 1)
    called: dict[str, int] = {}
    for i, turn in enumerate(turns):
        for answer in turn.answers:
            if (call := called.get(answer)) is not None:
                opened[call + 1] += 1
                opened[i + 1] -= 1
        called.update(dict.fromkeys(turn.calls, i))
    return [count == 0 for count in accumulate(opened[:-1])]
