"""Calls providers over HTTP/1.1: aiohttp's connection pool, requests written by us.

aiohttp's session does much that a relay must not do (headers, cookies, redirects, requoting), and
costs more than the rest of a call. Below it, its connector pools, resolves and encrypts; a request
is written here, as the client sent it, and its answer read by `incoming`.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Sequence

import aiohttp
from aiohttp import encode_basic_auth
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import AddrInfoType, Connection
from aiohttp.http import HttpProcessingError, StreamWriter
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from memrouter.domain import Target
from memrouter.errors import BadRequest, UpstreamError, UpstreamTimeout
from memrouter.upstream.guard import GuardedResolver, check_literal
from memrouter.upstream.incoming import Incoming, Protocol
from memrouter.upstream.message import declared_length, end_to_end, split_url, write_head

_MAX_ORIGINS = 1_024
_BROKEN = (aiohttp.ClientError, HttpProcessingError, OSError)
"""What aiohttp raises when a connection fails; timeouts are OSErrors."""
_CLOSED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError)
"""What it raises when the other end has closed it."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that may be sent twice. A model's answer may be on its bill although nothing of it came,
so a POST is never sent again here: its client decides, and SDKs do after a 502."""


class _Connector(aiohttp.TCPConnector):
    """A pool of connections that speak `Protocol`."""

    def __init__(
        self,
        resolver: AbstractResolver,
        keepalive_s: float,
        dns_ttl_s: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(
            ssl=tls or True,
            limit=0,
            keepalive_timeout=keepalive_s,
            ttl_dns_cache=dns_ttl_s,
            resolver=resolver,
            socket_factory=_socket,
        )
        protocol: type[ResponseHandler] = Protocol
        self._factory = functools.partial(protocol, loop=self._loop)


class HttpAnswer:
    """See ports.Answer. Whoever does not read all of `blocks()` calls `close()`."""

    def __init__(
        self,
        provider: str,
        connection: Connection,
        protocol: Protocol,
        incoming: Incoming,
        upload: _Upload | None,
        open_answers: set[HttpAnswer],
    ) -> None:
        self.status: int = incoming.status
        self.headers: Sequence[tuple[bytes, bytes]] = end_to_end(incoming.fields)
        self._provider = provider
        self._connection: Connection | None = connection
        self._protocol = protocol
        self._incoming = incoming
        self._upload = upload
        self._open_answers = open_answers
        open_answers.add(self)
        if incoming.ended:
            self._release()
        else:
            incoming.on_end = self._release  # others may use it before our reader is done

    @property
    def ended(self) -> bool:
        """See ports.Answer.ended."""
        return self._incoming.read_up

    async def read(self) -> bytes:
        """See ports.Answer.read."""
        try:
            return await self._incoming.read()
        except _BROKEN as e:
            raise _broken(self._provider, e) from e

    async def blocks(self) -> AsyncIterator[bytes]:
        """See ports.Answer.blocks."""
        try:
            while block := await self.read():
                yield block
        finally:
            await self.close()

    async def close(self) -> None:
        """See ports.Answer.close."""
        self._open_answers.discard(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            self._protocol.abort()
            connection.close()
        upload, self._upload = self._upload, None
        if upload is not None:
            await upload.stop()

    def _release(self) -> None:
        connection = self._connection
        if connection is None or (self._upload is not None and not self._upload.done):
            return  # answered before all was sent: the connection is of no further use
        self._connection = None
        self._open_answers.discard(self)
        self._protocol.used = True
        connection.release()


class HttpUpstream:
    """See ports.Upstream. For one event loop; connections open at the first call.

    connect_timeout_s  to resolve, connect and shake hands
    read_timeout_s     until an answer starts, and between two pieces of it
    keepalive_s        how long an idle connection is kept: less than providers and NATs keep it
    dns_ttl_s          how long the addresses of a host are remembered
    proxy              URL of an HTTP proxy for every call; the environment's is never used
    resolver           how names become addresses; None for the system's way
    tls                whom to trust; None for the system's authorities
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 600.0,
        keepalive_s: float = 45.0,
        dns_ttl_s: int = 60,
        proxy: str = "",
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout_s)
        self._read_timeout_s = read_timeout_s
        self._keepalive_s = keepalive_s
        self._dns_ttl_s = dns_ttl_s
        self._proxy = URL(proxy) if proxy else None
        self._resolver = resolver
        self._tls = tls
        self._connectors: dict[bool, _Connector] = {}
        self._origins: dict[tuple[str, bool], ClientRequest] = {}
        self._answers: set[HttpAnswer] = set()
        self._closed = False

    async def send(
        self,
        method: str,
        target: Target,
        headers: Sequence[tuple[str, str]],
        body: bytes | AsyncIterator[bytes],
    ) -> HttpAnswer:
        """See ports.Upstream.send.

        Header names are in lower case. `target.headers` take the place of `headers` of the same
        name; host and framing are set here. A streamed body is sent with the content-length that
        `headers` declare, chunked if they declare none.
        """
        origin, path = split_url(target.url)
        route = self._origin(origin, guarded=target.guarded)
        if route.proxy is not None and not route.is_ssl():
            path = target.url
        head = write_head(method, path, route.headers, target.headers, headers, body)
        while True:
            connection = await self._connect(target, route)
            protocol = connection.protocol
            assert isinstance(protocol, Protocol)  # there is one until it is released
            try:
                return await self._exchange(
                    method, target, connection, protocol, head, headers, body
                )
            except BaseException as e:
                protocol.abort()
                connection.close()
                if protocol.used and method in _SAFE and body == b"" and isinstance(e, _CLOSED):
                    continue  # it was closed just as we wrote; every one that idled may be
                if isinstance(e, _BROKEN):
                    raise _broken(target.provider, e) from e
                raise

    async def close(self) -> None:
        """Close every connection, those in use too."""
        self._closed = True
        for answer in tuple(self._answers):
            await answer.close()
        for connector in self._connectors.values():
            await connector.close()
        self._connectors.clear()
        self._origins.clear()

    def _origin(self, origin: str, *, guarded: bool) -> ClientRequest:
        """What the connector must know of an origin; made once for each."""
        known = self._origins.get((origin, guarded))
        if known is not None:
            return known
        if self._closed:
            raise UpstreamError("The router is stopping", "Send the request again later")
        url = URL(origin, encoded=True)
        if guarded:
            check_literal(url.raw_host or "")
        if len(self._origins) >= _MAX_ORIGINS:
            self._origins.clear()
        made = ClientRequest("GET", url, loop=asyncio.get_running_loop(), proxy=self._proxy)
        if self._proxy is not None and self._proxy.user and not made.is_ssl():
            secret = self._proxy.password or ""
            made.headers["Proxy-Authorization"] = encode_basic_auth(self._proxy.user, secret)
        self._origins[origin, guarded] = made
        return made

    def _connector(self, *, guarded: bool) -> _Connector:
        connector = self._connectors.get(guarded)
        if connector is None:
            resolver = self._resolver or ThreadedResolver()
            connector = self._connectors[guarded] = _Connector(
                GuardedResolver(resolver) if guarded else resolver,
                self._keepalive_s,
                self._dns_ttl_s,
                self._tls,
            )
        return connector

    async def _connect(self, target: Target, route: ClientRequest) -> Connection:
        # Through a proxy only the proxy is resolved here; where it connects to is its matter.
        connector = self._connector(guarded=target.guarded and self._proxy is None)
        try:
            while True:
                found = await connector.connect(route, traces=[], timeout=self._timeout)
                if found.protocol is None or not found.protocol.should_close:
                    return found
                # It was spoken on while idle: the next request would take that for its answer.
                found.protocol.abort()
                found.close()
        except _BROKEN as e:
            raise _unreachable(target.provider, route, e) from e

    async def _exchange(
        self,
        method: str,
        target: Target,
        connection: Connection,
        protocol: Protocol,
        head: bytes,
        headers: Sequence[tuple[str, str]],
        body: bytes | AsyncIterator[bytes],
    ) -> HttpAnswer:
        transport = protocol.transport
        if transport is None:
            raise ConnectionResetError("closed")
        incoming = protocol.expect(method, self._read_timeout_s)
        upload: _Upload | None = None
        if isinstance(body, bytes):
            if body:
                transport.writelines((head, body))
            else:
                transport.write(head)
            protocol.start_timeout()
        else:
            transport.write(head)
            upload = _Upload(protocol, body, declared_length(headers))
        # Each byte of a head restarts the read timeout; one that never ends must end, too. What
        # is uploaded may take its time: there, only silence counts.
        if upload is None:
            protocol.head_due_s = asyncio.get_running_loop().time() + self._read_timeout_s
        try:
            await incoming.head()
        except BaseException as e:
            if upload is not None:
                await upload.stop()
                if upload.failure is not None and isinstance(e, Exception):
                    raise upload.failure from e
            raise
        protocol.head_due_s = None
        return HttpAnswer(target.provider, connection, protocol, incoming, upload, self._answers)


