"""Does a vault hold together, and what can be made anew from its texts. Blocking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from memrouter.counts import counted
from memrouter.domain import ROLES, Analysis, VaultId
from memrouter.errors import StoreError
from memrouter.store.sqlite import encoding
from memrouter.store.sqlite import segments as packing
from memrouter.store.sqlite.backlog import Marks
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.files import Files
from memrouter.store.sqlite.segments import HEAD, Segment
from memrouter.store.sqlite.vault import moment
from memrouter.store.statements import statements

DAMAGED = "damaged"
"""How a problem begins that no rebuilding mends."""


def examine(files: Files, path: Path, analysis: Analysis) -> list[str]:
    """What is wrong with a vault's file; as `problems`, if it can be opened."""
    try:
        db = files.open(path, statements("vault"))
    except StoreError as e:
        return [f"{DAMAGED}: {e}"]
    try:
        row = db.one("vault_id")
        if row is None or row[0] != path.stem:
            return [f"{DAMAGED}: it is not the vault it is named for"]
        return problems(db, analysis)
    except StoreError as e:
        return [f"{DAMAGED}: {e}"]
    finally:
        db.close()


def repair(files: Files, path: Path, analysis: Analysis) -> tuple[int, list[str]]:
    """Rebuild a vault; return how many chunks wait for vectors now, and what is wrong still."""
    waiting = 0
    try:
        db = files.open(path, statements("vault"))
        try:
            waiting = rebuild(db, analysis)
        finally:
            db.close()
        # A server finds it at its next start: a mark of a process that is no more.
        marks = Marks(files)
        marks.add(VaultId(path.stem))
        marks.close()
    except StoreError as e:
        return 0, [f"{DAMAGED}: {e}"]
    return waiting, examine(files, path, analysis)


def problems(db: Database, analysis: Analysis) -> list[str]:
    """What is wrong with a vault, a line each: first what SQLite finds, then what recall needs.

    Counts and ids, never text. Raises VaultCorrupted if it cannot even be read.
    """
    with db.reading():
        damage = [row[0] for row in db.all("integrity")]
        if damage != ["ok"]:
            return [f"{DAMAGED}: {line.splitlines()[0]}" for line in damage[:3]]
        orphans = len(db.all("foreign_keys"))
        found = [f"{counted(orphans, 'row')} whose owners are gone"] if orphans else []
        return found + _meta(db, analysis) + _segments(db)


def rebuild(db: Database, analysis: Analysis) -> int:
    """Make anew what recall scores, from the texts; return how many chunks wait for vectors now.

    Rows whose owners are gone go. Indexes are made anew.
    """
    with db.transaction():
        db.one("drop_orphans")
        db.one("drop_orphaned_pending")
        db.one("reindex")
        db.one("drop_all_segments")
        rows = defaultdict(list)
        for id, memory, role, text, created_ms, session, conversation, digest in db.all("sources"):
            thread = db.one("thread", session, conversation) or db.one(
                "add_thread", session, conversation
            )
            assert thread is not None
            terms = analysis.terms(text, moment(created_ms))
            number = int.from_bytes(digest[:8], "little")
            head = (id, memory, created_ms, number, thread[0], len(terms) // 4, role)
            rows[session].append((head, terms))
        for session, found in rows.items():
            heads, terms_of = zip(*found, strict=True)
            for segment in packing.packed(heads, terms_of, None):
                first = int(packing.heads([segment])["id"][0])
                values = (segment.embedded, segment.heads, segment.terms, segment.vectors)
                nothing = (segment.encoded, segment.encodings)
                db.one("add_segment", session, first, segment.size, 0, *values, *nothing)
        db.one("all_pending")
        if encoding.aimed(db):
            db.one("all_unencoded")
        db.one("set_analysis", analysis.version)
        db.one("next_epoch")
    return sum(len(found) for found in rows.values())


def _meta(db: Database, analysis: Analysis) -> list[str]:
    row, rules = db.one("state"), db.one("analysis")
    if row is None or rules is None:
        return [f"{DAMAGED}: no meta row"]
    revision, epoch, embedder, dimension, *_ = row
    found = []
    if revision < 0 or epoch < 0:
        found.append(f"revision {revision}, epoch {epoch}")
    if dimension and not embedder:
        found.append("vectors without an embedder")
    if rules[0] != analysis.version:
        found.append(f"terms by rules {rules[0]}, not {analysis.version}: the server renews them")
    return found


def _segments(db: Database) -> list[str]:
    _, _, _, dimension, _, encoding_bytes, _ = db.one("state") or (0, 0, "", 0, "", 0, "")
    chunks = {id: (memory, session) for id, memory, session in db.all("places")}
    pending = {row[0] for row in db.all("all_pending_ids")}
    seen: dict[int, bool] = {}
    wrong = 0
    for session, size, *columns in db.all("segments_whole"):
        segment = Segment(*columns)
        if not _whole(segment, size, dimension, encoding_bytes):
            wrong += 1
            continue
        heads = packing.heads([segment])
        flags = packing.embedded([segment]).tolist()
        for id, memory, role, embedded in zip(
            heads["id"].tolist(), heads["memory"].tolist(), heads["role"].tolist(), flags,
            strict=True,
        ):  # fmt: skip
            wrong += chunks.get(id) != (memory, session) or id in seen or role >= len(ROLES)
            seen[id] = embedded
    missing = len(chunks.keys() - seen.keys())
    unlisted = sum(not embedded and id not in pending for id, embedded in seen.items())
    return [
        line
        for count, line in (
            (wrong, f"{counted(wrong, 'wrong row')} of segments"),
            (missing, f"{counted(missing, 'chunk')} that recall does not see"),
            (unlisted, f"{counted(unlisted, 'chunk')} without a vector, not waiting for one"),
        )
        if count
    ]


def _whole(segment: Segment, size: int, dimension: int, encoding_bytes: int) -> bool:
    if size != segment.size or len(segment.heads) != size * HEAD.itemsize:
        return False
    terms = int(packing.heads([segment])["terms"].sum()) * 4
    ids: Sequence[int] = packing.heads([segment])["id"].tolist()
    return (
        len(segment.terms) == terms
        and len(segment.vectors) in (0, size * dimension)
        and len(segment.encoded) in (0, size)
        and len(segment.encodings) == len(segment.encoded) * encoding_bytes
        and all(a < b for a, b in pairwise(ids))
    )
