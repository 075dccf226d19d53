"""The shared block's map: what lies where, derived from the declared metrics and nothing else.

A block has one row per worker, which that worker alone writes. All is made of words of eight aligned bytes; a
word is written in one store and read in one load, so nobody ever sees half of one. ::

    block   magic, checksum of the metrics, rows, 5 spare | row | row | ...
    row     pid, used, revision, refused, 4 spare | entry | entry | ... | free
    entry   head, checksum, size | words of the cell | label values, padded

The first entries of a row are the same in all rows: one for each metric without labels, one for the
overflow series of each metric with labels, and one for each metric in the count of overflows. So these
always have room. Then come the series with labels, in the order in which they were made, until the row is
full.

The head says in one word whether the entry lives, how often it was used anew, which metric it belongs to
and how long its label values are: a reader that finds the same head after reading as before has read one
series and not two. The words of a cell, by kind:

- counter: the total;
- gauge and state set: the value, or the position of the state;
- histogram: two sums, the number of observations, the counts. Observation n stores its sum in the one of the
  two that n's last bit names, then its count, then n. So while the number is n - 1 the counts add up to that
  or to n, and either way the sum that belongs to them is there, even if the writer never gets any further. A
  reader takes the number, the counts, the sum for what these add up to, and the number again: if that is
  still the same, no other observation came in between;
- native histogram: an era and two tables, of which the era's last bit names the one that holds. A table is
  schema, zeros, two sums, number, buckets in use, and pairs of key and count. Single observations are stored
  as in a histogram; when the schema is lowered, the other table is written in whole, and then the era.

This module computes; ``shared`` has the memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from seawall.kernel.errors import UsageError
from seawall.telemetry.metrics.cardinality import FAMILIES_MAX, METRIC_OVERFLOW, OVERFLOW
from seawall.telemetry.metrics.metric import Kind, Metric
from seawall.telemetry.metrics.native import BUCKETS_MAX

__all__ = ["ENTRY_WORDS", "Head", "Layout", "cell_words", "key_bytes", "key_values"]

WORD_BYTES: Final = 8
BLOCK_WORDS: Final = 8
"""Words in front of the first row; a cache line, as in front of a row's entries."""
ROW_WORDS: Final = 8
PID, USED, REVISION, REFUSED = range(4)
"""Words of a row: its owner, words in use, how often entries came to life or went, series without room."""
ENTRY_WORDS: Final = 3
HEAD, CHECKSUM, SIZE = range(ENTRY_WORDS)
COUNTS: Final = 3
"""Words of a histogram in front of its counts: two sums and the number."""
TABLE_WORDS: Final = 6 + 2 * BUCKETS_MAX
SCHEMA, ZEROS, SUMS, _, NUMBER, BUCKETS, PAIRS = range(7)
"""Words of a native histogram's table; the pairs go on to its end."""
VALUES_PADDING: Final = 32
"""Label values take multiples of this, so that a gauge's entry fits the next one's values more often."""
ROW_BYTES: Final = 4 * 1024 * 1024
"""One worker's row, unless said otherwise: some 25 000 series. Pages nobody writes cost nothing."""
ROW_BYTES_MAX: Final = 256 * 1024 * 1024

_SEPARATOR: Final = b"\xff"
"""Never part of UTF-8."""
_SERIALS: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Head:
    """An entry's first word, taken apart.

    Attributes:
        live: Whether somebody counts here.
        serial: How often the entry was used anew.
        metric: Position of its metric.
        length: Bytes of its label values.
    """

    live: bool
    serial: int
    metric: int
    length: int

    @classmethod
    def of(cls, word: int) -> Head:
        """Take a word apart."""
        return cls(bool(word >> 63), word >> 48 & (_SERIALS - 1), word >> 32 & 0xFFFF, word & 0xFFFF_FFFF)

    @property
    def word(self) -> int:
        """The word."""
        return self.live << 63 | self.serial % _SERIALS << 48 | self.metric << 32 | self.length


def key_bytes(values: tuple[str, ...]) -> bytes:
    """Label values as an entry has them."""
    return _SEPARATOR.join(value.encode() for value in values)


