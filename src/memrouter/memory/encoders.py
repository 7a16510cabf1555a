"""The sentence encoders in use: the one that vaults are to have, and those that some still have."""

from __future__ import annotations

from collections.abc import Sequence

from memrouter.ports import Embedder


class Encoders:
    """Encoders beside the default embedder. Changes while requests are served."""

    def __init__(self, current: Embedder | None = None, before: Sequence[Embedder] = ()) -> None:
        """See `use`."""
        self._current = current
        self._before = tuple(before)

    @property
    def current(self) -> Embedder | None:
        """The one that vaults are to have; None where the default embedder does alone."""
        return self._current

    @property
    def before(self) -> tuple[Embedder, ...]:
        """Those that vaults may still have."""
        return self._before

    @property
    def name(self) -> str:
        """Its name, or \"\"."""
        return self._current.name if self._current else ""

    def named(self, name: str) -> Embedder | None:
        """The encoder of a name that a vault knows it by."""
        held = (*self._before, *((self._current,) if self._current else ()))
        return next((encoder for encoder in held if encoder.name == name), None)

    def use(self, current: Embedder | None, before: Sequence[Embedder] = ()) -> None:
        """Have vaults encoded by another; `before` are those that vaults may still have."""
        self._before = tuple(before)
        self._current = current
