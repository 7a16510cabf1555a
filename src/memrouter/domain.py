"""The values that the rooms hand each other: frozen, keyword-only, free of I/O."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from hashlib import blake2b
from typing import Any, Literal, NewType

import numpy as np
import numpy.typing as npt

Json = dict[str, Any]
"""A decoded JSON object; fields we do not know stay in it."""

VaultId = NewType("VaultId", str)
AccountId = NewType("AccountId", str)
KeyId = NewType("KeyId", str)

Role = Literal["user", "assistant", "system", "tool"]
ROLES: tuple[Role, ...] = ("user", "assistant", "system", "tool")
Vector = npt.NDArray[np.float32]
"""One embedding, shape (dimension,), L2-normalised."""
Vectors = npt.NDArray[np.float32]
"""Embeddings of several texts, shape (texts, dimension), rows L2-normalised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postings:
    """Where each term of a large vault stands, so that not every term need be looked at."""

    hashes: npt.NDArray[np.uint32]
    """Distinct terms, ascending."""
    starts: npt.NDArray[np.int64]
    """Where the occurrences of each start in `chunks`; one more than `hashes`."""
    chunks: npt.NDArray[np.uint32]
    """The chunk of each occurrence, as its id less the least one."""
    rows: npt.NDArray[np.int32]
    """The row of a chunk; by id less the least one, arbitrary where there is no such chunk."""
    rest: npt.NDArray[np.int64]
    """Rows whose terms are not in here: they came later."""

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        arrays = (self.hashes, self.starts, self.chunks, self.rows, self.rest)
        return sum(array.nbytes for array in arrays)


# --- prompts and replies, as the wire formats read them ---

DIGEST_BYTES = 16


