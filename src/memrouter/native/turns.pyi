from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from memrouter.domain import Role, Turn

def digest(role: Role, text: str) -> bytes: ...
def chains(parent: bytes, digests: Iterable[bytes]) -> list[bytes]: ...
def prompt_keys(root: bytes, turns: Iterable[Turn]) -> list[bytes]: ...

class Reader:
    def __init__(
        self,
        turn: type[Turn],
        roles: dict[str, Role],
        telling: tuple[str, ...],
        heads: tuple[str, ...],
        parts: npt.NDArray[np.int16],
        flat: int,
    ) -> None: ...
    def read(self, messages: list[Any], find: Callable[[Any], Turn]) -> tuple[Turn, ...]: ...
