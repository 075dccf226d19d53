"""Cells that write through to a block of shared memory, so that their counts outlive their process.

Each keeps its number as the plain cell does and stores it in the block in the same step; nobody has to copy
anything at a scrape, and a process that is killed leaves all it has counted. One process writes a cell. How
its threads do so is told in ``cells``; a build without the GIL gets those that take a lock.

A cell that has lost its place (``detach``) goes on counting, into a scrap of memory that nobody reads.

Called by ``shared``, which gives them their places. Exemplars stay in the process.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable
from math import inf

from seawall.telemetry.metrics.cells import Counter, Exemplar, Gauge, Histogram, NativeHistogram, StateSet
from seawall.telemetry.metrics.layout import (
    BUCKETS,
    COUNTS,
    NUMBER,
    PAIRS,
    SCHEMA,
    SUMS,
    TABLE_WORDS,
    WORD_BYTES,
    ZEROS,
)
from seawall.telemetry.metrics.native import BUCKETS_MAX, Exponential

__all__ = [
    "LockedCounter",
    "LockedGauge",
    "LockedHistogram",
    "SharedCounter",
    "SharedGauge",
    "SharedHistogram",
    "SharedNativeHistogram",
    "SharedStateSet",
    "Words",
]


class Words:
    """One piece of memory, read as three kinds of words.

    Args:
        memory: The bytes; their length is a multiple of eight.

    Attributes:
        bytes: The memory.
        unsigned: As natural numbers.
        signed: As whole numbers.
        doubles: As floats.
    """

    __slots__ = ("bytes", "doubles", "signed", "unsigned")

    def __init__(self, memory: memoryview) -> None:
        self.bytes = memory
        self.unsigned: memoryview[int] = memory.cast("Q")
        self.signed: memoryview[int] = memory.cast("q")
        self.doubles: memoryview[float] = memory.cast("d")


def scrap(words: int) -> Words:
    """Memory for a cell that has lost its place."""
    return Words(memoryview(bytearray(words * WORD_BYTES)))


class SharedCounter(Counter):
    """A counter with a place in the block."""

    __slots__ = ("_at", "_doubles")

    def __init__(self, words: Words, at: int) -> None:
        super().__init__()
        self._doubles = words.doubles
        self._at = at
        self.value = self._doubles[at]

    def inc(self, amount: float = 1, exemplar: Exemplar | None = None) -> None:
        """As ``Counter.inc``."""
        try:
            if amount == 1 or 0 <= amount < inf:
                self.value = value = self.value + amount
                self._doubles[self._at] = value
            else:
                self.refused += 1
        except (TypeError, ValueError, OverflowError):
            self.refused += 1
        if exemplar is not None:
            self.exemplar = exemplar

    def detach(self) -> None:
        """Leave the place in the block."""
        self._doubles, self._at = scrap(1).doubles, 0


class SharedGauge(Gauge):
    """A gauge with a place in the block.

    Args:
        words: The block.
        at: The place.
        clock: Gives the time of a write, where the last one counts; ``None`` where it does not.
    """

    __slots__ = ("_at", "_clock", "_doubles")

    def __init__(self, words: Words, at: int, clock: Callable[[], float] | None) -> None:
        super().__init__()
        self._clock = clock
        self.attach(words, at)

    def set(self, value: float) -> None:
        """As ``Gauge.set``."""
        try:
            self._doubles[self._at] = value
            self.value = value
        except (TypeError, ValueError, OverflowError):
            self.refused += 1
        self.used = True
        if self._clock is not None:
            self._doubles[self._at + 1] = self._clock()

    def inc(self, amount: float = 1) -> None:
        """As ``Gauge.inc``."""
        try:
            self.value = value = self.value + amount
            self._doubles[self._at] = value
        except (TypeError, ValueError, OverflowError):
            self.refused += 1
        self.used = True
        if self._clock is not None:
            self._doubles[self._at + 1] = self._clock()

    def dec(self, amount: float = 1) -> None:
        """As ``Gauge.dec``."""
        try:
            self.value = value = self.value - amount
            self._doubles[self._at] = value
        except (TypeError, ValueError, OverflowError):
            self.refused += 1
        self.used = True
        if self._clock is not None:
            self._doubles[self._at + 1] = self._clock()

    def refresh(self) -> None:
        """Store what the function says now; the scraping process can't call it."""
        if self.function is not None:
            self.set(self.read())

    def attach(self, words: Words, at: int) -> None:
        """Take a place in the block."""
        self._doubles, self._at = words.doubles, at
        self._doubles[at] = self.value
        if self._clock is not None:
            self._doubles[at + 1] = self._clock()

    def detach(self) -> None:
        """Leave the place in the block."""
        self._doubles, self._at = scrap(2).doubles, 0


