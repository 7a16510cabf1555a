from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from memrouter.errors import UpstreamRefused
from memrouter.upstream.guard import GuardedResolver, check_literal


class Names(AbstractResolver):
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=a, port=port, family=family, proto=0, flags=0)
            for a in self.addresses
        ]

    async def close(self) -> None:
        self.closed = True


ANSWERS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "public": (("1.1.1.1", "2606:4700::1111"), ["1.1.1.1", "2606:4700::1111"]),
    "one of them inside": (("10.0.0.1", "1.1.1.1", "::1"), ["1.1.1.1"]),
}


@pytest.mark.parametrize(("found", "handed_on"), ANSWERS.values(), ids=ANSWERS)
async def test_only_public_addresses_are_handed_on(
    found: tuple[str, ...], handed_on: list[str]
) -> None:
    results = await GuardedResolver(Names(*found)).resolve("api.example", 443)
    assert [result["host"] for result in results] == handed_on


async def test_all_inside_is_refused() -> None:
    with pytest.raises(UpstreamRefused, match=r"api\.example") as caught:
        await GuardedResolver(Names("127.0.0.1", "fe80::1%eth0")).resolve("api.example", 443)
    assert "MEMROUTER_ALLOWED_UPSTREAMS" in caught.value.hint


async def test_no_answer_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        await GuardedResolver(Names()).resolve("api.example", 443)


async def test_closing() -> None:
    names = Names()
    await GuardedResolver(names).close()
    assert names.closed


@pytest.mark.parametrize("host", ["1.1.1.1", "[2606:4700::1111]", "api.example", "localhost"])
def test_literals_that_pass(host: str) -> None:
    check_literal(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "169.254.169.254"])
def test_literals_that_do_not(host: str) -> None:
    with pytest.raises(UpstreamRefused):
        check_literal(host)
