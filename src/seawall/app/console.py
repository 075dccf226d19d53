"""A blocking client for the console of a running proxy: orders and questions from the command line.

It speaks the protocol that everybody speaks to the proxy, so it works from wherever the proxy is reached. It
is no driver: one command at a time, text in, text out. ``seawall.cli.proxy_console`` calls it.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from seawall.kernel.errors import SeawallError
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.login import ClientLogin, LoginRefused

__all__ = ["PasswordWanted", "Place", "Refused", "Result", "Session", "Unreachable"]

MESSAGE_MAX_BYTES: Final = 1024 * 1024
ANSWER_MAX_BYTES: Final = 64 * 1024 * 1024
"""Of all rows: a hundred thousand clients fit."""
CHUNK_BYTES: Final = 65_536
NONCE_BYTES: Final = 18
APPLICATION: Final = "seawall"
SIGNATURE: Final = "(Seawall)"
"""In the version that a console tells; whatever else listens there gets no orders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a console is, and who asks.

    Attributes:
        host: name, address, or the directory of a unix socket (starts with a slash).
        port: of the proxy.
        user: one of ``auth.admin_users`` or ``auth.stats_users``, or anybody under ``trust_loopback``.
        password: its password; empty: none.
        database: ``proxy.admin_database``.
    """

    host: str = "127.0.0.1"
    port: int = 6432
    user: str = "postgres"
    password: str = field(default="", repr=False)
    database: str = "seawall"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}/.s.PGSQL.{self.port}" if host.startswith("/") else f"{host}:{self.port}"


class Unreachable(SeawallError):
    """Nobody answers, not in time, or it is no console.

    Args:
        message: where, and why.
    """

    __slots__ = ()


class Refused(SeawallError):
    """The proxy says no.

    Args:
        message: why.
        sqlstate: its code.
        detail: more about it.
        hint: what to do.
    """

    __slots__ = ("detail", "hint", "message", "sqlstate")

    def __init__(self, message: str, sqlstate: str = "", detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.detail = detail
        self.hint = hint

    def __reduce__(self) -> tuple[type[Refused], tuple[str, ...]]:
        return type(self), (self.message, self.sqlstate, self.detail, self.hint)


class PasswordWanted(Refused):
    """The proxy asks for a password, and there is none."""

    __slots__ = ()


class Result(NamedTuple):
    """What a command gave."""

    columns: list[str]
    rows: list[dict[str, str | None]]


class Session:
    """One session, closed at the end of its ``with`` block.

    Args:
        place: where, and as whom.
        timeout_s: for the connect and the login together, and for each command that has no other.

    Raises:
        Unreachable: nobody answers, or not in time.
        Refused: this user may not; :class:`PasswordWanted` if a password would help.
    """

    __slots__ = ("_reader", "_socket", "_version", "place", "timeout_s")

    def __init__(self, place: Place, timeout_s: float) -> None:
        self.place = place
        self.timeout_s = timeout_s
        self._version = ""
        self._reader = framing.MessageReader(MESSAGE_MAX_BYTES)
        try:
            self._socket = self._dial()
        except OSError as error:
            raise self._unreachable(error) from None
        try:
            self._log_in()
        except BaseException:
            self._socket.close()
            raise

    def __repr__(self) -> str:
        return f"Session({self.place})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError), self._socket:
            self._socket.sendall(messages.terminate())

    def ask(self, command: str, timeout_s: float | None = None) -> Result:
        """Give a command.

        Raises:
            Refused: the proxy says no.
            Unreachable: the connection is lost, or time is up; what was ordered may be done all the same.
        """
        return self._converse(messages.query(command), None, timeout_s or self.timeout_s)

    def _dial(self) -> socket.socket:
        place = self.place
        if not place.host.startswith("/"):
            return socket.create_connection((place.host, place.port), self.timeout_s)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout_s)
            connection.connect(str(Path(place.host) / f".s.PGSQL.{place.port}"))
        except BaseException:
            connection.close()
            raise
        return connection

    def _log_in(self) -> None:
        place = self.place
        parameters = {"user": place.user, "database": place.database, "application_name": APPLICATION}
        login = ClientLogin(place.user, place.password, nonce=secrets.token_bytes(NONCE_BYTES))
        try:
            self._converse(messages.startup_message(parameters), login, self.timeout_s)
        except LoginRefused as refusal:
            if not place.password:
                raise PasswordWanted(f'user "{place.user}" needs a password', refusal.sqlstate) from None
            raise Refused(str(refusal), refusal.sqlstate, refusal.detail) from None
        if not login.done or SIGNATURE not in self._version:
            raise Unreachable(f"{place}: what answers is no console of Seawall")

    def _converse(self, request: bytes, login: ClientLogin | None, timeout_s: float) -> Result:
        """Send, and take what comes until the other side is ready."""
        give_up = time.monotonic() + timeout_s
        try:
            self._send(request, give_up)
            return self._answer(login, give_up)
        except OSError as error:
            raise self._unreachable(error) from None
        except messages.ProtocolViolation as error:
            raise Unreachable(f"{self.place}: what answers is no PostgreSQL: {error}") from None

    def _answer(self, login: ClientLogin | None, give_up: float) -> Result:
        result = Result([], [])
        refusal: Refused | None = None
        size = 0
        while True:
            arrived = self._receive(give_up)
            if arrived is None:  # after a FATAL it hangs up without another word
                raise refusal or Unreachable(f"{self.place}: it closed the connection")
            for kind, body in arrived:
                size += len(body)
                if size > ANSWER_MAX_BYTES:
                    raise Unreachable(f"{self.place}: the answer is longer than {ANSWER_MAX_BYTES} bytes")
                if kind == framing.AUTHENTICATION and login is not None:
                    self._send(login.receive(kind, body), give_up)
                elif kind == framing.ERROR:
                    refusal = refusal or _refusal(body)
                elif kind == framing.PARAMETER_STATUS:
                    self._remember(*messages.parse_parameter_status(body))
                elif kind == framing.ROW_DESCRIPTION:
                    result.columns[:] = [one.name for one in messages.parse_row_description(body)]
                elif kind == framing.DATA_ROW:
                    result.rows.append(_row(result.columns, body))
                elif kind == framing.READY:
                    if refusal is not None:
                        raise refusal
                    return result

    def _remember(self, name: str, value: str) -> None:
        if name == "server_version":
            self._version = value

    def _send(self, data: bytes, give_up: float) -> None:
        if data:
            self._socket.settimeout(_left(give_up))
            self._socket.sendall(data)

    def _receive(self, give_up: float) -> list[tuple[int, bytes]] | None:
        self._socket.settimeout(_left(give_up))
        data = self._socket.recv(CHUNK_BYTES)
        return self._reader.feed(data) if data else None

    def _unreachable(self, error: OSError) -> Unreachable:
        why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
        return Unreachable(f"{self.place}: {why}")


def _left(give_up: float) -> float:
    left_s = give_up - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _row(columns: list[str], body: bytes) -> dict[str, str | None]:
    values = messages.parse_data_row(body)
    if len(values) != len(columns):
        raise messages.ProtocolViolation("a row has other columns than it was said to have")
    return {
        name: None if value is None else messages.decode(value)
        for name, value in zip(columns, values, strict=True)
    }


def _refusal(body: bytes) -> Refused:
    fields = messages.parse_fields(body)
    return Refused(fields["M"], fields["C"], fields.get("D", ""), fields.get("H", ""))
