"""A bounded queue before a thread that renders and writes.

The caller's part is an append: no lock, no rendering, no system call but the one that wakes a sleeping
writer, once per batch. What does not fit is dropped and counted, the newest first; warnings and worse have
room that lesser lines can't take. ``offered = accepted + dropped`` and ``accepted = written + failed +
queued``, in whichever thread each was counted, once nothing is on its way.

::

    offer ──► queue (items, bytes) ──► slice of lines, rendered ──► batch ──► outlet
      └── dropped                        └── failed (unrenderable)             └── failed (broken, too late)

The writer takes the interpreter for a few lines at a time and lets go, since a long turn would hold up the
event loop beside it. It is a daemon: a destination that is blocked for ever can't keep a process from ending.
After a fork the child begins with an empty queue (the parent writes what it had) and starts a writer of its
own with its first line. Nothing here logs.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Final

from seawall.kernel.tally import Tally
from seawall.telemetry.logs.levels import WARNING
from seawall.telemetry.logs.outlet import BATCH_BYTES, Outlet
from seawall.telemetry.logs.schema import Record

__all__ = ["SLICE_LINES", "Sink"]

SLICE_LINES: Final = 8
"""Lines that are rendered before the interpreter is let go: about 0.1 ms."""

SLICE_PAUSE_S: Final = 0.000_1
"""Long enough for a thread that waits for the interpreter to get it."""

CLOSING_WAIT_S: Final = 0.05
"""A full disk is tried again this soon when there is little time left."""

RESERVED: Final = 8
"""One part in so many of the queue is for warnings and worse."""

_Entry = tuple[Record, int]


class _Mark(threading.Event):
    """Set when everything queued before it has been dealt with."""


class Sink:
    """The way of records from callers to a destination.

    Args:
        outlet: the destination, used by the writer's thread only.
        render: makes the line of a record; what it raises costs that line.
        capacity: records that may wait.
        capacity_bytes: bytes that the texts of waiting records may have, roughly.
        batch_s: how long the writer lets lines gather after the first.
        on_fork: called in a child process, so that whatever else counts begins anew as well.
    """

    # fmt: off
    __slots__ = (
        "__weakref__", "_accepted", "_batch_s", "_bell", "_closing", "_deadline", "_dropped", "_ended",
        "_offered", "_on_fork", "_ordinary", "_ordinary_bytes", "_put", "_queue", "_render", "_taken",
        "_thread", "_wake", "capacity", "capacity_bytes", "failed", "outlet", "written",
    )
    # fmt: on

    def __init__(
        self,
        outlet: Outlet,
        render: Callable[[Record], bytes],
        *,
        capacity: int,
        capacity_bytes: int,
        batch_s: float,
        on_fork: Callable[[], object] | None = None,
    ) -> None:
        self.outlet = outlet
        self._render = render
        self.capacity = capacity
        self.capacity_bytes = capacity_bytes
        self._ordinary = capacity - capacity // RESERVED
        self._ordinary_bytes = capacity_bytes - capacity_bytes // RESERVED
        self._batch_s = batch_s
        self._on_fork = on_fork
        self._begin()
        _SINKS.add(self)
        _watch_forks()

    def _begin(self) -> None:
        self._queue: deque[_Entry | _Mark] = deque()
        self._offered, self._accepted, self._dropped = Tally(), Tally(), Tally()
        self.written = 0
        self.failed = 0
        self._put = 0
        self._taken = 0
        # Holds one token while the writer may be asleep: who gets the token wakes it.
        self._bell: deque[None] = deque((None,), maxlen=1)
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._closing = threading.Event()
        self._deadline = 0.0
        self._ended = False
        self._thread: threading.Thread | None = None

    @property
    def offered(self) -> int:
        """Records that callers had."""
        return self._offered.value

    @property
    def accepted(self) -> int:
        """Records that found room."""
        return self._accepted.value

    @property
    def dropped(self) -> int:
        """Records that found none, or came after the end."""
        return self._dropped.value

    @property
    def queued(self) -> int:
        """Records that wait."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """What the waiting records count for."""
        return self._put - self._taken

    def offer(self, record: Record, size: int) -> bool:
        """Queue a record; never waits, from any thread.

        ``append`` is one C call, and ``self._put += size`` is not left between its reading and its writing
        (CPython looks for other threads at calls and backward jumps only), so neither needs a lock. Threads
        that find the last place together all take it: the bound is exceeded by no more than their number.

        Args:
            record: what ``render`` takes.
            size: what it counts for in bytes.

        Returns:
            Whether it found room.
        """
        self._offered.add()
        queue = self._queue
        serious = record[1] >= WARNING
        if (
            len(queue) >= (self.capacity if serious else self._ordinary)
            or self._put - self._taken + size > (self.capacity_bytes if serious else self._ordinary_bytes)
            or self._closing.is_set()
        ):
            self._dropped.add()
            return False
        self._put += size
        queue.append((record, size))
        self._accepted.add()
        if self._bell:
            self._ring()
        return True

    def reopen(self) -> None:
        """Have the writer open the destination's path again; safe in a signal handler."""
        self.outlet.reopen()
        # A handler must start no thread: it may have interrupted somebody who does. The first line starts it,
        # and then the path is opened again as well.
        if self._thread is not None:
            self._ring()

    def flush(self, timeout_s: float) -> bool:
        """Wait until what is queued now has been written or lost.

        Returns:
            Whether that happened in time.
        """
        if self._closing.is_set():
            return not self._queue
        mark = _Mark()
        self._queue.append(mark)
        self._ring()
        return mark.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Take nothing more, write what is queued for at most so long, and end."""
        if self._closing.is_set():
            return
        self._deadline = monotonic() + timeout_s
        self._closing.set()
        thread = self._thread
        if thread is None and self._queue:
            with suppress(RuntimeError):  # at the interpreter's end there are none to be had
                thread = self._start()
        self._wake.put(None)
        if thread is not None:
            thread.join(timeout_s + 1.0)
        if thread is None or not thread.is_alive():
            self.outlet.close()
        # A writer that is still stuck keeps its descriptor: its number must not become somebody else's.
        self._abandon()
        _SINKS.discard(self)

    def _ring(self) -> None:
        try:
            self._bell.pop()
        except IndexError:
            return  # another caller was faster
        try:
            if self._thread is None:
                self._start()
            self._wake.put(None)
        except Exception:
            # No thread can be had now, as at the interpreter's end; the next caller tries again.
            self._bell.append(None)
            raise

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="seawall-logs", daemon=True)
        # Before it runs: as soon as it does, it gives the token back, and the next caller looks here.
        self._thread = thread
        try:
            thread.start()
        except BaseException:
            self._thread = None
            raise
        return thread

    def _patient(self, wait_s: float = 0.0) -> bool:
        """Wait for so many seconds at most, and say whether to go on: until the time to close is over."""
        if not self._closing.is_set():
            if wait_s:
                self._closing.wait(wait_s)
            return True
        left = self._deadline - monotonic()
        if left <= 0:
            return False
        if wait_s:
            sleep(min(wait_s, left, CLOSING_WAIT_S))
        return True

    def _run(self) -> None:
        # A reader that goes away is an error number here, whatever the program wants SIGPIPE to do.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        while not self._ended:
            # First of all: what is appended from here on rings, what was before is found by the loop.
            self._bell.append(None)
            if not (self._queue or self.outlet.stale or self._closing.is_set()):
                self._sleep()
                self._closing.wait(self._batch_s)
            self.outlet.refresh()
            self._drain()
            if self._closing.is_set():
                self._drain()  # what was appended while the flag was set
                return

    def _sleep(self) -> None:
        self._wake.get()
        while True:
            try:
                self._wake.get_nowait()
            except Empty:
                return

    def _drain(self) -> None:
        batch: list[bytes] = []
        while self._queue and self._patient():
            marks = self._slice(batch)
            size = sum(map(len, batch))
            if size >= BATCH_BYTES or not self._queue or marks:
                self._write(batch)
                batch = []
            if marks:
                self.outlet.refresh()
            for mark in marks:
                mark.set()
            sleep(SLICE_PAUSE_S)
        if batch:
            self._write(batch)

    def _slice(self, batch: list[bytes]) -> list[_Mark]:
        """Render a few records into the batch; ends at a mark."""
        for _ in range(SLICE_LINES):
            try:
                entry = self._queue.popleft()
            except IndexError:
                break
            if isinstance(entry, _Mark):
                return [entry]
            record, size = entry
            self._taken += size
            try:
                batch.append(self._render(record))
            except Exception:  # noqa: BLE001 -- one line that cannot be rendered must not end the writer
                self.failed += 1
        return []

    def _write(self, batch: list[bytes]) -> None:
        if not batch:
            return
        try:
            whole = self.outlet.write(batch, self._patient)
        except Exception:  # noqa: BLE001 -- as above
            whole = 0
        self.written += whole
        self.failed += len(batch) - whole

    def _abandon(self) -> None:
        """Count what nobody will write any more."""
        self._ended = True
        while True:
            try:
                entry = self._queue.popleft()
            except IndexError:
                return
            if isinstance(entry, _Mark):
                entry.set()
                continue
            self._taken += entry[1]
            self.failed += 1

    def forked(self) -> None:
        """Begin anew in a child process."""
        closed = self._closing.is_set()
        self._begin()
        self.outlet.forked()
        if closed:
            self._closing.set()
        if self._on_fork is not None:
            self._on_fork()


_SINKS: weakref.WeakSet[Sink] = weakref.WeakSet()
_WATCHED: list[bool] = []


def _watch_forks() -> None:
    # A hook of the interpreter can't be taken back: there is one for all sinks, and none before the first.
    if not _WATCHED:
        _WATCHED.append(True)
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    for sink in list(_SINKS):
        sink.forked()
