"""A block of memory that worker processes count in and one process sums up.

The process that will be scraped makes a :class:`Block` before it starts workers; they inherit it, by fork
or by its descriptor. Each worker opens one row as a :class:`Sheet` and gives that to its registry, whose
cells then live in the block. The scraping process has a ``Collector`` (``gathering``), and may have a sheet
for itself.

One process writes a row. When a worker dies its totals stay where they are, and go on being part of the sums;
its gauges don't, since nobody is there whom they describe. The next worker that opens the row continues its
totals, so a scraper sees them only grow, and rows don't become more.

``layout`` has the map, ``shared_cells`` the writers and readers of single cells.
"""

from __future__ import annotations

import mmap
import os
import sys
import zlib
from dataclasses import dataclass
from typing import Final, cast
from weakref import WeakSet, finalize

from seawall.kernel.errors import UsageError
from seawall.telemetry.metrics.cells import Cell, Gauge, Info
from seawall.telemetry.metrics.layout import (
    CHECKSUM,
    ENTRY_WORDS,
    HEAD,
    PID,
    REFUSED,
    REVISION,
    SIZE,
    USED,
    WORD_BYTES,
    Head,
    Layout,
    cell_words,
    entry_words,
    key_bytes,
)
from seawall.telemetry.metrics.metric import Kind, Metric
from seawall.telemetry.metrics.shared_cells import (
    SharedCounter,
    SharedGauge,
    SharedHistogram,
    SharedNativeHistogram,
    SharedStateSet,
    Words,
    read_native,
)

__all__ = ["PRESENT", "Block", "Sheet", "SheetStatistics"]

_MAGIC: Final = int.from_bytes(b"seawall1", "big")
PRESENT: Final = frozenset({Kind.GAUGE, Kind.STATE_SET, Kind.INFO})
"""Kinds that say how things are, not how much has happened: they end with their process."""

_Placed = SharedCounter | SharedGauge | SharedStateSet | SharedHistogram | SharedNativeHistogram


class Block:
    """The memory; it lives as long as a process that has it.

    Args:
        layout: What lies where; the same in every process.
        descriptor: Of a block that was inherited; ``None`` makes a new one.

    Attributes:
        layout: As given.
        descriptor: To be handed to processes that are not forks; nobody else inherits it.
        memory: The bytes.
        words: The same as words.

    Raises:
        UsageError: If the inherited block has another layout.
    """

    __slots__ = ("__weakref__", "_closing", "descriptor", "layout", "memory", "words")

    def __init__(self, layout: Layout, descriptor: int | None = None) -> None:
        self.layout: Final = layout
        header = b"".join(
            word.to_bytes(WORD_BYTES, sys.byteorder) for word in (_MAGIC, layout.checksum, layout.rows)
        )
        if descriptor is None:
            descriptor = os.memfd_create("seawall-metrics")
            os.ftruncate(descriptor, layout.size_bytes)
            os.pwrite(descriptor, header, 0)
        size = os.fstat(descriptor).st_size
        if size != layout.size_bytes:
            raise UsageError(
                f"the shared block has {size} bytes, and these metrics need {layout.size_bytes}:"
                " declare the same metrics in every process"
            )
        if os.pread(descriptor, len(header), 0) != header:
            raise UsageError(
                "the shared block was made for other metrics: declare the same metrics in every process"
            )
        self._closing: Final = finalize(self, os.close, descriptor)
        self.descriptor: Final = descriptor
        self.memory: Final = memoryview(mmap.mmap(descriptor, size))
        self.words: Final = Words(self.memory)

    def close(self) -> None:
        """Give the descriptor back; the memory stays until the last cell in it is gone.

        A block that nobody has any more is closed by itself.
        """
        self._closing()

    def retire(self, number: int) -> None:
        """Say that a row's worker is dead, as whoever reaped it knows: its gauges go, its totals stay."""
        self.words.unsigned[self.layout.row(number) + PID] = 0

    def pid(self, number: int) -> int:
        """Whose row it is; 0 if nobody's."""
        return self.words.unsigned[self.layout.row(number) + PID]

    def refused(self) -> int:
        """Series for which a row had no room, of all workers."""
        layout, unsigned = self.layout, self.words.unsigned
        return sum(unsigned[layout.row(number) + REFUSED] for number in range(layout.rows))

    def __repr__(self) -> str:
        pids = [self.pid(number) for number in range(self.layout.rows)]
        return f"<Block rows={len(pids)} taken={sum(map(bool, pids))} bytes={self.layout.size_bytes}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetStatistics:
    """One moment of a worker's row.

    Attributes:
        number: Which row.
        entries: Series it holds, those of dead predecessors included.
        used_bytes: Room taken.
        size_bytes: Room there is.
        refused: Series for which there was none.
    """

    number: int
    entries: int
    used_bytes: int
    size_bytes: int
    refused: int


