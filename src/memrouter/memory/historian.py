"""What a prompt and its reply add to a vault: turns that are new, split and analysed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from memrouter.domain import MemoryOptions, NewTurn, Piece, Reply, Role, Scope, Turn
from memrouter.memory import analysis, chunking, lineage
from memrouter.memory.settings import MemorySettings
from memrouter.ports import Place, VaultStore

_MUCH = 20_000  # characters to analyse beyond which the event loop must not wait for it
_NEWEST = 4  # turns at the end of a prompt among which all that is new usually is
_SEARCHED = 8  # turns of a changed history that are tried as places where the known part goes on

_AT_ONCE = 500  # turns that are looked at before others on the event loop get their turn

_Said = tuple[Turn, bool]
"""A turn, and whether it may be kept."""
_Places = dict[bytes, Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unseen:
    """A turn that is not stored, and what it follows."""

    role: Role
    text: str
    digest: bytes
    parent: bytes
    keep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a prompt adds to a vault; its reply is still to come."""

    scope: Scope
    now: datetime
    end: bytes
    """Chain of the prompt's last turn."""
    turns: tuple[NewTurn, ...] = ()
    """What is still to be stored."""
    stored: int = 0
    """How many chunks of it are stored already."""
    places: _Places = field(default_factory=dict)

    @property
    def conversation(self) -> str:
        """What the conversation is called: as its client calls it, or after its first turn."""
        place = self.places.get(self.end)
        return place.conversation if place else self.scope.conversation

    @property
    def chunks(self) -> int:
        """How many chunks it adds."""
        return self.stored + sum(len(turn.pieces) for turn in self.turns)

    def without(self, count: int) -> Draft:
        """What is left of it once its first `count` turns are stored."""
        stored = sum(len(turn.pieces) for turn in self.turns[:count])
        return replace(self, turns=self.turns[count:], stored=self.stored + stored)


