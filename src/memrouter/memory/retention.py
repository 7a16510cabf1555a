"""Deletes memories that are older than they may become, if the operator has said how old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from memrouter.domain import VaultId
from memrouter.memory.forgive import attempt
from memrouter.ports import Clock, VaultStore

_EVERY_S = 3_600.0
_VAULT_S = 60.0
"""How long one vault may take, before the others have their turn."""


class Retention:
    """Looks at every vault at the start, and once an hour."""

    def __init__(
        self,
        store: VaultStore,
        clock: Clock,
        days: int,
        *,
        on_expired: Callable[[int], None] = lambda count: None,
    ) -> None:
        """
        days        age at which a memory goes; 0 for never
        on_expired  told how many went
        """
        self._store = store
        self._clock = clock
        self._days = days
        self._on_expired = on_expired

    async def run(self) -> None:
        """Work until cancelled."""
        while self._days:
            await attempt(self.sweep, _EVERY_S, "retention")
            await asyncio.sleep(_EVERY_S)

    async def sweep(self) -> int:
        """Delete what is too old in every vault; return how many memories."""
        before = self._clock.now() - timedelta(days=self._days)
        expired = 0
        async for vault in self._store.vaults():
            expired += await self._of(vault, before)
        return expired

    async def _of(self, vault: VaultId, before: datetime) -> int:
        # A vault that cannot be read must not keep the others from being looked at.
        tried = await attempt(lambda: self._store.expire(vault, before), _VAULT_S, "retention")
        count = tried.value or 0
        if count:
            self._on_expired(count)
        return count
