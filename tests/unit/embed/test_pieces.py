"""Texts put together from pieces, against the same texts tokenized as a whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from tokenizers import Tokenizer

from memrouter.embed import pieces, static
from memrouter.embed.pieces import Pieces

TEXTS = [
    "",
    " ",
    "word",
    "I live in Porto, don't I?  Yes: since 2019.",
    "line\nbreak\n\n- a list\n- of things",
    "iPhoneを買った 花生过敏 Ünïcode 🏠🏠 e\u0301",
    "x" * 5_000,
    "a\tb\x00c \u00a0 d",
]


@pytest.fixture(scope="module")
def model() -> tuple[Any, Any]:
    folder = static._folder()
    tokenizer = Tokenizer.from_file(
        str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json")
    )
    with safe_open(folder / "weights" / "l2_supercat_256.safetensors", "np") as weights:
        return tokenizer, weights.get_tensor("embedding.weight")


@pytest.fixture(scope="module")
def made(model: tuple[Any, Any]) -> Pieces:
    return Pieces(*model)


def whole(model: tuple[Any, Any], text: str) -> Any:
    tokenizer, table = model
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return table[np.array(ids, np.intp)].astype(np.float32).sum(axis=0)


def test_the_vocabulary_joins_nothing_across_a_space(model: tuple[Any, Any]) -> None:
    assert not [token for token in model[0].get_vocab() if "▁" in token.lstrip("▁")]


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_a_total_is_that_of_all_tokens(model: tuple[Any, Any], made: Pieces, text: str) -> None:
    for _ in range(2):  # made, then remembered
        assert np.allclose(made.totals([text])[0], whole(model, text.rstrip(" ")), atol=1e-3)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from("abE .,'é花🏠\n\u00a0"), max_size=60))
def test_any_text(model: tuple[Any, Any], made: Pieces, text: str) -> None:
    assert np.allclose(made.totals([text])[0], whole(model, text.rstrip(" ")), atol=1e-3)


def test_numbers_are_made_of_digits(model: tuple[Any, Any], made: Pieces) -> None:
    tokenizer, _ = model
    for number in ("7", "0042", "1234567890" * 3):
        words, sums = made._made(f" {number}")
        assert words == [number]
        assert np.array_equal(sums[0], whole(model, number))
        assert len(sums) == 1
        plain = Pieces(*model)
        plain._digits = []
        assert np.array_equal(plain._made(f" {number}")[1], sums)
    assert len(tokenizer.encode("12", add_special_tokens=False).ids) == 3


def test_words_count_by_their_rarity_and_all_else_not_at_all(made: Pieces) -> None:
    text = "The garden, (in) Porto!"
    total, weighted = made.both(text, {"garden": 2.0, "porto": 0.5, "tree": 9.0})
    assert np.array_equal(total, made.totals([text])[0])
    expected = 2 * made.totals(["garden"])[0] + 0.5 * made.totals(["Porto"])[0]
    assert np.allclose(weighted, expected, atol=1e-3)
    assert not made.both(text, {"tree": 1.0})[1].any()


def test_more_than_is_kept(model: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_KEPT", 40)
    small = Pieces(*model)
    for n in range(100):
        text = f"word{n} and number {n}, once more"
        assert np.allclose(small.totals([text])[0], whole(model, text), atol=1e-3)
        assert len(small._sums.pieces) <= 40
    long = " ".join(f"w{n}" for n in range(100))
    assert np.allclose(small.totals([long])[0], whole(model, long), atol=1e-3)


def test_what_is_long_drives_nothing_out(made: Pieces) -> None:
    before = set(made._sums.pieces)
    made.totals(["short " + "y" * (pieces._LONGEST + 1)])
    assert set(made._sums.pieces) == before


def test_several_threads(model: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_KEPT", 200)
    shared = Pieces(*model)
    texts = [f"thread {n % 37} says {n % 11} things, {n}" for n in range(600)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: shared.totals([text])[0], texts))
    for text, total in zip(texts, found, strict=True):
        assert np.allclose(total, whole(model, text), atol=1e-3)
