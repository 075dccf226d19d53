"""Message framing: the type bytes, and a reader that cuts a stream into whole messages.

The relay doesn't use the reader: it only looks at headers and forwards bytes as they came. The reader is for
the ends of conversations that the proxy holds itself (logins, questions, the admin console), where messages
are small. Source: PostgreSQL documentation, chapter "Message Formats".
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from seawall.wire.pgwire.messages import ProtocolViolation

HEADER: Final = Struct(">BI")
HEADER_BYTES: Final = 5
FIELD: Final = Struct(">IHIhih")
"""Of a RowDescription, a column behind its name: table, column, type, size, modifier, format."""

# What a client says.
QUERY: Final = ord("Q")
PARSE: Final = ord("P")
BIND: Final = ord("B")
DESCRIBE: Final = ord("D")
EXECUTE: Final = ord("E")
CLOSE: Final = ord("C")
SYNC: Final = ord("S")
FLUSH: Final = ord("H")
FUNCTION_CALL: Final = ord("F")
PASSWORD: Final = ord("p")
TERMINATE: Final = ord("X")

# What both say while copying.
COPY_DATA: Final = ord("d")
COPY_DONE: Final = ord("c")
COPY_FAIL: Final = ord("f")

# What a server says.
AUTHENTICATION: Final = ord("R")
BACKEND_KEY: Final = ord("K")
NEGOTIATE: Final = ord("v")
PARAMETER_STATUS: Final = ord("S")
READY: Final = ord("Z")
ROW_DESCRIPTION: Final = ord("T")
DATA_ROW: Final = ord("D")
COMMAND_COMPLETE: Final = ord("C")
EMPTY_QUERY: Final = ord("I")
PORTAL_SUSPENDED: Final = ord("s")
PARSE_COMPLETE: Final = ord("1")
BIND_COMPLETE: Final = ord("2")
CLOSE_COMPLETE: Final = ord("3")
NO_DATA: Final = ord("n")
PARAMETER_DESCRIPTION: Final = ord("t")
ERROR: Final = ord("E")
NOTICE: Final = ord("N")
NOTIFICATION: Final = ord("A")
COPY_IN: Final = ord("G")
COPY_OUT: Final = ord("H")
COPY_BOTH: Final = ord("W")
FUNCTION_RESULT: Final = ord("V")

# The transaction status that READY carries.
IDLE: Final = ord("I")
IN_TRANSACTION: Final = ord("T")
IN_FAILED_TRANSACTION: Final = ord("E")

LONG_BYTES: Final = 0x3FFFFFFE
SHORT_BYTES: Final = 10_000
"""PostgreSQL's PQ_LARGE_MESSAGE_LIMIT and PQ_SMALL_MESSAGE_LIMIT: who says more is cut off."""


LONGEST: Final[dict[int, int]] = {
    QUERY: LONG_BYTES,
    PARSE: LONG_BYTES,
    BIND: LONG_BYTES,
    DESCRIBE: SHORT_BYTES,
    EXECUTE: SHORT_BYTES,
    CLOSE: SHORT_BYTES,
    SYNC: 4,
    FLUSH: 4,
    FUNCTION_CALL: LONG_BYTES,
    COPY_DATA: LONG_BYTES,
    COPY_DONE: 4,
    COPY_FAIL: SHORT_BYTES,
}
"""What is passed on to servers, and the greatest length of each. Whatever would make a server complain out of
turn (a Flush with a body) or hang up on the next client must not reach one."""
IN_COPY: Final = frozenset({COPY_DATA, COPY_DONE, COPY_FAIL, SYNC, FLUSH})
"""What may be said to a server that reads copy data."""


class MessageReader:
    """Cuts a byte stream into messages, whatever the chunks.

    Args:
        limit_bytes: longest message that is taken in.
    """

    __slots__ = ("_buffer", "_limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes: int = limit_bytes
        self._buffer: bytes = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take in a chunk; return the messages it completed as (type byte, body).

        Raises:
            ProtocolViolation: a length is impossible or above the limit.
        """
        buffer = self._buffer + data if self._buffer else data
        found: list[tuple[int, bytes]] = []
        position, end = 0, len(buffer)
        while position + HEADER_BYTES <= end:
            kind, length = HEADER.unpack_from(buffer, position)
            if length < 4 or length > self._limit_bytes:
                raise ProtocolViolation(f"invalid message length {length} of message type {kind:#04x}")
            after = position + 1 + length
            if after > end:
                break
            found.append((kind, buffer[position + HEADER_BYTES : after]))
            position = after
        self._buffer = buffer[position:]
        return found

    @property
    def rest(self) -> bytes:
        """What came behind the last whole message."""
        return self._buffer
