"""Cells that write through to a block of shared memory, and how another process reads what they write.

Each keeps its number as the plain cell does and stores it in the block in the same step; nobody has to copy
anything at a scrape, and a process that is killed leaves all it has counted. One process writes a cell. How
its threads do so is told in ``cells``. A cell that has lost its place (``detach``) goes on counting, into a
scrap of memory that nobody reads. Exemplars stay in the process.

The readers take no lock and get no torn number. A word is never torn. Numbers of several words are read again
until they fit together, in the order that ``layout`` tells. A writer that was stopped or killed in the middle
has left numbers that fit, so only one that counts faster than they can be read keeps them from it. After some
rounds the reader says that it has nothing, and its caller stays with what it had.

The order of loads and stores is that of x86-64. A machine that shows stores in another order may show a sum
that is one observation behind its counts.

Called by ``shared``, which gives cells their places, and by ``gathering``, which reads them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import inf
from typing import Final

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
from seawall.telemetry.metrics.locks import CHANGES
from seawall.telemetry.metrics.native import BUCKETS_MAX, Exponential

__all__ = [
    "READS_MAX",
    "SharedCounter",
    "SharedGauge",
    "SharedHistogram",
    "SharedNativeHistogram",
    "SharedStateSet",
    "Words",
    "read_histogram",
    "read_native",
]

READS_MAX: Final = 50
"""Rounds until a reader gives up; each takes about a microsecond."""
_UNDER_WAY: Final = -(1 << 62)
"""The number of observations while many are being added; no counts fit it."""
_FITTING: Final = (0, 1)
"""How far counts may be ahead of the number: by the one observation that is being stored."""


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
        self.move(memory)

    def move(self, memory: memoryview) -> None:
        """Be other memory from now on, for all who hold these words."""
        self.bytes = memory
        self.unsigned: memoryview[int] = memory.cast("Q")
        self.signed: memoryview[int] = memory.cast("q")
        self.doubles: memoryview[float] = memory.cast("d")


def scrap(words: int) -> Words:
    """Memory for a cell that has lost its place."""
    return Words(memoryview(bytearray(words * WORD_BYTES)))


class SharedCounter(Counter):
    """A counter with a place in the block.

    Args:
        words: The block.
        at: The place.
    """

    __slots__ = ("_at", "_words")

    def __init__(self, words: Words, at: int) -> None:
        super().__init__()
        self._words = words
        self._at = at
        self.value = words.doubles[at]

    def inc(self, amount: float = 1, exemplar: Exemplar | None = None) -> None:
        """As ``Counter.inc``."""
        try:
            if amount == 1 or 0 <= amount < inf:
                self.value = value = self.value + amount
                self._words.doubles[self._at] = value
            else:
                self.refused += 1
                return
        except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
            self.refused += 1
            return
        if exemplar is not None:
            self.exemplar = exemplar

    def detach(self) -> None:
        """Leave the place in the block."""
        self._words, self._at = scrap(1), 0


class SharedGauge(Gauge):
    """A gauge with a place in the block; arguments as for :class:`SharedCounter`."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: Words, at: int) -> None:
        super().__init__()
        self.attach(words, at)

    def set(self, value: float) -> None:
        """As ``Gauge.set``."""
        try:
            self._words.doubles[self._at] = value
            self.value = value
        except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
            self.refused += 1
        self.used = True

    def inc(self, amount: float = 1) -> None:
        """As ``Gauge.inc``."""
        try:
            self._words.doubles[self._at] = value = self.value + amount
            self.value = value
        except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
            self.refused += 1
        self.used = True

    def dec(self, amount: float = 1) -> None:
        """As ``Gauge.dec``."""
        try:
            self._words.doubles[self._at] = value = self.value - amount
            self.value = value
        except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
            self.refused += 1
        self.used = True

    def refresh(self) -> None:
        """Store what the function says now; the scraping process can't call it."""
        if self.function is not None:
            self.set(self.read())

    def attach(self, words: Words, at: int) -> None:
        """Take a place in the block."""
        words.doubles[at] = self.value
        self._words, self._at = words, at

    def detach(self) -> None:
        """Leave the place in the block."""
        self._words, self._at = scrap(1), 0


class SharedStateSet(StateSet):
    """A state set with a place in the block; arguments as for :class:`SharedCounter`."""

    __slots__ = ("_at", "_words")

    def __init__(self, states: tuple[str, ...], words: Words, at: int) -> None:
        super().__init__(states)
        self._words, self._at = words, at
        words.doubles[at] = 0

    def set(self, name: str) -> None:
        """As ``StateSet.set``."""
        super().set(name)
        self._words.doubles[self._at] = self.state

    def detach(self) -> None:
        """Leave the place in the block."""
        self._words, self._at = scrap(1), 0


