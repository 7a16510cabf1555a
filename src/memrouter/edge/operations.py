"""The operations of our own API: what the OpenAPI document is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from memrouter.edge import memory_shapes as shapes

JSON = "application/json"
JSON_LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What a request may say outside its body."""

    name: str
    where: Literal["header", "query", "path"]
    meaning: str
    kind: Any = str
    """A type that msgspec has a schema for."""

    @property
    def required(self) -> bool:
        return self.where == "path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path. Answers of other statuses than `status` are errors."""

    method: str
    path: str
    """As OpenAPI writes it: /v1/memory/{id}."""
    summary: str
    status: int = 200
    answer: type[msgspec.Struct]
    """Of a body of lines: the type of a line."""
    answer_type: str = JSON
    request: type[msgspec.Struct] | None = None
    request_type: str = JSON
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    """Statuses of its own errors; any operation may answer 401, 429, 500 and 503 as well."""


SESSION = Parameter(
    name="X-Session-ID", where="header", meaning="Names a session; without it, core or all."
)
MODE = Parameter(name="X-Memory-Mode", where="header", meaning="on, off, read or write.")
EMBEDDINGS = Parameter(
    name="X-Embedding-Model",
    where="header",
    meaning="Name of a configured embedding model; 409 if the vault has another one's vectors.",
)
MEMORY_ID = Parameter(
    name="id", where="path", meaning="As a search or a list gives it.", kind=shapes.MemoryId
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/memory/prepare",
        summary="Retrieve context for messages that are about to go to a model",
        request=shapes.PrepareRequest,
        answer=shapes.PrepareAnswer,
        parameters=(SESSION, MODE, EMBEDDINGS),
        errors=(400, 409, 413),
    ),
    Operation(
        method="POST",
        path="/v1/memory/ingest",
        summary="Store an exchange that took place; it is on the disk when this answers",
        status=202,
        request=shapes.IngestRequest,
        answer=shapes.IngestAnswer,
        parameters=(SESSION, MODE, EMBEDDINGS),
        errors=(400, 409, 413),
    ),
    Operation(
        method="POST",
        path="/v1/memory/search",
        summary="Rank the memories of core, or of one session, by a query",
        request=shapes.SearchRequest,
        answer=shapes.SearchAnswer,
        parameters=(SESSION, EMBEDDINGS),
        errors=(400, 409, 413),
    ),
    Operation(
        method="POST",
        path="/v1/memory/upload",
        summary="Store up to 10,000 memories, one JSON object a line",
        request=shapes.UploadLine,
        request_type=JSON_LINES,
        answer=shapes.UploadAnswer,
        parameters=(SESSION, EMBEDDINGS),
        errors=(400, 403, 409, 413),
    ),
    Operation(
        method="GET",
        path="/v1/memory/export",
        summary="A vault, or one session of it, as lines that can be uploaded again",
        answer=shapes.ExportLine,
        answer_type=JSON_LINES,
        parameters=(SESSION,),
    ),
    Operation(
        method="GET",
        path="/v1/memory/stats",
        summary="What a vault, or one session of it, holds",
        answer=shapes.StatsAnswer,
        parameters=(SESSION,),
    ),
    Operation(
        method="POST",
        path="/v1/memory/warmup",
        summary="Load what recall needs of a vault",
        answer=shapes.WarmupAnswer,
        parameters=(SESSION,),
    ),
    Operation(
        method="GET",
        path="/v1/memory",
        summary="List memories in the order of storing, a page at a time",
        answer=shapes.MemoryList,
        parameters=(
            SESSION,
            Parameter(
                name="limit",
                where="query",
                meaning="Memories a page; 100 without it.",
                kind=Annotated[int, msgspec.Meta(ge=1, le=shapes.MAX_FOUND)],
            ),
            Parameter(name="after", where="query", meaning="`next` of the page before."),
        ),
        errors=(400,),
    ),
    Operation(
        method="GET",
        path="/v1/memory/{id}",
        summary="One memory, whole",
        answer=shapes.StoredMemory,
        parameters=(MEMORY_ID, SESSION),
        errors=(404,),
    ),
    Operation(
        method="DELETE",
        path="/v1/memory/{id}",
        summary="Delete one memory; a client that resends it does not bring it back",
        answer=shapes.DeletedMemory,
        parameters=(MEMORY_ID, SESSION),
        errors=(404,),
    ),
    Operation(
        method="DELETE",
        path="/v1/memory",
        summary="Delete all of a vault, or one session of it",
        answer=shapes.ClearAnswer,
        parameters=(
            SESSION,
            Parameter(
                name="reset",
                where="query",
                meaning="true forgets the vault's embedding model as well.",
                kind=bool,
            ),
        ),
        errors=(400,),
    ),
)
"""The memory endpoints."""
