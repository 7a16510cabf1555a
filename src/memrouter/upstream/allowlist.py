"""Which hosts a client may name in a /v3 URL (pure)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from memrouter.errors import ConfigError, UpstreamRefused
from memrouter.upstream.addresses import is_public

PORTS = {"http": 80, "https": 443}

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)$")
"""A last label that makes resolvers read a host as an IPv4 address, in whatever spelling."""
_PORT = re.compile(r"[0-9]{1,5}")
_HINT = "Have {0} added to MEMROUTER_ALLOWED_UPSTREAMS, as host or host:port"


class Allowlist:
    """Hosts of known providers, and what the configuration adds.

    Known hosts are called by https on its own port, at public addresses. A host that the
    configuration names is called as it says: any scheme, any port unless one is given, any address.
    """

    def __init__(self, known: Collection[str], configured: Iterable[str] = ()) -> None:
        """Raises ConfigError for an entry that is neither host nor host:port."""
        self._known = frozenset(known)
        self._configured = frozenset(_entry(text) for text in configured)

    def check(self, scheme: str, host: str, port: int) -> bool:
        """Whether the connection must be guarded, for a host from `parse_authority`.

        raises UpstreamRefused if the host may not be called
        """
        if (host, port) in self._configured or (host, None) in self._configured:
            return False
        place = host if port == PORTS[scheme] else f"{host}:{port}"
        if host not in self._known:
            public = _address(host) is None or is_public(host.strip("[]"))
            reason = "not an allowed upstream" if public else "not on the public internet"
            raise UpstreamRefused(f"{place} is {reason}", _HINT.format(place))
        if (scheme, port) != ("https", 443):
            raise UpstreamRefused(
                f"{host} may be called by https on port 443 only", _HINT.format(place)
            )
        return True


def parse_authority(text: str, scheme: str) -> tuple[str, int]:
    """Host and port of `host`, `host:port` or `[address]:port`, in the one form that is compared.

    raises UpstreamRefused for user names, and hosts, addresses and ports in any but the usual form
    """
    if "@" in text:
        raise UpstreamRefused("The provider's URL holds a user name", "Send credentials in headers")
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", text)
    if match is None or not match[1]:
        raise UpstreamRefused("The provider's URL has no valid host", "Use https://host/path")
    return parse_host(match[1]), _port(match[2], scheme)


def parse_host(text: str) -> str:
    """A host name in lower case without its last dot, or an address in its shortest form."""
    if text.startswith("["):
        try:
            address = IPv6Address(text[1:-1])
        except ValueError:
            raise UpstreamRefused("The host is not an IPv6 address", "Use [2001:db8::1]") from None
        if address.scope_id is not None:
            raise UpstreamRefused("The host has a zone id", "Use an address without one")
        return f"[{address.compressed}]"
    host = text.lower().removesuffix(".")
    if not host.isascii():
        raise UpstreamRefused("The host has letters beyond ASCII", "Write it in punycode (xn--…)")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise UpstreamRefused("The provider's URL has no valid host", "Use https://host/path")
    if _NUMERIC.match(host.rpartition(".")[2]) and _address(host) is None:
        raise UpstreamRefused(
            "The host is an address in an unusual spelling", "Write it as four decimal numbers"
        )
    return host


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _port(text: str | None, scheme: str) -> int:
    if not text:
        return PORTS[scheme]
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65_536:
        raise UpstreamRefused(
            "The port is not a number from 1 to 65535", "Use https://host:port/path"
        )
    return int(text)


def _entry(text: str) -> tuple[str, int | None]:
    """Host and port of an entry of the configuration; the port is None if it names none."""
    bare = re.sub(r"^https?://", "", text.strip(), flags=re.IGNORECASE).rstrip("/")
    if ":" in bare and not bare.startswith("[") and _address(bare) is not None:
        bare = f"[{bare}]"
    try:
        host, port = parse_authority(bare, "https")
    except UpstreamRefused as e:
        raise ConfigError(
            f"{text!r} is no host: {e}", "Use host or host:port", setting=("allowed_upstreams",)
        ) from None
    has_port = re.search(r":[0-9]+$", bare.rpartition("]")[2])
    return host, port if has_port else None
