"""Writes a vault as JSONL, line by line, in the form that an upload reads."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from memrouter.domain import Memory, Scope
from memrouter.edge.memory_shapes import ExportLine
from memrouter.ports import VaultStore

_PAGE = 500

_encoder = msgspec.json.Encoder()


def line(memory: Memory) -> bytes:
    """One memory as a line."""
    told = ExportLine(
        content=memory.text,
        role=memory.role,  # type: ignore[arg-type]  # tool traffic is never stored
        timestamp=round(memory.created.timestamp() * 1000),
        session_id=memory.session,
        conversation_id=memory.conversation,
        position=memory.position if memory.conversation else None,
        model=memory.model,
    )
    return _encoder.encode(told) + b"\n"


async def lines(store: VaultStore, scope: Scope) -> AsyncIterator[bytes]:
    """All lines of a vault, or of the scope's session, some at a time, in the order of storing."""
    after = 0
    while page := await store.memories(scope, after=after, limit=_PAGE, whole=not scope.session):
        yield b"".join(map(line, page))
        after = page[-1].id
