"""Seals provider keys and the keys of vaults, so that files alone do not give them away.

AES-128-CBC with HMAC-SHA256 (Fernet, from `cryptography`), under a key derived from SECRET_KEY.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from memrouter.errors import ConfigError, MemrouterError

MIN_SECRET_CHARS = 16
PROVIDER_KEYS = "provider keys"
VAULT_KEYS = "vault keys"


class SealBroken(MemrouterError):
    """A sealed key cannot be opened: it was sealed under another SECRET_KEY, or altered."""


class Sealer:
    """Seals and opens keys.

    purpose     what for; what was sealed for one purpose cannot be opened for another
    secret_key  SECRET_KEY from the configuration: one or several, comma-separated. The first
                seals, all of them open; to rotate, put a new one in front.
    raises      ConfigError for one that is too short to be safe
    """

    def __init__(self, secret_key: str, purpose: str = PROVIDER_KEYS) -> None:
        secrets = [part.strip() for part in secret_key.split(",") if part.strip()]
        if not secrets or min(map(len, secrets)) < MIN_SECRET_CHARS:
            raise ConfigError(
                f"needs at least {MIN_SECRET_CHARS} characters",
                "Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
                setting=("secret_key",),
            )
        self._fernet = MultiFernet([Fernet(_derived(secret, purpose)) for secret in secrets])

    def seal(self, key: str) -> bytes:
        """What may be stored of a key."""
        return self._fernet.encrypt(key.encode())

    def open(self, sealed: bytes) -> str:
        """The key that was sealed. Raises SealBroken."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise SealBroken(
                "A stored provider key cannot be read",
                "Add the SECRET_KEY it was stored under, behind a comma, or store the key again",
            ) from None

    def reseal(self, sealed: bytes) -> bytes:
        """The same key under the first secret. Raises SealBroken."""
        return self.seal(self.open(sealed))


def _derived(secret: str, purpose: str) -> bytes:
    # SECRET_KEY is random, not a password: HKDF suffices, and it must be the same at every start.
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"memrouter {purpose} v1".encode())
    return base64.urlsafe_b64encode(hkdf.derive(secret.encode()))


def masked(key: str) -> str:
    """First and last characters of a provider key, to recognise it by: `sk-pr…wxyz`."""
    return f"{key[:5]}…{key[-4:]}" if len(key) >= 16 else "…"
