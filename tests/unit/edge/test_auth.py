from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import cast

import pytest

from memrouter.domain import AccountId, KeyId, KeyRecord, Mode, VaultId
from memrouter.edge.auth import (
    KEY,
    Shown,
    authenticate,
    digest,
    find,
    is_memory_key,
    masked,
    mint,
    split,
)
from memrouter.errors import Unauthorized
from memrouter.ports import Directory
from memrouter.upstream.target import Sent

Fields = list[tuple[str, str]]

# headers, query → key, what is left for the provider
FOUND: dict[str, tuple[Fields, dict[str, str], str, Sent]] = {
    "bearer": ([("authorization", "Bearer mk_a")], {}, "mk_a", Sent()),
    "bearer in lower case": ([("authorization", "bearer   mk_a ")], {}, "mk_a", Sent()),
    "without a scheme": ([("authorization", "mk_a")], {}, "mk_a", Sent()),
    "x-api-key": ([("x-api-key", "mk_a")], {}, "mk_a", Sent()),
    "x-goog-api-key": ([("x-goog-api-key", "mk_a")], {}, "mk_a", Sent()),
    "query": ([], {"key": "mk_a"}, "mk_a", Sent()),
    "hyphen": ([("authorization", "Bearer mk-a")], {}, "mk_a", Sent()),
    "X-Memory-Key and a bearer": (
        [("authorization", "Bearer sk-own"), ("x-memory-key", "mk_a")],
        *({}, "mk_a", Sent(authorization="Bearer sk-own")),
    ),
    "X-Memory-Key and x-api-key": (
        [("x-api-key", "sk-ant"), ("x-memory-key", "mk_a")],
        *({}, "mk_a", Sent(x_api_key="sk-ant")),
    ),
    "X-Memory-Key and a key in the query": (
        [("x-memory-key", "mk_a")],
        *({"key": "AIza"}, "mk_a", Sent(query_key="AIza")),
    ),
    "X-Memory-Key with a scheme": ([("x-memory-key", "Bearer mk_a")], {}, "mk_a", Sent()),
    "X-Provider-Key": (
        [("authorization", "Bearer mk_a"), ("x-provider-key", "sk-own")],
        *({}, "mk_a", Sent(provider_key="sk-own")),
    ),
    "OAuth token beside x-api-key": (
        [("authorization", "Bearer sk-ant-oat01"), ("x-api-key", "mk_a")],
        *({}, "mk_a", Sent(authorization="Bearer sk-ant-oat01")),
    ),
    "first of several": (
        [("x-api-key", "mk_b"), ("authorization", "Bearer mk_a")],
        *({}, "mk_a", Sent()),
    ),
    "X-Memory-Key before all": (
        [("authorization", "Bearer mk_b"), ("x-memory-key", "mk_a")],
        *({}, "mk_a", Sent()),
    ),
    "a memory key is never the provider's": (
        [("authorization", "Bearer mk_a"), ("x-provider-key", "mk_a")],
        *({}, "mk_a", Sent()),
    ),
    "empty X-Memory-Key": (
        [("x-memory-key", " "), ("authorization", "Bearer mk_a")],
        *({}, "mk_a", Sent()),
    ),
}


@pytest.mark.parametrize(("headers", "query", "key", "sent"), FOUND.values(), ids=FOUND)
def test_find(headers: Fields, query: dict[str, str], key: str, sent: Sent) -> None:
    assert find(headers, query) == Shown(key=key, mode=None, sent=sent)


V3_FOUND: dict[str, tuple[Fields, dict[str, str], str, Sent]] = {
    "the seed's header": (
        [("x-supermemory-api-key", "mk_a"), ("authorization", "Bearer sk-own")],
        *({}, "mk_a", Sent(authorization="Bearer sk-own")),
    ),
    "the seed's misspelling": ([("x-supermemory--api-key", "mk_a")], {}, "mk_a", Sent()),
    "query": (
        [("authorization", "Bearer sk-own")],
        *({"apiKey": "mk_a"}, "mk_a", Sent(authorization="Bearer sk-own")),
    ),
    "headers first": ([("x-supermemory-api-key", "mk_a")], {"apiKey": "mk_b"}, "mk_a", Sent()),
    "as on /v1": ([("authorization", "Bearer mk_a")], {}, "mk_a", Sent()),
}


@pytest.mark.parametrize(("headers", "query", "key", "sent"), V3_FOUND.values(), ids=V3_FOUND)
def test_find_on_v3(headers: Fields, query: dict[str, str], key: str, sent: Sent) -> None:
    assert find(headers, query, v3=True) == Shown(key=key, mode=None, sent=sent)


