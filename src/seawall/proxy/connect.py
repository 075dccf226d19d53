"""Opening server connections: look the name up, connect, log in, hand over; and cancel requests.

The coroutines of the data plane are here and in ``greeter``: they run once per connection, never per query.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections import deque
from struct import Struct
from typing import Any, Final, Protocol

from seawall.kernel.errors import DatabaseUnavailable
from seawall.proxy.settings import Backend
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import MessageReader
from seawall.wire.pgwire.login import ClientLogin, LoginRefused
from seawall.wire.pgwire.passwords import Md5Secret
from seawall.wire.pgwire.scram import ScramKeys

LOGIN_MESSAGE_LIMIT: Final = 1024 * 1024
"""Longest message a server may send before it is ready."""
KEEPALIVE_IDLE_S: Final = 10
KEEPALIVE_INTERVAL_S: Final = 5
KEEPALIVE_COUNT: Final = 3
NONCE_BYTES: Final = 18
CANCEL_TIMEOUT_S: Final = 5.0
REFUSALS: Final = ("28", "3D", "42", "22", "0A")
"""SQLSTATE classes of login errors that trying again doesn't mend."""


class LoginFailed(DatabaseUnavailable):
    """A server refused the connection or broke off.

    Args:
        message: what happened, with the server's own words; it is the ``reason``.
        sqlstate: the server's code, or ``08006``.
        final: whether trying again is pointless.
    """

    __slots__ = ("fields", "final", "sqlstate")

    def __init__(self, message: str, sqlstate: str = "08006", fields: dict[str, str] | None = None) -> None:
        super().__init__("server", message)
        self.sqlstate: str = sqlstate
        self.fields: dict[str, str] = fields or {}
        self.final: bool = sqlstate[:2] in REFUSALS


class Welcome:
    """What a server says of itself during the login."""

    __slots__ = ("key", "parameters", "pid", "rest", "transport")

    def __init__(self, transport: Any) -> None:  # noqa: ANN401 -- asyncio's and uvloop's have no common type
        self.transport: Any = transport
        self.parameters: dict[str, str] = {}
        self.pid: int = 0
        self.key: bytes = b""
        self.rest: bytes = b""


TCP_INFO: Final = Struct("8B 16I")
"""The beginning of Linux's ``struct tcp_info``."""
RETRANSMITS, PROBES, LAST_SENT_MS, LAST_ACK_MS, ROUND_TRIP_US = 2, 3, 17, 20, 23
"""In it: retransmissions of what is not acknowledged yet, and probes since the last acknowledgement."""
ANSWER_S: Final = 0.02
"""What was sent less long ago may yet be acknowledged."""


class Listener(Protocol):
    """Whoever hears a conversation before it is cut into messages."""

    def heard(self, data: bytes) -> bool:
        """Something came; true if nobody else needs to know."""

    def stop(self) -> None:
        """The connection has ended."""


class Dialogue(asyncio.Protocol):
    """A conversation in whole messages, for logins.

    Attributes:
        transport: the connection.
        listener: hears first what comes, if there is one.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.listener: Listener | None = None
        self._reader = MessageReader(LOGIN_MESSAGE_LIMIT)
        self._messages: deque[tuple[int, bytes]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Cut into messages."""
        if self.listener is not None and self.listener.heard(data):
            return
        try:
            self._messages.extend(self._reader.feed(data))
        except messages.ProtocolViolation as error:
            self._ended = LoginFailed(f"the server does not speak PostgreSQL's protocol: {error}", "08P01")
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side is gone."""
        self._ended = self._ended or LoginFailed(
            f"the server closed the connection{f': {exc}' if exc else ''}"
        )
        if self.listener is not None:
            self.listener.stop()
        self._wake()

    async def next(self) -> tuple[int, bytes]:
        """The next message.

        Raises:
            LoginFailed: the connection ended.
        """
        while not self._messages:
            if self._ended is not None:
                raise self._ended
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._messages.popleft()

    @property
    def silent(self) -> bool:
        """Whether everything that came was taken, and more may come."""
        return not self._messages and not self._reader.rest and self._ended is None

    @property
    def rest(self) -> bytes:
        """Bytes behind the messages taken so far."""
        whole = b"".join(framing.HEADER.pack(kind, 4 + len(body)) + body for kind, body in self._messages)
        return whole + self._reader.rest

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def tune(transport: Any, user_timeout_s: float) -> None:  # noqa: ANN401
    """Make a dead peer noticed: keepalives and TCP_USER_TIMEOUT (Linux tcp(7))."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(user_timeout_s * 1000))


