"""Which context blocks are replayed: what a provider has cached must not change.

Pure. Within a tool loop the block of the last user turn stands; on the next user turn the blocks
of earlier ones are replayed in place, byte for byte, until they take too much room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from memrouter.domain import Block, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What stands in a prompt already."""

    blocks: dict[int, Block] = field(default_factory=dict)
    """Message index → block to replay there; a block may be empty."""
    settled: bool = False
    """Whether the last user turn has its block, so that there is nothing to recall."""
    dropped: tuple[bytes, ...] = ()
    """Keys of blocks that took too much room and are given up."""

    @property
    def chunks(self) -> frozenset[int]:
        """Ids of the chunks that stand in replayed blocks."""
        return frozenset(id for block in self.blocks.values() for id in block.chunks)


def asked(turns: Sequence[Turn]) -> list[int]:
    """Indexes of the turns that a user wrote."""
    return [i for i, turn in enumerate(turns) if turn.asks]


def replay(
    turns: Sequence[Turn],
    keys: Sequence[bytes],
    held: Mapping[bytes, Block],
    revision: int,
    limit_tokens: int,
) -> Replay:
    """Decide what to replay.

    turns         the prompt
    keys          one a turn, see lineage.prompt_keys
    held          blocks that may be in a provider's cache, by key
    revision      of the vault now: a block of this revision is what a new recall would find
    limit_tokens  replayed blocks over this are all dropped, for a fresh start; but never in front
                  of thinking that a provider signed together with them
    """
    asks = asked(turns)
    if not asks:
        return Replay()
    last = asks[-1]
    blocks = {i: held[keys[i]] for i in asks[:-1] if keys[i] in held}
    dropped: tuple[bytes, ...] = ()
    own = held.get(keys[last])
    if own is not None and (in_tool_loop(turns, last) or own.revision == revision):
        return Replay(blocks={**blocks, last: own}, settled=True)
    over = sum(block.tokens for block in blocks.values()) > limit_tokens
    if over and not any(turn.signed for turn in turns):
        dropped = tuple(keys[i] for i in blocks)
        blocks = {}
    return Replay(blocks=blocks, dropped=dropped)


def in_tool_loop(turns: Sequence[Turn], last: int) -> bool:
    """Whether tools were called since the user turn at `last`."""
    return any(turn.calls or turn.answers for turn in turns[last + 1 :])