class _Upload:
    """A body on its way to a provider, while its answer may come already."""

    def __init__(
        self, protocol: ResponseHandler, body: AsyncIterator[bytes], length: int | None
    ) -> None:
        self._protocol = protocol
        self._task = asyncio.create_task(self._run(body, length))
        self._task.add_done_callback(self._ended)
        self.failure: BaseException | None = None
        """What the body raised; then the connection was cut."""

    @property
    def done(self) -> bool:
        """Whether all of the body has been sent."""
        return self._task.done() and self.failure is None

    async def stop(self) -> None:
        """Stop sending; returns when it has."""
        self._task.cancel()
        await asyncio.wait({self._task})

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.failure = None if task.cancelled() else task.exception()
        if self.failure is not None:
            self._protocol.abort()  # whoever waits for the answer learns of it

    async def _run(self, body: AsyncIterator[bytes], length: int | None) -> None:
        writer = StreamWriter(self._protocol, asyncio.get_running_loop())
        if length is None:
            writer.enable_chunking()
        sent = 0
        async for block in body:
            sent += len(block)
            if length is not None and sent > length:
                break
            if block:
                await writer.write(block)
        if length is not None and sent != length:
            raise BadRequest(
                "The body is not as long as its content-length says", "Mend the request's framing"
            )
        await writer.write_eof()
        self._protocol.start_timeout()


