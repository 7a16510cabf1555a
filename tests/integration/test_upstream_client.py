"""The HTTP client against sockets: what goes over the wire, and what happens when it breaks."""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from memrouter.domain import Target
from memrouter.errors import BadRequest, UpstreamError, UpstreamRefused
from memrouter.ports import Answer, Upstream
from memrouter.upstream.client import HttpUpstream

Handler = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The provider's end of one connection, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.gone = asyncio.Event()

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body of a request with a content-length."""
        head = await self.head()
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        return head, await self.reader.readexactly(length)

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


class Provider:
    """A provider on a socket; `handler` serves each connection."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.peers: list[Peer] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            await self.handler(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            peer.gone.set()
            writer.close()

    def target(self, path: str = "/v1/chat/completions") -> Target:
        return Target(provider="openai", url=self.url + path)


@asynccontextmanager
async def provider(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Provider]:
    it = Provider(handler)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    it.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield it
    finally:
        server.close()
        for peer in it.peers:
            if not peer.writer.is_closing():
                peer.writer.transport.abort()


@pytest.fixture
async def upstream() -> AsyncIterator[HttpUpstream]:
    it = HttpUpstream(connect_timeout_s=2, read_timeout_s=0.4)
    yield it
    await it.close()


async def body(answer: Answer) -> bytes:
    return b"".join([block async for block in answer.blocks()])