class SharedStateSet(StateSet):
    """A state set with a place in the block; arguments as for :class:`SharedGauge`."""

    __slots__ = ("_at", "_clock", "_doubles")

    def __init__(
        self, states: tuple[str, ...], words: Words, at: int, clock: Callable[[], float] | None
    ) -> None:
        super().__init__(states)
        self._clock = clock
        self._doubles, self._at = words.doubles, at
        self._store()

    def set(self, name: str) -> None:
        """As ``StateSet.set``."""
        super().set(name)
        self._store()

    def _store(self) -> None:
        self._doubles[self._at] = self.state
        if self._clock is not None:
            self._doubles[self._at + 1] = self._clock()

    def detach(self) -> None:
        """Leave the place in the block."""
        self._doubles, self._at = scrap(2).doubles, 0


class SharedHistogram(Histogram):
    """A histogram with a place in the block."""

    __slots__ = ("_at", "_doubles", "_number", "_signed")

    def __init__(self, bounds: tuple[float, ...], words: Words, at: int) -> None:
        super().__init__(bounds)
        self._doubles, self._signed, self._at = words.doubles, words.signed, at
        self.counts = list(self._signed[at + COUNTS : at + COUNTS + len(self.counts)])
        self._number = sum(self.counts)
        self.sum = self._doubles[at + (self._number & 1)]
        # A process that was killed between two stores has left a count that is not in the number.
        self._signed[at + 2] = self._number

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        """As ``Histogram.observe``."""
        try:
            index = bisect_left(self.bounds, value)
            if value == value:  # noqa: PLR0124  # NaN is in no bucket, and isnan() would be a call
                total = self.sum + value
                counts = self.counts
                at = self._at
                signed = self._signed
                # The sum, a count, the number: in this order, as the reader relies on it.
                self._number = number = self._number + 1
                self._doubles[at + (number & 1)] = self.sum = total
                signed[at + COUNTS + index] = counts[index] = counts[index] + 1
                signed[at + 2] = number
            else:
                self.refused += 1
                return
        except (TypeError, ValueError, OverflowError):
            self.refused += 1
            return
        if exemplar is not None:
            self._keep(index, exemplar)

    def detach(self) -> None:
        """Leave the place in the block."""
        words = scrap(COUNTS + len(self.counts))
        self._doubles, self._signed, self._at = words.doubles, words.signed, 0


