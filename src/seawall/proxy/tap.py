"""A recording of what passes over one server connection: what was said, and a hash of every result.

``Server.tap`` takes anything with ``said`` and ``heard``. This one keeps the messages sent, cut at their
boundaries, and for each statement its command tag, number of rows and a hash over its rows: enough to say
them again somewhere else and to tell whether the same came out. Rows are hashed as they pass and never kept.

The hash is BLAKE2b with a digest of 64 bits (RFC 7693), over the RowDescription and DataRow messages as they
stand on the wire, less the table's object number and column number: those differ between servers that hold
the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from seawall.wire.pgwire import framing
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES, MessageReader
from seawall.wire.pgwire.messages import ProtocolViolation, parse_fields, parse_row_description

DIGEST_BYTES: Final = 8
WHOLE_LIMIT: Final = 16 * 1024 * 1024
"""Longest message that is kept: what was said, or a row description."""
HASHED: Final = framing.DATA_ROW
ENDINGS: Final = frozenset(
    {framing.COMMAND_COMPLETE, framing.EMPTY_QUERY, framing.PORTAL_SUSPENDED, framing.ERROR}
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one statement came to.

    Attributes:
        tag: command tag; empty for an error, an empty query or a suspended portal.
        rows: how many were returned.
        digest: hash over them, eight bytes.
        sqlstate: of the error, or empty.
    """

    tag: str
    rows: int
    digest: bytes
    sqlstate: str = ""


class Recording:
    """What was said and what came of it.

    Args:
        limit_bytes: of what was said; beyond it nothing is kept and ``overflowed`` is set.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.outcomes: list[Outcome] = []
        self.overflowed = False
        self._limit_bytes = limit_bytes
        self._kept_bytes = 0
        self._sent = MessageReader(WHOLE_LIMIT)
        self._hash: Any = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._rows = 0
        self._carry = b""
        self._left = 0
        self._hashing = False

    def said(self, data: bytes) -> None:
        """Bytes that were sent to the server."""
        if self.overflowed:
            return
        self._kept_bytes += len(data)
        try:
            if self._kept_bytes <= self._limit_bytes:
                self.messages.extend(self._sent.feed(data))
                return
        except ProtocolViolation:
            pass  # a message above WHOLE_LIMIT: as much too long as all of them together
        self.overflowed = True
        self.messages.clear()

    def heard(self, data: bytes) -> None:
        """Bytes that the server sent, in any chunks."""
        if self._carry:
            data = self._carry + data
            self._carry = b""
        position = min(self._left, len(data))
        if position:
            if self._hashing:
                self._hash.update(data[:position])
            self._left -= position
        while position + HEADER_BYTES <= len(data):
            kind, length = HEADER.unpack_from(data, position)
            after = position + 1 + length
            if kind == HASHED:
                self._rows += 1
                self._hash.update(data[position:after])
            elif after > len(data) and length <= WHOLE_LIMIT:
                self._carry = data[position:]
                return
            else:
                self._take(kind, data[position + HEADER_BYTES : after])
            self._hashing = kind == HASHED
            self._left = max(0, after - len(data))
            position = after
        if position < len(data):
            self._carry = data[position:]

    def _take(self, kind: int, body: bytes) -> None:
        if kind == framing.ROW_DESCRIPTION:
            for column in parse_row_description(body):
                self._hash.update(f"{column.name}\0{column.type_oid}\0{column.format}\0".encode())
        elif kind in ENDINGS:
            tag = body[:-1].decode(errors="replace") if kind == framing.COMMAND_COMPLETE else ""
            sqlstate = parse_fields(body).get("C", "") if kind == framing.ERROR else ""
            self.outcomes.append(Outcome(tag, self._rows, self._hash.digest(), sqlstate))
            self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
            self._rows = 0
