"""Keeps connections to hosts that clients name off private networks, whatever DNS says.

The check is where the connection is made: a name that resolves to a private address later, or at
every second look-up, is refused then, because only checked addresses reach the connector.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

from memrouter.errors import UpstreamRefused
from memrouter.upstream.addresses import is_public

_HINT = "Name the host in MEMROUTER_ALLOWED_UPSTREAMS if this is intended"


class GuardedResolver(AbstractResolver):
    """Resolves by another resolver, and hands on public addresses only."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises UpstreamRefused if no address is left, OSError if there was none."""
        found = await self._resolver.resolve(host, port, family)
        public = [result for result in found if is_public(result["host"])]
        if not found:
            raise OSError(None, "no address")  # the connector expects at least one
        if not public:
            raise UpstreamRefused(f"{host} is not on the public internet", _HINT)
        return public

    async def close(self) -> None:
        await self._resolver.close()


def check_literal(host: str) -> None:
    """Raise UpstreamRefused if `host` is an IP address that is not public: no resolver sees it."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return
    if not is_public(address):
        raise UpstreamRefused(f"{host} is not on the public internet", _HINT)
