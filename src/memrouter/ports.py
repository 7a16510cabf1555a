"""What the middle needs from the outside. Each docstring is the contract its test suite checks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from memrouter.domain import (
    AccountId,
    Block,
    Chunk,
    KeyId,
    KeyRecord,
    Memory,
    NewTurn,
    Pending,
    Postings,
    Scope,
    Target,
    UsageRow,
    VaultId,
    VaultStats,
    Vector,
    Vectors,
)


class Clock(Protocol):
    """The time, so that tests can set it."""

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question as vectors, each of shape (dimension,) and length 1."""

    weighted: Vector
    """For ranking: rare words count more, where the embedder has no other way to know."""
    plain: Vector
    """For relevance: all words count the same."""


class Embedder(Protocol):
    """Turns text into vectors; what takes longer than a change of threads, off the event loop."""

    @property
    def name(self) -> str:
        """Identifies model and version: vectors of equal names can be compared."""
        ...

    @property
    def dimension(self) -> int: ...

    @property
    def instant(self) -> bool:
        """Whether a few passages take so little time that a commit may wait for them."""
        ...

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        """Embed what is asked. Raises EmbedderError.

        rarity  word, lower-case → how much it counts; static embedders weigh by it, encoders
                need no such help
        """
        ...

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """Embed what is stored; shape (len(texts), dimension). Raises EmbedderError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What recall scores: one row a chunk, of core and one session, as parallel arrays.

    Rows stand in ascending (group, created, id), so that neighbours in a conversation are
    neighbours here. The arrays are shared between requests: never write to them. They stand
    still, but for vectors of rows that are not `embedded` and encodings of those not `encoded`,
    which may be filled in meanwhile.
    """

    revision: int
    """Grows with every change to what can be recalled."""
    ids: npt.NDArray[np.int64]
    memories: npt.NDArray[np.int64]
    """Id of the Memory each chunk is part of."""
    groups: npt.NDArray[np.int64]
    """Equal where session and conversation are equal; 0 where both are ""."""
    created: npt.NDArray[np.int64]
    """Unix milliseconds."""
    roles: npt.NDArray[np.uint8]
    """Place of the role in domain.ROLES."""
    digests: npt.NDArray[np.uint64]
    """First 8 bytes, little-endian, of the digest of the whole turn."""
    terms: npt.NDArray[np.uint32]
    """Hashed index terms of all chunks, one after the other, with repetition."""
    starts: npt.NDArray[np.int64]
    """Where each row's terms start; shape (rows + 1,)."""
    vectors: npt.NDArray[np.int8]
    """Embeddings times 127, rounded; shape (rows, dimension), zeros where `embedded` is False."""
    embedded: npt.NDArray[np.bool_]
    embedder: str
    """Name of the embedder that made the vectors; "" where there are none."""
    encodings: npt.NDArray[np.int8]
    """The same by a sentence encoder, beside the vectors; no columns where none is in use."""
    encoded: npt.NDArray[np.bool_]
    encoder: str
    """Name of the encoder that made the encodings; "" where there are none."""
    postings: Postings | None = None
    """Where the terms stand; None where looking at all `terms` is fast enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Vectors that are there before their chunks are stored."""

    embedder: str
    vectors: Vectors
    """One row a piece, in the order of turns and pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a write did."""

    turns: int = 0
    """Turns that were new."""
    chunks: tuple[int, ...] = ()
    """Ids of the new chunks."""
    pending: bool = False
    """Whether some of them have no vector yet, or no encoding."""
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a stored turn stands."""

    conversation: str
    position: int
    created: datetime


class VaultStore(Protocol):
    """Where vaults live. Every implementation passes tests/contract/test_vault_store*.py unchanged.

    A vault that was never written is an empty one. When a writing method returns, what it wrote
    survives the end of the process and of the machine, and every process sees it. A call that is
    cancelled may still have its effect. Times are kept to the millisecond.
    Raises StoreError and its subclasses, and Conflict where it says so; nothing else.
    """

    async def signals(self, scope: Scope, *, core: bool = True) -> Signals:
        """What can be recalled: core and the scope's session; with core=False the session alone.

        Always the newest state, whichever process wrote it. Rows kept without text are not in it.
        """
        ...

    async def chunks(self, vault: VaultId, ids: Sequence[int]) -> Sequence[Chunk]:
        """The chunks of these ids, in this order; ids that are gone meanwhile are skipped."""
        ...

    async def known(self, vault: VaultId, chains: Sequence[bytes]) -> Mapping[bytes, Place]:
        """Where those of these chain digests stand that are stored, with or without text."""
        ...

    async def ends_of(self, scope: Scope, digest: bytes, limit: int = 32) -> Sequence[bytes]:
        """Chains of the newest stored turns of this digest, newest first, of the scope's session
        (and of its conversation, if it has one): where a cut history may start."""
        ...

    async def recent(self, scope: Scope, limit: int) -> Sequence[Memory]:
        """The newest stored turns of the scope's conversation, in their order."""
        ...

    async def blocks(
        self, vault: VaultId, keys: Sequence[bytes], since: datetime
    ) -> tuple[Mapping[bytes, Block], int]:
        """The newest block of each key used at or after `since`, and the vault's revision; blocks
        that were not used for two days may be gone."""
        ...

    async def remember(
        self,
        vault: VaultId,
        turns: Sequence[NewTurn],
        *,
        block: Block | None = None,
        used: Sequence[bytes] = (),
        dropped: Sequence[bytes] = (),
        now: datetime,
        ready: Ready | None = None,
        encoder: str = "",
    ) -> Stored:
        """In one transaction: add turns, add a block, mark blocks as used, drop blocks.

        Vectors that are ready are stored with them, unless the vault's are another embedder's.
        A vault that holds no chunks and no embedder's name yet is encoded by `encoder`.

        A turn whose chain is stored is skipped, unless it was kept without text and now comes
        with it from an upload or ingest (`chain` b"" is never skipped). A block with chunks that
        are gone is not kept.
        """
        ...

    async def pending(self, vault: VaultId, limit: int) -> Sequence[Pending]:
        """The oldest chunks that have no vector."""
        ...

    async def set_vectors(
        self, vault: VaultId, embedder: str, ids: Sequence[int], vectors: Vectors
    ) -> None:
        """Give chunks their vectors; ids that are gone meanwhile are skipped.

        Raises Conflict if the vault's vectors are another embedder's.
        """
        ...

    async def encode_by(self, vault: VaultId, encoder: str) -> int:
        """Have a vault encoded by this encoder, "" by none; return how many chunks wait for it.

        What another made serves until every chunk is done; then all change at once.
        """
        ...

    async def unencoded(self, vault: VaultId, encoder: str, limit: int) -> Sequence[Pending]:
        """The oldest chunks that wait for this encoder; none if the vault is to have another."""
        ...

    async def set_encodings(
        self, vault: VaultId, encoder: str, ids: Sequence[int], vectors: Vectors
    ) -> None:
        """As `set_vectors`. Raises Conflict if the vault is to be encoded by another."""
        ...

    def backlog(self) -> AsyncIterator[VaultId]:
        """Every vault that may have chunks that wait, found without opening the others."""
        ...

    def vaults(self) -> AsyncIterator[VaultId]:
        """Every vault, in no order."""
        ...

    async def stats(self, scope: Scope) -> VaultStats:
        """What is there: of the whole vault if the session is "", of that session otherwise;
        `sessions` counts named ones that hold memories."""
        ...

    async def memories(
        self, scope: Scope, *, after: int = 0, limit: int = 100, whole: bool = False
    ) -> Sequence[Memory]:
        """Stored turns by ascending id, from the one after `after`.

        Of the scope's session (core if ""), or with `whole` of every session.
        """
        ...

    async def memory(self, vault: VaultId, id: int) -> Memory | None:
        """One stored turn."""
        ...

    async def delete(self, vault: VaultId, id: int) -> bool:
        """Delete one stored turn with its chunks, vectors and every block that holds them.

        Its chain stays known: a client that resends its history does not bring it back.
        """
        ...

    async def clear(self, vault: VaultId, session: str | None) -> int:
        """Delete what a session holds ("" is core), or everything (None); return the turns deleted.

        Deleted text is overwritten on disk, and blocks that hold it go too.
        """
        ...

    async def expire(self, vault: VaultId, before: datetime) -> int:
        """Delete, as `delete` does, the turns of before then; return how many."""
        ...

    async def destroy(self, vault: VaultId) -> int:
        """Delete a vault itself, with all that is known of it; return the turns deleted.

        An encrypted one's key goes first: no copy of it can be read from then on. A later write
        makes a new vault.
        """
        ...

    async def embedder(self, vault: VaultId) -> str | None:
        """Name of the embedder the vault was made with; None if nothing is embedded yet."""
        ...

    async def choose_embedder(self, vault: VaultId, embedder: str) -> None:
        """Have a vault without vectors keep to an embedder. Raises Conflict if it has others."""
        ...

    async def reset(self, vault: VaultId) -> None:
        """Forget all vectors, encodings and who made them, so that others may fill the vault."""
        ...

    async def warm(self, vault: VaultId) -> int:
        """Load what recall needs; return the number of memories."""
        ...

    async def check(self) -> None:
        """Raise StoreError if the store cannot be written."""
        ...

    async def close(self) -> None: ...