class Historian:
    """Finds out which turns are new. Each turn is stored once, however often it is sent."""

    def __init__(self, store: VaultStore, settings: MemorySettings) -> None:
        self._store = store
        self._settings = settings

    async def draft(
        self, scope: Scope, turns: Sequence[Turn], options: MemoryOptions, now: datetime
    ) -> Draft:
        """Find out what of a prompt is new, while its reply is still to come.

        Turns that the request's options exclude come with keep=False, so that a later request
        that resends them in its history does not bring them in.
        """
        said: list[_Said] = [
            (t, t.memory and options.store_input)
            for t in turns
            if t.written and t.role in ("user", "assistant") and t.text.strip()
        ]
        if not said:
            return Draft(scope=scope, now=now, end=lineage.root(scope))
        unseen, places, end = await self._unseen(scope, said, now)
        if sum([len(u.text) for u in unseen if u.keep]) > _MUCH:
            new = await asyncio.to_thread(self._built, scope, unseen, places, now)
        else:
            new = self._built(scope, unseen, places, now)
        return Draft(scope=scope, now=now, end=end, turns=tuple(new), places=places)

    async def with_reply(
        self, draft: Draft, reply: Reply | None, *, keep: bool, model: str
    ) -> list[NewTurn]:
        """The turns to store: those of a draft, and the reply to it if it is whole and new."""
        turns = list(draft.turns)
        if reply is None or not reply.complete or not reply.text.strip():
            return turns
        own = lineage.digest("assistant", reply.text)
        # A turn is only ever stored after the one before it: what answers a new one is new.
        new_prompt = bool(turns) and turns[-1].chain == draft.end
        if not new_prompt and await self._store.known(
            draft.scope.vault, [lineage.link(draft.end, own)]
        ):
            return turns
        answered = _Unseen(
            role="assistant", text=reply.text, digest=own, parent=draft.end, keep=keep
        )
        scope, places, after = draft.scope, draft.places, draft.now + timedelta(milliseconds=1)
        if keep and len(reply.text) > _MUCH:
            new = await asyncio.to_thread(self._built, scope, [answered], places, after, model)
        else:
            new = self._built(scope, [answered], places, after, model)
        return [*turns, *new]

    async def new_turns(
        self,
        scope: Scope,
        turns: Sequence[Turn],
        options: MemoryOptions,
        reply: Reply | None,
        model: str,
        now: datetime,
    ) -> list[NewTurn]:
        """The turns of prompt and reply that are not stored yet, in order."""
        draft = await self.draft(scope, turns, options, now)
        return await self.with_reply(draft, reply, keep=options.store_reply, model=model)

    def pieces(self, text: str, created: datetime) -> tuple[Piece, ...]:
        """A text as the chunks that are stored."""
        count = self._settings.count
        parts = chunking.split(text, self._settings.chunk_tokens, count)
        return tuple(
            Piece(text=p, tokens=count(p), terms=analysis.index_terms(p, created)) for p in parts
        )

    async def _unseen(
        self, scope: Scope, said: Sequence[_Said], now: datetime
    ) -> tuple[list[_Unseen], _Places, bytes]:
        """What of `said` is not stored, the places of what is, and the chain of the last turn."""
        sent = len(said)
        root = lineage.root(scope)
        if sent > _AT_ONCE:
            digests, expected = await asyncio.to_thread(_chained, root, said)
        else:
            digests, expected = _chained(root, said)
        places = dict(await self._store.known(scope.vault, expected[-_NEWEST:]))
        if not places and sent > _NEWEST:
            places = dict(await self._store.known(scope.vault, expected))
        # A turn is only ever stored after the one before it: one that is known vouches for all.
        at = next((i for i in range(sent, 0, -1) if expected[i - 1] in places), 0)
        parent = expected[at - 1] if at else root
        if at < sent - 1 or at == 0:  # more is new than the last turn: is the head cut or changed?
            jumped, end = await self._jump(scope, digests, places, now)
            if jumped > at:
                at, parent = jumped, end
        if at == 1 == sent and not self._fresh(places[parent], now):
            # The same opening as in an old conversation is a new conversation, not a retry.
            at, parent = 0, lineage.link(root, now.isoformat().encode())
        unseen: list[_Unseen] = []
        while at < len(said):
            if at and at + 1 < sent and len(unseen) <= _SEARCHED:
                jumped, end = await self._jump(scope, digests[at:], places, now)
                if jumped > 1:
                    at, parent = at + jumped, end
                    continue
            turn, keep = said[at]
            unseen.append(
                _Unseen(
                    role=turn.role, text=turn.text, digest=digests[at], parent=parent, keep=keep
                )
            )
            parent = lineage.link(parent, digests[at])
            at += 1
            at, parent = _follow(at, parent, digests, places)
            if len(unseen) % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return unseen, places, parent

    async def _jump(
        self, scope: Scope, digests: Sequence[bytes], places: _Places, now: datetime
    ) -> tuple[int, bytes]:
        """The longest known run these turns begin with, anywhere: (turns, chain of its last).

        A run of one turn is believed if it is fresh: people say "yes" more than once.
        """
        best, end = 0, b""
        for chain in await self._store.ends_of(scope, digests[0]):
            run = [chain, *lineage.chains(chain, digests[1:])]
            known = await self._store.known(scope.vault, run)
            length = next((i for i, c in enumerate(run) if c not in known), len(run))
            if length == 1 and not self._fresh(known[chain], now):
                continue
            if length > best:
                best, end = length, run[length - 1]
                places.update(known)
            if best == len(digests):
                break
        return best, end

    def _fresh(self, place: Place, now: datetime) -> bool:
        return (now - place.created).total_seconds() <= self._settings.sticky_s

    def _built(
        self,
        scope: Scope,
        unseen: Sequence[_Unseen],
        places: _Places,
        now: datetime,
        model: str = "",
    ) -> list[NewTurn]:
        """The turns to store; their places are added to `places`."""
        return list(self._build(scope, unseen, places, now, model))

    def _build(
        self,
        scope: Scope,
        unseen: Sequence[_Unseen],
        places: _Places,
        now: datetime,
        model: str,
    ) -> Iterator[NewTurn]:
        for n, turn in enumerate(unseen, start=1):
            chain = lineage.link(turn.parent, turn.digest)
            before = places.get(turn.parent)
            conversation = before.conversation if before else scope.conversation or implicit(chain)
            position = before.position + 1 if before else 0
            places[chain] = Place(conversation=conversation, position=position, created=now)
            # Turns of one request keep their order in time.
            created = now - timedelta(milliseconds=len(unseen) - n)
            yield NewTurn(
                role=turn.role,
                text=turn.text if turn.keep else "",
                created=created,
                pieces=self.pieces(turn.text, created) if turn.keep else (),
                session=scope.session,
                conversation=conversation,
                position=position,
                model=model,
                chain=chain,
                parent=turn.parent,
                digest=turn.digest,
                keep=turn.keep,
            )


def _chained(root: bytes, said: Sequence[_Said]) -> tuple[list[bytes], list[bytes]]:
    """Digest and chain of each turn."""
    digests = [turn.digest for turn, _ in said]
    return digests, lineage.chains(root, digests)


def implicit(chain: bytes) -> str:
    """The name of a conversation that its client did not name, after its first turn."""
    return lineage.IMPLICIT + chain.hex()[:16]


def _follow(
    at: int, parent: bytes, digests: Sequence[bytes], places: Mapping[bytes, Place]
) -> tuple[int, bytes]:
    while at < len(digests) and (chain := lineage.link(parent, digests[at])) in places:
        at, parent = at + 1, chain
    return at, parent