def ok(text: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(text), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + text


async def echo(peer: Peer) -> None:
    """Answers every request of a connection with what it was sent."""
    while True:
        head, text = await peer.request()
        await peer.say(ok(head + text))


def test_it_is_an_upstream() -> None:
    _: Upstream = HttpUpstream()


async def test_a_request_goes_out_as_it_was_given(upstream: HttpUpstream) -> None:
    async with provider(echo) as it:
        target = Target(
            provider="openai",
            url=it.url + "/v1/chat%2Fcompletions/../x?a=%7E&a=b+c&%41",
            headers=(("authorization", "Bearer sk-own"),),
        )
        sent = [
            ("x-stainless-lang", "python"),
            ("authorization", "Bearer mk_theirs"),
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b"),
            ("content-length", "999"),
            ("host", "router"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("x-latin", "caf\xe9"),
        ]
        got = await body(await upstream.send("POST", target, sent, b"{}"))
    host = it.url.removeprefix("http://").encode()
    assert got == (
        b"POST /v1/chat%2Fcompletions/../x?a=%7E&a=b+c&%41 HTTP/1.1\r\n"
        b"host: " + host + b"\r\n"
        b"x-stainless-lang: python\r\n"
        b"anthropic-beta: a\r\n"
        b"anthropic-beta: b\r\n"
        b"x-latin: caf\xe9\r\n"
        b"authorization: Bearer sk-own\r\n"
        b"content-length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_without_a_body_there_is_no_length(upstream: HttpUpstream, method: str) -> None:
    heads = []

    async def handler(peer: Peer) -> None:
        heads.append(await peer.head())
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        if method == "GET":
            await peer.say(b"hello")
        heads.append(await peer.head())
        await peer.say(ok(b"again"))

    async with provider(handler) as it:
        answer = await upstream.send(method, it.target(), [], b"")
        assert await body(answer) == (b"hello" if method == "GET" else b"")
        assert await body(await upstream.send("GET", it.target(), [], b"")) == b"again"
    assert b"content-length" not in heads[0]
    assert len(it.peers) == 1


async def test_connections_are_reused(upstream: HttpUpstream) -> None:
    async with provider(echo) as it:
        for _ in range(5):
            await body(await upstream.send("POST", it.target(), [], b"{}"))
        answers = [await upstream.send("POST", it.target(), [], b"{}") for _ in range(3)]
        for answer in answers:
            await body(answer)
    assert len(it.peers) <= 3


async def test_a_connection_closed_while_idle_is_not_used_again(upstream: HttpUpstream) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.say(ok(b"once"))

    async with provider(once) as it:
        for _ in range(3):
            assert await body(await upstream.send("POST", it.target(), [], b"{}")) == b"once"
            await asyncio.sleep(0.01)
    assert len(it.peers) == 3


async def test_answers_come_back_as_they_are(upstream: HttpUpstream) -> None:
    packed = zlib.compress(b"not unpacked")

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n")
        headers = (
            b"Set-Cookie: a=1",
            b"Set-Cookie: b=2",
            b"Content-Encoding: deflate",
            b"Retry-After: 7",
            b"X-Hop: 1",
            b"Connection: keep-alive, X-Hop",
            b"Keep-Alive: timeout=5",
        )
        await peer.say(ok(packed, *headers).replace(b"200 OK", b"429 Slow Down"))

    async with provider(handler) as it:
        answer = await upstream.send("POST", it.target(), [], b"{}")
        assert answer.status == 429
        assert list(answer.headers) == [
            (b"content-length", str(len(packed)).encode()),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
            (b"content-encoding", b"deflate"),
            (b"retry-after", b"7"),
        ]
        assert await body(answer) == packed


async def test_cookies_are_not_kept(upstream: HttpUpstream) -> None:
    async def handler(peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            await peer.say(ok(head, b"Set-Cookie: a=1"))

    async with provider(handler) as it:
        await body(await upstream.send("POST", it.target(), [], b"{}"))
        assert b"cookie" not in await body(await upstream.send("POST", it.target(), [], b"{}"))


async def test_redirects_are_not_followed(upstream: HttpUpstream) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 307 There\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n")

    async with provider(handler) as it:
        answer = await upstream.send("POST", it.target(), [], b"{}")
        assert answer.status == 307
        assert (b"location", b"/there") in answer.headers
        assert await body(answer) == b""


async def test_blocks_come_as_they_are_sent(upstream: HttpUpstream) -> None:
    go = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await go.wait()
        await peer.say(b"3\r\ntwo\r\n0\r\n\r\n")
        await peer.reader.read()

    async with provider(handler) as it:
        answer = await upstream.send("POST", it.target(), [], b"{}")
        blocks = answer.blocks()
        assert await anext(blocks) == b"one"
        go.set()
        assert [block async for block in blocks] == [b"two"]
        assert not it.peers[0].gone.is_set()


async def test_an_answer_until_the_end_of_the_connection(upstream: HttpUpstream) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    async with provider(handler) as it:
        assert await body(await upstream.send("POST", it.target(), [], b"{}")) == b"all of it"


BROKEN_BODIES = {
    "short of its length": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart",
    "no last chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n",
    "within a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\npart",
    "not a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n",
}


@pytest.mark.parametrize("said", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
async def test_an_answer_that_breaks_off_raises(upstream: HttpUpstream, said: bytes) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        head, end, rest = said.partition(b"\r\n\r\n")
        await peer.say(head + end)
        await asyncio.sleep(0.01)
        await peer.say(rest)

    async with provider(handler) as it:
        answer = await upstream.send("POST", it.target(), [], b"{}")
        with pytest.raises(UpstreamError, match="openai") as caught:
            await body(answer)
        assert caught.value.hint
        await answer.close()


NO_ANSWERS = {
    "closed": b"",
    "not http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "switched protocols": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_no_answer_is_an_upstream_error(upstream: HttpUpstream, said: bytes) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)

    async with provider(handler) as it:
        with pytest.raises(UpstreamError) as caught:
            await upstream.send("POST", it.target("/v1/x?key=secret"), [], b"{}")
    assert "secret" not in str(caught.value) + caught.value.hint
    assert caught.value.hint


async def test_a_provider_that_is_not_there(upstream: HttpUpstream) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1/x?key=secret"
    target = Target(provider="openai", url=url)
    with pytest.raises(UpstreamError, match="openai cannot be reached") as caught:
        await upstream.send("POST", target, [], b"{}")
    assert caught.value.status == 502
    assert "secret" not in str(caught.value) + caught.value.hint


async def test_a_name_that_does_not_resolve(upstream: HttpUpstream) -> None:
    target = Target(provider="openai", url="https://nowhere.invalid/v1")
    with pytest.raises(UpstreamError, match="does not resolve"):
        await upstream.send("POST", target, [], b"{}")


async def test_tls_to_a_plain_server(upstream: HttpUpstream) -> None:
    async with provider(echo) as it:
        target = Target(provider="openai", url=it.url.replace("http:", "https:") + "/v1")
        with pytest.raises(UpstreamError, match="openai cannot be reached"):
            await upstream.send("POST", target, [], b"{}")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and key for api.example, which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("api.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "api.example.pem"
    path.write_bytes(
        made.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


async def test_tls_is_for_the_host_that_was_named(certificate: Path) -> None:
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate)
    asked: list[str | None] = []
    served.sni_callback = lambda _socket, name, _context: asked.append(name)
    trusted = ssl.create_default_context(cafile=certificate)
    async with provider(echo, served) as it:
        target = Target(provider="x", url=it.url.replace("127.0.0.1", "api.example") + "/v1")
        upstream = HttpUpstream(resolver=Names(["127.0.0.1"]), tls=trusted)
        got = await body(await upstream.send("POST", target, [], b"{}"))
        assert asked == ["api.example"]
        assert b"\r\nhost: api.example:" in got
        with pytest.raises(UpstreamError, match="its certificate is not trusted"):
            await upstream.send("POST", it.target(), [], b"{}")  # no certificate for an address
        await upstream.close()
        wary = HttpUpstream(resolver=Names(["127.0.0.1"]))
        with pytest.raises(UpstreamError, match="its certificate is not trusted"):
            await wary.send("POST", target, [], b"{}")
        await wary.close()


async def test_cancelling_while_waiting_cuts_the_connection(upstream: HttpUpstream) -> None:
    asked = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.reader.read()

    async with provider(handler) as it:
        task = asyncio.create_task(upstream.send("POST", it.target(), [], b"{}"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(it.peers[0].gone.wait(), 1)


async def endless(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not peer.writer.transport.is_closing():
        await peer.say(b"5\r\nagain\r\n")
        await asyncio.sleep(0.01)


async def test_cancelling_while_reading_cuts_the_connection(upstream: HttpUpstream) -> None:
    async with provider(endless) as it:
        answer = await upstream.send("POST", it.target(), [], b"{}")
        started = asyncio.Event()

        async def read() -> None:
            async with aclosing(answer.blocks()) as blocks:  # type: ignore[type-var]
                async for _ in blocks:
                    started.set()

        task = asyncio.create_task(read())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(it.peers[0].gone.wait(), 1)


async def test_closing_an_unread_answer_cuts_the_connection(upstream: HttpUpstream) -> None:
    async with provider(endless) as it:
        answer = await upstream.send("POST", it.target(), [], b"{}")
        await answer.close()
        await answer.close()
        await asyncio.wait_for(it.peers[0].gone.wait(), 1)


async def test_a_slow_reader_holds_the_provider_back() -> None:
    upstream = HttpUpstream(read_timeout_s=60)  # much to read, on a machine that may be busy
    said = 0

    async def handler(peer: Peer) -> None:
        nonlocal said
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n")
        for _ in range(500):
            await peer.say(b"x" * 100_000)
            said += 100_000

    async with provider(handler) as it:
        answer = await upstream.send("POST", it.target(), [], b"{}")
        await asyncio.sleep(0.2)
        assert said < 50_000_000
        assert len(await body(answer)) == 50_000_000
        await upstream.close()


async def blocks_of(*blocks: bytes, wait_s: float = 0.0) -> AsyncIterator[bytes]:
    for block in blocks:
        await asyncio.sleep(wait_s)
        yield block


async def dechunked(peer: Peer) -> bytes:
    text = b""
    while size := int(await peer.reader.readline(), 16):
        text += await peer.reader.readexactly(size)
        await peer.reader.readexactly(2)
    await peer.reader.readexactly(2)
    return text


async def test_a_body_is_streamed_in_chunks(upstream: HttpUpstream) -> None:
    async def handler(peer: Peer) -> None:
        for _ in range(2):
            head = await peer.head()
            assert b"transfer-encoding: chunked\r\n" in head
            assert b"content-length" not in head
            await peer.say(ok(await dechunked(peer)))

    async with provider(handler) as it:
        for _ in range(2):
            given = blocks_of(b"one", b"", b"two" * 100_000, wait_s=0.01)
            answer = await upstream.send("POST", it.target(), [], given)
            assert await body(answer) == b"one" + b"two" * 100_000
    assert len(it.peers) == 1


async def test_a_streamed_body_keeps_its_declared_length(upstream: HttpUpstream) -> None:
    async with provider(echo) as it:
        headers = [("content-length", "6")]
        answer = await upstream.send("POST", it.target(), headers, blocks_of(b"one", b"two"))
        got = await body(answer)
    assert b"\r\ncontent-length: 6\r\n" in got
    assert b"transfer-encoding" not in got
    assert got.endswith(b"\r\n\r\nonetwo")


@pytest.mark.parametrize("length", ["5", "7"])
async def test_a_streamed_body_of_another_length(upstream: HttpUpstream, length: str) -> None:
    async with provider(echo) as it:
        headers = [("content-length", length)]
        with pytest.raises(BadRequest, match="content-length"):
            await upstream.send(
                "POST", it.target(), headers, blocks_of(b"one", b"two", wait_s=0.01)
            )


async def test_a_body_that_raises_cuts_the_connection(upstream: HttpUpstream) -> None:
    async def given() -> AsyncIterator[bytes]:
        yield b"one"
        raise LookupError("client went away")

    async with provider(echo) as it:
        with pytest.raises(LookupError):
            await upstream.send("POST", it.target(), [("content-length", "9")], given())
        await asyncio.wait_for(it.peers[0].gone.wait(), 1)


async def test_a_body_that_raises_while_the_answer_comes(upstream: HttpUpstream) -> None:
    answered = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")
        await peer.reader.read()

    async def given() -> AsyncIterator[bytes]:
        yield b"one"
        await answered.wait()
        raise LookupError("client went away")

    async with provider(handler) as it:
        answer = await upstream.send("POST", it.target(), [], given())
        blocks = answer.blocks()
        assert await anext(blocks) == b"part"
        answered.set()
        with pytest.raises(UpstreamError):
            await asyncio.wait_for(anext(blocks), 0.2)
        await asyncio.wait_for(it.peers[0].gone.wait(), 1)


async def test_an_answer_before_all_was_sent(upstream: HttpUpstream) -> None:
    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await peer.reader.read()

    async def endlessly() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1_000
            await asyncio.sleep(0.005)

    async with provider(handler) as it:
        answer = await upstream.send("POST", it.target(), [], endlessly())
        assert answer.status == 413
        assert await body(answer) == b"big"
        await asyncio.wait_for(it.peers[0].gone.wait(), 1)


async def test_the_environment_names_no_proxy(
    upstream: HttpUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with provider(echo) as it:
        assert await body(await upstream.send("POST", it.target(), [], b"{}"))


async def test_a_configured_proxy_is_used() -> None:
    async with provider(echo) as proxy:
        upstream = HttpUpstream(proxy=proxy.url.replace("://", "://user:pass@"))
        target = Target(provider="openai", url="http://api.example/v1/x?a=b")
        got = await body(await upstream.send("POST", target, [], b"{}"))
        await upstream.close()
    assert got.startswith(b"POST http://api.example/v1/x?a=b HTTP/1.1\r\nhost: api.example\r\n")
    assert b"proxy-authorization: Basic dXNlcjpwYXNz\r\n" in got


class Names(AbstractResolver):
    """DNS, made up."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(hostname=host, host=a, port=port, family=family, proto=0, flags=0)
            for a in self.addresses
        ]

    async def close(self) -> None: ...


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "::1"])
async def test_a_guarded_name_that_leads_inside_is_refused(address: str) -> None:
    async with provider(echo) as it:
        upstream = HttpUpstream(resolver=Names([address]))
        url = it.url.replace("127.0.0.1", "api.example")
        with pytest.raises(UpstreamRefused):
            await upstream.send("POST", Target(provider="x", url=url, guarded=True), [], b"{}")
        await upstream.close()
    assert not it.peers


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_a_guarded_address_that_is_inside_is_refused(
    upstream: HttpUpstream, host: str
) -> None:
    target = Target(provider="x", url=f"http://{host}:9/v1", guarded=True)
    with pytest.raises(UpstreamRefused):
        await upstream.send("POST", target, [], b"{}")


async def test_an_unguarded_name_may_lead_inside() -> None:
    async with provider(echo) as it:
        names = Names(["127.0.0.1"])
        upstream = HttpUpstream(resolver=names)
        url = it.url.replace("127.0.0.1", "llm.internal")
        for _ in range(2):
            got = await body(await upstream.send("POST", Target(provider="x", url=url), [], b"{}"))
        await upstream.close()
    assert b"\r\nhost: llm.internal:" in got
    assert names.asked == ["llm.internal"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/x\r\nhost: y", []),
        ("/v1/x y", []),
        ("/v1/\xe9", []),
        ("/v1", [("x-a", "b\r\nhost: y")]),
        ("/v1", [("x-a", "b\n")]),
        ("/v1", [("x-a", "\0")]),
        ("/v1", [("x-a\r\nb", "c")]),
        ("/v1", [("x-a", "日本")]),
    ],
)
async def test_what_http_cannot_carry_is_refused(
    upstream: HttpUpstream, path: str, headers: list[tuple[str, str]]
) -> None:
    async with provider(echo) as it:
        with pytest.raises(BadRequest):
            await upstream.send("POST", it.target(path), headers, b"{}")
    assert not it.peers


async def test_closing_cuts_what_is_in_use(upstream: HttpUpstream) -> None:
    async with provider(endless) as it:
        waiting = await upstream.send("POST", it.target(), [], b"{}")
        unread = await upstream.send("POST", it.target(), [], b"{}")
        reading = asyncio.create_task(body(waiting))
        await asyncio.sleep(0.02)
        await upstream.close()
        for reader in (reading, body(unread)):
            with pytest.raises(UpstreamError):
                await asyncio.wait_for(reader, 1)
        with pytest.raises(UpstreamError, match="stopping"):
            await upstream.send("POST", it.target(), [], b"{}")
