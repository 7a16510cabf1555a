"""Providers that fall silent: the read timeout counts from what came last."""

from __future__ import annotations

import asyncio
import time

import pytest

from memrouter.errors import UpstreamTimeout
from memrouter.upstream.client import HttpUpstream

from .test_upstream_client import Peer, body, ok, provider, upstream

__all__ = ["upstream"]


async def test_silence_before_the_answer_times_out(upstream: HttpUpstream) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.reader.read()

    async with provider(handler) as it:
        with pytest.raises(UpstreamTimeout):
            await upstream.send("POST", it.target(), [], b"{}")
        await asyncio.wait_for(it.peers[0].gone.wait(), 1)


async def test_silence_within_the_answer_times_out(upstream: HttpUpstream) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")
        await peer.reader.read()

    async with provider(handler) as it:
        answer = await upstream.send("POST", it.target(), [], b"{}")
        with pytest.raises(UpstreamTimeout):
            await body(answer)
        await asyncio.wait_for(it.peers[0].gone.wait(), 1)


async def test_a_head_that_never_ends_times_out(upstream: HttpUpstream) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\n")
        while not peer.writer.transport.is_closing():
            await peer.say(b"x")
            await asyncio.sleep(0.05)

    async with provider(handler) as it:
        with pytest.raises(UpstreamTimeout):
            async with asyncio.timeout(2):
                await upstream.send("POST", it.target(), [], b"{}")
        await asyncio.wait_for(it.peers[0].gone.wait(), 1)


async def test_what_comes_in_time_takes_as_long_as_it_will() -> None:
    """Silence counts from what came last, on a connection that was used before, too."""

    async def handler(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await asyncio.sleep(0.4)
            await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
            for _ in range(4):
                await asyncio.sleep(0.3)
                await peer.say(b"x")

    upstream = HttpUpstream(read_timeout_s=1)
    async with provider(handler) as it:
        for _ in range(2):
            answer = await upstream.send("POST", it.target(), [], b"{}")
            assert await body(answer) == b"xxxx"
        assert len(it.peers) == 1
        await upstream.close()


async def test_silence_on_a_connection_that_was_used_before_times_out(
    upstream: HttpUpstream,
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.say(ok(b"one"))
        await peer.request()
        await peer.reader.read()

    async with provider(handler) as it:
        assert await body(await upstream.send("POST", it.target(), [], b"{}")) == b"one"
        await asyncio.sleep(0.3)
        began = time.perf_counter()
        with pytest.raises(UpstreamTimeout):
            await upstream.send("POST", it.target(), [], b"{}")
        assert time.perf_counter() - began > 0.35
        assert len(it.peers) == 1
