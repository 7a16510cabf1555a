"""A sentence encoder's vectors in a vault file: made beside those that serve, then in their place.

Blocking; a file is used by one thread at a time. `encoder` is whose encodings the segments hold,
`next_encoder` whose are being made: they wait in a table of their own until the last one is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import orjson

from memrouter.domain import Vectors
from memrouter.errors import Conflict, StoreError
from memrouter.store.sqlite import segments as packing
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.segments import Segment


def aimed(db: Database) -> str:
    """The encoder that new chunks wait for; "" for none."""
    encoder, following, _ = db.one("encoders") or ("", "", "")
    return str(following or encoder)


def aim(db: Database, encoder: str) -> str:
    """The same within a write, for which a vault that is new takes this encoder."""
    held = aimed(db)
    if held or not encoder:
        return held
    _, _, embedder = db.one("encoders") or ("", "", "")
    row = db.one("has_chunks")
    if embedder or row is None or row[0]:
        return ""
    db.one("set_encoder", encoder, 0, "")
    return encoder


def encode_by(db: Database, encoder: str) -> int:
    """See VaultStore.encode_by."""
    held, following, _ = db.one("encoders") or ("", "", "")
    if held == encoder and not following:
        return _waiting(db)
    with db.transaction():
        held, following, _ = db.one("encoders") or ("", "", "")
        if encoder == (following or held):
            _finish(db)
        elif not encoder:
            forget(db)
            db.one("next_epoch")
        elif encoder == held:
            _return_to(db, held)
        else:
            _start(db, held, encoder)
        return _waiting(db)


def set_encodings(db: Database, encoder: str, ids: Sequence[int], vectors: Vectors) -> None:
    """See VaultStore.set_encodings."""
    rows = quantised(vectors)
    with db.transaction():
        held, following, _ = db.one("encoders") or ("", "", "")
        if encoder != (following or held):
            raise Conflict(f"This vault is to be encoded by {following or held}, not by {encoder}")
        if following:
            db.many("add_encoding", [(r.tobytes(), i) for i, r in zip(ids, rows, strict=True)])
            db.many("drop_unencoded", [(id,) for id in ids])
            _finish(db)
        else:
            _put(db, held, ids, rows)
            db.many("drop_unencoded", [(id,) for id in ids])


def forget(db: Database) -> None:
    """Drop all encodings, within a transaction that also changes the epoch."""
    db.one("forget_encodings")
    db.one("drop_all_encodings")
    db.one("drop_all_unencoded")
    db.one("set_encoder", "", 0, "")


def quantised(vectors: Vectors) -> npt.NDArray[np.int8]:
    """Vectors as they are stored: times 127, rounded."""
    return np.clip(np.rint(vectors * 127), -127, 127).astype(np.int8)


def next_revision(db: Database) -> int:
    """Count a change to what can be recalled."""
    row = db.one("next_revision")
    if row is None:
        raise StoreError(f"{db.path.name} has no meta row", "Restore it from a backup")
    return int(row[0])


def segments_of(db: Database, chunks: Iterable[int]) -> list[tuple[int, Segment]]:
    """The segments that hold these chunks, by id."""
    rows = db.all("segments_of", orjson.dumps(list(chunks)).decode())
    return [(row[0], Segment(*row[1:])) for row in rows]


def _dimension(db: Database) -> int:
    row = db.one("state")
    return int(row[5]) if row else 0


def _start(db: Database, held: str, encoder: str) -> None:
    """Have every chunk wait for a new encoder; the old one's encodings stay meanwhile."""
    row = db.one("has_chunks")
    db.one("drop_all_encodings")
    db.one("drop_all_unencoded")
    if row is not None and row[0]:
        db.one("set_encoder", held, _dimension(db), encoder)
        db.one("all_unencoded")
    else:
        db.one("set_encoder", encoder, 0, "")


def _return_to(db: Database, held: str) -> None:
    """Give up a change before it is done: only what was added meanwhile waits."""
    db.one("set_encoder", held, _dimension(db), "")
    db.one("drop_all_encodings")
    db.one("all_unencoded")
    for _, segment in _all(db):
        done = packing.heads([segment])["id"][packing.encoded([segment])]
        db.many("drop_unencoded", [(int(id),) for id in done])


def _put(db: Database, held: str, ids: Sequence[int], rows: npt.NDArray[np.int8]) -> None:
    dimension = _dimension(db)
    if dimension not in (0, rows.shape[1]):
        raise StoreError(f"Encodings of {rows.shape[1]} dimensions in a vault of {dimension}")
    if not dimension:
        db.one("set_encoder", held, rows.shape[1], "")
    revision = next_revision(db)
    order = np.argsort(np.array(ids, np.int64), kind="stable")
    sorted_ids, rows = np.array(ids, np.int64)[order], rows[order]
    again = False
    for place, segment in segments_of(db, ids):
        done = packing.heads([segment])["id"][packing.encoded([segment])]
        again = again or bool(np.isin(done, sorted_ids).any())
        fresh = packing.with_encodings(segment, sorted_ids, rows)
        db.one("change_encodings", revision, fresh.encoded, fresh.encodings, place)
    if again:
        db.one("next_epoch")


def _waiting(db: Database) -> int:
    row = db.one("count_unencoded")
    return int(row[0]) if row else 0


def _finish(db: Database) -> None:
    """Once all chunks have their new encodings, these serve."""
    _, following, _ = db.one("encoders") or ("", "", "")
    if not following or _waiting(db):
        return
    row = db.one("encoding_bytes")
    dimension = int(row[0]) if row else 0
    for place, segment in _all(db):
        own = packing.heads([segment])["id"]
        found = db.all("encodings_between", int(own[0]), int(own[-1]))
        ids = np.array([row[0] for row in found], np.int64)
        made = np.frombuffer(b"".join(row[1] for row in found), np.int8).reshape(
            len(ids), dimension
        )
        bare = Segment(segment.embedded, segment.heads, segment.terms, segment.vectors)
        fresh = packing.with_encodings(bare, ids, made)
        db.one("change_encodings", 0, fresh.encoded, fresh.encodings, place)
    db.one("drop_all_encodings")
    db.one("set_encoder", following, dimension, "")
    db.one("next_epoch")


def _all(db: Database) -> Iterable[tuple[int, Segment]]:
    for (place,) in db.all("segment_ids"):
        row = db.one("segment", place)
        if row is not None:
            yield place, Segment(*row)