class Sheet:
    """One worker's row, as the place where its registry's cells live.

    Open it in the process that will write it, after a fork and not before: in a child the cells of its
    parent's sheet go on counting, but in memory of their own that nobody reads.

    Args:
        block: The memory.
        number: Which row; no living process may have it.

    Attributes:
        number: As given.

    Raises:
        IndexError: There is no such row.
    """

    __slots__ = ("__weakref__", "_free", "_gauges", "_index", "_layout", "_row", "_words", "number")

    def __init__(self, block: Block, number: int) -> None:
        self.number: Final = number
        self._layout: Final = block.layout
        # Words of its own, which a fork can move without moving those of the block.
        self._words: Final = Words(block.memory)
        self._row: Final = block.layout.row(number)
        # Where an entry is, by metric and label values.
        self._index: dict[tuple[int, bytes], int] = {}
        # Entries of gauges that were given up, by metric and size.
        self._free: dict[tuple[int, int], list[int]] = {}
        # Gauges by entry: those with a function have to be asked here.
        self._gauges: dict[int, SharedGauge] = {}
        unsigned = self._words.unsigned
        if unsigned[self._row + USED] == 0:
            self._begin()
        else:
            self._inherit()
        self._revise()
        unsigned[self._row + PID] = os.getpid()
        _opened.add(self)

    def check(self, metric: Metric) -> None:
        """Refuse a metric that the block was not made for.

        Raises:
            UsageError: It has to be declared before the block is made.
        """
        position = self._layout.positions.get(metric.name)
        if position is None or self._layout.metrics[position] != metric:
            raise UsageError(
                f"metric {metric.name!r} is not in the shared block: declare it before making that"
            )

    def make(self, metric: Metric, values: tuple[str, ...]) -> Cell | None:
        """A cell for a series, which continues what a dead worker counted; ``None`` if there is no room."""
        at = self._entry(metric, values)
        if at is None:
            return None
        cell = self._cell(metric, at + ENTRY_WORDS)
        if isinstance(cell, SharedGauge):
            self._gauges[at] = cell
        self._live(at, live=True)
        return cell

    def forget(self, metric: Metric, values: tuple[str, ...], cell: Cell) -> None:
        """Give up an entry; a gauge's is used for another one, a total's only for the same series again."""
        at = self._index[self._layout.positions[metric.name], key_bytes(values)]
        if not isinstance(cell, Info):
            cast("_Placed", cell).detach()
        self._give_up(at)
        self._gauges.pop(at, None)

    def restore(self, metric: Metric, values: tuple[str, ...], cell: Gauge) -> bool:
        """Give a gauge that was forgotten a place again; false if there is none."""
        at = self._entry(metric, values)
        if at is None:
            return False
        gauge = cast("SharedGauge", cell)
        gauge.attach(self._words, at + ENTRY_WORDS)
        self._gauges[at] = gauge
        self._live(at, live=True)
        return True

    def refresh(self) -> None:
        """Store what the functions of gauges say now, since the scraping process can't call them.

        Called by the worker once in a while, as often as such gauges should be fresh.
        """
        for gauge in self._gauges.copy().values():
            gauge.refresh()

    def statistics(self) -> SheetStatistics:
        """One moment of the row."""
        unsigned, row = self._words.unsigned, self._row
        return SheetStatistics(
            number=self.number,
            entries=len(self._index),
            used_bytes=unsigned[row + USED] * WORD_BYTES,
            size_bytes=self._layout.row_words * WORD_BYTES,
            refused=unsigned[row + REFUSED],
        )

    def leave(self) -> None:
        """Move to memory of its own, as it is now; called in a child, whose parent goes on with the row."""
        old, row = self._words.bytes, self._row * WORD_BYTES
        end = row + self._words.unsigned[self._row + USED] * WORD_BYTES
        # Anonymous memory takes no room where nothing is written.
        new = memoryview(mmap.mmap(-1, len(old)))
        new[row:end] = old[row:end]
        self._words.move(new)

    def _begin(self) -> None:
        for position, values, offset in self._layout.fixed:
            self._write(self._row + offset, position, key_bytes(values), serial=0)
        self._words.unsigned[self._row + USED] = self._layout.fixed_words

    def _inherit(self) -> None:
        """Find the entries of those who had the row before, and give up what described them."""
        unsigned, row = self._words.unsigned, self._row
        at, end = row + self._layout.fixed_words, row + unsigned[row + USED]
        entries = [row + offset for _, _, offset in self._layout.fixed]
        while at < end:
            entries.append(at)
            at += unsigned[at + SIZE]
        for at in entries:
            head = Head.of(unsigned[at + HEAD])
            key = self._key(at, head)
            if zlib.crc32(key) != unsigned[at + CHECKSUM]:
                # Its writer was killed between two words: it was being used for another gauge.
                self._live(at, live=False)
                self._free.setdefault((head.metric, unsigned[at + SIZE]), []).append(at)
                continue
            self._index[head.metric, key] = at
            if self._layout.metrics[head.metric].kind in PRESENT:
                self._give_up(at)

    def _entry(self, metric: Metric, values: tuple[str, ...]) -> int | None:
        """Where a series is; a new place if it has none yet."""
        unsigned, row = self._words.unsigned, self._row
        position, key = self._layout.positions[metric.name], key_bytes(values)
        at = self._index.get((position, key))
        if at is not None:
            return at
        size = entry_words(metric, len(key))
        free = self._free.get((position, size))
        if free:
            at = free.pop()
            self._write(at, position, key, serial=Head.of(unsigned[at + HEAD]).serial + 1)
            return at
        used = unsigned[row + USED]
        if used + size > self._layout.row_words:
            unsigned[row + REFUSED] += 1
            return None
        at = row + used
        self._write(at, position, key, serial=0)
        # The last store of all: whoever sees the entry sees it whole.
        unsigned[row + USED] = used + size
        return at

    def _write(self, at: int, position: int, key: bytes, serial: int) -> None:
        """Describe an entry that nobody counts in."""
        unsigned = self._words.unsigned
        metric = self._layout.metrics[position]
        unsigned[at + HEAD] = Head(live=False, serial=serial, metric=position, length=len(key)).word
        unsigned[at + CHECKSUM] = zlib.crc32(key)
        unsigned[at + SIZE] = entry_words(metric, len(key))
        begin = (at + ENTRY_WORDS + cell_words(metric)) * WORD_BYTES
        self._words.bytes[begin : begin + len(key)] = key
        self._index[position, key] = at

    def _give_up(self, at: int) -> None:
        unsigned = self._words.unsigned
        self._live(at, live=False)
        head = Head.of(unsigned[at + HEAD])
        metric = self._layout.metrics[head.metric]
        begin = at + ENTRY_WORDS
        for word in range(begin, begin + cell_words(metric)):
            unsigned[word] = 0
        if metric.kind in PRESENT and at >= self._row + self._layout.fixed_words:
            # A reader may be about to take a total's words for those of the old series; a gauge's head tells.
            self._index.pop((head.metric, self._key(at, head)), None)
            self._free.setdefault((head.metric, unsigned[at + SIZE]), []).append(at)

    def _live(self, at: int, *, live: bool) -> None:
        unsigned = self._words.unsigned
        head = Head.of(unsigned[at + HEAD])
        if head.live != live:
            # A new life has a new number, so that a reader can't take one for the other.
            serial = head.serial + live
            unsigned[at + HEAD] = Head(live=live, serial=serial, metric=head.metric, length=head.length).word
            self._revise()

    def _revise(self) -> None:
        self._words.unsigned[self._row + REVISION] += 1

    def _key(self, at: int, head: Head) -> bytes:
        begin = (at + ENTRY_WORDS + cell_words(self._layout.metrics[head.metric])) * WORD_BYTES
        return bytes(self._words.bytes[begin : begin + head.length])

    def _cell(self, metric: Metric, at: int) -> Cell:
        words, kind = self._words, metric.kind
        if kind is Kind.COUNTER:
            return SharedCounter(words, at)
        if kind is Kind.GAUGE:
            return SharedGauge(words, at)
        if kind is Kind.HISTOGRAM:
            return SharedHistogram(metric.buckets, words, at)
        if kind is Kind.NATIVE_HISTOGRAM:
            return SharedNativeHistogram(metric.schema, words, at, read_native(words, at))
        return SharedStateSet(metric.states, words, at) if kind is Kind.STATE_SET else Info()

    def __repr__(self) -> str:
        now = self.statistics()
        return f"<Sheet {now.number} entries={now.entries} bytes={now.used_bytes}/{now.size_bytes}>"


_opened: Final[WeakSet[Sheet]] = WeakSet()


def _leave_all() -> None:
    for sheet in list(_opened):
        sheet.leave()


os.register_at_fork(after_in_child=_leave_all)
