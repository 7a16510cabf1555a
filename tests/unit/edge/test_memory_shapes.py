"""The shapes are those of the seed: the same names, the same cases."""

from __future__ import annotations

import msgspec
import pytest

from memrouter.edge import memory_shapes as shapes

SEED: dict[str, tuple[type[msgspec.Struct], str]] = {
    "prepare": (
        shapes.PrepareAnswer,
        "context memories_found memory_tokens retrieval_tokens tokens_billed metrics",
    ),
    "ingest": (
        shapes.IngestAnswer,
        "accepted queued retrieval_tokens response_tokens message",
    ),
    "search": (
        shapes.SearchAnswer,
        "query sessionId memoryKey totalMemories tokenCount windowBreakdown memories",
    ),
    "a found memory": (shapes.FoundMemory, "id role content score window timestamp source"),
    "windows": (shapes.Windows, "hot working longterm"),
    "counts of an upload": (shapes.UploadStats, "inputItems memories stored failed"),
    "clear": (shapes.ClearAnswer, "key sessionCleared deleted reset message"),
    "warmup": (shapes.WarmupAnswer, "status key memories_loaded warmup_ms"),
}


@pytest.mark.parametrize(("shape", "names"), SEED.values(), ids=SEED)
def test_names(shape: type[msgspec.Struct], names: str) -> None:
    assert shape.__struct_encode_fields__ == tuple(names.split())


def test_a_complete_upload_says_no_more_than_the_seed() -> None:
    answer = shapes.UploadAnswer(
        status="complete",
        memory_key="mk_user-123",
        vault="core",
        stats=shapes.UploadStats(input_items=150, memories=150, stored=150, failed=0),
        message="Stored 150 memories from 150 items",
    )
    assert msgspec.json.decode(msgspec.json.encode(answer)) == {
        "status": "complete",
        "memoryKey": "mk_user-123",
        "vault": "core",
        "stats": {"inputItems": 150, "memories": 150, "stored": 150, "failed": 0},
        "message": "Stored 150 memories from 150 items",
    }


def test_fields_that_we_do_not_know_are_ignored() -> None:
    asked = {"query": "x", "limit": 3, "rerank": True}
    assert msgspec.convert(asked, shapes.SearchRequest).limit == 3
    assert msgspec.convert({"query": "x"}, shapes.SearchRequest).limit == 20