def _socket(info: AddrInfoType) -> socket.socket:
    """A socket with TCP keep-alive: models think for minutes, NATs forget silent connections."""
    family, kind, proto, _, _ = info
    made = socket.socket(family=family, type=kind, proto=proto)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


def _unreachable(provider: str, route: ClientRequest, e: BaseException) -> UpstreamError:
    place = f"{route.url.raw_host}:{route.url.port}"
    reason, hint = "the connection failed", f"Check that this machine can connect to {place}"
    if isinstance(e, aiohttp.ClientConnectorDNSError):
        reason, hint = "its host name does not resolve", f"Check the name {route.url.raw_host}"
    elif isinstance(e, aiohttp.ClientConnectorCertificateError):
        reason, hint = "its certificate is not trusted", "Check base_url, and this machine's CAs"
    elif isinstance(e, aiohttp.ClientSSLError):
        reason, hint = "TLS failed", f"Check that {place} speaks https"
    elif isinstance(e, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        reason, hint = "the proxy refused", "Check the configured proxy"
    elif isinstance(e, TimeoutError):
        reason = "connecting took too long"
    elif isinstance(e, OSError) and e.strerror:
        reason = e.strerror.lower().removeprefix("connect call failed ")
    return UpstreamError(f"{provider} cannot be reached: {reason}", hint)


def _broken(provider: str, e: BaseException) -> UpstreamError:
    if isinstance(e, TimeoutError):
        return UpstreamTimeout(
            f"{provider} did not answer in time", "Stream the answer, or raise read_timeout_s"
        )
    if isinstance(e, HttpProcessingError):
        return UpstreamError(
            f"{provider} sent something that is not HTTP", "Check the provider's base_url"
        )
    return UpstreamError(f"{provider} broke off", "Send the request again")
