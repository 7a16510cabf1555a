from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

class Rows:
    count: int
    terms: int
    newest: int
    given: int
    def __init__(
        self,
        segments: list[tuple[bytes, ...]],
        after: int,
        dimension: int,
        encoder_dimension: int,
    ) -> None: ...
    def behind(self, groups: npt.NDArray[Any], created: npt.NDArray[Any]) -> bool: ...
    def merge(
        self, old: Iterable[npt.NDArray[Any]], target: Iterable[npt.NDArray[Any]]
    ) -> None: ...
