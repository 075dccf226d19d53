"""A family: one metric's series, each with its cell, by the values of its labels.

Whoever counts asks for a cell by its label values, which is one look into a dict, or asks once and holds on
to the cell. Where the cells live is not decided here: ``Cells`` makes them, in this process's memory
(``Local``) or in a block that processes share (``shared``).

Asking for a series never fails. What the guard of ``cardinality`` refuses gets a cell all the same, that of
``__other__`` or of the overflow series. So do values that don't fit the labels; ``statistics()`` counts both.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from math import inf
from typing import Final, Protocol, TypeVar, cast
from weakref import WeakValueDictionary

from seawall.telemetry.metrics.cardinality import (
    OVERFLOW,
    CardinalityReached,
    Guard,
    GuardStatistics,
    LabelReport,
)
from seawall.telemetry.metrics.cells import Cell, Counter, Gauge, Histogram, Info, NativeHistogram, StateSet
from seawall.telemetry.metrics.metric import Aggregation, Kind, Metric
from seawall.telemetry.metrics.threaded import (
    ThreadedCounter,
    ThreadedGauge,
    ThreadedHistogram,
    ThreadedNativeHistogram,
)

__all__ = ["Aggregation", "Cells", "Family", "Kind", "Local", "Metric", "SeriesOf"]

C_co = TypeVar("C_co", bound=Cell, covariant=True)


def _gil_enabled() -> bool:
    # The question exists since 3.13; before, the answer is yes.
    asked = getattr(sys, "_is_gil_enabled", None)
    return asked is None or bool(asked())


class SeriesOf(Protocol[C_co]):
    """A family whose kind of cell is known to the type checker."""

    @property
    def metric(self) -> Metric:
        """What was declared."""
        ...

    def cell(self, *values: str) -> C_co:
        """As ``Family.cell``."""
        ...

    def remove(self, *values: str) -> None:
        """As ``Family.remove``."""
        ...


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

    def restore(self, metric: Metric, values: tuple[str, ...], cell: Cell) -> bool:
        """Give a forgotten gauge room again; false if there is none."""
        ...


class Local:
    """Cells in this process's own memory.

    Args:
        threaded: Whether each thread counts for itself; by default only in a build without the GIL.
    """

    __slots__ = ("threaded",)

    def __init__(self, *, threaded: bool | None = None) -> None:
        self.threaded: Final = not _gil_enabled() if threaded is None else threaded

    def check(self, metric: Metric) -> None:
        """Every metric is welcome."""

    def make(self, metric: Metric, values: tuple[str, ...]) -> Cell:  # noqa: ARG002  # all series are alike here
        """A new cell."""
        kind, threaded = metric.kind, self.threaded
        if kind is Kind.COUNTER:
            return ThreadedCounter() if threaded else Counter()
        if kind is Kind.GAUGE:
            return ThreadedGauge() if threaded else Gauge()
        if kind is Kind.HISTOGRAM:
            return ThreadedHistogram(metric.buckets) if threaded else Histogram(metric.buckets)
        if kind is Kind.NATIVE_HISTOGRAM:
            return ThreadedNativeHistogram(metric.schema) if threaded else NativeHistogram(metric.schema)
        # One store, or none at all: safe without the GIL as it is.
        return StateSet(metric.states) if kind is Kind.STATE_SET else Info()

    def forget(self, metric: Metric, values: tuple[str, ...], cell: Cell) -> None:
        """Nothing has to be given back."""

    def restore(self, metric: Metric, values: tuple[str, ...], cell: Cell) -> bool:  # noqa: ARG002  # always room
        """There is always room."""
        return True


class Overflows(Protocol):
    """Who hears of every request that was answered by another series."""

    def __call__(self, metric: Metric) -> None:
        """It was one of ``metric``."""
        ...


class Family:
    """One metric's series; made by ``Registry.declare``.

    Args:
        metric: What was declared.
        guard: Decides which series are made.
        source: Makes the cells.
        lock: Held while series come and go; reentrant, since a finalizer may count.
        on_overflow: Told of every overflow.

    Attributes:
        metric: What was declared.
        cells: The series. Other threads may add to it: iterate over ``list(family.cells.copy().items())``.
    """

    __slots__ = ("_asleep", "_guard", "_lock", "_on_overflow", "_source", "cells", "metric")

    def __init__(
        self,
        metric: Metric,
        *,
        guard: Guard,
        source: Cells,
        lock: AbstractContextManager[object],
        on_overflow: Overflows,
    ) -> None:
        self.metric: Final = metric
        self.cells: Final[dict[tuple[str, ...], Cell]] = {}
        self._guard = guard
        self._source = source
        self._lock = lock
        self._on_overflow = on_overflow
        # Idle gauges that somebody still holds, and so keeps alive: they come back when they are written.
        self._asleep: WeakValueDictionary[tuple[str, ...], Gauge] = WeakValueDictionary()

    def cell(self, *values: str) -> Cell:
        """The cell of a series; made if need be.

        Args:
            *values: One for each label, in the order of the declaration.

        Returns:
            The cell; beyond a limit, that of the series that stands for the rest.
        """
        try:
            return self.cells[values]
        except (KeyError, TypeError):
            return self._admit(values)

    def standing_for(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """Label values of the series that ``cell`` answers with, which must have been asked before."""
        if values in self.cells:
            return values
        with self._lock:
            texts = _texts(values, len(self.metric.labels))
            for key in (texts, texts and self._guard.fit(texts)):
                if key is not None and key in self.cells:
                    return key
        return (OVERFLOW,) * len(self.metric.labels)

    def remove(self, *values: str) -> None:
        """Forget a series; nothing happens if there is none."""
        with self._lock:
            try:
                cell = self.cells.pop(values, None)
            except TypeError:
                return
            if cell is not None:
                if not self._outside(values):
                    self._guard.leave(values)
                self._source.forget(self.metric, values, cell)

    def sweep(self, now: float) -> int:
        """Forget gauges that nobody has written for ``idle_s``, and take back those that are written again.

        A gauge with a function is never idle.

        Args:
            now: Monotonic seconds.

        Returns:
            How many were forgotten.
        """
        idle_s = self.metric.idle_s
        if idle_s is None:
            return 0
        for values, gauge in list(self._asleep.items()):
            if gauge.used:
                self._wake(values, gauge)
        forgotten = 0
        for values, cell in self.cells.copy().items():
            gauge = cast("Gauge", cell)
            if gauge.used or gauge.function is not None:
                gauge.used = False
                gauge.idle_since = now
            elif now - gauge.idle_since >= idle_s:
                with self._lock:
                    self.remove(*values)
                    if len(self._asleep) < self.metric.limit:
                        self._asleep[values] = gauge
                forgotten += 1
        return forgotten

    def facts(self, now: float, warn_share: float) -> list[CardinalityReached]:
        """What the guard has to tell; see ``Guard.facts``."""
        with self._lock:
            return self._guard.facts(now, warn_share)

    def labels(self) -> list[LabelReport]:
        """What each label costs."""
        with self._lock:
            return self._guard.labels()

    def statistics(self) -> GuardStatistics:
        """Counts at this moment."""
        with self._lock:
            return self._guard.statistics()

    def _admit(self, values: tuple[object, ...]) -> Cell:
        with self._lock:
            texts = _texts(values, len(self.metric.labels))
            if texts is not None:
                # Another thread was faster, or the values were no clean texts.
                cell = self.cells.get(texts)
                if cell is not None:
                    return cell
            guard = self._guard
            guard.offered += 1
            if texts is None:
                return self._overflow("labels")
            fitted = guard.fit(texts)
            if fitted != texts and (cell := self.cells.get(fitted)) is not None:
                self._count("values")
                return cell
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
            return cell

    def _new(self, values: tuple[str, ...]) -> Cell | None:
        gauge = self._asleep.pop(values, None)
        if gauge is None:
            return self._source.make(self.metric, values)
        if not self._source.restore(self.metric, values, gauge):
            self._asleep[values] = gauge
            return None
        gauge.used = True
        gauge.idle_since = inf
        return gauge

    def _wake(self, values: tuple[str, ...], gauge: Gauge) -> None:
        with self._lock:
            # Asking for it is what wakes it: by the same limits, and under the same counts.
            if self._admit(values) is not gauge:
                # No room, and counted as such; it asks again when it is written the next time.
                gauge.used = False
                self._asleep[values] = gauge

    def _outside(self, values: tuple[str, ...]) -> bool:
        return bool(values) and all(value == OVERFLOW for value in values)

    def _overflow(self, reason: str) -> Cell:
        self._count(reason)
        values = (OVERFLOW,) * len(self.metric.labels)
        cell = self.cells.get(values)
        if cell is None:
            cell = self._source.make(self.metric, values)
            assert cell is not None, "there is always room for the overflow series"
            if not self._outside(values):
                self._guard.enter(values)
            self.cells[values] = cell
        return cell

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
