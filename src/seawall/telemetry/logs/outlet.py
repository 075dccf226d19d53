"""Writes whole lines to a descriptor that may be blocked, broken or full.

The descriptor is shared with others more often than not: a terminal with a shell, a pipe with the processes
beside this one. So it is never made non-blocking, which would be so for all of them; it is asked first
whether it takes anything, and pipes get no more than ``PIPE_BUF`` bytes at a time, which they take whole and
without mixing them with what others write. A line longer than that is written in pieces.

Only the writer's thread calls it, and only that thread waits in it. It knows nothing about what lines say.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from collections.abc import Callable
from typing import Final

__all__ = ["BATCH_BYTES", "Outlet", "Patience", "open_path"]

BATCH_BYTES: Final = 65_536
"""One write to a file."""

POLL_MS: Final = 100
"""How long one question to a blocked descriptor takes; after it the writer looks whether it should stop."""

RETRY_S: Final = 0.5
"""Until a full disk is tried again."""

FILE_MODE: Final = 0o640
"""Logs are for their owner and for who ships them."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_AGAIN: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR})

Patience = Callable[[float], bool]
"""Waits for so many seconds at most, and says whether to go on."""


def open_path(path: str) -> int:
    """Open a file to append to; a FIFO without a reader is an error, not a wait."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    return os.open(path, flags, FILE_MODE)


class Outlet:
    """One destination.

    Args:
        fd: an open descriptor, which the outlet owns from now on.
        path: where it leads, if it can be opened again.

    Attributes:
        errors: what went wrong, by the name of its ``errno``; a closed list, so it stays small.
        reopened: times that the path was opened again.
    """

    __slots__ = ("_fd", "_path", "_regular", "_stale", "_torn", "errors", "reopened")

    def __init__(self, fd: int, path: str | None) -> None:
        self._fd = fd
        self._path = path
        self._stale = False
        self._torn = False
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)
        self.errors: dict[str, int] = {}
        self.reopened = 0

    def reopen(self) -> None:
        """Ask for the path to be opened again before the next line; safe in a signal handler."""
        self._stale = self._path is not None

    def forked(self) -> None:
        """Forget what concerns the parent's lines; its file is this process's too."""
        self._torn = False
        self.errors = {}
        self.reopened = 0

    @property
    def stale(self) -> bool:
        """Whether the path waits to be opened again."""
        return self._stale

    def write(self, lines: list[bytes], patient: Patience) -> int:
        """Write lines, waiting for as long as it takes.

        Args:
            lines: each with its line break.
            patient: waits for so many seconds, and says whether to go on; asked while nothing moves.

        Returns:
            How many were written whole. The others are lost: the destination is broken, or patience ended.
        """
        begin = 0
        while begin < len(lines):
            if self._stale:
                self._open_again()
            end = self._chunk(lines, begin)
            whole, going = self._write_chunk(lines[begin:end], patient)
            begin += whole
            if not going:
                return begin
        return begin

    def refresh(self) -> None:
        """Open the path again now, if that was asked for."""
        if self._stale:
            self._open_again()

    def close(self) -> None:
        """Give the descriptor back."""
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def _chunk(self, lines: list[bytes], begin: int) -> int:
        """The end of what one write takes: whole lines, one at least."""
        room = BATCH_BYTES if self._regular else select.PIPE_BUF - 1
        end = begin
        while end < len(lines) and (end == begin or len(lines[end]) <= room):
            room -= len(lines[end])
            end += 1
        return end

    def _write_chunk(self, lines: list[bytes], patient: Patience) -> tuple[int, bool]:
        # What was torn off before is ended first, so that a reader loses that line only.
        lead = b"\n" if self._torn else b""
        data = memoryview(lead + b"".join(lines))
        most = len(data) if self._regular else select.PIPE_BUF
        sent = 0
        going = True
        while sent < len(data):
            taken, wait_s = self._attempt(data[sent : sent + most])
            if taken > 0:
                sent += taken
                continue
            going = taken == 0 and patient(wait_s)
            if not going or self._stale:
                break  # broken; or time to stop; or what is not written yet belongs into another file
        return self._settle(lines, sent - len(lead)), going

    def _settle(self, lines: list[bytes], sent: int) -> int:
        if sent < 0:
            return 0  # not even the line break that ends the torn line
        whole = 0
        for line in lines:
            if sent < len(line):
                break
            sent -= len(line)
            whole += 1
        self._torn = sent > 0
        return whole

    def _attempt(self, data: memoryview) -> tuple[int, float]:
        """Bytes that were taken, or -1 if the destination is broken; and how long to wait until then."""
        try:
            if not self._regular and not self._writable():
                return 0, 0.0
            return os.write(self._fd, data), 0.0
        except OSError as error:
            number = error.errno or 0
            if number in _AGAIN:
                return 0, POLL_MS / 1_000
            name = errno.errorcode.get(number, "OTHER")
            self.errors[name] = self.errors.get(name, 0) + 1
            return (0, RETRY_S) if number in _FULL else (-1, 0.0)

    def _writable(self) -> bool:
        asked = select.poll()
        asked.register(self._fd, select.POLLOUT)
        return bool(asked.poll(POLL_MS))

    def _open_again(self) -> None:
        self._stale = False
        assert self._path is not None
        try:
            fresh = open_path(self._path)
        except OSError as error:
            # The former file goes on: lines in the wrong place are better than none.
            name = errno.errorcode.get(error.errno or 0, "OTHER")
            self.errors[name] = self.errors.get(name, 0) + 1
            return
        former, self._fd = self._fd, fresh
        self._regular = stat.S_ISREG(os.fstat(fresh).st_mode)
        self._torn = False
        self.reopened += 1
        with contextlib.suppress(OSError):
            os.close(former)
