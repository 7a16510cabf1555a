"""Connections that are used again: what may be sent twice, and whose answer is whose."""

from __future__ import annotations

import pytest

from memrouter.errors import UpstreamError
from memrouter.upstream.client import HttpUpstream

from .test_upstream_client import Peer, body, ok, provider, upstream

__all__ = ["upstream"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_closed_just_as_a_request_is_sent(
    upstream: HttpUpstream, method: str
) -> None:
    """What is safe to send twice is sent again; a POST may have been taken, so it is not."""

    async def closes_on_the_second(peer: Peer) -> None:
        await peer.request()
        await peer.say(ok(b"once"))
        await peer.reader.readuntil(b"\r\n\r\n")

    async with provider(closes_on_the_second) as it:
        answers = [await upstream.send("GET", it.target(), [], b"") for _ in range(3)]
        for answer in answers:
            await body(answer)
        if method == "POST":
            with pytest.raises(UpstreamError, match="broke off"):
                await upstream.send("POST", it.target(), [], b"")
        else:
            assert await body(await upstream.send("GET", it.target(), [], b"")) == b"once"
    assert len(it.peers) == (3 if method == "POST" else 4)


async def test_a_first_connection_that_is_closed_is_not_tried_again(
    upstream: HttpUpstream,
) -> None:
    async def closes(peer: Peer) -> None:
        await peer.request()

    async with provider(closes) as it:
        with pytest.raises(UpstreamError, match="broke off"):
            await upstream.send("GET", it.target(), [], b"")
    assert len(it.peers) == 1
