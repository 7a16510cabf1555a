"""What the memory endpoints are asked for, and what they answer; the OpenAPI document says so too.

Fields that control memory may be written in several ways (a limit as a number or as its digits), as
in headers; `edge.controls` reads them and refuses what is not allowed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

MAX_FOUND = 1_000
"""Memories that one search, or one page of a list, may ask for."""

Switch = bool | int | str
Name = str | int
StoredRole = Literal["user", "assistant", "system"]
Count = Annotated[int, msgspec.Meta(ge=0)]
MemoryId = Annotated[str, msgspec.Meta(pattern="^memory_[0-9]+$")]


class Controlled(msgspec.Struct, kw_only=True):
    """Fields of every request that say what memory is to do."""

    session_id: Annotated[
        Name | None, msgspec.Meta(description="Groups requests; also X-Session-ID.")
    ] = None
    embeddings: Annotated[
        str | None,
        msgspec.Meta(description="Name of a configured embedding model; also X-Embedding-Model."),
    ] = None
    memory: Annotated[Switch | None, msgspec.Meta(description="False switches memory off.")] = None
    memory_mode: Annotated[str | None, msgspec.Meta(description="on, off, read or write.")] = None


class PrepareRequest(Controlled, kw_only=True):
    """The messages that a model is about to get."""

    messages: Annotated[
        list[dict[str, Any]],
        msgspec.Meta(description="As for the model: OpenAI's or Anthropic's messages."),
    ]
    density: Annotated[
        str | None, msgspec.Meta(description="low, default, high or xhigh: how much to retrieve.")
    ] = None
    context_limit: Annotated[
        int | float | str | None, msgspec.Meta(description="How many memories at most, 0 to 1000.")
    ] = None


class Metrics(msgspec.Struct, kw_only=True):
    """How long it took."""

    total_ms: Annotated[float, msgspec.Meta(ge=0)]


class PrepareAnswer(msgspec.Struct, kw_only=True):
    """What memory has to say on these messages."""

    context: Annotated[
        str | None, msgspec.Meta(description="To put into the prompt; null if nothing is relevant.")
    ]
    memories_found: Count
    memory_tokens: Annotated[int, msgspec.Meta(ge=0, description="Of the context as it stands.")]
    retrieval_tokens: Annotated[
        int, msgspec.Meta(ge=0, description="Of the memories in it, without what frames them.")
    ]
    tokens_billed: Annotated[
        int, msgspec.Meta(ge=0, description="Of the messages and of the context.")
    ]
    metrics: Metrics


class IngestRequest(Controlled, kw_only=True):
    """An exchange that took place."""

    messages: Annotated[
        list[dict[str, Any]], msgspec.Meta(description="Turns of user and assistant, in order.")
    ]
    model: (
        Annotated[str, msgspec.Meta(max_length=200, description="Kept with the assistant's turns.")]
        | None
    ) = None
    memory_store: Annotated[
        Switch | None, msgspec.Meta(description="False stores no user turn.")
    ] = None
    memory_store_response: Annotated[
        Switch | None, msgspec.Meta(description="False stores no assistant turn.")
    ] = None


class IngestAnswer(msgspec.Struct, kw_only=True):
    """What became of an exchange; it is on the disk when this is sent."""

    accepted: Annotated[
        bool, msgspec.Meta(description="False where the memory mode stores nothing.")
    ]
    queued: Annotated[bool, msgspec.Meta(description="Whether new turns wait for their vectors.")]
    retrieval_tokens: Annotated[int, msgspec.Meta(ge=0, description="Of all messages.")]
    response_tokens: Annotated[int, msgspec.Meta(ge=0, description="Of the assistant's.")]
    message: str


class SearchRequest(Controlled, kw_only=True):
    """A search of a vault."""

    query: Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_FOUND, description="Results at most.")] = 20


class FoundMemory(msgspec.Struct, kw_only=True):
    """A memory that answers a query."""

    id: MemoryId
    role: StoredRole
    content: Annotated[
        str, msgspec.Meta(description="Of a long memory the part that answers best.")
    ]
    score: Annotated[float, msgspec.Meta(ge=0, le=1)]
    window: Literal["hot", "working", "longterm"]
    timestamp: str
    source: Annotated[str, msgspec.Meta(description="`core`, or the session it was said in.")]


class Windows(msgspec.Struct, kw_only=True):
    """How many of the results are how old: under 4 hours, under 3 days, older."""

    hot: Count = 0
    working: Count = 0
    longterm: Count = 0


class SearchAnswer(
    msgspec.Struct,
    kw_only=True,
    rename={
        "session_id": "sessionId",
        "memory_key": "memoryKey",
        "total_memories": "totalMemories",
        "token_count": "tokenCount",
        "window_breakdown": "windowBreakdown",
    },
):
    """What a search found, best first."""

    query: str
    session_id: str | None
    memory_key: Annotated[str, msgspec.Meta(description="First and last characters of the key.")]
    total_memories: Count
    token_count: Count
    window_breakdown: Windows
    memories: list[FoundMemory]


class UploadLine(msgspec.Struct, kw_only=True):
    """One line of an upload: a memory. `GET /v1/memory/export` writes such lines."""

    content: Annotated[str, msgspec.Meta(description="The text, not blank.")]
    role: StoredRole | None = None
    timestamp: Annotated[
        int | float | None,
        msgspec.Meta(description="Unix time in milliseconds; without it, now."),
    ] = None
    session_id: Annotated[
        Name | None, msgspec.Meta(description="Its session, before X-Session-ID.")
    ] = None
    conversation_id: Annotated[
        Name | None, msgspec.Meta(description="Lines of one conversation belong together.")
    ] = None
    position: (
        Annotated[
            int,
            msgspec.Meta(ge=0, le=1 << 53, description="Its place there; without it, the next."),
        ]
        | None
    ) = None
    model: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class ExportLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of an export: a stored turn, whole."""

    content: str
    role: StoredRole
    timestamp: Annotated[int, msgspec.Meta(description="Unix time in milliseconds.")]
    session_id: str = ""
    conversation_id: str = ""
    position: int | None = None
    model: str = ""