NOT_FOUND: dict[str, tuple[Fields, dict[str, str], bool]] = {
    "nothing": ([], {}, False),
    "only the provider's": ([("authorization", "Bearer sk-own")], {}, False),
    "nothing but X-Provider-Key": ([("x-provider-key", "sk-own")], {}, False),
    "X-Memory-Key is none": (
        [("x-memory-key", "sk-own"), ("authorization", "Bearer mk_a")],
        *({}, False),
    ),
    "basic": ([("authorization", "Basic bWtfYQ==")], {}, False),
    "a v3 carrier on v1": ([("x-supermemory-api-key", "mk_a")], {}, False),
    "apiKey on v1": ([], {"apiKey": "mk_a"}, False),
    "nothing on v3": ([], {}, True),
    "another router's key on v3": ([("x-supermemory-api-key", "sm_a")], {}, True),
}


@pytest.mark.parametrize(("headers", "query", "v3"), NOT_FOUND.values(), ids=NOT_FOUND)
def test_find_nothing(headers: Fields, query: dict[str, str], v3: bool) -> None:
    with pytest.raises(Unauthorized) as caught:
        find(headers, query, v3=v3)
    assert caught.value.status == 401
    assert "mk_" in caught.value.hint


SUFFIXES: dict[str, tuple[str, Mode | None]] = {
    "none": ("mk_a", None),
    "on": ("mk_a:on", Mode.ON),
    "read": ("mk_a:read", Mode.READ),
    "write": ("mk_a:write", Mode.WRITE),
    "off": ("mk_a:off", Mode.OFF),
    "capitals": ("mk-a:READ", Mode.READ),
}


@pytest.mark.parametrize(("value", "mode"), SUFFIXES.values(), ids=SUFFIXES)
def test_suffixes(value: str, mode: Mode | None) -> None:
    assert split(value) == ("mk_a", mode)
    assert is_memory_key(value)


@pytest.mark.parametrize("suffix", ["", "default", "all", "none", "raed", "read:off", "on off"])
def test_unknown_suffixes(suffix: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        split(f"mk_a:{suffix}")
    for known in (":on", ":read", ":write", ":off"):
        assert known in caught.value.hint


def test_minted_keys() -> None:
    keys = {mint() for _ in range(100)}
    assert len(keys) == 100
    assert all(KEY.fullmatch(key) for key in keys)
    key = mint()
    assert digest(key) == sha256(key.encode()).digest()
    assert masked(key) == f"{key[:5]}…{key[-4:]}"


@pytest.mark.parametrize("key", ["mk_short", "", "mk_" + "a" * 12])
def test_short_keys_are_not_given_away(key: str) -> None:
    assert len(masked(key)) <= 4


@pytest.mark.parametrize("key", ["mk_é", "mk_\udcff", "mk_" + "a" * 100_000, "mk_"])
def test_any_key_has_a_digest(key: str) -> None:
    assert len(digest(key)) == 32


class OneKey:
    """A directory that knows one key."""

    def __init__(self, record: KeyRecord, key: str) -> None:
        self.record = record
        self.hashed = digest(key)

    async def key(self, hashed: bytes) -> KeyRecord | None:
        return self.record if hashed == self.hashed else None


def record(revoked: datetime | None = None) -> KeyRecord:
    return KeyRecord(
        id=KeyId("k"),
        account=AccountId("a"),
        vault=VaultId("v"),
        name="",
        is_account=False,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        masked="",
        revoked=revoked,
    )


async def test_authenticate() -> None:
    directory = cast("Directory", OneKey(record(), "mk_a"))
    shown = Shown(key="mk_a", mode=None, sent=Sent())
    assert (await authenticate(directory, shown)).id == "k"
    with pytest.raises(Unauthorized):
        await authenticate(directory, Shown(key="mk_b", mode=None, sent=Sent()))


async def test_a_revoked_key_is_unknown() -> None:
    revoked = record(revoked=datetime(2026, 1, 2, tzinfo=UTC))
    directory = cast("Directory", OneKey(revoked, "mk_a"))
    with pytest.raises(Unauthorized, match="Invalid Memory Key"):
        await authenticate(directory, Shown(key="mk_a", mode=None, sent=Sent()))


def test_keys_are_not_shown() -> None:
    assert "hush" not in repr(find([("x-memory-key", "mk_hush")], {}))
