"""OTLP/HTTP: posts requests to a collector, over connections that are kept.

A client of its own, because nothing at hand fits beside a data path: httpx takes about a millisecond of the
loop per request, ten times what is needed, and brings five packages; urllib and requests block. A request
here is one head, one write per 64 kB and one reply.

What would hold the loop runs in two threads of the transport's own: gzip in one; names and certificates in
the other, so that a resolver that hangs doesn't stop the compression. An attempt never raises: whatever
happens becomes a :class:`~seawall.telemetry.otlp.retry.Verdict`.
"""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final, cast, final

from seawall._version import __version__
from seawall.telemetry.otlp.encode import Request
from seawall.telemetry.otlp.http1 import Garbled, Reply, ReplyReader, request_head
from seawall.telemetry.otlp.replies import http_verdict, shortened
from seawall.telemetry.otlp.retry import Answer, Verdict
from seawall.telemetry.otlp.settings import OtlpSettings
from seawall.telemetry.otlp.worker import Worker

__all__ = [
    "ADDRESSES_LIMIT",
    "CONNECT_TIMEOUT_S",
    "GZIP_LEVEL",
    "WRITE_BYTES",
    "HttpTransport",
    "client_context",
]

GZIP_LEVEL: Final = 1
"""Spans repeat themselves: level 6 takes twice the time of level 1 and saves a thirtieth."""

WRITE_BYTES: Final = 64 * 1024
"""One write; TLS encrypts it in less than 0.1 ms."""

ADDRESSES_LIMIT: Final = 4
"""Addresses of one name that an attempt tries."""

CONNECT_TIMEOUT_S: Final = 3.0
"""For one address, TLS included; the next one may answer."""

USER_AGENT: Final = f"OTel-OTLP-Exporter-Python-Seawall/{__version__}"


