"""Index terms made anew from the texts, where other rules made those that are stored.

Making them takes long, writing them does not: so one reads beside all other work, the other is
one transaction. Blocking; a file is used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from memrouter.domain import Analysis
from memrouter.store.sqlite import segments as packing
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.segments import Segment
from memrouter.store.sqlite.vault import moment

Terms = Mapping[int, bytes]
"""Chunk → its hashed terms."""


def terms(db: Database, analysis: Analysis) -> Terms:
    """The terms of every chunk."""
    return {
        id: analysis.terms(text, moment(created_ms))
        for id, text, created_ms in db.all("texts_of_chunks")
    }


def renew(db: Database, analysis: Analysis, made: Terms) -> None:
    """Put terms in the place of the stored ones; those of chunks that came since are made here."""
    with db.transaction():
        for place, *columns in db.all("all_segments"):
            segment = Segment(*columns)
            ids = packing.heads([segment])["id"].tolist()
            found = {id: made[id] for id in ids if id in made}
            missing = orjson.dumps([id for id in ids if id not in found]).decode()
            for id, text, created_ms in db.all("texts_of_these", missing):
                found[id] = analysis.terms(text, moment(created_ms))
            fresh = packing.with_terms(segment, [found.get(id, b"") for id in ids])
            db.one("change_terms", fresh.heads, fresh.terms, place)
        db.one("set_analysis", analysis.version)
        db.one("next_epoch")
