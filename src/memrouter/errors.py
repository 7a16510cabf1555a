"""The exceptions that memrouter raises, each named for its condition.

MemrouterError
├── RequestError                the client can mend it: 4xx
│   ├── BadRequest              400  malformed body, unknown mode, density or value
│   │   └── ProviderKeyMissing  400  nothing to authenticate at the provider with
│   ├── Unauthorized            401  no memory key, an unknown one or an unknown suffix
│   ├── QuotaExhausted          402  the key's token quota is used up
│   ├── Forbidden               403  a minted key where an account key is needed
│   │   └── UpstreamRefused     403  a /v3 host that is not allowed
│   ├── NotFound                404
│   ├── MethodNotAllowed        405
│   ├── Conflict                409  another embedding model than the vault's
│   ├── TooLarge                413  body or line count over the limit
│   └── RateLimited             429  with Retry-After
├── Overloaded                  503  stopping, or beyond capacity; with Retry-After
├── UpstreamError               502  the provider cannot be reached or broke off
│   └── UpstreamTimeout         504
├── StoreError                  500  a vault cannot be read or written
│   ├── VaultCorrupted
│   ├── VaultNewer              written by a newer memrouter
│   ├── VaultLocked             encrypted, and SECRET_KEY does not open it
│   └── StoreFull
├── EmbedderError               500  an embedder raised or answered nonsense
└── ConfigError                 stops the start
"""

from __future__ import annotations


class MemrouterError(Exception):
    """Base of all; `status` is the HTTP status, `hint` says what to do."""

    status = 500

    def __init__(self, message: str, hint: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.retry_after_s = retry_after_s


class RequestError(MemrouterError):
    """The request is at fault; sending it again unchanged does not help."""

    status = 400


class BadRequest(RequestError):
    """The request cannot be understood."""


class ProviderKeyMissing(BadRequest):
    """No API key is known for the provider that serves the requested model."""

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"No API key configured for provider: {provider}",
            f"Add your {provider} API key in your account settings, or pass X-Provider-Key header",
        )


class Unauthorized(RequestError):
    """There is no memory key, or not a known one."""

    status = 401


class QuotaExhausted(RequestError):
    """The key's token quota is used up."""

    status = 402


class Forbidden(RequestError):
    """The key is known but may not do this."""

    status = 403


class UpstreamRefused(Forbidden):
    """The upstream named in the URL is not one this router may call."""


class NotFound(RequestError):
    """There is nothing at this address."""

    status = 404


class MethodNotAllowed(RequestError):
    """The address exists, this method on it does not."""

    status = 405


class Conflict(RequestError):
    """The request contradicts what is stored."""

    status = 409


class TooLarge(RequestError):
    """The body is over a limit; nothing of it was stored."""

    status = 413


class RateLimited(RequestError):
    """The key sends more than it may; `retry_after_s` says when to come back."""

    status = 429


class Overloaded(MemrouterError):
    """The router is stopping or at capacity."""

    status = 503


class UpstreamError(MemrouterError):
    """The provider could not be reached, or broke off before it answered."""

    status = 502


class UpstreamTimeout(UpstreamError):
    """The provider did not answer in time."""

    status = 504


class StoreError(MemrouterError):
    """A vault or the directory cannot be read or written."""


class VaultCorrupted(StoreError):
    """A vault file is not what SQLite wrote."""


class VaultNewer(StoreError):
    """A vault file was written by a newer memrouter than this one."""


class VaultLocked(StoreError):
    """A file is encrypted, and SECRET_KEY is not the one that its key is wrapped by."""


class StoreFull(StoreError):
    """The disk under the store is full."""


class EmbedderError(MemrouterError):
    """The embedder raised, or answered with vectors of another shape."""


class ConfigError(MemrouterError):
    """A setting is unknown or has a wrong value; the start stops here.

    setting  where it stands, as ("providers", "openai", "api_key"), if the message does not say
    """

    def __init__(self, message: str, hint: str = "", *, setting: tuple[str, ...] = ()) -> None:
        super().__init__(f"{'.'.join(setting)}: {message}" if setting else message, hint)
        self.setting = setting
        self.told = message
