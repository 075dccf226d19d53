"""Cells for a build without the GIL: each thread counts in a cell of its own, and a scrape adds them up.

Without the GIL no step of ``cells`` is indivisible, and a lock that all threads share would make them wait
for each other. So a cell here holds one plain cell per *seat*; a seat is a small number that one living
thread has, and that the next thread gets when it has ended. A part therefore has one writer at a time,
nothing is lost when a thread ends, and there are never more parts than threads lived at once. What the
plain cells keep in slots is here a property that adds up the parts.

A gauge can be set as well as moved, which can't be split over threads: it has a lock.

They work with the GIL too, and cost about twice as much; ``families`` chooses.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

from seawall.telemetry.metrics.cells import (
    EXEMPLARS_MAX,
    Cell,
    Counter,
    Exemplar,
    Gauge,
    Histogram,
    NativeHistogram,
)
from seawall.telemetry.metrics.native import Exponential, merged

__all__ = ["ThreadedCounter", "ThreadedGauge", "ThreadedHistogram", "ThreadedNativeHistogram", "seat"]

_numbers: Final = count()
_free: Final[deque[int]] = deque()
"""Seats of threads that have ended; never more than threads lived at once."""


class _Seat:
    """A seat that is given back with its thread's local variables."""

    __slots__ = ("_give_back", "number")

    def __init__(self) -> None:
        try:
            self.number = _free.popleft()
        except IndexError:
            self.number = next(_numbers)
        # Bound here: when the interpreter ends, the module's names may be gone before the last thread's.
        self._give_back: Callable[[int], None] = _free.append

    def __del__(self) -> None:
        self._give_back(self.number)


class _Local(threading.local):
    def __init__(self) -> None:
        self.seat = _Seat()


_local: Final = _Local()


def seat() -> int:
    """The number that no other living thread has."""
    return _local.seat.number


C = TypeVar("C", bound=Cell)


def _part(parts: dict[int, C], make: Callable[[], C]) -> C:
    number = seat()
    part = parts.get(number)
    if part is None:
        part = parts[number] = make()
    return part


def _latest(exemplars: list[Exemplar]) -> Exemplar | None:
    return max(exemplars, key=lambda exemplar: exemplar.at, default=None)


class ThreadedCounter(Counter):
    """A counter with a part for each thread."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: dict[int, Counter] = {}
        self.line = None

    def inc(self, amount: float = 1, exemplar: Exemplar | None = None) -> None:
        """As ``Counter.inc``."""
        _part(self._parts, Counter).inc(amount, exemplar)

    @property
    def value(self) -> float:  # type: ignore[override]  # read from the parts
        """The total of all threads."""
        return sum(part.value for part in self._parts.copy().values())

    @property
    def refused(self) -> int:  # type: ignore[override]  # read from the parts
        """Of all threads."""
        return sum(part.refused for part in self._parts.copy().values())

    @property
    def exemplar(self) -> Exemplar | None:  # type: ignore[override]  # read from the parts
        """The latest of all threads."""
        return _latest([part.exemplar for part in self._parts.copy().values() if part.exemplar is not None])


class ThreadedGauge(Gauge):
    """A gauge with a lock."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def set(self, value: float) -> None:
        """As ``Gauge.set``."""
        with self._lock:
            super().set(value)

    def inc(self, amount: float = 1) -> None:
        """As ``Gauge.inc``."""
        with self._lock:
            super().inc(amount)

    def dec(self, amount: float = 1) -> None:
        """As ``Gauge.dec``."""
        with self._lock:
            super().dec(amount)


class ThreadedHistogram(Histogram):
    """A histogram with a part for each thread."""

    __slots__ = ("_parts",)

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._parts: dict[int, Histogram] = {}
        self.bounds = bounds
        self.line = None

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        """As ``Histogram.observe``."""
        _part(self._parts, self._make).observe(value, exemplar)

    def _make(self) -> Histogram:
        return Histogram(self.bounds)

    @property
    def counts(self) -> list[int]:  # type: ignore[override]  # read from the parts
        """The counts of all threads."""
        parts = self._parts.copy().values()
        return [sum(part.counts[index] for part in parts) for index in range(len(self.bounds) + 1)]

    @property
    def sum(self) -> float:  # type: ignore[override]  # read from the parts
        """The sum of all threads."""
        return sum((part.sum for part in self._parts.copy().values()), 0.0)

    @property
    def refused(self) -> int:  # type: ignore[override]  # read from the parts
        """Of all threads."""
        return sum(part.refused for part in self._parts.copy().values())

    @property
    def exemplars(self) -> list[Exemplar | None] | None:  # type: ignore[override]  # read from the parts
        """The latest of all threads by bucket."""
        kept = [part.exemplars for part in self._parts.copy().values() if part.exemplars is not None]
        if not kept:
            return None
        return [_latest([each for each in bucket if each is not None]) for bucket in zip(*kept, strict=True)]


class ThreadedNativeHistogram(NativeHistogram):
    """A native histogram with a part for each thread.

    Each attribute merges the parts anew; ``snapshot`` does so once for all of them.
    """

    __slots__ = ("_parts", "_start")

    def __init__(self, schema: int = 3) -> None:
        self._parts: dict[int, NativeHistogram] = {}
        self._start = schema
        self.line = None

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        """As ``NativeHistogram.observe``."""
        _part(self._parts, self._make).observe(value, exemplar)

    def _make(self) -> NativeHistogram:
        return NativeHistogram(self._start)

    def snapshot(self) -> Exponential:
        """All threads' observations, merged."""
        parts = [part.snapshot() for part in self._parts.copy().values()]
        return merged(parts or [NativeHistogram(self._start).snapshot()])

    def load(self, state: Exponential) -> None:
        """As ``NativeHistogram.load``."""
        part = self._make()
        part.load(state)
        self._parts = {seat(): part}

    @property
    def count(self) -> int:
        """All observations."""
        return self.snapshot().count

    @property
    def schema(self) -> int:  # type: ignore[override]  # read from the parts
        """The lowest resolution of all threads, or below it."""
        return self.snapshot().schema

    @property
    def zero_count(self) -> int:  # type: ignore[override]  # read from the parts
        """Values of all threads that are in no bucket."""
        return self.snapshot().zero_count

    @property
    def positive(self) -> dict[int, int]:  # type: ignore[override]  # read from the parts
        """Counts of all threads by key."""
        return dict(self.snapshot().positive)

    @property
    def negative(self) -> dict[int, int]:  # type: ignore[override]  # read from the parts
        """Counts of all threads by key of the magnitude."""
        return dict(self.snapshot().negative)

    @property
    def sum(self) -> float:  # type: ignore[override]  # read from the parts
        """The sum of all threads."""
        return self.snapshot().sum

    @property
    def refused(self) -> int:  # type: ignore[override]  # read from the parts
        """Of all threads."""
        return sum(part.refused for part in self._parts.copy().values())

    @property
    def exemplars(self) -> list[Exemplar] | None:  # type: ignore[override]  # read from the parts
        """The latest of all threads."""
        kept = [each for part in self._parts.copy().values() for each in list(part.exemplars or ())]
        kept.sort(key=lambda exemplar: exemplar.at)
        return kept[-EXEMPLARS_MAX:] or None
