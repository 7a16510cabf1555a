from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

def total(text: str, parts: npt.NDArray[np.int16]) -> int: ...
def index(
    text: str, known: dict[str, bytes], learned: Callable[[str], bytes]
) -> tuple[bytes, int]: ...
def query_words(
    text: str,
    made: Callable[[str, bool, bool], T],
    made_long: Callable[[str, bool, bool], T],
    longest: int,
) -> list[T]: ...
