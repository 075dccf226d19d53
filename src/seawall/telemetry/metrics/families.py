"""A family: one metric's series, each with its cell, by the values of its labels.

Whoever counts asks for a cell by its label values, which is one look into a dict, or asks once and holds on
to the cell. Where the cells live is not decided here: ``Cells`` makes them, in this process's memory
(``Local``) or in a block that processes share (``shared``).

Asking for a series never fails. What the guard of ``cardinality`` refuses gets a cell all the same, that of
``__other__`` or of the overflow series. So do values that don't fit the labels; ``statistics()`` counts both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Final, Generic, Protocol, TypeVar, cast
from weakref import WeakValueDictionary

from seawall.telemetry.metrics.cardinality import (
    OVERFLOW,
    CardinalityReached,
    Guard,
    GuardStatistics,
    LabelReport,
)
from seawall.telemetry.metrics.cells import Cell, Counter, Gauge, Histogram, Info, NativeHistogram, StateSet
from seawall.telemetry.metrics.locks import CHANGES
from seawall.telemetry.metrics.metric import Kind, Metric

__all__ = ["SLICE", "Cells", "Family", "Local"]

SLICE: Final = 200
"""Series looked at before an event loop gets its turn: some hundredths of a millisecond."""


C = TypeVar("C", bound=Cell)


class Cells(Protocol):
    """Where cells live."""

    def check(self, metric: Metric) -> None:
        """Raise ``UsageError`` if there can be no cells of this metric."""
        ...

    def make(self, metric: Metric, values: tuple[str, ...]) -> Cell | None:
        """A cell for a series; ``None`` if there is no room.

        There is always room for the overflow series, and for the one series of a metric without labels.
        """
        ...

    def forget(self, metric: Metric, values: tuple[str, ...], cell: Cell) -> None:
        """Give up a cell's room; whoever still holds the cell may go on writing to it, unseen."""
        ...

    def restore(self, metric: Metric, values: tuple[str, ...], cell: Gauge) -> bool:
        """Give a forgotten gauge room again; false if there is none."""
        ...


class Local:
    """Cells in this process's own memory."""

    __slots__ = ()

    def check(self, metric: Metric) -> None:
        """Every metric is welcome."""

    def make(self, metric: Metric, values: tuple[str, ...]) -> Cell:  # noqa: ARG002  # all series are alike here
        """A new cell."""
        kind = metric.kind
        if kind is Kind.COUNTER:
            return Counter()
        if kind is Kind.GAUGE:
            return Gauge()
        if kind is Kind.HISTOGRAM:
            return Histogram(metric.buckets)
        if kind is Kind.NATIVE_HISTOGRAM:
            return NativeHistogram(metric.schema)
        return StateSet(metric.states) if kind is Kind.STATE_SET else Info()

    def forget(self, metric: Metric, values: tuple[str, ...], cell: Cell) -> None:
        """Nothing has to be given back."""

    def restore(self, metric: Metric, values: tuple[str, ...], cell: Gauge) -> bool:  # noqa: ARG002  # as above
        """There is always room."""
        return True


