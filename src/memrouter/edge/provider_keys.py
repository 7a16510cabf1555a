"""The provider keys that accounts have stored: sealed in the directory, opened when needed."""

from __future__ import annotations

from memrouter.domain import AccountId
from memrouter.edge.auth import is_memory_key
from memrouter.errors import BadRequest
from memrouter.ports import Directory
from memrouter.secrets import SealBroken, Sealer, masked

_MOST_OPENED = 1_024


class ProviderKeys:
    """Keeps and finds provider keys, by the provider's own name."""

    def __init__(self, directory: Directory, sealer: Sealer) -> None:
        self._directory = directory
        self._sealer = sealer
        self._opened: dict[bytes, str] = {}  # opening one takes as long as relaying a request

    async def find(self, account: AccountId, provider: str) -> str:
        """The account's key for a provider; "" if it has none. Raises SealBroken."""
        sealed = (await self._directory.provider_keys(account)).get(provider)
        return "" if sealed is None else self._open(sealed)

    async def all(self, account: AccountId) -> dict[str, str | None]:
        """Provider → key, by name; None where SECRET_KEY does not open it."""
        sealed = await self._directory.provider_keys(account)
        return {provider: self._try(sealed[provider]) for provider in sorted(sealed)}

    async def put(self, account: AccountId, provider: str, key: str) -> str:
        """Store a key, in place of the one before; return it as it may be shown."""
        key = checked(key)
        await self._directory.set_provider_key(account, provider, self._sealer.seal(key))
        return masked(key)

    async def delete(self, account: AccountId, provider: str) -> bool:
        """Whether there was one."""
        return await self._directory.delete_provider_key(account, provider)

    def _open(self, sealed: bytes) -> str:
        key = self._opened.get(sealed)
        if key is None:
            key = self._sealer.open(sealed)
            if len(self._opened) >= _MOST_OPENED:
                self._opened.clear()
            self._opened[sealed] = key
        return key

    def _try(self, sealed: bytes) -> str | None:
        try:
            return self._open(sealed)
        except SealBroken:
            return None


def checked(key: str) -> str:
    """A provider key as a client gave it. Raises BadRequest if it can be none."""
    key = key.strip()
    if not key:
        raise BadRequest("The provider key is empty", "Send it as `key`; DELETE removes it")
    if is_memory_key(key):
        raise BadRequest("This is a memory key", "Send the key that the provider gave you")
    if not (key.isascii() and key.isprintable()):
        raise BadRequest(
            "The provider key holds characters that no header can", "Check how it was copied"
        )
    return key
