from __future__ import annotations

import pytest

from memrouter.errors import ConfigError
from memrouter.secrets import VAULT_KEYS, SealBroken, Sealer, masked

OLD = "an old secret of some length"
NEW = "a new secret of some length"


@pytest.mark.parametrize("key", ["sk-x", "", "ключ", "a" * 10_000])
def test_what_is_sealed_can_be_opened(key: str) -> None:
    sealed = Sealer(NEW).seal(key)
    assert Sealer(NEW).open(sealed) == key
    assert not key or key.encode() not in sealed


def test_two_seals_of_one_key_differ() -> None:
    sealer = Sealer(NEW)
    assert sealer.seal("sk-x") != sealer.seal("sk-x")


def test_rotation() -> None:
    sealed = Sealer(OLD).seal("sk-x")
    both = Sealer(f"{NEW}, {OLD}")
    assert both.open(sealed) == "sk-x"
    assert Sealer(NEW).open(both.seal("sk-y")) == "sk-y"
    assert Sealer(NEW).open(both.reseal(sealed)) == "sk-x"


def altered(sealed: bytes) -> bytes:
    return sealed[:-5] + bytes([sealed[-5] ^ 1]) + sealed[-4:]


BROKEN = {
    "another secret": Sealer(OLD).seal("sk-x"),
    "altered": altered(Sealer(NEW).seal("sk-x")),
    "cut": Sealer(NEW).seal("sk-x")[:-8],
    "empty": b"",
    "not a seal": b"sk-x",
    "not ascii": b"\xff\xfe",
}


@pytest.mark.parametrize("sealed", BROKEN.values(), ids=BROKEN)
def test_broken_seals(sealed: bytes) -> None:
    with pytest.raises(SealBroken) as caught:
        Sealer(NEW).open(sealed)
    assert caught.value.hint


@pytest.mark.parametrize("secret", ["", "short", f"{NEW},short", " , "])
def test_weak_secrets(secret: str) -> None:
    with pytest.raises(ConfigError, match="secret_key"):
        Sealer(secret)


def test_masked() -> None:
    assert masked("sk-proj-0123456789") == "sk-pr…6789"
    assert masked("short") == "…"


def test_what_is_sealed_for_one_purpose_cannot_be_opened_for_another() -> None:
    with pytest.raises(SealBroken):
        Sealer(NEW, VAULT_KEYS).open(Sealer(NEW).seal("sk-x"))