class Family(Generic[C]):
    """One metric's series; made by ``Registry.declare``.

    Args:
        metric: What was declared.
        guard: Decides which series are made.
        source: Makes the cells.
        on_overflow: Told the metric of every request that was answered by another series.

    Attributes:
        metric: What was declared.
        cells: The series. Other threads may add to it: iterate over ``family.cells.copy().items()``.
        forgotten: Gauges that were idle for too long.
    """

    __slots__ = ("_asleep", "_guard", "_on_overflow", "_source", "cells", "forgotten", "metric")

    def __init__(
        self, metric: Metric, *, guard: Guard, source: Cells, on_overflow: Callable[[Metric], None]
    ) -> None:
        self.metric: Final = metric
        self.cells: Final[dict[tuple[str, ...], C]] = {}
        self.forgotten = 0
        self._guard = guard
        self._source = source
        self._on_overflow = on_overflow
        # Idle gauges that somebody still holds, and so keeps alive: they come back when they are written.
        self._asleep: WeakValueDictionary[tuple[str, ...], Gauge] = WeakValueDictionary()

    def cell(self, *values: str) -> C:
        """The cell of a series; made if need be.

        Args:
            *values: One for each label, in the order of the declaration.

        Returns:
            The cell; beyond a limit, that of the series that stands for the rest.
        """
        try:
            return self.cells[values]
        except Exception:  # noqa: BLE001  # not there yet, or what was given can't even be hashed
            return self.admit(values)[1]

    def admit(self, values: tuple[object, ...]) -> tuple[tuple[str, ...], C]:
        """As ``cell``, with the label values under which the answer is found in ``cells``."""
        # Outside the lock, since it runs what a user has written.
        texts = _texts(values, len(self.metric.labels))
        with CHANGES:
            if texts is not None:
                # Another thread was faster, or the values were no clean texts.
                cell = self.cells.get(texts)
                if cell is not None:
                    return texts, cell
                if self._outside(texts):
                    return self._overflow()
            guard = self._guard
            guard.offered += 1
            if texts is None:
                return self._overflow("labels")
            fitted = guard.fit(texts)
            if fitted != texts and (cell := self.cells.get(fitted)) is not None:
                self._count("values")
                return fitted, cell
            reason = guard.full()
            if reason:
                return self._overflow(reason)
            cell = self._new(fitted)
            if cell is None:
                return self._overflow("memory")
            guard.enter(fitted)
            self.cells[fitted] = cell
            if fitted == texts:
                guard.kept += 1
            else:
                self._count("values")
            return fitted, cell

    def remove(self, *values: str) -> None:
        """Forget a series; nothing happens if there is none."""
        with CHANGES:
            try:
                cell = self.cells.pop(values, None)
            except Exception:  # noqa: BLE001  # what can't be hashed is no series
                return
            if cell is not None:
                if not self._outside(values):
                    self._guard.leave(values)
                self._source.forget(self.metric, values, cell)

    def sweep(self, now: float) -> Iterator[None]:
        """Forget gauges that nobody has written for ``idle_s``, and take back those that are written again.

        A gauge with a function is never idle.

        Args:
            now: Monotonic seconds.

        Yields:
            Nothing, after every :data:`SLICE` series: an event loop may have its turn.
        """
        idle_s = self.metric.idle_s
        if idle_s is None:
            return
        for values, gauge in list(self._asleep.items()):
            if gauge.used:
                self._wake(values, gauge)
        for looked, (values, cell) in enumerate(self.cells.copy().items(), start=1):
            gauge = cast("Gauge", cell)
            if gauge.used or gauge.function is not None:
                gauge.used = False
                gauge.idle_since = now
            elif now - gauge.idle_since >= idle_s:
                self._put_to_sleep(values, gauge)
            if looked % SLICE == 0:
                yield

    def facts(self, now: float, warn_share: float) -> list[CardinalityReached]:
        """What the guard has to tell; see ``Guard.facts``."""
        with CHANGES:
            return self._guard.facts(now, warn_share)

    def labels(self) -> list[LabelReport]:
        """What each label costs."""
        with CHANGES:
            return self._guard.labels()

    def statistics(self) -> GuardStatistics:
        """Counts at this moment."""
        with CHANGES:
            return self._guard.statistics()

    def _new(self, values: tuple[str, ...]) -> C | None:
        gauge = self._asleep.pop(values, None)
        if gauge is None:
            return cast("C | None", self._source.make(self.metric, values))
        if not self._source.restore(self.metric, values, gauge):
            self._asleep[values] = gauge
            return None
        gauge.used = True
        gauge.idle_since = inf
        return cast("C", gauge)

    def _put_to_sleep(self, values: tuple[str, ...], gauge: Gauge) -> None:
        with CHANGES:
            # Since the sweep began it may have been removed, and another one made in its place.
            if self.cells.get(values) is not gauge:
                return
            self.remove(*values)
            self.forgotten += 1
            if len(self._asleep) < self.metric.limit:
                self._asleep[values] = gauge

    def _wake(self, values: tuple[str, ...], gauge: Gauge) -> None:
        with CHANGES:
            # Asking for it is what wakes it: by the same limits, and under the same counts.
            if self.admit(values)[1] is not gauge:
                # No room, and counted as such; it asks again when it is written the next time.
                gauge.used = False
                self._asleep[values] = gauge

    def _outside(self, values: tuple[str, ...]) -> bool:
        """Whether it is the overflow series, which no limit counts."""
        return bool(values) and all(value == OVERFLOW for value in values)

    def _overflow(self, reason: str = "") -> tuple[tuple[str, ...], C]:
        if reason:
            self._count(reason)
        values = (OVERFLOW,) * len(self.metric.labels)
        cell = self.cells.get(values)
        if cell is None:
            cell = cast("C | None", self._source.make(self.metric, values))
            assert cell is not None, "there is always room for the overflow series"
            if not self._outside(values):
                self._guard.enter(values)
            self.cells[values] = cell
        return values, cell

    def _count(self, reason: str) -> None:
        self._guard.reasons[reason] += 1
        self._on_overflow(self.metric)

    def __repr__(self) -> str:
        return f"<Family {self.metric.name} {self.metric.kind.value} series={len(self.cells)}>"


def _texts(values: tuple[object, ...], expected: int) -> tuple[str, ...] | None:
    """The values as texts that can be encoded; ``None`` if they are no values of these labels."""
    if len(values) != expected:
        return None
    try:
        # A lone surrogate (undecodable bytes of a file name) would fail at every scrape.
        return tuple(str(value).encode("utf-8", "replace").decode() for value in values)
    except Exception:  # noqa: BLE001  # __str__ is a user's
        return None
