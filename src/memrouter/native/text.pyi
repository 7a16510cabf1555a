import numpy as np
import numpy.typing as npt

def total(text: str, parts: npt.NDArray[np.int16]) -> int: ...
