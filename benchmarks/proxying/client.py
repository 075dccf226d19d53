"""A PostgreSQL client small enough to cost nothing: blocking sockets and the protocol by hand.

PostgreSQL documentation, chapter "Frontend/Backend Protocol". It logs in where no password is asked, runs
simple queries and streams bulk data without keeping it. No driver: a driver costs more than what is measured.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

LOGIN_TIMEOUT_S = 60.0
HEADER = struct.Struct("!cI")
READY = b"Z\x00\x00\x00\x05"
"""How ReadyForQuery begins; one byte of status follows."""
READ_BYTES = 1 << 18
ENDS_BYTES = 64
"""How much of a stream is kept at either end."""


class RefusedError(Exception):
    """The other side answered with an ErrorResponse; the text is its fields."""


def message(kind: bytes, body: bytes) -> bytes:
    """Return one message with its header."""
    return HEADER.pack(kind, len(body) + 4) + body


def startup(user: str, database: str) -> bytes:
    """Return a StartupMessage of protocol 3.0."""
    body = struct.pack("!I", 196608) + b"".join(
        part.encode() + b"\x00" for part in ("user", user, "database", database)
    )
    body += b"\x00"
    return struct.pack("!I", len(body) + 4) + body


def query(sql: str) -> bytes:
    """Return a Query message."""
    return message(b"Q", sql.encode() + b"\x00")


class Client:
    """One logged-in connection."""

    def __init__(self, port: int, database: str, *, user: str = "postgres", host: str = "127.0.0.1") -> None:
        """Connect and log in.

        Raises:
            RefusedError: The login was refused.
            OSError: Nobody answers.
        """
        self.socket = socket.create_connection((host, port), timeout=LOGIN_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(READ_BYTES)
        try:
            self.socket.sendall(startup(user, database))
            self.finish()
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        """Return the connection itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take leave and close."""
        self.close()

    def close(self) -> None:
        """Send Terminate where anybody still listens, and close."""
        try:
            self.socket.sendall(message(b"X", b""))
        except OSError:
            return
        finally:
            self.socket.close()

    def exactly(self, number: int) -> bytes:
        """Read that many bytes.

        Raises:
            ConnectionResetError: The connection ended before.
        """
        parts = bytearray()
        while len(parts) < number:
            got = self.socket.recv(number - len(parts))
            if not got:
                raise ConnectionResetError("the connection ended inside a message")
            parts += got
        return bytes(parts)

    def messages(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (type, body) up to ReadyForQuery."""
        while True:
            kind, length = HEADER.unpack(self.exactly(HEADER.size))
            yield kind, self.exactly(length - 4)
            if kind == b"Z":
                return

    def stream(self, paced: Callable[[int], None]) -> tuple[int, bytes, bytes]:
        """Read up to ReadyForQuery and keep nothing but the ends.

        Args:
            paced: is told the bytes of each read, and may take its time.

        Returns:
            The bytes that came, the first of them and the last of them.

        Raises:
            ConnectionResetError: The connection ended before ReadyForQuery.
        """
        view = memoryview(self._buffer)
        moved, first, last = 0, b"", b""
        while last[-6:-1] != READY:
            got = self.socket.recv_into(view)
            if not got:
                raise ConnectionResetError(f"the connection ended after {moved} bytes, {last!r}")
            moved += got
            if len(first) < ENDS_BYTES:
                first += bytes(view[: min(got, ENDS_BYTES)])
            last = (last + bytes(view[max(0, got - ENDS_BYTES) : got]))[-ENDS_BYTES:]
            paced(got)
        return moved, first, last

    def finish(self) -> list[tuple[bytes, bytes]]:
        """Return all messages up to ReadyForQuery.

        Raises:
            RefusedError: There is an ErrorResponse among them.
        """
        found = []
        try:
            for kind, body in self.messages():
                found.append((kind, body))
        finally:
            # After an error in the login there is no ReadyForQuery: the connection just ends.
            errors = [body for kind, body in found if kind == b"E"]
            if errors:
                raise RefusedError(errors[0].replace(b"\x00", b" ").decode(errors="replace"))
        return found

    def simple(self, sql: str) -> list[list[bytes | None]]:
        """Run a simple query and return its rows.

        Raises:
            RefusedError: The server refused it.
        """
        self.socket.sendall(query(sql))
        return [row(body) for kind, body in self.finish() if kind == b"D"]

    def scalar(self, sql: str) -> str:
        """Run a simple query and return its one value as text."""
        value = self.simple(sql)[0][0]
        return "" if value is None else value.decode()


def row(body: bytes) -> list[bytes | None]:
    """Return the values of a DataRow."""
    (count,) = struct.unpack_from("!H", body)
    values: list[bytes | None] = []
    at = 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        values.append(None if length < 0 else body[at : at + length])
        at += max(length, 0)
    return values