class SharedNativeHistogram(NativeHistogram):
    """A native histogram with a place in the block.

    Finding the bucket and storing it are more than one indivisible step, so there is a lock. It is held for a
    microsecond, by threads of this process only, and a signal handler that observes may take it again.

    Args:
        schema: Resolution to start with.
        words: The block.
        at: The place.
        state: What the place had before; ``None`` if it is new.
    """

    __slots__ = ("_at", "_slots", "_storing", "_table", "_words")

    def __init__(self, schema: int, words: Words, at: int, state: Exponential | None) -> None:
        super().__init__(schema)
        self._storing = threading.RLock()
        self._words = words
        self._at = at
        # Where each bucket's count is, by twice the key plus one for negative values.
        self._slots: dict[int, int] = {}
        self._table = at
        if state is not None:
            self.load(state)
        self._rewrite()

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        """As ``NativeHistogram.observe``."""
        if exemplar is not None:
            self._keep(exemplar)
        with self._storing:
            era, refused = self._era, self.refused
            try:
                bucket = self._place(value)
            except (TypeError, ValueError, OverflowError):
                self.refused += 1
                return
            if len(self.positive) + len(self.negative) > BUCKETS_MAX:
                # A reader was in the way. The table has no room for one more, so this one waits for it.
                self._coarsen(wait=True)
            if self._era != era:
                self._rewrite()
            elif self.refused == refused:
                self._store(bucket)

    def _store(self, bucket: int | None) -> None:
        signed, table = self._words.signed, self._table
        number = signed[table + NUMBER] + 1
        # The sum, a count, the number: in this order, as the reader relies on it.
        self._words.doubles[table + SUMS + (number & 1)] = self.sum
        if bucket is None:
            signed[table + ZEROS] = self.zero_count
        else:
            count = (self.negative if bucket & 1 else self.positive)[bucket >> 1]
            slot = self._slots.get(bucket)
            if slot is None:
                used = len(self._slots)
                slot = self._slots[bucket] = table + PAIRS + 2 * used
                signed[slot] = bucket
                signed[slot + 1] = count
                signed[table + BUCKETS] = used + 1
            else:
                signed[slot + 1] = count
        signed[table + NUMBER] = number

    def _rewrite(self) -> None:
        """Write the table that does not hold, and let it hold."""
        signed, doubles, at = self._words.signed, self._words.doubles, self._at
        era = signed[at] + 1
        table = at + 1 + (era & 1) * TABLE_WORDS
        buckets = [(2 * key, count) for key, count in self.positive.items()]
        buckets += [(2 * key + 1, count) for key, count in self.negative.items()]
        signed[table + SCHEMA] = self.schema
        signed[table + ZEROS] = self.zero_count
        doubles[table + SUMS] = doubles[table + SUMS + 1] = self.sum
        signed[table + NUMBER] = self.zero_count + sum(count for _, count in buckets)
        signed[table + BUCKETS] = len(buckets)
        self._slots = {}
        for index, (bucket, count) in enumerate(buckets):
            slot = self._slots[bucket] = table + PAIRS + 2 * index
            signed[slot] = bucket
            signed[slot + 1] = count
        self._table = table
        signed[at] = era

    def detach(self) -> None:
        """Leave the place in the block."""
        with self._storing:
            self._words, self._at = scrap(1 + 2 * TABLE_WORDS), 0
            self._rewrite()


class LockedCounter(SharedCounter):
    """For a build without the GIL: the threads of the process take turns."""

    __slots__ = ("_lock",)

    def __init__(self, words: Words, at: int) -> None:
        self._lock = threading.RLock()
        super().__init__(words, at)

    def inc(self, amount: float = 1, exemplar: Exemplar | None = None) -> None:
        """As ``Counter.inc``."""
        with self._lock:
            super().inc(amount, exemplar)

    def detach(self) -> None:
        """Leave the place in the block."""
        with self._lock:
            super().detach()


class LockedGauge(SharedGauge):
    """For a build without the GIL: the threads of the process take turns."""

    __slots__ = ("_lock",)

    def __init__(self, words: Words, at: int, clock: Callable[[], float] | None) -> None:
        self._lock = threading.RLock()
        super().__init__(words, at, clock)

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

    def attach(self, words: Words, at: int) -> None:
        """Take a place in the block."""
        with self._lock:
            super().attach(words, at)

    def detach(self) -> None:
        """Leave the place in the block."""
        with self._lock:
            super().detach()


class LockedHistogram(SharedHistogram):
    """For a build without the GIL: the threads of the process take turns."""

    __slots__ = ("_lock",)

    def __init__(self, bounds: tuple[float, ...], words: Words, at: int) -> None:
        self._lock = threading.RLock()
        super().__init__(bounds, words, at)

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        """As ``Histogram.observe``."""
        with self._lock:
            super().observe(value, exemplar)

    def detach(self) -> None:
        """Leave the place in the block."""
        with self._lock:
            super().detach()