def key_values(key: bytes, labels: int) -> tuple[str, ...]:
    """The label values of an entry.

    Args:
        key: Its bytes.
        labels: How many values there should be.

    Raises:
        ValueError: The bytes are no such values.
    """
    values = tuple(part.decode() for part in key.split(_SEPARATOR)) if labels else ()
    if len(values) != labels or (not labels and key):
        raise ValueError(f"{key!r}: {labels} label values were expected")
    return values


def cell_words(metric: Metric) -> int:
    """Words of one cell."""
    if metric.kind is Kind.HISTOGRAM:
        return COUNTS + len(metric.buckets) + 1
    if metric.kind is Kind.NATIVE_HISTOGRAM:
        return 1 + 2 * TABLE_WORDS
    return 1


def entry_words(metric: Metric, length: int) -> int:
    """Words of one entry whose label values have so many bytes."""
    padded = -(-length // VALUES_PADDING) * VALUES_PADDING
    return ENTRY_WORDS + cell_words(metric) + padded // WORD_BYTES


class Layout:
    """What lies where in a block.

    Args:
        metrics: All metrics of the processes that share the block; the count of overflows is added.
        rows: Workers that may run at once.
        row_bytes: Room for one worker's series.

    Attributes:
        metrics: All metrics by position, in the order of their names.
        positions: Their positions by name.
        rows: As given.
        row_words: Words of one row.
        fixed: The entries that every row begins with: position of the metric, label values, and where they
            are, in words from the start of the row.
        fixed_words: Words up to the end of these.
        checksum: Tells this layout from others.

    Raises:
        UsageError: If the fixed entries do not fit, or a number is out of range.
    """

    __slots__ = ("checksum", "fixed", "fixed_words", "metrics", "positions", "row_words", "rows")

    def __init__(self, metrics: Sequence[Metric], *, rows: int, row_bytes: int = ROW_BYTES) -> None:
        if rows < 1:
            raise UsageError(f"rows = {rows!r}: allowed is a whole number from 1 up")
        if not WORD_BYTES <= row_bytes <= ROW_BYTES_MAX:
            raise UsageError(f"row_bytes = {row_bytes!r}: allowed is {WORD_BYTES} to {ROW_BYTES_MAX}")
        named = {metric.name: metric for metric in (*metrics, METRIC_OVERFLOW)}
        if len(named) > FAMILIES_MAX:
            raise UsageError(f"{len(named)} metrics: allowed are {FAMILIES_MAX}")
        self.metrics: Final = tuple(named[name] for name in sorted(named))
        self.positions: Final = {metric.name: position for position, metric in enumerate(self.metrics)}
        self.rows: Final = rows
        self.row_words: Final = row_bytes // WORD_BYTES
        fixed: list[tuple[int, tuple[str, ...], int]] = []
        at = ROW_WORDS
        for position, metric in enumerate(self.metrics):
            keys = [(OVERFLOW,) * len(metric.labels)]
            if metric == METRIC_OVERFLOW:
                keys += [(each.name,) for each in self.metrics]
            for values in keys:
                fixed.append((position, values, at))
                at += entry_words(metric, len(key_bytes(values)))
        if at > self.row_words:
            raise UsageError(
                f"row_bytes = {row_bytes}: these metrics need {at * WORD_BYTES} before any label"
            )
        self.fixed: Final = tuple(fixed)
        self.fixed_words: Final = at
        self.checksum: Final = zlib.crc32(repr((self.metrics, rows, self.row_words)).encode())

    @property
    def size_bytes(self) -> int:
        """Size of the whole block."""
        return (BLOCK_WORDS + self.rows * self.row_words) * WORD_BYTES

    def row(self, number: int) -> int:
        """Where a row begins, in words from the start of the block.

        Raises:
            IndexError: There is no such row.
        """
        if not 0 <= number < self.rows:
            raise IndexError(f"row {number}; there are rows 0 to {self.rows - 1}")
        return BLOCK_WORDS + number * self.row_words

    def __repr__(self) -> str:
        return f"<Layout metrics={len(self.metrics)} rows={self.rows} row_words={self.row_words}>"
