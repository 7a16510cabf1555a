import numpy as np
import numpy.typing as npt

class Adder:
    def __init__(
        self,
        table: npt.NDArray[np.float32],
        pieces: dict[str, tuple[int, tuple[tuple[str, int], ...]]],
    ) -> None: ...
    def total(self, text: str, plain: npt.NDArray[np.float32]) -> bool: ...
    def both(self, text: str, rarity: dict[str, float], found: npt.NDArray[np.float32]) -> bool: ...

def add_tokens(
    ids: list[int],
    offsets: list[tuple[int, int]],
    words: list[tuple[int, int]],
    table: npt.NDArray[np.uint16],
    sums: npt.NDArray[np.float32],
) -> bool: ...
