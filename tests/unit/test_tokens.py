"""The token estimate, against counts that o200k_base gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memrouter import tokens

COUNTED = json.loads(
    (Path(__file__).parents[1] / "data" / "wire" / "tokens.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("row", COUNTED.values(), ids=COUNTED)
def test_near_the_true_count(row: dict[str, Any]) -> None:
    assert abs(tokens.estimate(row["text"]) / row["o200k_base"] - 1) <= row["allowed"]


def test_nothing_is_nothing_and_anything_is_something() -> None:
    assert tokens.estimate("") == 0
    assert tokens.estimate(" ") == 1


def test_a_lone_surrogate_counts() -> None:
    assert tokens.estimate("\ud800") >= 1


def test_long_texts_count_in_slices() -> None:
    text = "It is a truth universally acknowledged. " * 60_000  # more than two slices
    part = tokens.estimate(text[:40_000])
    assert tokens.estimate(text) == pytest.approx(part * len(text) / 40_000, rel=0.001)
