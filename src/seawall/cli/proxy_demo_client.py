"""The demo's own PostgreSQL client: one connection that asks and is answered, and no more.

It is lean so that the load of dozens of clients fits beside the proxy and the servers on a small machine.
Messages are those of ``wire.pgwire``; a login with a password is not part of it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from seawall.embedded.errors import StatementFailed
from seawall.kernel.errors import DatabaseUnavailable
from seawall.proxy.worker import INDEX_BITS
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.sqlstate import PROTOCOL_VIOLATION

__all__ = ["Row", "Session", "SessionLost", "connect"]

ANSWER_BYTES_MAX: Final = 65_536
"""Longest message of an answer; the demo's rows have a few bytes."""

ROWS_MAX: Final = 1_000
"""Of one answer; the demo's have one, the console's a few."""

Row = list[str | None]

CONNECTION_LOST: Final = "08006"


class SessionLost(DatabaseUnavailable):
    """The connection is over.

    Args:
        sqlstate: What was said before, or 08006 if nothing was.
        reason: In words.
    """

    __slots__ = ("sqlstate",)

    def __init__(self, sqlstate: str, reason: str) -> None:
        super().__init__("proxy", f"{sqlstate}: {reason}")
        self.sqlstate = sqlstate

    def __reduce__(self) -> tuple[type[SessionLost], tuple[object, ...]]:
        """Rebuild from the constructor's arguments, so that errors cross process borders."""
        return type(self), (self.sqlstate, self.reason.removeprefix(f"{self.sqlstate}: "))


class Session(asyncio.Protocol):
    """One connection. One request is under way at a time.

    Args:
        connected_at: When the connection was begun, monotonic seconds.

    Attributes:
        worker: The proxy's worker that serves it; -1 until it has said so.
    """

    def __init__(self, connected_at: float) -> None:
        self.connected_at: Final = connected_at
        self.worker = -1
        self._reader = framing.MessageReader(ANSWER_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._said: tuple[str, str] | None = None
        self._lost: SessionLost | None = None
        self._columns: list[str] = []
        self._rows: list[Row] = []

    def __repr__(self) -> str:
        return f"Session(worker {self.worker}, {'lost' if self._lost else 'open'})"

    @property
    def open(self) -> bool:
        """Whether it can be used as far as is known."""
        return self._lost is None

    async def ask(self, request: bytes) -> list[Row]:
        """Send messages that are answered by one ReadyForQuery, and wait for it.

        Returns:
            All rows of the answer.

        Raises:
            SessionLost: There is no connection any more.
            StatementFailed: The server says no; the session goes on.
        """
        if self._lost is not None or self._transport is None:
            raise self._lost or SessionLost(CONNECTION_LOST, "not connected")
        self._waiter = asyncio.get_running_loop().create_future()
        self._rows = []
        self._transport.write(request)
        try:
            await self._waiter
        finally:
            self._waiter = None
        return self._rows

    async def show(self, sql: str) -> list[dict[str, str | None]]:
        """Ask a single query; its rows by the names of the columns.

        Raises:
            SessionLost: There is no connection any more.
            StatementFailed: The server says no; the session goes on.
        """
        self._columns = []
        rows = await self.ask(messages.query(sql))
        return [dict(zip(self._columns, row, strict=True)) for row in rows]

    def close(self) -> None:
        """Say goodbye; harmless the second time."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(messages.terminate())
            self._transport.close()

    # --- called by the event loop -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        sqlstate, text = self._said or (CONNECTION_LOST, str(exc) if exc else "the connection was closed")
        self._lost = SessionLost(sqlstate, text)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._lost)

    def data_received(self, data: bytes) -> None:
        """Go through an answer."""
        try:
            for kind, body in self._reader.feed(data):
                self._take(kind, body)
        except messages.ProtocolViolation as error:
            self._said = (error.sqlstate, str(error))
            if self._transport is not None:
                self._transport.abort()

    def _take(self, kind: int, body: bytes) -> None:
        if kind == framing.READY:
            said, self._said = self._said, None
            if self._waiter is not None and not self._waiter.done():
                if said is None:
                    self._waiter.set_result(None)
                else:
                    self._waiter.set_exception(StatementFailed(*said))
        elif kind == framing.DATA_ROW:
            if len(self._rows) < ROWS_MAX:
                values = messages.parse_data_row(body)
                self._rows.append([None if one is None else messages.decode(one) for one in values])
        elif kind == framing.ROW_DESCRIPTION:
            self._columns = [column.name for column in messages.parse_row_description(body)]
        elif kind == framing.ERROR:
            fields = messages.parse_fields(body)
            self._said = self._said or (fields["C"], fields["M"])
        elif kind == framing.BACKEND_KEY:
            self.worker = (messages.parse_backend_key_data(body)[0] >> INDEX_BITS) - 1
        elif kind == framing.AUTHENTICATION and messages.parse_authentication(body)[0] != messages.AUTH_OK:
            raise messages.ProtocolViolation(
                "a password is wanted, and the demo has none", PROTOCOL_VIOLATION
            )


async def connect(host: str, port: int, *, user: str, database: str, now: float) -> Session:
    """A session that is logged in.

    Args:
        host: Where the proxy listens.
        port: Its port.
        user: Database user.
        database: Database.
        now: Monotonic seconds.

    Raises:
        SessionLost: Nobody listens, or the connection ended during the login.
        StatementFailed: The login was refused.
    """
    loop = asyncio.get_running_loop()
    try:
        _, session = await loop.create_connection(lambda: Session(now), host, port)
    except OSError as error:
        raise SessionLost(CONNECTION_LOST, error.strerror or str(error)) from error
    try:
        await session.ask(messages.startup_message({"user": user, "database": database}))
    except BaseException:
        session.close()
        raise
    return session
