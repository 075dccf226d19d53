"""How a scrape reads what another process is writing, without a lock and without a torn number.

A word is never torn. Numbers of several words are read again until they fit together, in the order that
``layout`` tells. A writer that was stopped or killed in the middle has left numbers that fit, so only one
that counts faster than they can be read keeps them from it. After some rounds the reader says that it has
nothing, and its caller stays with what it had.

The order of loads and stores is that of x86-64. A machine that shows stores in another order may show a sum
that is one observation behind its counts.
"""

from __future__ import annotations

from typing import Final

from seawall.telemetry.metrics.layout import (
    BUCKETS,
    COUNTS,
    NUMBER,
    PAIRS,
    SCHEMA,
    SUMS,
    TABLE_WORDS,
    ZEROS,
)
from seawall.telemetry.metrics.native import BUCKETS_MAX, Exponential
from seawall.telemetry.metrics.shared_cells import Words

__all__ = ["READS_MAX", "read_histogram", "read_native", "read_stamped"]

_FITTING: Final = (0, 1)
"""How far counts may be ahead of the number: by the one observation that is being stored."""
READS_MAX: Final = 50
"""Rounds until a reader gives up; each takes about a microsecond."""


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


def read_stamped(words: Words, at: int) -> tuple[float, float]:
    """When a gauge was written last, and what; a value whose time is not there yet counts as old."""
    doubles = words.doubles
    stamp, value = doubles[at + 1], doubles[at]
    for _ in range(READS_MAX):
        again = doubles[at + 1]
        if again == stamp:
            break
        stamp, value = again, doubles[at]
    return stamp, value
