from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

memory = pytest.importorskip("memrouter.native.memory", reason="there is no C compiler")


def piece(size: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(memory.Piece(size), np.uint8)


def place(array: npt.NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1 << 24])
def test_a_piece_is_as_large_as_it_is_asked_for(size: int) -> None:
    array = piece(size)
    assert array.shape == (size,)
    array.fill(7)
    assert int(array.sum(dtype=np.int64)) == 7 * size


def test_a_piece_stays_as_long_as_anything_points_into_it() -> None:
    arrays = [piece(300_000) for _ in range(40)]
    assert len({place(array) for array in arrays}) == 40
    for number, array in enumerate(arrays):
        array.fill(number)
    parts = [array[1_000:2_000] for array in arrays]
    del arrays, array
    others = [piece(300_000) for _ in range(40)]
    for other in others:
        other.fill(99)
    assert all((part == number).all() for number, part in enumerate(parts))


def test_the_next_one_lies_where_the_last_one_was_if_it_fits() -> None:
    array = piece(1_000_000)
    first = place(array)
    del array
    small, array = piece(100_000), piece(900_000)
    assert place(small) != first
    assert place(array) == first
    assert place(piece(1_000_000)) != first


def test_few_wait() -> None:
    before = piece(1 << 20)
    for _ in range(3):
        arrays = [piece(size << 16) for size in range(1, 60)]
        for array in arrays:
            array.fill(1)
        del arrays, array
    large = piece(1 << 25)
    del large
    assert len(before) == 1 << 20
