"""One huge row, a long COPY out and a long COPY in, each with somebody slow at the other end.

The reader stands still before it reads and then reads at a steady rate; for COPY in, the server's process
is stopped for a while in the middle. A proxy without back-pressure takes in what it can't hand on, and grows.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.proxying import processes
from benchmarks.proxying.client import HEADER, Client, RefusedError, message, query
from benchmarks.proxying.cluster import Cluster
from benchmarks.proxying.endpoints import Endpoint

BYTES_PER_S = 300e6
LINE_BYTES = 1_000
CHUNK_LINES = 64
KEEP_EVERY = 1_000
"""One line in so many is stored, so that the server's count proves what arrived without filling a disk."""
FIND_S = 30.0
POLL_S = 0.01


@dataclass
class Grown:
    """What one transfer did."""

    growth: int
    """Bytes by which the peak of the proxy's resident memory rose above what it was before."""
    moved: int
    """Bytes of payload that the client received or sent."""
    seconds: float
    moved_in_stall: int = 0
    """Bytes that were taken in although nobody took them out."""


@dataclass
class Pace:
    """Keeps a reader at ``BYTES_PER_S``."""

    started: float = field(default_factory=time.monotonic)
    moved: int = 0

    def advance(self, number: int) -> None:
        """Count bytes; wait when they came too fast."""
        self.moved += number
        ahead = self.moved / BYTES_PER_S - (time.monotonic() - self.started)
        if ahead > POLL_S:
            time.sleep(ahead)


def measure(endpoint: Endpoint, transfer: Callable[[], tuple[int, int]]) -> Grown:
    """Run a transfer and return what it did to the proxy's memory."""
    pids = endpoint.pids()
    processes.forget_peak(pids)
    before = processes.resident(pids)
    started = time.monotonic()
    moved, in_stall = transfer()
    return Grown(
        growth=max(0, processes.peak(pids) - before),
        moved=moved,
        seconds=time.monotonic() - started,
        moved_in_stall=in_stall,
    )


def read(endpoint: Endpoint, database: str, sql: str, stall_s: float) -> tuple[int, int]:
    """Run a query whose answer is large, slowly, and return the bytes that came.

    Raises:
        RefusedError: The server refused it, at the start or later.
    """
    with Client(endpoint.port, database) as client:
        client.socket.sendall(query(sql))
        time.sleep(stall_s)
        moved, first, last = client.stream(Pace().advance)
    if first[:1] not in {b"T", b"H"} or not (b"COPY " in last or b"SELECT 1" in last):
        raise RefusedError(f"{sql}: {first!r} ... {last!r}")
    return moved, 0


def row_of(number: int) -> str:
    """Return a query whose one row has that many bytes."""
    return f"SELECT repeat('x', {number})"


def copy_out_of(number: int) -> str:
    """Return a COPY that sends that many bytes in lines of ``LINE_BYTES``."""
    lines = number // LINE_BYTES
    return f"COPY (SELECT repeat('x', {LINE_BYTES - 1}) FROM generate_series(1, {lines})) TO STDOUT"


def copy_in(
    endpoint: Endpoint, cluster: Cluster, database: str, number: int, stall_s: float
) -> tuple[int, int]:
    """Send that many bytes by COPY while the server stands still for a while.

    Returns:
        Bytes of payload sent, and those of them that left while the server stood still.

    Raises:
        RefusedError: The server refused it, or counted something else than what was sent.
    """
    lines = number // LINE_BYTES
    with cluster.client(database) as direct:
        direct.simple("DROP TABLE IF EXISTS bulk; CREATE UNLOGGED TABLE bulk (n bigint, t text)")
        with Client(endpoint.port, database) as client:
            sent = _Sender(client, lines)
            client.socket.sendall(query(f"COPY bulk FROM STDIN WHERE n % {KEEP_EVERY} = 0"))
            kind, length = HEADER.unpack(client.exactly(HEADER.size))
            if kind != b"G":
                raise RefusedError(f"COPY was not accepted: {client.exactly(length - 4)!r}")
            client.exactly(length - 4)
            pid = _backend(direct)
            with sent.running():
                sent.wait_for(lines // 3)
                os.kill(pid, signal.SIGSTOP)
                try:
                    before = sent.lines
                    time.sleep(stall_s)
                    in_stall = (sent.lines - before) * LINE_BYTES
                finally:
                    os.kill(pid, signal.SIGCONT)
            client.finish()
        stored = int(direct.scalar("SELECT count(*) FROM bulk"))
    if stored != lines // KEEP_EVERY:
        raise RefusedError(f"{lines} lines sent, {lines // KEEP_EVERY} should have been kept, {stored} are")
    return lines * LINE_BYTES, in_stall


def _backend(direct: Client) -> int:
    deadline = time.monotonic() + FIND_S
    while time.monotonic() < deadline:
        found = direct.simple(
            "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY bulk FROM%'"
        )
        if found and found[0][0] is not None:
            return int(found[0][0])
        time.sleep(POLL_S)
    raise RefusedError(f"no server process works on the COPY after {FIND_S:g} s")


class _Sender:
    """Sends the lines in a thread of its own, so that somebody can see it being held up."""

    def __init__(self, client: Client, lines: int) -> None:
        self.lines = 0
        self._client = client
        self._wanted = lines
        self._failures: list[BaseException] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send while the body runs, and until all is sent."""
        thread = threading.Thread(target=self._send, daemon=True)
        thread.start()
        yield
        thread.join()
        if self._failures:
            raise self._failures[0]

    def wait_for(self, lines: int) -> None:
        """Return when that many lines have left."""
        while self.lines < lines and not self._failures:
            time.sleep(POLL_S)

    def _send(self) -> None:
        try:
            for first in range(1, self._wanted + 1, CHUNK_LINES):
                numbers = range(first, min(first + CHUNK_LINES, self._wanted + 1))
                self._client.socket.sendall(message(b"d", b"".join(_lines(numbers))))
                self.lines += len(numbers)
            self._client.socket.sendall(message(b"c", b""))
        except BaseException as error:
            self._failures.append(error)


def _lines(numbers: Sequence[int]) -> list[bytes]:
    return [b"%d\t" % number + b"x" * (LINE_BYTES - 2 - len(b"%d" % number)) + b"\n" for number in numbers]
