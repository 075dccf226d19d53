"""HTTP/1.1 as far as a client that posts needs it: a request's head out, a reply in. Pure: no socket.

RFC 9112. A reply is read to its end or refused with :class:`Garbled`; it is bounded in every direction,
because whoever sends it may be anybody. No redirects, no upgrades, no trailers kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

__all__ = ["BODY_LIMIT", "HEAD_LIMIT", "Garbled", "Reply", "ReplyReader", "request_head"]

HEAD_LIMIT: Final = 32 * 1024
"""Bytes of a status line with its headers; of chunk sizes and trailers too."""

BODY_LIMIT: Final = 64 * 1024
"""Bytes of a body. A collector answers in a few hundred."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?\Z")
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{1,8}\Z")


class Garbled(Exception):
    """No HTTP, or more of it than anybody needs."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, whole.

    Attributes:
        status: Three digits.
        headers: Names in lower case; of several of one name, joined as lists are.
        body: Without its encoding for the transfer.
        reusable: Whether another request may follow on this connection.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool


def request_head(path: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """The start of a POST.

    Args:
        path: Path and query.
        headers: Checked by the settings; a line break in them would start a new header.
    """
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


@final
class ReplyReader:
    """Reads one reply; chunks of bytes may be cut anywhere."""

    __slots__ = ("_body", "_buffer", "_close", "_head", "_left", "_step", "_trailer")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._body = bytearray()
        self._head: tuple[int, dict[str, str]] | None = None
        self._close = False
        self._left = 0
        self._trailer = 0
        self._step = "head"

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return self._head is not None or bool(self._buffer)

    def feed(self, data: bytes) -> Reply | None:
        """Read on.

        Args:
            data: What came.

        Returns:
            The reply, once it is whole.

        Raises:
            Garbled: It is no HTTP, or too long.
        """
        self._buffer += data
        while True:
            if self._step == "head":
                going_on = self._read_head()
            elif self._step == "size":
                going_on = self._read_size()
            elif self._step == "break":
                going_on = self._read_break()
            elif self._step == "trailer":
                going_on = self._read_trailer()
            elif self._step == "done":
                return self._done()
            else:
                going_on = self._read_body()
            if not going_on:
                return None

    def end(self) -> Reply:
        """The other side has closed.

        Raises:
            Garbled: Something is missing.
        """
        if self._step == "rest":
            return self._done()
        raise Garbled("closed before the reply was whole" if self.begun else "closed without a reply")

    def _line(self, limit: int) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > limit:
                raise Garbled("a line without an end")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def _read_head(self) -> bool:
        end = re.search(rb"\r?\n\r?\n", self._buffer)
        if end is None:
            if len(self._buffer) > HEAD_LIMIT:
                raise Garbled("headers without an end")
            return False
        if end.start() > HEAD_LIMIT:
            raise Garbled("too many headers")
        lines = bytes(self._buffer[: end.start()]).replace(b"\r\n", b"\n").split(b"\n")
        del self._buffer[: end.end()]
        match = _STATUS_LINE.match(lines[0])
        if match is None:
            raise Garbled("no status line")
        status = int(match[2])
        headers = _headers(lines[1:])
        if status < 200:  # an interim reply; the real one follows
            if status == 101:
                raise Garbled("an upgrade that nobody asked for")
            return True
        self._head = status, headers
        connection = headers.get("connection", "").lower()
        self._close = "close" in connection or (match[1] == b"0" and "keep-alive" not in connection)
        self._plan_body(status, headers)
        return True

    def _plan_body(self, status: int, headers: dict[str, str]) -> None:
        if status in {204, 304}:
            self._step = "done"
        elif coding := headers.get("transfer-encoding"):
            if coding.lower() != "chunked":
                raise Garbled("an unknown coding of the transfer")
            self._step = "size"
        elif (text := headers.get("content-length")) is not None:
            lengths = {each.strip() for each in text.split(",")}
            only = lengths.pop()
            if lengths or not (only.isascii() and only.isdigit() and len(only) < 10):
                raise Garbled("no length")
            self._left = int(only)
            self._check(self._left)
            self._step = "body" if self._left else "done"
        else:
            self._step, self._close = "rest", True

    def _check(self, more: int) -> None:
        if len(self._body) + more > BODY_LIMIT:
            raise Garbled("a body that is too long")

    def _read_size(self) -> bool:
        line = self._line(HEAD_LIMIT)
        if line is None:
            return False
        digits = line.partition(b";")[0].strip()
        if not _HEX.match(digits):
            raise Garbled("no size of a chunk")
        size = int(digits, 16)
        self._check(size)
        self._left, self._step = (size, "chunk") if size else (0, "trailer")
        return True

    def _read_body(self) -> bool:
        if self._step == "rest":
            self._check(len(self._buffer))
            self._body += self._buffer
            self._buffer.clear()
            return False
        taken = self._buffer[: self._left]
        del self._buffer[: len(taken)]
        self._body += taken
        self._left -= len(taken)
        if self._left:
            return False
        self._step = "done" if self._step == "body" else "break"
        return True

    def _read_break(self) -> bool:
        line = self._line(2)
        if line is None:
            return False
        if line:
            raise Garbled("a chunk that is longer than its size")
        self._step = "size"
        return True

    def _read_trailer(self) -> bool:
        line = self._line(HEAD_LIMIT)
        if line is None:
            return False
        self._trailer += len(line) + 2  # its end too: a line costs work even if it is short
        if self._trailer > HEAD_LIMIT:
            raise Garbled("too many trailers")
        if not line:
            self._step = "done"
        return True

    def _done(self) -> Reply:
        assert self._head is not None
        status, headers = self._head
        # What comes after the reply was not asked for; who knows to what it would be the answer.
        return Reply(status, headers, bytes(self._body), reusable=not self._close and not self._buffer)


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.match(name):
            raise Garbled("no header")
        key, text = name.decode("ascii").lower(), value.strip().decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
