"""The sums over all workers, as families that a writer can write.

A :class:`Collector` keeps its families from scrape to scrape, so that what the writer rendered of a series
stays with it, and looks only at entries that have come or gone since. A scrape goes in slices: the event
loop of the process that is scraped is never held for longer than one.

What is summed: counters, histograms and native histograms of all rows, dead or alive. Gauges and state sets
of living workers are put together as their metric says (sum, max, min, last); facts are taken as they are.

It reads ``shared`` memory and writes nothing into it.
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from seawall.telemetry.metrics.cells import (
    Cell,
    Counter,
    Gauge,
    Histogram,
    NativeHistogram,
    StateSet,
)
from seawall.telemetry.metrics.families import Family, Local
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
from seawall.telemetry.metrics.metric import Aggregation, Metric
from seawall.telemetry.metrics.native import Exponential, merged
from seawall.telemetry.metrics.reading import read_histogram, read_native, read_stamped
from seawall.telemetry.metrics.registry import METRIC_OVERFLOW, SERIES_LIMIT, Registry
from seawall.telemetry.metrics.shared import Block

__all__ = ["SLICE", "Collector", "CollectorStatistics"]

SLICE: Final = 200
"""Series between two pauses: some tenths of a millisecond."""


@dataclass(slots=True)
class _Seen:
    """What is known of one row."""

    revision: int = 0
    used: int = 0


@dataclass(slots=True)
class _Sum:
    """One series and the entries that it is made of."""

    family: Family
    values: tuple[str, ...]
    cell: Cell
    # Where each entry is and the head it must have, so that nothing is taken from one that was used anew.
    sources: dict[int, int]
    # A gauge is hidden while all that it described are dead.
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorStatistics:
    """One moment of a collector.

    Attributes:
        series: Series that workers count in.
        entries: Entries of rows that they are made of.
        overflowed: Workers' series that were put together here, because all of them are too many.
        stale: Histograms that were left as they had been, since their writer was too fast to be read.
    """

    series: int
    entries: int
    overflowed: int
    stale: int


class Collector:
    """Puts the rows of a block together.

    Args:
        block: The memory.
        namespace: For the writer.
        series_limit: Series of all workers together.

    Attributes:
        registry: The families, with limits of their own: workers may have different series.
    """

    # fmt: off
    __slots__ = (
        "_block", "_entries", "_families", "_last", "_last_native", "_seen", "_stale", "_sums", "registry",
    )
    # fmt: on

    def __init__(self, block: Block, *, namespace: str = "seawall", series_limit: int = SERIES_LIMIT) -> None:
        self._block = block
        self.registry: Final = Registry(
            namespace=namespace, series_limit=series_limit, cells=Local(threaded=False)
        )
        self._families = [self.registry.declare(metric) for metric in block.layout.metrics]
        self._seen = [_Seen() for _ in range(block.layout.rows)]
        # Which series an entry is part of, and all series by metric and label values.
        self._entries: dict[int, _Sum] = {}
        # What histograms were when they were read last, by cell: one for each entry that has one.
        self._last: dict[int, tuple[float, list[int]]] = {}
        self._last_native: dict[int, Exponential] = {}
        self._stale = 0
        self._sums: dict[tuple[str, tuple[str, ...]], _Sum] = {}

    def collect(self, living: Container[int] | None = None) -> Sequence[Family]:
        """All families, with their sums as of now.

        Args:
            living: Processes that are alive, when the caller knows better than the rows do.

        Returns:
            The families in the order of their names; those without series are left out.
        """
        for _ in self.slices(living):
            continue
        return self.families()

    def families(self) -> Sequence[Family]:
        """The families as of the last collection, without those that have no series."""
        return [family for family in self.registry.families() if family.cells]

    def statistics(self) -> CollectorStatistics:
        """One moment of the collector."""
        return CollectorStatistics(
            series=len(self._sums),
            entries=len(self._entries),
            overflowed=self.registry.statistics().overflowed,
            stale=self._stale,
        )

    def slices(self, living: Container[int] | None = None) -> Iterator[None]:
        """Collect, with a pause after every :data:`SLICE` series; for one collection at a time."""
        alive = set()
        for number in range(self._block.layout.rows):
            yield from self._scan(number)
            pid = self._block.pid(number)
            if pid and (living is None or pid in living):
                alive.add(number)
        for index, one in enumerate(list(self._sums.values()), start=1):
            self._refresh(one, alive)
            if index % SLICE == 0:
                yield

    def _scan(self, number: int) -> Iterator[None]:
        """Look at entries of a row that have come, gone or changed since the last time."""
        layout, unsigned = self._block.layout, self._block.words.unsigned
        row, seen = layout.row(number), self._seen[number]
        revision, used = unsigned[row + REVISION], unsigned[row + USED]
        if revision == seen.revision and used == seen.used:
            return
        at, end = row + ROW_WORDS, row + min(used, layout.row_words)
        looked = 0
        while at < end:
            self._look(at)
            size = unsigned[at + SIZE]
            if size < ENTRY_WORDS:
                break
            at += size
            looked += 1
            if looked % SLICE == 0:
                yield
        seen.revision, seen.used = revision, used

    def _look(self, at: int) -> None:
        words = self._block.words
        word = words.unsigned[at + HEAD]
        known = self._entries.get(at)
        if known is not None:
            if known.sources[at] == word:
                return
            self._drop(at, known)
        head = Head.of(word)
        if not head.live or head.metric >= len(self._block.layout.metrics):
            return
        metric = self._block.layout.metrics[head.metric]
        begin = (at + ENTRY_WORDS + cell_words(metric)) * WORD_BYTES
        key = bytes(words.bytes[begin : begin + head.length])
        if zlib.crc32(key) != words.unsigned[at + CHECKSUM] or words.unsigned[at + HEAD] != word:
            # It is being used anew this moment; its row's revision tells when it is done.
            return
        try:
            values = key_values(key, len(metric.labels))
        except ValueError:
            return
        family = self._families[head.metric]
        cell = family.cell(*values)
        # Beyond a limit it is part of a series that stands for others.
        values = family.standing_for(values)
        one = self._sums.setdefault((metric.name, values), _Sum(family, values, cell, {}))
        one.sources[at] = word
        self._entries[at] = one

    def _drop(self, at: int, one: _Sum) -> None:
        del self._entries[at]
        del one.sources[at]
        self._last.pop(at + ENTRY_WORDS, None)
        self._last_native.pop(at + ENTRY_WORDS, None)
        if not one.sources:
            del self._sums[one.family.metric.name, one.values]
            one.family.remove(*one.values)

    def _refresh(self, one: _Sum, alive: Container[int]) -> None:
        words, cell = self._block.words, one.cell
        places = [at + ENTRY_WORDS for at in one.sources]
        if isinstance(cell, Counter):
            doubles = words.doubles
            cell.value = sum([doubles[at] for at in places])
            if one.family.metric == METRIC_OVERFLOW:
                cell.value += self._overflowed(one.values[0])
        elif isinstance(cell, Histogram):
            buckets = len(cell.counts)
            read = [self._settled(at, read_histogram(words, at, buckets)) for at in places]
            sums = [each for each in read if each is not None]
            if sums:
                cell.counts = [sum(counts) for counts in zip(*[counts for _, counts in sums], strict=True)]
                cell.sum = sum([total for total, _ in sums])
        elif isinstance(cell, NativeHistogram):
            native = [self._settled_native(at, read_native(words, at)) for at in places]
            states = [each for each in native if each is not None]
            if states:
                cell.load(merged(states))
        else:
            self._refresh_present(one, alive)

    def _settled(self, at: int, taken: tuple[float, list[int]] | None) -> tuple[float, list[int]] | None:
        """What was read, or else what was read the last time."""
        if taken is None:
            self._stale += 1
            return self._last.get(at)
        self._last[at] = taken
        return taken

    def _settled_native(self, at: int, taken: Exponential | None) -> Exponential | None:
        if taken is None:
            # An era of 0 is a cell that nobody has written yet, and no reader that was too slow.
            self._stale += self._block.words.signed[at] != 0
            return self._last_native.get(at)
        self._last_native[at] = taken
        return taken

    def _refresh_present(self, one: _Sum, alive: Container[int]) -> None:
        words, metric = self._block.words, one.family.metric
        stamped: list[tuple[float, float]] = []
        for at, word in one.sources.items():
            if (at - self._block.layout.row(0)) // self._block.layout.row_words not in alive:
                continue
            taken = read_stamped(words, at + ENTRY_WORDS)
            if words.unsigned[at + HEAD] == word:
                stamped.append(taken)
        if one.hidden is bool(stamped):
            self._turn(one)
        if not stamped:
            return
        if isinstance(one.cell, Gauge):
            one.cell.value = _combined(metric, stamped)
        elif isinstance(one.cell, StateSet):
            one.cell.state = min(max(int(_combined(metric, stamped)), 0), len(metric.states) - 1)

    def _turn(self, one: _Sum) -> None:
        """Hide a series, or show it again."""
        if one.hidden:
            one.cell = one.family.cell(*one.values)
        else:
            one.family.remove(*one.values)
        one.hidden = not one.hidden

    def _overflowed(self, name: str) -> int:
        """Series that one worker has for itself and that are put together here."""
        position = self._block.layout.positions.get(name)
        return 0 if position is None else self._families[position].statistics().overflowed

    def __repr__(self) -> str:
        return f"<Collector series={len(self._sums)} entries={len(self._entries)}>"


def _combined(metric: Metric, stamped: Sequence[tuple[float, float]]) -> float:
    rule = metric.merged_by
    if rule is Aggregation.LAST:
        return max(stamped)[1]
    values = [value for _, value in stamped]
    if rule is Aggregation.SUM:
        return sum(values)
    return max(values) if rule is Aggregation.MAX else min(values)
