"""The sums over all workers, as families that a writer can write.

A :class:`Collector` keeps its families from scrape to scrape, so that what the writer rendered of a series
stays with it, and looks only at entries that have come or gone since. It goes in slices: the event loop of
the process that is scraped is never held for longer than one.

What is summed: counters, histograms and native histograms of all rows, dead or alive. Gauges and state sets
of living workers are put together as their metric says (sum, max, min); facts are taken as they are.

It reads ``shared`` memory and writes nothing into it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seawall.telemetry.metrics.cardinality import METRIC_OVERFLOW
from seawall.telemetry.metrics.cells import Cell, Counter, Gauge, Histogram, NativeHistogram, StateSet
from seawall.telemetry.metrics.families import SLICE, Family
from seawall.telemetry.metrics.layout import (
    CHECKSUM,
    ENTRY_WORDS,
    HEAD,
    REVISION,
    ROW_WORDS,
    SIZE,
    USED,
    WORD_BYTES,
    Head,
    cell_words,
    key_values,
)
from seawall.telemetry.metrics.metric import Aggregation, Kind, Metric
from seawall.telemetry.metrics.native import merged
from seawall.telemetry.metrics.registry import SERIES_LIMIT, Registry
from seawall.telemetry.metrics.shared import Block
from seawall.telemetry.metrics.shared_cells import read_histogram, read_native

__all__ = ["Collector", "CollectorStatistics"]

_COSTS: Final = {Kind.HISTOGRAM: 4, Kind.NATIVE_HISTOGRAM: 40}
"""Counters that could be read while an entry of this kind is."""
_NEW: Final = 20
"""Known entries that could be looked at while a new one gets its series."""


@dataclass(slots=True)
class _Seen:
    """What is known of one row."""

    revision: int = 0
    used: int = 0


@dataclass(slots=True)
class _Sum:
    """One series and the entries that it is made of."""

    family: Family[Any]
    values: tuple[str, ...]
    cell: Cell
    # Where each entry is and the head it must have, so that nothing is taken from one that was used anew.
    sources: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorStatistics:
    """One moment of a collector.

    Attributes:
        series: Series that workers count in.
        series_limit: Series there may be.
        entries: Entries of rows that they are made of.
        overflowed: Workers' series that were put together here, because all of them are too many.
        stale: Histograms that were left as they had been, since a writer was too fast to be read.
    """

    series: int
    series_limit: int
    entries: int
    overflowed: int
    stale: int


class Collector:
    """Puts the rows of a block together.

    Args:
        block: The memory.
        series_limit: Series of all workers together: each may have different ones.
    """

    __slots__ = ("_block", "_entries", "_families", "_registry", "_seen", "_stale", "_sums", "_under_way")

    def __init__(self, block: Block, *, series_limit: int = SERIES_LIMIT) -> None:
        self._block = block
        self._registry = Registry(series_limit=series_limit)
        self._families = [self._registry.declare(metric) for metric in block.layout.metrics]
        self._seen = [_Seen() for _ in range(block.layout.rows)]
        # Which series an entry is part of, and all series by metric and label values.
        self._entries: dict[int, _Sum] = {}
        self._sums: dict[tuple[str, tuple[str, ...]], _Sum] = {}
        self._stale = 0
        self._under_way = False

    def families(self) -> Sequence[Family[Any]]:
        """All families in the order of their names, as of the last collection."""
        return self._registry.families()

    def refreshing(self, now: float) -> Iterator[None]:  # noqa: ARG002  # a registry needs the time, this doesn't
        """Collect; nothing if a collection is under way already, whose numbers are as good.

        Args:
            now: Monotonic seconds.

        Yields:
            Nothing, after each :data:`SLICE` of entries: an event loop may have its turn.
        """
        if self._under_way:
            return
        self._under_way = True
        try:
            yield from self._collecting()
        finally:
            self._under_way = False

    def statistics(self) -> CollectorStatistics:
        """One moment of the collector."""
        return CollectorStatistics(
            series=len(self._sums),
            series_limit=self._registry.series_limit,
            entries=len(self._entries),
            overflowed=self._registry.statistics().overflowed,
            stale=self._stale,
        )

    def _collecting(self) -> Iterator[None]:
        rows = range(self._block.layout.rows)
        for number in rows:
            yield from self._scan(number)
        living = {number for number in rows if self._block.pid(number)}
        spent = 0
        for one in list(self._sums.values()):
            self._refresh(one, living)
            spent += _COSTS.get(one.family.metric.kind, 1) * (1 + len(one.sources))
            if spent >= SLICE:
                spent = 0
                yield

    def _scan(self, number: int) -> Iterator[None]:
        """Look at entries of a row that have come, gone or changed since the last time."""
        layout, unsigned = self._block.layout, self._block.words.unsigned
        row, seen = layout.row(number), self._seen[number]
        revision, used = unsigned[row + REVISION], unsigned[row + USED]
        if revision == seen.revision and used == seen.used:
            return
        at, end = row + ROW_WORDS, row + min(used, layout.row_words)
        spent = 0
        while at < end:
            known = self._entries.get(at)
            word = unsigned[at + HEAD]
            if known is None or known.sources[at] != word:
                self._look(at, word, known)
                spent += _NEW
            size = unsigned[at + SIZE]
            if size < ENTRY_WORDS:
                break
            at += size
            spent += 1
            if spent >= SLICE:
                spent = 0
                yield
        seen.revision, seen.used = revision, used

    def _look(self, at: int, word: int, known: _Sum | None) -> None:
        words = self._block.words
        if known is not None:
            self._drop(at, known)
        head = Head.of(word)
        if not head.live or head.metric >= len(self._families):
            return
        family = self._families[head.metric]
        metric = family.metric
        begin = (at + ENTRY_WORDS + cell_words(metric)) * WORD_BYTES
        key = bytes(words.bytes[begin : begin + head.length])
        if zlib.crc32(key) != words.unsigned[at + CHECKSUM] or words.unsigned[at + HEAD] != word:
            # It is being used anew this moment; its row's revision tells when it is done.
            return
        try:
            values = key_values(key, len(metric.labels))
        except ValueError:
            return
        # Beyond a limit it is part of a series that stands for others.
        values, cell = family.admit(values)
        one = self._sums.setdefault((metric.name, values), _Sum(family, values, cell, {}))
        one.sources[at] = word
        self._entries[at] = one

    def _drop(self, at: int, one: _Sum) -> None:
        del self._entries[at]
        del one.sources[at]
        if not one.sources:
            del self._sums[one.family.metric.name, one.values]
            one.family.remove(*one.values)

    def _refresh(self, one: _Sum, living: set[int]) -> None:
        words, cell = self._block.words, one.cell
        if isinstance(cell, Counter):
            doubles = words.doubles
            total = sum([doubles[at + ENTRY_WORDS] for at in one.sources])
            if one.family.metric == METRIC_OVERFLOW:
                total += self._overflowed(one.values[0])
            cell.value = total
        elif isinstance(cell, Histogram):
            buckets = len(cell.counts)
            read = [read_histogram(words, at + ENTRY_WORDS, buckets) for at in one.sources]
            parts = [part for part in read if part is not None]
            if len(parts) < len(read):
                self._stale += 1
                return
            cell.counts = [sum(counts) for counts in zip(*[counts for _, counts in parts], strict=True)]
            cell.sum = sum([total for total, _ in parts])
        elif isinstance(cell, NativeHistogram):
            natives = [read_native(words, at + ENTRY_WORDS) for at in one.sources]
            states = [state for state in natives if state is not None]
            if len(states) < len(natives):
                self._stale += 1
                return
            cell.load(merged(states))
        else:
            self._refresh_present(one, living)

    def _refresh_present(self, one: _Sum, living: set[int]) -> None:
        words, layout, cell = self._block.words, self._block.layout, one.cell
        values: list[float] = []
        for at, word in list(one.sources.items()):
            value = words.doubles[at + ENTRY_WORDS]
            number = (at - layout.row(0)) // layout.row_words
            if number in living and words.unsigned[at + HEAD] == word:
                values.append(value)
            else:
                # Nobody is there whom it describes, or it describes something else by now. Whatever it will
                # be has another head, and a new revision of its row.
                self._drop(at, one)
        if not values:
            return
        if isinstance(cell, Gauge):
            cell.value = _combined(one.family.metric, values)
        elif isinstance(cell, StateSet):
            cell.state = min(max(int(_combined(one.family.metric, values)), 0), len(cell.states) - 1)

    def _overflowed(self, name: str) -> int:
        """Series that one worker has for itself and that are put together here."""
        position = self._block.layout.positions.get(name)
        return 0 if position is None else self._families[position].statistics().overflowed

    def __repr__(self) -> str:
        return f"<Collector series={len(self._sums)} entries={len(self._entries)}>"


def _combined(metric: Metric, values: Sequence[float]) -> float:
    rule = metric.merged_by
    if rule is Aggregation.SUM:
        return sum(values)
    return max(values) if rule is Aggregation.MAX else min(values)