def silence_s(transport: Any) -> float:  # noqa: ANN401
    """For how long a peer has acknowledged nothing, seconds, if it was asked again meanwhile; or else 0.0.

    A peer that has no room for more and says so is not silent. TCP_USER_TIMEOUT takes it for dead: a server
    that waits for a lock in the middle of a COPY would be cut. Linux tcp(7), ``TCP_INFO``.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return 0.0
    info = TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size))
    ack_s, sent_s = info[LAST_ACK_MS] / 1000.0, info[LAST_SENT_MS] / 1000.0
    answer_s = max(ANSWER_S, 4 * info[ROUND_TRIP_US] / 1e6)
    unanswered = info[RETRANSMITS] > 0 and ack_s > sent_s > answer_s
    return ack_s if unanswered or info[PROBES] > 1 else 0.0


async def dial(addresses: Addresses, backend: Backend, protocol: type[asyncio.Protocol]) -> tuple[Any, Any]:
    """Connect to a backend; returns transport and protocol.

    Raises:
        OSError: nobody there, or the name is unknown.
    """
    loop = asyncio.get_running_loop()
    if backend.host.startswith("/"):
        path = os.path.join(backend.host, f".s.PGSQL.{backend.port}")
        return await loop.create_unix_connection(protocol, path)
    problem: OSError = OSError(f"{backend.host} has no address")
    for host in await addresses.of(backend.host):
        try:
            return await loop.create_connection(protocol, host, backend.port)
        except OSError as error:
            problem = error
    addresses.forget(backend.host)
    raise problem


async def log_in(
    addresses: Addresses,
    backend: Backend,
    user: str,
    database: str,
    password: str | Md5Secret | ScramKeys | None,
    user_timeout_s: float,
) -> Welcome:
    """Connect and log in.

    Raises:
        LoginFailed: refused, or broken off.
        OSError: no connection.
    """
    transport, dialogue = await dial(addresses, backend, Dialogue)
    try:
        tune(transport, user_timeout_s)
        transport.write(messages.startup_message({"user": user, "database": database}))
        login = ClientLogin(user, password, nonce=secrets.token_bytes(NONCE_BYTES))
        return await _until_ready(dialogue, login, Welcome(transport))
    except LoginRefused as error:
        transport.abort()
        raise LoginFailed(str(error), error.sqlstate) from error
    except messages.ProtocolViolation as error:
        transport.abort()
        raise LoginFailed(str(error), error.sqlstate) from error
    except BaseException:
        transport.abort()
        raise


async def _until_ready(dialogue: Dialogue, login: ClientLogin, welcome: Welcome) -> Welcome:
    while True:
        kind, body = await dialogue.next()
        if kind == framing.AUTHENTICATION:
            answer = login.receive(kind, body)
            if answer:
                welcome.transport.write(answer)
        elif kind == framing.ERROR:
            fields = messages.parse_fields(body)
            raise LoginFailed(fields.get("M", "no reason given"), fields.get("C", "08006"), fields)
        elif kind == framing.PARAMETER_STATUS:
            name, value = messages.parse_parameter_status(body)
            welcome.parameters[name] = value
        elif kind == framing.BACKEND_KEY:
            welcome.pid, welcome.key = messages.parse_backend_key_data(body)
        elif kind == framing.READY:
            if not login.done:
                raise LoginFailed("the server was ready before the login was done", "08P01")
            welcome.rest = dialogue.rest
            return welcome


async def run_sql(
    addresses: Addresses,
    backend: Backend,
    login: tuple[str, str, str | Md5Secret | ScramKeys | None],
    user_timeout_s: float,
    sql: bytes,
) -> None:
    """Run one statement over a connection of its own; its rows are nobody's business.

    Args:
        addresses: of the backends.
        backend: which.
        login: user, database and secret.
        user_timeout_s: TCP_USER_TIMEOUT.
        sql: the statement.

    Raises:
        LoginFailed: refused, broken off, or the statement failed.
        OSError: no connection.
    """
    welcome = await log_in(addresses, backend, *login, user_timeout_s)
    transport = welcome.transport
    dialogue: Dialogue = transport.get_protocol()
    try:
        transport.write(messages.query(sql.decode()))
        while True:
            kind, body = await dialogue.next()
            if kind == framing.ERROR:
                fields = messages.parse_fields(body)
                raise LoginFailed(fields.get("M", ""), fields.get("C", "XX000"), fields)
            if kind == framing.READY:
                return
    finally:
        transport.write(messages.terminate())
        transport.close()


async def cancel(addresses: Addresses, backend: Backend, pid: int, key: bytes) -> None:
    """Ask a server to cancel what a connection runs; returns when it has closed the request's connection.

    Only then is it certain that the cancel will not hit whatever runs next on that connection
    (PostgreSQL documentation, section "Canceling Requests in Progress").
    """
    with contextlib.suppress(OSError, LoginFailed, TimeoutError):
        async with asyncio.timeout(CANCEL_TIMEOUT_S):
            transport, dialogue = await dial(addresses, backend, Dialogue)
            try:
                transport.write(messages.cancel_request(pid, key))
                await dialogue.next()
            finally:
                transport.abort()


class Addresses:
    """Addresses of host names, looked up again from time to time and after every failure.

    Args:
        refresh_s: how long an answer is used.
    """

    def __init__(self, refresh_s: float) -> None:
        self._refresh_s = refresh_s
        self._known: dict[str, tuple[float, list[str]]] = {}
        """Bounded by the number of backends."""
        self.lookups = 0

    async def of(self, host: str) -> list[str]:
        """All addresses of a host, in the resolver's order.

        Raises:
            OSError: the name is unknown and always was.
        """
        loop = asyncio.get_running_loop()
        known = self._known.get(host)
        if known is not None and loop.time() < known[0]:
            return known[1]
        self.lookups += 1
        try:
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            if known is not None:
                return known[1]  # a resolver that is down for a moment takes no server away
            raise
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        self._known[host] = (loop.time() + self._refresh_s, addresses)
        return addresses

    def forget(self, host: str) -> None:
        """None of its addresses answers: look it up at the next attempt."""
        known = self._known.get(host)
        if known is not None:
            self._known[host] = (0.0, known[1])
