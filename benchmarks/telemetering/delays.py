"""How long an event loop makes a callback wait while something else goes on in the process.

A callback puts itself at the end of the loop's queue again and again; the time between two of its runs is a
*gap*. The 99th percentile of the gaps under a load, less that of an idle loop right before, is what the load
adds. Idle and loaded windows alternate, so that a slow moment of the machine comes under both.

A window under load begins and ends with the load: gaps in which nothing happened would thin out the others.
Where a load takes turns with the loop there are many short gaps besides the long ones, so there is a second
figure: the 99th percentile *by time*, the gap that a callback meets which comes at any moment.

A round is disturbed if a yardstick next to it is slow, or if the kernel has taken the processor away from the
loop in it (an involuntary switch of its thread, as ``getrusage`` counts them; waiting for the interpreter's
lock is none). What counts are the other rounds, or the quietest quarter if those are fewer. Where it is
allowed the process goes before others meanwhile (``first``).
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import resource
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.harness import Estimate, median_interval, percentile
from benchmarks.quiet import QUIET, SLOWER

__all__ = [
    "Load",
    "Round",
    "Ticker",
    "Window",
    "added",
    "as_others",
    "by_time",
    "first",
    "measure",
    "quietest",
]

SHARE = 0.99
NS_IN_MS = 1e6
WARM_UP = 2

Load = Callable[["Ticker"], Awaitable[None]]
"""Does its work once; the ticker notes gaps while it is told to (``Ticker.noting``)."""


def switches() -> int:
    """How often the kernel has taken the processor away from this thread."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


@dataclass(frozen=True)
class Window:
    """Some time.

    Attributes:
        gaps: Its gaps, in nanoseconds.
        disturbed: In how many of them the thread lost the processor.
    """

    gaps: Sequence[int]
    disturbed: int = 0


class Ticker:
    """The callback that comes again and again.

    Args:
        clock: Nanoseconds.
        switches: How often this thread has lost the processor.

    Attributes:
        gaps: Those that were noted, in nanoseconds.
        disturbed: In how many of them the thread lost the processor.
    """

    def __init__(
        self,
        clock: Callable[[], int] = time.perf_counter_ns,
        switches: Callable[[], int] = switches,
    ) -> None:
        self.gaps: list[int] = []
        self.disturbed = 0
        self._clock = clock
        self._switches = switches
        self._lost = 0
        self._noting = self._ending = self._stopped = False
        self._last: int | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to come again and again."""
        self._loop = loop
        loop.call_soon(self._tick)

    def stop(self) -> None:
        """Come no more."""
        self._stopped = True

    def begin(self) -> None:
        """Note gaps from the one on in which this is called."""
        self._noting, self._ending = True, False

    def end(self) -> None:
        """Note no gaps after the one in which this is called."""
        self._ending = True

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note the gaps while a block runs."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def take(self) -> Window:
        """The gaps that were noted; none is kept."""
        window = Window(self.gaps, self.disturbed)
        self.gaps, self.disturbed = [], 0
        return window

    def tick(self) -> None:
        """Note the gap that ends now, if it is to be noted."""
        now, lost = self._clock(), self._switches()
        if self._noting and self._last is not None:
            self.gaps.append(now - self._last)
            self.disturbed += lost != self._lost
        self._lost = lost
        if self._ending:
            self._noting = self._ending = False
        self._last = now

    def _tick(self) -> None:
        self.tick()
        if not self._stopped:
            self._loop.call_soon(self._tick)


@dataclass(frozen=True)
class Round:
    """An idle window and the window under load behind it.

    Attributes:
        idle: The idle one.
        loaded: The one under load.
        yardstick_ns: The slower one of the yardsticks around both.
    """

    idle: Window
    loaded: Window
    yardstick_ns: float

    @property
    def disturbed(self) -> int:
        """In how many gaps the thread lost the processor."""
        return self.idle.disturbed + self.loaded.disturbed


def quietest(rounds: Sequence[Round], limit_ns: float) -> list[Round]:
    """Those that nothing has disturbed, or the least disturbed quarter if that is more.

    Args:
        rounds: All of them.
        limit_ns: The slowest yardstick of a quiet moment.
    """
    calm = [one for one in rounds if not one.disturbed and one.yardstick_ns <= limit_ns]
    quarter = -(-len(rounds) // 4)
    if len(calm) >= quarter:
        return calm
    return sorted(rounds, key=lambda one: (one.disturbed, one.yardstick_ns))[:quarter]


Percentile = Callable[[Sequence[int], float], float]


def by_time(gaps: Sequence[int], share: float) -> float:
    """The gap in which, or in a shorter one, so much of the whole time lies; NaN without gaps."""
    left = sum(gaps) * share
    for gap in sorted(gaps):
        left -= gap
        if left <= 0:
            return gap
    return math.nan


def added(rounds: Sequence[Round], of: Percentile = percentile) -> Estimate:
    """What the load adds to the 99th percentile: the median over the rounds, in milliseconds."""
    return median_interval(
        [(of(one.loaded.gaps, SHARE) - of(one.idle.gaps, SHARE)) / NS_IN_MS for one in rounds]
    )


@contextmanager
def first() -> Iterator[bool]:
    """Go before the machine's other programs while a block runs, with all threads that are begun in it.

    Yields:
        Whether that is allowed here.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        as_others()


def as_others() -> None:
    """Go before nobody: also for what a process that goes first has started."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


async def _turn() -> None:
    """Let the ticker come once, so that what was done before is in no gap that is noted."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def measure(load: Load, *, rounds: int, loads: int, idle_s: float) -> list[Round]:
    """Idle and loaded windows in turn.

    Args:
        load: What goes on.
        rounds: How often.
        loads: How often it is done in one window.
        idle_s: How long an idle window is.

    Returns:
        The rounds that count, see :func:`quietest`.
    """
    ticker = Ticker()
    ticker.start(asyncio.get_running_loop())
    try:
        for _ in range(WARM_UP):
            await load(ticker)
            await _turn()
        ticker.take()
        found = []
        for _ in range(rounds):
            # What the windows before have thrown away is not to be collected in one of these.
            gc.collect()
            before = QUIET.yardstick_ns()
            await _turn()
            with ticker.noting():
                await asyncio.sleep(idle_s)
            await _turn()
            idle = ticker.take()
            for _ in range(loads):
                await load(ticker)
                await _turn()
            slower = max(before, QUIET.yardstick_ns())
            found.append(Round(idle, ticker.take(), slower))
        return quietest(found, QUIET.best_ns * SLOWER)
    finally:
        ticker.stop()
