"""What the store promises about a sentence encoder's vectors beside the embedder's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pytest

from memrouter.domain import VaultId
from memrouter.errors import Conflict
from memrouter.ports import Ready, VaultStore

from .turns import CORE, NOW, VAULT, put, turn


async def rows(store: VaultStore) -> tuple[str, list[list[int]], list[bool]]:
    """Whose encodings there are, and in which rows."""
    signals = await store.signals(CORE)
    return signals.encoder, signals.encodings.tolist(), signals.encoded.tolist()


def vectors(*rows: tuple[float, ...]) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32)


async def fill(store: VaultStore, encoder: str, *made: tuple[float, ...]) -> None:
    """Give the oldest chunks that wait their encodings."""
    waiting = await store.unencoded(VAULT, encoder, len(made))
    await store.set_encodings(VAULT, encoder, [w.id for w in waiting], vectors(*made))


async def test_a_new_vault_takes_the_encoder_it_is_given(store: VaultStore) -> None:
    ready = Ready(embedder="e", vectors=vectors((1, 0)))
    stored = await store.remember(VAULT, [turn("a")], now=NOW, ready=ready, encoder="new")
    assert stored.pending  # it has its vector, but no encoding
    assert (await store.stats(CORE)).unencoded == 1
    assert (await store.signals(CORE)).embedded.tolist() == [True]
    await fill(store, "new", (0, 1, 0))
    assert await rows(store) == ("new", [[0, 127, 0]], [True])
    assert (await store.signals(CORE)).vectors.tolist() == [[127, 0]]
    again = await store.remember(VAULT, [turn("b")], now=NOW, encoder="other")
    assert again.pending
    assert [w.text for w in await store.unencoded(VAULT, "new", 9)] == ["b"]
    assert list(await store.unencoded(VAULT, "other", 9)) == []
    assert await rows(store) == ("new", [[0, 127, 0], [0, 0, 0]], [True, False])
    await fill(store, "new", (1, 0, 0))
    assert await rows(store) == ("new", [[0, 127, 0], [127, 0, 0]], [True, True])


async def test_old_encodings_serve_until_all_new_ones_are_there(
    store: VaultStore, other: VaultStore
) -> None:
    await put(store, turn("a"), turn("b"))
    assert await store.encode_by(VAULT, "old") == 2
    await fill(store, "old", (1, 0))
    assert await rows(store) == ("", [[], []], [False, False])
    await fill(store, "old", (0, 1))
    assert await rows(store) == ("old", [[127, 0], [0, 127]], [True, True])
    assert await store.encode_by(VAULT, "new") == 2
    await put(store, turn("c"))
    assert [w.text for w in await store.unencoded(VAULT, "new", 9)] == ["a", "b", "c"]
    await fill(store, "new", (0, 0, 1), (0, 1, 0))
    with pytest.raises(Conflict):
        await store.set_encodings(VAULT, "old", [1], vectors((1, 0)))
    assert await rows(other) == ("old", [[127, 0], [0, 127], [0, 0]], [True, True, False])
    await fill(store, "new", (1, 0, 0))
    expected = ("new", [[0, 0, 127], [0, 127, 0], [127, 0, 0]], [True] * 3)
    assert await rows(store) == await rows(other) == expected
    assert await store.encode_by(VAULT, "new") == 0


async def test_a_change_may_be_given_up(store: VaultStore) -> None:
    await put(store, turn("a"))
    await store.encode_by(VAULT, "old")
    await fill(store, "old", (1, 0))
    await store.encode_by(VAULT, "new")
    await put(store, turn("b"))
    assert await store.encode_by(VAULT, "old") == 1
    assert [w.text for w in await store.unencoded(VAULT, "old", 9)] == ["b"]
    await store.encode_by(VAULT, "")
    assert await rows(store) == ("", [[], []], [False, False])
    assert (await put(store, turn("c"))).chunks
    assert (await store.stats(CORE)).unencoded == 0


async def test_deleting_what_still_waits_ends_a_change(store: VaultStore) -> None:
    await put(store, turn("a"), turn("b"))
    await store.encode_by(VAULT, "new")
    await fill(store, "new", (1, 0))
    await store.delete(VAULT, (await store.memories(CORE))[1].id)
    assert await store.encode_by(VAULT, "new") == 0
    assert await rows(store) == ("new", [[127, 0]], [True])
    await store.clear(VAULT, None)
    assert await rows(store) == ("new", [], [])


async def test_many_rows_keep_their_encodings_in_every_shape(store: VaultStore) -> None:
    """Segments are merged and cut meanwhile."""
    for n in range(40):
        await put(store, turn(f"{n}"))
    await store.encode_by(VAULT, "e")
    await fill(store, "e", *[(n / 127, 1) for n in range(40)])
    for n in range(40, 80):
        await store.remember(VAULT, [turn(f"{n}")], now=NOW)
        await fill(store, "e", (n / 127, 1))
    await store.delete(VAULT, (await store.memories(CORE))[7].id)
    signals = await store.signals(CORE)
    assert signals.encoded.all()
    assert sorted(signals.encodings[:, 0].tolist()) == [n for n in range(80) if n != 7]
    await store.reset(VAULT)
    assert (await rows(store))[0] == ""


async def test_what_waits_comes_with_the_turn_before_it(store: VaultStore) -> None:
    rows = [
        replace(turn("asked"), created=NOW),
        replace(turn("answered"), created=NOW + timedelta(minutes=1)),
        replace(turn("much later"), created=NOW + timedelta(hours=9)),
        turn("elsewhere", session="s", conversation="c"),
        turn("there too", session="s", conversation="c"),
    ]
    await store.remember(VAULT, rows, now=NOW, encoder="e")
    found = {w.text: w.before for w in await store.unencoded(VAULT, "e", 9)}
    assert found == {
        "asked": "",
        "answered": "asked",
        "much later": "",
        "elsewhere": "",
        "there too": "elsewhere",
    }


async def test_vaults_that_wait_for_encodings_are_in_the_backlog(store: VaultStore) -> None:
    vault = VaultId("aa05")
    ready = Ready(embedder="e", vectors=np.ones((1, 2), np.float32))
    await store.remember(vault, [turn("a")], now=NOW, ready=ready, encoder="e")
    assert [v async for v in store.backlog()] == [vault]
