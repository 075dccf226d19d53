"""A blocking client for a server's own unix socket: how a cluster asks its nodes.

The socket's directory is open to the servers' account alone, which is why no password is ever asked for here.
It is not a driver: text in, text out, one statement at a time, answers held in memory. ``node`` calls it.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from seawall.embedded.errors import StatementFailed
from seawall.kernel.errors import DatabaseUnavailable
from seawall.wire.pgwire import framing, messages

__all__ = ["Connection", "Row"]

RESULT_BYTES_MAX: Final = 64 * 1024 * 1024
"""All of one answer; who expects more wants a driver."""

CHUNK_BYTES: Final = 65_536

Row = tuple[str | None, ...]


class Connection:
    """One session, closed at the end of its ``with`` block.

    Args:
        address: The unix socket.
        name: What errors call the server.
        timeout_s: For the login and for each statement, as a whole.
        user: Database user.
        database: Database.

    Raises:
        DatabaseUnavailable: Nobody answers, or not in time.
        StatementFailed: The server refuses the login, for example with 57P03 while it starts.
    """

    __slots__ = ("_name", "_reader", "_socket", "_timeout_s")

    def __init__(self, address: Path, *, name: str, timeout_s: float, user: str, database: str) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._reader = framing.MessageReader(RESULT_BYTES_MAX)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._ask(messages.startup_message({"user": user, "database": database}), address)
        except BaseException:
            self._socket.close()
            raise

    def __repr__(self) -> str:
        return f"Connection({self._name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def query(self, sql: str) -> list[Row]:
        """Run statements in one simple query and return the rows of all of them, NULL as ``None``.

        Raises:
            DatabaseUnavailable: The connection is lost, or there is no answer within ``timeout_s``.
            StatementFailed: The server says no.
        """
        return self._ask(messages.query(sql))

    def _ask(self, request: bytes, address: Path | None = None) -> list[Row]:
        give_up = time.monotonic() + self._timeout_s
        try:
            if address is not None:
                self._socket.settimeout(self._timeout_s)
                self._socket.connect(str(address))
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(request)
            return self._answer(give_up)
        except TimeoutError:
            reason = f"no answer within {self._timeout_s:g} s"
            raise DatabaseUnavailable(self._name, reason) from None
        except OSError as error:
            raise DatabaseUnavailable(self._name, error.strerror or str(error)) from error
        except messages.ProtocolViolation as error:
            raise DatabaseUnavailable(self._name, f"what answers is no PostgreSQL: {error}") from error

    def _answer(self, give_up: float) -> list[Row]:
        rows: list[Row] = []
        failure: StatementFailed | None = None
        size = 0
        while True:
            arrived = self._receive(give_up)
            if arrived is None:  # after a FATAL the server hangs up without another word
                raise failure or DatabaseUnavailable(self._name, "it closed the connection")
            for kind, body in arrived:
                size += len(body)
                if size > RESULT_BYTES_MAX:
                    reason = f"the answer is longer than {RESULT_BYTES_MAX} bytes: ask for less"
                    raise DatabaseUnavailable(self._name, reason)
                if kind == framing.DATA_ROW:
                    values = messages.parse_data_row(body)
                    rows.append(tuple(None if value is None else messages.decode(value) for value in values))
                elif kind == framing.ERROR:
                    fields = messages.parse_fields(body)
                    failure = failure or StatementFailed(fields["C"], fields["M"])
                elif kind == framing.AUTHENTICATION:
                    if messages.parse_authentication(body)[0] != messages.AUTH_OK:
                        raise DatabaseUnavailable(self._name, "it wants a password on its own socket")
                elif kind == framing.READY:
                    if failure is not None:
                        raise failure
                    return rows

    def _receive(self, give_up: float) -> list[tuple[int, bytes]] | None:
        remaining_s = give_up - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        self._socket.settimeout(remaining_s)
        data = self._socket.recv(CHUNK_BYTES)
        return self._reader.feed(data) if data else None