class LineError(msgspec.Struct, kw_only=True):
    """Why a line of an upload was not stored."""

    line: Annotated[int, msgspec.Meta(ge=1)]
    reason: str


class UploadStats(msgspec.Struct, kw_only=True, rename={"input_items": "inputItems"}):
    """Counts of an upload."""

    input_items: Annotated[int, msgspec.Meta(ge=0, description="Lines that are not blank.")]
    memories: Annotated[int, msgspec.Meta(ge=0, description="Lines that are memories.")]
    stored: Annotated[int, msgspec.Meta(ge=0, description="Of these in the vault now, once each.")]
    failed: Count


class UploadAnswer(
    msgspec.Struct,
    kw_only=True,
    omit_defaults=True,
    rename={
        "memory_key": "memoryKey",
        "session_id": "sessionId",
        "errors_left_out": "errorsLeftOut",
    },
):
    """What became of an upload; what it stored is on the disk when this is sent."""

    status: Literal["complete", "partial"]
    memory_key: str
    vault: Literal["core", "session"]
    stats: UploadStats
    message: str
    session_id: str = ""
    errors: Annotated[
        list[LineError], msgspec.Meta(description="The first 100 lines that failed, and why.")
    ] = []
    errors_left_out: int = 0
    known: Annotated[
        int,
        msgspec.Meta(description="Of the stored, those that the vault, or a line above, had."),
    ] = 0
    new: Annotated[
        int | None, msgspec.Meta(description="The others of the stored, where some were known.")
    ] = None


class StatsAnswer(msgspec.Struct, kw_only=True):
    """What a vault, or one session of it, holds."""

    key: str
    memories: Count
    total_tokens: Count
    oldest: str | None
    newest: str | None
    sessions: Count
    pending: Annotated[int, msgspec.Meta(ge=0, description="Parts that wait for their vectors.")]
    embeddings: Annotated[
        str | None, msgspec.Meta(description="The model of the vault's vectors; null without any.")
    ]


class WarmupAnswer(msgspec.Struct, kw_only=True):
    """A vault is loaded."""

    status: Literal["warm"]
    key: str
    memories_loaded: Count
    warmup_ms: Annotated[float, msgspec.Meta(ge=0)]


class ClearAnswer(msgspec.Struct, kw_only=True, rename={"session_cleared": "sessionCleared"}):
    """What was cleared."""

    key: str
    session_cleared: Annotated[
        str | None, msgspec.Meta(description="The session that was cleared; null for all.")
    ]
    deleted: Annotated[int, msgspec.Meta(ge=0, description="Memories that are gone.")]
    reset: Annotated[bool, msgspec.Meta(description="Whether the embedding model went, too.")]
    message: str


class StoredMemory(msgspec.Struct, kw_only=True):
    """A stored turn, whole."""

    id: MemoryId
    role: StoredRole
    content: str
    timestamp: str
    session_id: str | None
    conversation_id: str | None
    model: str | None
    tokens: Count


class MemoryList(msgspec.Struct, kw_only=True):
    """A page of a vault, oldest entry first."""

    memories: list[StoredMemory]
    next: Annotated[
        str | None, msgspec.Meta(description="Send as `after` for the next page; null at the end.")
    ]


class DeletedMemory(msgspec.Struct, kw_only=True):
    """A memory that is gone."""

    key: str
    id: MemoryId
    deleted: bool
