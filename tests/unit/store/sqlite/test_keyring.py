from __future__ import annotations

from pathlib import Path

import pytest

from memrouter.errors import StoreError, VaultLocked
from memrouter.secrets import VAULT_KEYS, Sealer
from memrouter.store.sqlite.keyring import FILE, Keyring

OLD, NEW = "an old secret of some length", "a new secret of some length"


def opened(folder: Path, secret: str = OLD) -> Keyring:
    return Keyring(folder, Sealer(secret, VAULT_KEYS))


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob(f"{FILE}*")))


def test_each_file_has_a_random_key_that_stays(tmp_path: Path) -> None:
    keys = opened(tmp_path)
    a, b = keys.make("a"), keys.make("b")
    assert len(a) == len(b) == 32
    assert a != b
    assert keys.make("a") == keys.find("a") == a
    keys.close()
    again = opened(tmp_path)
    assert (again.find("a"), again.find("b"), again.find("c")) == (a, b, None)
    assert again.files() == ["a", "b"]
    again.close()
    assert a not in everything(tmp_path)
    assert a.hex().encode() not in everything(tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_asking_makes_no_file(tmp_path: Path) -> None:
    keys = opened(tmp_path)
    keys.check()
    assert keys.find("a") is None
    assert keys.files() == []
    keys.destroy("a")
    keys.forget("a")
    assert keys.rewrap() == 0
    keys.close()
    assert list(tmp_path.iterdir()) == []


def test_another_secret_opens_nothing_and_changes_nothing(tmp_path: Path) -> None:
    keys = opened(tmp_path)
    keys.make("a")
    keys.close()
    before = everything(tmp_path)
    for wrong in (opened(tmp_path, NEW), Keyring(tmp_path, None)):
        calls = (
            wrong.check,
            lambda wrong=wrong: wrong.find("a"),
            lambda wrong=wrong: wrong.make("a"),
            lambda wrong=wrong: wrong.make("b"),
            wrong.rewrap,
        )
        for call in calls:
            with pytest.raises(VaultLocked, match="SECRET_KEY"):
                call()
        wrong.close()
    assert everything(tmp_path) == before


def test_after_rewrapping_the_old_secret_is_not_needed(tmp_path: Path) -> None:
    keys = opened(tmp_path)
    made = {name: keys.make(name) for name in "abc"}
    keys.destroy("c")
    keys.close()
    both = opened(tmp_path, f"{NEW},{OLD}")
    assert both.rewrap() == 2
    both.close()
    new = opened(tmp_path, NEW)
    new.check()
    assert {name: new.find(name) for name in "abc"} == {**made, "c": b""}
    new.close()
    old = opened(tmp_path, OLD)
    with pytest.raises(VaultLocked):
        old.find("a")
    old.close()


def test_a_destroyed_key_is_nowhere_on_the_disk(tmp_path: Path) -> None:
    keys, other = opened(tmp_path), opened(tmp_path)
    keys.make("a")
    before = everything(tmp_path)
    wrapped = keys._database().all("all")[1][1]
    assert wrapped in before
    other.destroy("a")
    assert wrapped not in everything(tmp_path)
    assert keys.find("a") == b""
    assert keys.files() == []
    other.forget("a")
    assert keys.find("a") is None
    keys.close()
    other.close()


def test_a_destroyed_key_makes_way_for_another(tmp_path: Path) -> None:
    keys = opened(tmp_path)
    before = keys.make("a")
    keys.destroy("a")
    assert keys.make("a") not in (before, b"")
    keys.close()


def test_a_key_of_another_file_is_refused(tmp_path: Path) -> None:
    keys = opened(tmp_path)
    keys.make("a")
    keys.make("b")
    rows = dict(keys._database().all("all"))
    keys._database().one("change", rows["a"], "b")
    with pytest.raises(StoreError, match="another file's"):
        keys.find("b")
    keys.close()
