from __future__ import annotations

import pytest

from memrouter.counts import counted


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 memories"), (1, "1 memory"), (2, "2 memories"), (12_000, "12,000 memories")],
)
def test_numbers_of_things(number: int, said: str) -> None:
    assert counted(number, "memory", "memories") == said


def test_most_words_take_an_s() -> None:
    assert (counted(1, "key"), counted(2, "key")) == ("1 key", "2 keys")
