"""What a data folder of every released schema holds: written once by the release, read ever after.

`python -m integration.released FOLDER`, in `tests/` at the commit of a release, makes the folder
that is kept as tests/data/schemas/N. Only what every release can write belongs here.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path

import numpy as np

from memrouter.domain import Block, KeyId, NewTurn, Piece, Role, UsageRow, VaultId
from memrouter.memory import analysis
from memrouter.ports import Ready
from memrouter.secrets import Sealer
from memrouter.store.sqlite.directory import SqliteDirectory
from memrouter.store.sqlite.vaults import SqliteVaultStore

NOW = datetime(2026, 6, 5, 21, 0, tzinfo=UTC)
SECRET = "a secret that every release knows"
HASHED = blake2b(b"the account's key", digest_size=32).digest()
USER = "käthe"
VAULT = VaultId("5f3c00000000000000000000000000aa")
TEXTS: dict[str, tuple[Role, str, str, str]] = {
    "core": ("user", "My dog is called Biscuit and hates the rain.", "", ""),
    "answer": ("assistant", "Biscuit is a fine name for a dog.", "", "c1"),
    "session": ("user", "The invoice of the glazier is 418 euros.", "work", ""),
    "script": ("user", "我的猫叫年糕，住在京都。", "", "c2"),
}
"""Name → role, text, session, conversation."""
FORGOTTEN = "Seen, and not to be kept."
BLOCK = "<memory_context>\n[MEMORY - just now] My dog is called Biscuit.\n</memory_context>"
PENDING = "This chunk never got its vector."


def digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def turn(
    text: str, role: Role = "user", session: str = "", conversation: str = "", *, keep: bool = True
) -> NewTurn:
    terms = analysis.index_terms(text, NOW)
    return NewTurn(
        role=role,
        text=text if keep else "",
        created=NOW - timedelta(minutes=len(text)),
        pieces=(Piece(text=text, tokens=len(text) // 4, terms=terms),) if keep else (),
        session=session,
        conversation=conversation,
        model="gpt-5.5" if role == "assistant" else "",
        chain=digest(f"chain {text}"),
        digest=digest(text),
        keep=keep,
    )


async def write(folder: Path) -> None:
    """Fill an empty data folder."""
    store, directory = SqliteVaultStore(folder), SqliteDirectory(folder)
    rows = [turn(text, role, *where) for role, text, *where in TEXTS.values()]
    vectors = np.eye(len(rows), 8, dtype=np.float32)
    ready = Ready(embedder="released", vectors=vectors)
    await store.remember(VAULT, rows, now=NOW, ready=ready)
    await store.remember(VAULT, [turn(FORGOTTEN, keep=False), turn(PENDING)], now=NOW)
    block = Block(key=b"k" * 16, text=BLOCK, chunks=(1,), tokens=20, made=NOW, revision=1)
    await store.remember(VAULT, [], block=block, now=NOW)
    await store.close()
    account = await directory.add_account()
    await directory.add_key(
        account, HASHED, masked="mk_…abcd", name="käthe's", now=NOW, is_account=True, vault=VAULT,
        quota_tokens=1_000,
    )  # fmt: skip
    await directory.user_vault(account, USER)
    await directory.set_provider_key(account, "openai", Sealer(SECRET).seal("sk-kept"))
    await directory.set_setting(account, "infinite_chat", "on")
    row = UsageRow(key=KeyId("k"), day=date(2026, 6, 5), model="m", measured=True, requests=3)
    await directory.add_usage([row])
    await directory.close()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
