"""Admission: bounded, fair, and everything that was taken is given back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.domain import KeyId
from memrouter.edge.admission import Admission, Shares
from memrouter.errors import Overloaded

NOISY, QUIET, THIRD = KeyId("noisy"), KeyId("quiet"), KeyId("third")


def filled(shares: Shares, *keys: KeyId) -> dict[KeyId, int]:
    """What each gets if all ask for more and more in turn, until none gets any."""
    got = dict.fromkeys(keys, 0)
    while taken := [key for key in keys if shares.take(key)]:
        for key in taken:
            got[key] += 1
    return got


ALONE: dict[str, tuple[int, int]] = {
    "of one": (1, 1),
    "of two": (2, 2),
    "of ten": (10, 8),
    "of a thousand": (1_000, 800),
}


@pytest.mark.parametrize(("most", "got"), ALONE.values(), ids=ALONE)
def test_a_key_alone_gets_most(most: int, got: int) -> None:
    assert filled(Shares(most), NOISY) == {NOISY: got}


def test_keys_that_want_everything_get_the_same() -> None:
    got = filled(Shares(1_000), NOISY, QUIET, THIRD)
    assert max(got.values()) - min(got.values()) <= 1
    assert sum(got.values()) == pytest.approx(1_000 * 12 / 13, abs=4)


def test_a_noisy_key_leaves_room() -> None:
    shares = Shares(100)
    assert filled(shares, NOISY) == {NOISY: 80}
    assert all(shares.take(QUIET) for _ in range(10))
    assert not shares.take(NOISY)
    for _ in range(30):
        shares.give(NOISY)
    assert not shares.take(NOISY, 50)
    assert shares.take(NOISY)


def test_a_large_share_is_taken_whole_or_not() -> None:
    shares = Shares(100)
    assert not shares.take(NOISY, 101)
    assert shares.take(NOISY, 60)
    assert not shares.take(NOISY, 41)
    assert shares.take(QUIET, 40)
    assert shares.used == 100


@given(
    most=st.integers(1, 30),
    steps=st.lists(st.tuples(st.sampled_from([NOISY, QUIET, THIRD]), st.integers(-5, 9))),
)
def test_the_books_are_right(most: int, steps: list[tuple[KeyId, int]]) -> None:
    shares = Shares(most)
    held: dict[KeyId, int] = {}
    for key, amount in steps:
        if amount > 0 and shares.take(key, amount):
            held[key] = held.get(key, 0) + amount
        elif 0 < -amount <= held.get(key, 0):
            shares.give(key, -amount)
            held[key] += amount
        assert shares.used == sum(held.values()) <= most
    for key, amount in held.items():
        if amount:
            shares.give(key, amount)
    assert shares.used == 0
    assert shares.take(NOISY)


def test_a_place_is_given_back_with_what_it_held() -> None:
    shed: list[str] = []
    admission = Admission(max_requests=5, max_recalls=1, max_bodies_bytes=100, on_shed=shed.append)
    places = [admission.enter(NOISY) for _ in range(4)]
    with pytest.raises(Overloaded, match="This key has too many") as caught:
        admission.enter(NOISY)
    assert caught.value.retry_after_s
    assert caught.value.hint
    places.append(admission.enter(QUIET))
    with pytest.raises(Overloaded, match="at capacity"):
        admission.enter(THIRD)
    places[0].hold(0)
    places[0].hold(50)
    places[0].hold(20)
    with pytest.raises(Overloaded, match="large bodies"):
        places[4].hold(31)
    for place in places:
        place.leave()
    assert shed == ["share", "full", "body"]
    assert (admission.requests.used, admission.bodies.used) == (0, 0)