class Directory(Protocol):
    """Accounts, keys, users, provider keys, usage. Contract: tests/contract/test_directory.py."""

    async def key(self, hashed: bytes) -> KeyRecord | None:
        """The key of this SHA-256, revoked or not."""
        ...

    async def add_account(self) -> AccountId: ...

    async def account_with_config_key(self, hashed: bytes, masked: str, now: datetime) -> AccountId:
        """Make this the configured account key; the one configured before it is revoked."""
        ...

    async def first_account(self) -> AccountId | None:
        """The oldest account; None before the first start."""
        ...

    async def add_key(
        self,
        account: AccountId,
        hashed: bytes,
        *,
        masked: str,
        name: str,
        now: datetime,
        is_account: bool = False,
        vault: VaultId | None = None,
        quota_tokens: int | None = None,
        rate_per_minute: int | None = None,
    ) -> KeyRecord:
        """Add a key to an account, with a new vault unless one is given."""
        ...

    async def keys(self, account: AccountId) -> Sequence[KeyRecord]:
        """Keys of an account that are not revoked, oldest first."""
        ...

    async def key_by_id(self, account: AccountId, id: KeyId) -> KeyRecord | None: ...

    async def change_key(
        self,
        account: AccountId,
        id: KeyId,
        *,
        name: str | None = None,
        quota_tokens: int | None = None,
        rate_per_minute: int | None = None,
    ) -> KeyRecord | None:
        """Change what is given (a limit of 0 lifts it); None if there is no such key."""
        ...

    async def rotate_key(
        self, account: AccountId, id: KeyId, hashed: bytes, masked: str, now: datetime
    ) -> KeyRecord | None:
        """Give a key a new secret; id, vault, name and limits stay; the old secret is dead."""

    async def revoke_key(self, account: AccountId, id: KeyId, now: datetime) -> bool: ...

    async def user_vault(self, account: AccountId, user: str) -> VaultId:
        """The vault of a user id in an account; made on first use, the same ever after."""

    async def known_user(self, account: AccountId, user: str) -> VaultId | None:
        """The vault of a user id; None, and none made, if nobody of that id was ever named."""

    async def vaults_of(self, account: AccountId) -> Sequence[VaultId]: ...

    async def set_provider_key(self, account: AccountId, provider: str, sealed: bytes) -> None: ...

    async def provider_keys(self, account: AccountId) -> Mapping[str, bytes]:
        """Provider → encrypted key."""

    async def delete_provider_key(self, account: AccountId, provider: str) -> bool: ...

    async def reseal(self, again: Callable[[bytes], bytes]) -> int:
        """Keep what `again` makes of every stored provider key, or none if it raises; how many."""
        ...

    async def add_usage(self, rows: Sequence[UsageRow]) -> None:
        """Add to what is counted already."""

    async def usage(self, key: KeyId, start: date, end: date) -> Sequence[UsageRow]:
        """Rows of a key with start <= day <= end, by day."""

    async def get_setting(self, account: AccountId, name: str) -> str | None: ...

    async def set_setting(self, account: AccountId, name: str, value: str) -> None: ...

    async def close(self) -> None: ...


class Answer(Protocol):
    """A provider's answer, its body still to come."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """As they came, less hop-by-hop ones; names in lower case."""

    @property
    def ended(self) -> bool:
        """Whether all of the body has been read."""

    async def read(self) -> bytes:
        """The next of the body, still compressed; b"" at its end. Raises UpstreamError."""

    def blocks(self) -> AsyncIterator[bytes]:
        """All of it, piece by piece; closed at the end."""

    async def close(self) -> None:
        """Give the connection back, or cut it if the body was not read to its end."""


class Upstream(Protocol):
    """Calls providers."""

    async def send(
        self,
        method: str,
        target: Target,
        headers: Sequence[tuple[str, str]],
        body: bytes | AsyncIterator[bytes],
    ) -> Answer:
        """Send a request and return once the answer's headers are here.

        Redirects are not followed. Raises UpstreamError if the provider cannot be reached.
        """

    async def close(self) -> None: ...