def turn_digest(role: Role, text: str) -> bytes:
    """Digest of one turn alone; white space around the text does not count."""
    told = f"{role}\0{text.strip()}".encode("utf-8", "replace")
    return blake2b(told, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a prompt, reduced to what memory needs of it."""

    role: Role
    text: str
    """The words its author wrote, verbatim; "" where there are none (tool traffic, media alone)."""
    written: bool = True
    """False where an agent wrote it, or for tool calls and results: never a query, never stored."""
    memory: bool = True
    """False where the client set `"memory": false` on the message."""
    tokens: int = 0
    """Estimated LLM tokens of the whole message, tool traffic and media included."""
    calls: tuple[str, ...] = ()
    """Ids of the tool calls it makes."""
    answers: tuple[str, ...] = ()
    """Ids of the tool calls whose results it holds."""
    glued: bool = False
    """Whether it must stay with the message after it, as a reasoning item with its call."""
    signed: bool = False
    """Whether its provider accepts it only after the very messages that it was made after."""
    _digest: bytes = field(default=b"", init=False, repr=False, compare=False)

    @property
    def digest(self) -> bytes:
        """Its `turn_digest`, made when it is first asked for: a request asks several times."""
        if not self._digest:
            object.__setattr__(self, "_digest", turn_digest(self.role, self.text))
        return self._digest

    @property
    def storable(self) -> bool:
        """Whether memory may keep it."""
        return self.written and self.memory and bool(self.text.strip())

    @property
    def asks(self) -> bool:
        """Whether a user wrote it: what recall answers, and where context is injected."""
        return self.role == "user" and self.written and bool(self.text.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts of one exchange; `measured` where the provider gave them."""

    input_tokens: int = 0
    output_tokens: int = 0
    measured: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back from a provider, reduced to what memory needs."""

    text: str = ""
    complete: bool = False
    """False where the reply broke off or is an error: it is not stored then."""
    usage: Usage | None = None
    id: str | None = None
    """The provider's id of the response, where the format has one."""


# --- who asks, and how ---


class Mode(enum.Enum):
    """What memory does for a request: (recall, store)."""

    ON = "on"
    READ = "read"
    WRITE = "write"
    OFF = "off"

    @property
    def recalls(self) -> bool:
        return self in (Mode.ON, Mode.READ)

    @property
    def stores(self) -> bool:
        return self in (Mode.ON, Mode.WRITE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much a recall may inject."""

    memories: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOptions:
    """The memory control of one request, all sources already weighed against each other."""

    recall: bool = True
    store_input: bool = True
    store_reply: bool = True
    density: str = "default"
    context_limit: int | None = None

    @property
    def off(self) -> bool:
        return not (self.recall or self.store_input or self.store_reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A memory key as the directory knows it; the key itself is never kept."""

    id: KeyId
    account: AccountId
    vault: VaultId
    name: str
    is_account: bool
    created: datetime
    masked: str
    """First and last characters, to recognise it by."""
    revoked: datetime | None = None
    quota_tokens: int | None = None
    """Tokens a calendar month, input and output; None is unlimited."""
    rate_per_minute: int | None = None
    """Requests a minute; None is unlimited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a request reads and writes: a vault, and within it a session."""

    vault: VaultId
    session: str = ""
    """"" is core. A recall in a session reads core and that session."""
    conversation: str = ""
    """Identifies the thread a turn belongs to; scopes nothing by itself."""


# --- what a vault holds ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One stored turn, whole, as its author wrote it."""

    id: int
    role: Role
    text: str
    created: datetime
    session: str = ""
    conversation: str = ""
    position: int = 0
    model: str = ""
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A chunk before it has an id: a part of a turn of at most about 300 tokens."""

    text: str
    tokens: int
    terms: bytes
    """Hashed index terms with repetition: uint32, little-endian; see `memory.analysis`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTurn:
    """A turn to store."""

    role: Role
    text: str
    created: datetime
    pieces: tuple[Piece, ...]
    session: str = ""
    conversation: str = ""
    model: str = ""
    chain: bytes = b""
    """Digest of the conversation up to and including this turn; b"" for uploads."""
    parent: bytes = b""
    """`chain` of the turn before it; b"" for the first."""
    digest: bytes = b""
    """Digest of role and text alone."""
    keep: bool = True
    """False to remember only that it was seen: digests are kept, text is not."""
    position: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a stored turn, as recall sees it."""

    id: int
    turn: int
    """Id of the Memory it is part of."""
    role: Role
    text: str
    tokens: int
    created: datetime
    session: str = ""
    conversation: str = ""
    position: int = 0
    digest: bytes = b""
    """Digest of the whole turn's role and text: tells whether the prompt already holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A chunk that answers a query."""

    chunk: Chunk
    score: float
    """Relevance, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A rendered context block, as it was injected once and is replayed."""

    key: bytes
    """Digest of the scope and of the conversation up to the turn it was injected in."""
    text: str
    chunks: tuple[int, ...]
    tokens: int
    made: datetime
    revision: int
    """Revision of the vault it was recalled from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A chunk that waits for its vector, or for its encoding."""

    id: int
    text: str
    created: datetime
    before: str = ""
    """The turn said just before it in its conversation; only where an encoding is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultStats:
    """What a vault, or one session of it, holds."""

    memories: int = 0
    total_tokens: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    sessions: int = 0
    pending: int = 0
    """Chunks that have no vector yet."""
    chunks: int = 0
    embedder: str = ""
    encoder: str = ""
    """Whose encodings it holds, beside the vectors."""
    unencoded: int = 0
    """Chunks that wait for an encoding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What memory adds to one request."""

    context: str | None = None
    hits: tuple[Hit, ...] = ()
    retrieved_tokens: int = 0
    """Tokens of the memories found for this request."""
    tokens: int = 0
    """Tokens that it adds to the prompt, replayed blocks included."""
    error: str | None = None
    blocks: dict[int, str] = field(default_factory=dict)
    """Message index → context block to put in front of that message's text."""


# --- where a request goes ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The provider, URL and credentials that a request is relayed to."""

    provider: str
    url: str
    """Absolute, path and query already encoded."""
    headers: tuple[tuple[str, str], ...] = ()
    """Authentication to add; the client's own headers are added by the caller."""
    model: str | None = None
    """The model name to put into the body, where a prefix was cut; None leaves it."""
    guarded: bool = False
    """Whether the client named the host itself: connect to public addresses only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """How texts become index terms. A store makes terms anew that other rules made."""

    version: int
    """Another number for other rules."""
    terms: Callable[[str, datetime], bytes]
    """Text and time of a chunk → the hashed terms it is found under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """Usage of one key, day, model and source, summed."""

    key: KeyId
    day: date
    model: str
    measured: bool
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    memory_tokens: int = 0
