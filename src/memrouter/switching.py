"""Changes the encoder of a data folder while it is served: vaults keep theirs until they are done.

The choice lies in a file (`choice`); every process over the folder looks at it, one of them works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from memrouter import choice
from memrouter.choice import STATIC, Choice, Progress
from memrouter.errors import MemrouterError
from memrouter.memory.backlog import Backlog
from memrouter.memory.encoders import Encoders
from memrouter.ops.logs import logger
from memrouter.ports import Embedder, VaultStore

log = logger(__name__)

Load = Callable[[str], Embedder]
"""An encoder by what was chosen: a name or a folder. Blocking; raises MemrouterError."""

_LOOK_S = 1.0
_RETRY_S = 10.0


def opened(chosen: Choice, load: Load, *, strict: bool) -> Encoders:
    """The encoders of a choice.

    strict  whether one that cannot be loaded is an error; without, vaults do with what they have
    """
    before = [found for name in chosen.before if (found := _loaded(name, load)) is not None]
    if chosen.use == STATIC:
        return Encoders(None, before)
    current = load(chosen.use) if strict else _loaded(chosen.use, load)
    return Encoders(current, before)


def _loaded(name: str, load: Load) -> Embedder | None:
    try:
        return load(name)
    except MemrouterError as e:
        log.warning("an encoder cannot be loaded; recall goes on without", reason=str(e))
        return None


class Switching:
    """Follows the choice that a data folder holds, and brings its vaults after it."""

    def __init__(
        self,
        folder: Path,
        chosen: Choice,
        load: Load,
        store: VaultStore,
        backlog: Backlog,
        encoders: Encoders,
    ) -> None:
        """chosen  the choice that `encoders` are of"""
        self._folder = folder
        self._chosen = chosen
        self._load = load
        self._store = store
        self._backlog = backlog
        self._encoders = encoders

    async def run(self) -> None:
        """Look for another choice now and then, and work on it if nobody else does."""
        while True:
            try:
                await self._follow()
                with choice.leading(self._folder) as lead:
                    while lead:
                        await self._follow()
                        if not self._chosen.done:
                            await self.change_over()
                        await asyncio.sleep(_LOOK_S)
                await asyncio.sleep(_LOOK_S)
            except (MemrouterError, OSError) as e:
                log.warning("changing the embedder failed, will be tried again", exc_info=e)
                self._note(error=f"{type(e).__name__}: {e}")
                await asyncio.sleep(_RETRY_S)

    async def _follow(self) -> None:
        """Load what was chosen since the last look."""
        found = choice.read(self._folder)
        if (found.use, found.before) != (self._chosen.use, self._chosen.before):
            made = await asyncio.to_thread(opened, found, self._load, strict=True)
            self._encoders.use(made.current, made.before)
        self._chosen = found

    async def change_over(self, told: Callable[[Progress], None] = lambda state: None) -> None:
        """Encode every vault; return when all are done, or something else was chosen.

        told  how far it is, after each step
        """
        vaults = [vault async for vault in self._store.vaults()]
        state = Progress(use=self._chosen.use, vaults=len(vaults))

        # First every vault is told, which also marks it: from here on a crash loses no vault.
        waiting = []
        for vault in vaults:
            if count := await self._backlog.aim(vault):
                waiting.append(vault)
            state = msgspec.structs.replace(
                state, counted=state.counted + 1, chunks=state.chunks + count
            )
            self._tell(state, told)
        for vault in waiting:
            while done := await self._backlog.encode_some(vault):
                state = msgspec.structs.replace(state, encoded=state.encoded + done)
                self._tell(state, told)
                if choice.read(self._folder).use != self._chosen.use:
                    return
        if choice.read(self._folder) == self._chosen:
            self._chosen = self._chosen.finished()
            choice.write(self._folder, self._chosen)
            self._encoders.use(self._encoders.current)

    def _tell(self, state: Progress, told: Callable[[Progress], None]) -> None:
        choice.note(self._folder, state)
        told(state)

    def _note(self, *, error: str) -> None:
        """Say why it does not go on, where that can be said."""
        try:
            choice.note(self._folder, Progress(use=self._chosen.use, error=error))
        except OSError as e:
            log.warning("progress cannot be noted", exc_info=e)