def client_context(settings: OtlpSettings) -> ssl.SSLContext:
    """The collector's certificate is checked, always: against the given authorities or the system's.

    Reads files; for the worker. Made for each connection, so that renewed certificates are taken up.

    Raises:
        OSError: A file can't be read, or holds something else.
    """
    context = ssl.create_default_context(cafile=settings.certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.client_certificate is not None:
        # A password would be asked for at the terminal, by a thread that nobody sees.
        context.load_cert_chain(settings.client_certificate, settings.client_key, password=lambda: "")
    return context


@final
class HttpTransport:
    """Sends requests; connections are kept for the next one.

    Args:
        settings: Where to, and how.
        wall: Seconds since 1970, for a collector that names a date.
    """

    __slots__ = (
        "_files",
        "_head",
        "_idle",
        "_left_behind",
        "_loop",
        "_settings",
        "_squeezer",
        "_wall",
        "connects",
    )

    def __init__(self, settings: OtlpSettings, *, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall = wall
        self._squeezer = Worker("seawall-otlp-gzip")
        self._files = Worker("seawall-otlp-names")
        self._idle: list[_Connection] = []
        self._left_behind: list[_Connection] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._head = _headers(settings)
        self.connects = 0

    async def pack(self, request: Request) -> bytes:
        """The body of a request; compressed once, however often it is sent."""
        if not self._settings.gzip:
            return b"".join(request.pieces)
        return await self._squeezer.run(_squeeze, request.pieces)

    async def send(self, body: bytes, spans: int, timeout_s: float) -> Verdict:
        """Make one attempt.

        Args:
            body: What :meth:`pack` gave.
            spans: How many spans it holds.
            timeout_s: For all of it, connecting included.
        """
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._exchange(body)
            return http_verdict(reply.status, reply.headers, reply.body, spans=spans, wall=self._wall())
        except TimeoutError:
            return Verdict(answer=Answer.RETRY, reason="timeout", text=f"no reply within {timeout_s:g} s")
        except ssl.SSLError as error:
            return Verdict(answer=Answer.RETRY, reason="tls", text=shortened(str(error)))
        except OSError as error:
            return Verdict(answer=Answer.RETRY, reason="connection", text=shortened(str(error)))
        except Garbled as error:
            return Verdict(answer=Answer.RETRY, reason="garbled", text=str(error))
        except Exception as error:  # noqa: BLE001 -- the application has nothing to do with it
            return Verdict(answer=Answer.RETRY, reason="fault", text=shortened(repr(error)))

    async def close(self) -> None:
        """Let go of connections and threads; the next attempt makes new ones."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()
        self._squeezer.close()
        self._files.close()

    def forked(self) -> None:
        """Begin anew in a child process.

        The parent's connections are still the parent's: a farewell from here would end them there. So they
        are neither closed nor forgotten, which would close them too.
        """
        self._leave()
        self._squeezer.forked()
        self._files.forked()

    def _leave(self) -> None:
        self._left_behind += self._idle
        self._idle = []

    async def _exchange(self, body: bytes) -> Reply:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # Of a loop that has ended, without a word to us; its connections can't even be closed any more.
            self._leave()
            self._loop = loop
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                try:
                    return await self._talk(connection, body)
                except (OSError, Garbled):
                    # The collector may have closed it just when we wrote; then nothing came back at all.
                    if connection.begun:
                        raise
        return await self._talk(await self._connect(), body)

    async def _talk(self, connection: _Connection, body: bytes) -> Reply:
        kept = False
        try:
            reply = await connection.exchange(self._head + str(len(body)).encode() + b"\r\n\r\n", body)
            kept = reply.reusable and len(self._idle) < self._settings.in_flight and connection.usable
            if kept:
                self._idle.append(connection)
            return reply
        finally:
            if not kept:
                connection.abort()

    async def _connect(self) -> _Connection:
        settings = self._settings
        host = cast("str", settings.url.hostname)
        context = await self._files.run(client_context, settings) if settings.secure else None
        addresses = await self._addresses(host, settings.port)
        loop = asyncio.get_running_loop()
        last: OSError | None = None
        for address in addresses:
            self.connects += 1
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    made = await loop.create_connection(
                        _Connection,
                        address,
                        settings.port,
                        ssl=context,
                        server_hostname=host if context is not None else None,
                    )
                    return made[1]
            except OSError as error:  # TimeoutError too
                last = error
        raise last or OSError(f"{host}: no address")

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            return await self._files.run(_resolve, host, port)

    def __repr__(self) -> str:
        url = self._settings.url
        return f"<HttpTransport {url.scheme}://{url.hostname}:{self._settings.port} idle={len(self._idle)}>"


def _headers(settings: OtlpSettings) -> bytes:
    """The head of every request, up to the number of bytes."""
    url = settings.url
    json_body = settings.protocol == "http/json"
    own = [
        ("Host", url.netloc),
        ("Content-Type", "application/json" if json_body else "application/x-protobuf"),
    ]
    if settings.gzip:
        own.append(("Content-Encoding", "gzip"))
    if not any(name.lower() == "user-agent" for name, _ in settings.headers):
        own.append(("User-Agent", USER_AGENT))
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return request_head(path, [*own, *settings.headers]).removesuffix(b"\r\n") + b"Content-Length: "


def _squeeze(pieces: Sequence[bytes]) -> bytes:
    # In one call: each return into Python would have to wait for the interpreter.
    return gzip.compress(b"".join(pieces), GZIP_LEVEL, mtime=0)


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))[:ADDRESSES_LIMIT]


@final
class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._reply: asyncio.Future[Reply] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._cut = False

    @property
    def usable(self) -> bool:
        """Whether another request may go out."""
        transport = self._transport
        return transport is not None and not (transport.is_closing() or self._reader.begun or self._cut)

    @property
    def begun(self) -> bool:
        """Whether some of the reply has come."""
        return self._reader.begun

    async def exchange(self, head: bytes, body: bytes) -> Reply:
        """Write the request, read the reply."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("closed")
        self._reader = ReplyReader()
        self._reply = reply = asyncio.get_running_loop().create_future()
        # One small write less; and a collector that answers early is not sent the rest.
        transport.write(head + body[:WRITE_BYTES])
        for at in range(WRITE_BYTES, len(body), WRITE_BYTES):
            await asyncio.sleep(0)
            await self._room.wait()
            if reply.done():
                self._cut = True
                break
            transport.write(body[at : at + WRITE_BYTES])
        answer: Reply = await reply
        self._reply, self._reader = None, ReplyReader()
        return answer

    def abort(self) -> None:
        """Close at once, whatever is still unsent."""
        if self._reply is not None and not self._reply.cancel() and not self._reply.cancelled():
            self._reply.exception()  # seen, or the loop would complain in the log
        if self._transport is not None:
            self._transport.abort()

    def _settle(self, reply: Reply | None, error: Exception | None) -> None:
        future = self._reply
        self._room.set()
        if future is None or future.done():
            return
        if error is None:
            assert reply is not None
            future.set_result(reply)
        else:
            future.set_exception(error)

    # --- called by the transport ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected, TLS included."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Some of the reply, or something that nobody asked for."""
        transport = self._transport
        assert transport is not None
        if self._reply is None or self._reply.done():
            transport.abort()
            return
        try:
            reply = self._reader.feed(data)
        except Garbled as error:
            transport.abort()
            self._settle(None, error)
            return
        if reply is not None:
            self._settle(reply, None)

    def eof_received(self) -> None:
        """The other side says no more: a body without a length is whole now, anything else is cut."""
        try:
            self._settle(self._reader.end(), None)
        except Garbled as error:
            self._settle(None, ConnectionResetError(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self._settle(None, exc or ConnectionResetError("closed without a reply"))

    def pause_writing(self) -> None:
        """The buffer is full."""
        self._room.clear()

    def resume_writing(self) -> None:
        """The buffer has room."""
        self._room.set()
