"""What both contract suites of the vault store write and read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from memrouter.domain import NewTurn, Piece, Role, Scope, VaultId
from memrouter.ports import Stored, VaultStore

NOW = datetime(2026, 6, 5, 21, 0, 0, 123_000, tzinfo=UTC)
VAULT = VaultId("5f3c")
CORE = Scope(vault=VAULT)


def digest(text: str, role: str = "user") -> bytes:
    return blake2b(f"{role}\0{text}".encode("utf-8", "replace"), digest_size=16).digest()


def turn(
    text: str,
    *,
    role: Role = "user",
    chain: bytes = b"",
    at: float = 0,
    session: str = "",
    conversation: str = "",
    position: int = 0,
    keep: bool = True,
    pieces: Sequence[str] | None = None,
) -> NewTurn:
    """A turn that was written `at` seconds after NOW."""
    parts = pieces if pieces is not None else [text]
    return NewTurn(
        role=role,
        text=text if keep else "",
        created=NOW + timedelta(seconds=at),
        pieces=tuple(
            Piece(text=p, tokens=len(p.split()), terms=np.arange(len(p), dtype="<u4").tobytes())
            for p in (parts if keep else ())
        ),
        session=session,
        conversation=conversation,
        position=position,
        model="gpt-5.5" if role == "assistant" else "",
        chain=chain,
        digest=digest(text, role),
        keep=keep,
    )


def vectors(*rows: tuple[float, float]) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32)


async def put(store: VaultStore, *turns: NewTurn, vault: VaultId = VAULT) -> Stored:
    return await store.remember(vault, turns, now=NOW)


async def texts(store: VaultStore, scope: Scope, *, core: bool = True) -> list[str]:
    signals = await store.signals(scope, core=core)
    chunks = await store.chunks(scope.vault, [int(id) for id in signals.ids])
    return [chunk.text for chunk in chunks]


async def everything(store: VaultStore, vault: VaultId = VAULT) -> list[str]:
    return [m.text for m in await store.memories(Scope(vault=vault), whole=True, limit=10_000)]
