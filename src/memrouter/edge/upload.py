"""Stores bulk imports: each memory once, in slices that leave room for other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

import numpy as np

from memrouter.domain import NewTurn, Scope, VaultId
from memrouter.edge.jsonl import Item
from memrouter.memory import lineage
from memrouter.memory.engine import Memory
from memrouter.memory.historian import Historian
from memrouter.ports import Clock, Signals, VaultStore

_SLICE_CHARS = 20_000  # analysed at a time: some 10 ms
_TURN_CHARS = 100  # what a turn costs beside its text, in characters of text
_COMMIT = 1_000  # turns stored in one transaction
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Chains:
    """Continues the conversations of an export, so that their turns are known when resent.

    A conversation is followed as long as its lines stand in order, from its first turn on.
    """

    _ends: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    """(session, conversation) → the position after its last line, and the chain up to it."""

    def place(self, item: Item, digest: bytes) -> tuple[int, bytes, bytes]:
        """(position, chain, parent) of the next item; chain and parent are b"" where unknown."""
        if not item.conversation:
            return item.position or 0, b"", b""
        name = (item.session, item.conversation)
        expected, parent = self._ends.get(name) or (0, _root(item))
        position = expected if item.position is None else item.position
        if position != expected:
            parent = b""
        chain = lineage.link(parent, digest) if parent else b""
        self._ends[name] = (position + 1, chain)
        return position, chain, parent


def _root(item: Item) -> bytes:
    return lineage.root(
        Scope(vault=VaultId(""), session=item.session, conversation=item.conversation)
    )


class Uploads:
    """Stores what uploads hold."""

    def __init__(
        self, store: VaultStore, historian: Historian, memory: Memory, clock: Clock
    ) -> None:
        self._store = store
        self._historian = historian
        self._memory = memory
        self._clock = clock
        self._locks: WeakValueDictionary[VaultId, asyncio.Lock] = WeakValueDictionary()

    async def store(
        self, vault: VaultId, items: Sequence[Item], chains: Chains | None = None
    ) -> int:
        """Store the items that a vault does not hold yet, in their order; return how many.

        It holds an item if role, text, session and time are the same; for one that says no time,
        if role, text and session are. One upload at a time is stored into a vault.

        chains  of the conversations that earlier items were of
        """
        lock = self._locks.setdefault(vault, asyncio.Lock())
        async with lock:
            new = await self._unknown(vault, items, chains or Chains())
            for start in range(0, len(new), _COMMIT):
                turns: list[NewTurn] = []
                for part in _slices(new[start : start + _COMMIT]):
                    turns += await asyncio.to_thread(self._with_pieces, part)
                await self._memory.add(Scope(vault=vault), turns)
        return len(new)

    async def _unknown(
        self, vault: VaultId, items: Sequence[Item], chains: Chains
    ) -> list[NewTurn]:
        """The items that are not held, without their chunks."""
        digests = await asyncio.to_thread(_digests, items)
        held = await self._held(vault, items, digests)
        now = self._clock.now()
        new = await asyncio.to_thread(_new, items, digests, held, chains, now)
        # A chain may be known though its turn is not held: it was deleted, and whoever uploads it
        # wants it; it is held with another time; two conversations begin alike. It is stored all
        # the same, as a turn of its own.
        seen = set(await self._store.known(vault, [turn.chain for turn in new if turn.chain]))
        for n, turn in enumerate(new):
            if turn.chain in seen:
                new[n] = replace(turn, chain=b"", parent=b"")
            elif turn.chain:
                seen.add(turn.chain)
        return new

    async def _held(self, vault: VaultId, items: Sequence[Item], digests: Sequence[bytes]) -> _Held:
        heads: dict[str, list[int]] = {}
        for item, digest in zip(items, digests, strict=True):
            heads.setdefault(item.session, []).append(_head(digest))
        held = _Held()
        for session, wanted in heads.items():
            scope = Scope(vault=vault, session=session)
            held.read(session, await self._store.signals(scope, core=not session), wanted)
        return held

    def _with_pieces(self, turns: Sequence[NewTurn]) -> list[NewTurn]:
        return [replace(t, pieces=self._historian.pieces(t.text, t.created)) for t in turns]


def _digests(items: Sequence[Item]) -> list[bytes]:
    return [lineage.digest(item.role, item.text) for item in items]


def _new(
    items: Sequence[Item], digests: Sequence[bytes], held: _Held, chains: Chains, now: datetime
) -> list[NewTurn]:
    """The items that are not held, as turns; notes them as held."""
    new: list[NewTurn] = []
    for item, digest in zip(items, digests, strict=True):
        position, chain, parent = chains.place(item, digest)
        if held.add(item, digest):
            turn = NewTurn(
                role=item.role,
                text=item.text,
                created=item.created or now,
                pieces=(),
                session=item.session,
                conversation=item.conversation,
                position=position,
                model=item.model,
                chain=chain,
                parent=parent,
                digest=digest,
            )
            new.append(turn)
    return new


class _Held:
    """Which memories there are, by digest and time."""

    def __init__(self) -> None:
        self._dated: set[tuple[str, int, int]] = set()
        self._any: set[tuple[str, int]] = set()

    def read(self, session: str, signals: Signals, heads: Sequence[int]) -> None:
        """Note those memories of a session that have one of these digests."""
        rows = np.flatnonzero(np.isin(signals.digests, np.array(heads, np.uint64)))
        found = zip(signals.digests[rows].tolist(), signals.created[rows].tolist(), strict=True)
        for head, created_ms in found:
            self._dated.add((session, head, created_ms))
            self._any.add((session, head))

    def add(self, item: Item, digest: bytes) -> bool:
        """Note an item; False if it is held already."""
        head = _head(digest)
        ms = -1 if item.created is None else (item.created - _EPOCH) // timedelta(milliseconds=1)
        dated, undated = (item.session, head, ms), (item.session, head)
        if undated in self._any if item.created is None else dated in self._dated:
            return False
        self._dated.add(dated)
        self._any.add(undated)
        return True


def _head(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little")


def _slices(turns: Sequence[NewTurn]) -> Iterator[Sequence[NewTurn]]:
    """Runs of turns that are analysed in about the same time."""
    start = chars = 0
    for end, turn in enumerate(turns):
        chars += len(turn.text) + _TURN_CHARS
        if chars >= _SLICE_CHARS:
            yield turns[start : end + 1]
            start, chars = end + 1, 0
    if start < len(turns):
        yield turns[start:]