class SharedHistogram(Histogram):
    """A histogram with a place in the block; arguments as for :class:`SharedCounter`."""

    __slots__ = ("_at", "_number", "_words")

    def __init__(self, bounds: tuple[float, ...], words: Words, at: int) -> None:
        super().__init__(bounds)
        self._words, self._at = words, at
        self.counts = words.signed[at + COUNTS : at + COUNTS + len(self.counts)].tolist()
        self._number = sum(self.counts)
        self.sum = words.doubles[at + (self._number & 1)]
        # A process that was killed between two stores has left a count that is not in the number.
        words.signed[at + 2] = self._number

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        """As ``Histogram.observe``."""
        try:
            index = bisect_left(self.bounds, value)
            if value == value:  # noqa: PLR0124  # NaN is in no bucket, and isnan() would be a call
                words, at, counts = self._words, self._at, self.counts
                signed = words.signed
                number = self._number + 1
                # The sum, which alone can fail, a count, the number: the reader relies on this order.
                words.doubles[at + (number & 1)] = total = self.sum + value
                self.sum = total
                self._number = number
                signed[at + COUNTS + index] = counts[index] = counts[index] + 1
                signed[at + 2] = number
            else:
                self.refused += 1
                return
        except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
            self.refused += 1
            return
        if exemplar is not None:
            self._keep(index, exemplar)

    def add(self, counts: Sequence[int], total: float) -> None:
        """As ``Histogram.add``; a reader that comes in between finds no number that fits, and waits."""
        if not self._fits(counts, total):
            return
        words, at = self._words, self._at
        signed = words.signed
        signed[at + 2] = _UNDER_WAY
        super().add(counts, total)
        self._number += sum(counts)
        words.doubles[at + (self._number & 1)] = self.sum
        for index, count in enumerate(self.counts):
            signed[at + COUNTS + index] = count
        signed[at + 2] = self._number

    def detach(self) -> None:
        """Leave the place in the block."""
        self._words, self._at = scrap(COUNTS + len(self.counts)), 0


class SharedNativeHistogram(NativeHistogram):
    """A native histogram with a place in the block.

    Finding the bucket and storing it are more than one indivisible step, so there is a lock, which threads of
    this process alone take.

    Args:
        schema: Resolution to start with.
        words: The block.
        at: The place.
        state: What the place had before; ``None`` if it is new.
    """

    __slots__ = ("_at", "_slots", "_table", "_used", "_words")

    def __init__(self, schema: int, words: Words, at: int, state: Exponential | None) -> None:
        super().__init__(schema)
        self._words = words
        self._at = at
        # Where each bucket's count is, by twice the key plus one for negative values; and how many there are.
        self._slots: dict[int, int] = {}
        self._used = 0
        self._table = at
        if state is not None:
            self.load(state)
        self._rewrite()

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        """As ``NativeHistogram.observe``."""
        with CHANGES:
            era = self._era
            try:
                bucket = self._place(value)
            except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
                self.refused += 1
                return
            if self._era != era:
                self._rewrite()
            elif len(self.positive) + len(self.negative) <= BUCKETS_MAX:
                self._store(bucket)
            # Else a reader kept it from being lowered. The table has no room for the new bucket, so all that
            # comes in between is written when it has been lowered.
        if exemplar is not None:
            self._keep(exemplar)

    def _store(self, bucket: int | None) -> None:
        # Nothing is called here: a signal handler that observes as well comes before it or after it.
        words, table, slots = self._words, self._table, self._slots
        signed = words.signed
        number = signed[table + NUMBER] + 1
        # The sum, a count, the number: in this order, as the reader relies on it.
        words.doubles[table + SUMS + (number & 1)] = self.sum
        if bucket is None:
            signed[table + ZEROS] = self.zero_count
        else:
            count = (self.negative if bucket & 1 else self.positive)[bucket >> 1]
            if bucket in slots:
                signed[slots[bucket] + 1] = count
            else:
                used = self._used
                slot = slots[bucket] = table + PAIRS + 2 * used
                signed[slot] = bucket
                signed[slot + 1] = count
                self._used = signed[table + BUCKETS] = used + 1
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
        signed[table + BUCKETS] = self._used = len(buckets)
        self._slots = {}
        for index, (bucket, count) in enumerate(buckets):
            slot = self._slots[bucket] = table + PAIRS + 2 * index
            signed[slot] = bucket
            signed[slot + 1] = count
        self._table = table
        signed[at] = era

    def detach(self) -> None:
        """Leave the place in the block."""
        with CHANGES:
            self._words, self._at = scrap(1 + 2 * TABLE_WORDS), 0
            self._rewrite()


def read_histogram(words: Words, at: int, buckets: int) -> tuple[float, list[int]] | None:
    """The sum and the counts of one histogram; ``None`` if its writer is too fast.

    Args:
        words: The block.
        at: The cell.
        buckets: How many counts it has.
    """
    signed, doubles = words.signed, words.doubles
    begin = at + COUNTS
    for _ in range(READS_MAX):
        before = signed[at + 2]
        counts = signed[begin : begin + buckets].tolist()
        number = sum(counts)
        total = doubles[at + (number & 1)]
        if signed[at + 2] == before and number - before in _FITTING:
            return total, counts
    return None


def read_native(words: Words, at: int) -> Exponential | None:
    """One native histogram; ``None`` if nobody has written it yet or its writer is too fast."""
    signed, doubles = words.signed, words.doubles
    for _ in range(READS_MAX):
        era = signed[at]
        if era == 0:
            return None
        table = at + 1 + (era & 1) * TABLE_WORDS
        before = signed[table + NUMBER]
        zeros = signed[table + ZEROS]
        used = min(max(signed[table + BUCKETS], 0), BUCKETS_MAX)
        pairs = signed[table + PAIRS : table + PAIRS + 2 * used].tolist()
        schema = signed[table + SCHEMA]
        number = zeros + sum(pairs[1::2])
        total = doubles[table + SUMS + (number & 1)]
        if signed[table + NUMBER] == before and signed[at] == era and number - before in _FITTING:
            buckets = list(zip(pairs[::2], pairs[1::2], strict=True))
            return Exponential(
                schema=schema,
                zero_count=zeros,
                positive={key >> 1: count for key, count in buckets if not key & 1},
                negative={key >> 1: count for key, count in buckets if key & 1},
                sum=total,
            )
    return None
