"""All metrics of one process: declared once, found by name, bounded in number.

It declares, finds and reports; it does not count (``cells``), write (the exposition) or wait. Whoever reads
it for a scrape lets time pass first (``refreshing``), as the writer does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from seawall.kernel.errors import UsageError
from seawall.telemetry.metrics.cardinality import (
    FAMILIES_MAX,
    METRIC_OVERFLOW,
    CardinalityReached,
    Census,
    Guard,
    LabelReport,
    worse,
)
from seawall.telemetry.metrics.cells import Counter, Gauge, Histogram, Info, NativeHistogram, StateSet
from seawall.telemetry.metrics.families import Cells, Family, Local
from seawall.telemetry.metrics.locks import CHANGES
from seawall.telemetry.metrics.metric import Kind, Metric

__all__ = ["READERS_MAX", "SERIES_LIMIT", "WARN_SHARE", "Reader", "Registry", "RegistryStatistics"]

SERIES_LIMIT: Final = 50_000
"""Series of one registry, unless another number is asked for."""
WARN_SHARE: Final = 0.8
"""From this share of a limit on it is told that the limit is close."""
READERS_MAX: Final = 64
"""Every scrape waits for each of them."""
FAMILIES_SLICE: Final = 50
"""Metrics whose limits are looked at before an event loop gets its turn: about a tenth of a millisecond."""


Reader: TypeAlias = Callable[[], Iterator[None]]
"""Brings cells up to date before a scrape, in slices: it yields where an event loop may have its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryStatistics:
    """Counts of a registry; ``offered`` is always ``kept + overflowed``.

    Attributes:
        families: Metrics declared.
        series: Series, without the overflow series.
        series_limit: Series there may be.
        offered: Requests for a series that there was not yet.
        kept: Those that got it.
        overflowed: Those that were answered by another series.
        forgotten: Gauges that were idle for too long.
        callback_errors: Exceptions that ``on_fact`` and readers raised.
    """

    families: int
    series: int
    series_limit: int
    offered: int
    kept: int
    overflowed: int
    forgotten: int
    callback_errors: int


class Registry:
    """Metrics by name.

    Args:
        series_limit: Series of all metrics together.
        cells: Where cells live; in this process's memory unless said otherwise.
        on_fact: Called for every limit that is close or was reached, once each. What it raises is counted.
        warn_share: Share of a limit from which on it is close.

    Raises:
        UsageError: If a number is out of range.
    """

    __slots__ = (
        "_callback_errors",
        "_census",
        "_families",
        "_names",
        "_on_fact",
        "_readers",
        "_source",
        "_told",
        "_warn_share",
    )

    def __init__(
        self,
        *,
        series_limit: int = SERIES_LIMIT,
        cells: Cells | None = None,
        on_fact: Callable[[CardinalityReached], object] | None = None,
        warn_share: float = WARN_SHARE,
    ) -> None:
        if series_limit < 1:
            raise UsageError(f"series_limit = {series_limit!r}: allowed is a whole number from 1 up")
        if not 0.0 < warn_share <= 1.0:
            raise UsageError(f"warn_share = {warn_share!r}: allowed is above 0 and at most 1")
        self._census = Census(series_limit)
        self._source: Cells = Local() if cells is None else cells
        self._on_fact = on_fact
        self._warn_share = warn_share
        self._families: dict[str, Family[Any]] = {}
        # Names of samples, and whose they are.
        self._names: dict[str, str] = dict.fromkeys(METRIC_OVERFLOW.sample_names, METRIC_OVERFLOW.name)
        self._told: dict[str, int] = {}
        self._callback_errors = 0
        # A dict for its order and its atomic insertion and removal.
        self._readers: dict[Reader, None] = {}

    @property
    def series_limit(self) -> int:
        """Series that all metrics together may have."""
        return self._census.limit

    def declare(self, metric: Metric) -> Family[Any]:
        """Make a metric known, or find it again.

        Args:
            metric: The row of the catalogue.

        Returns:
            Its family; the same one for an equal row.

        Raises:
            UsageError: If another metric has this name or would be mistaken for it by a reader, if there are
                too many metrics, or if its cells have no place to live.
        """
        with CHANGES:
            family = self._families.get(metric.name)
            known = METRIC_OVERFLOW if metric.name == METRIC_OVERFLOW.name else family and family.metric
            if known is not None and known != metric:
                raise UsageError(f"metric {metric.name!r} is declared, but is another one: share one row")
            if family is not None:
                return family
            if len(self._families) >= FAMILIES_MAX:
                raise UsageError(
                    f"{FAMILIES_MAX} metrics already: they are written by hand, not made by data"
                )
            for name in metric.sample_names:
                owner = self._names.get(name, metric.name)
                if owner != metric.name:
                    raise UsageError(
                        f"metric {metric.name!r}: samples {name!r} would be taken for {owner!r}'s; rename it"
                    )
            self._source.check(metric)
            return self._add(metric)

    def counter(self, metric: Metric) -> Family[Counter]:
        """Declare a counter; the family is typed."""
        return self._declare(metric, Kind.COUNTER)

    def gauge(self, metric: Metric) -> Family[Gauge]:
        """Declare a gauge; the family is typed."""
        return self._declare(metric, Kind.GAUGE)

    def histogram(self, metric: Metric) -> Family[Histogram]:
        """Declare a histogram; the family is typed."""
        return self._declare(metric, Kind.HISTOGRAM)

    def native_histogram(self, metric: Metric) -> Family[NativeHistogram]:
        """Declare a native histogram; the family is typed."""
        return self._declare(metric, Kind.NATIVE_HISTOGRAM)

    def state_set(self, metric: Metric) -> Family[StateSet]:
        """Declare a state set; the family is typed."""
        return self._declare(metric, Kind.STATE_SET)

    def info(self, metric: Metric) -> Family[Info]:
        """Declare facts; the family is typed."""
        return self._declare(metric, Kind.INFO)

    def families(self) -> Sequence[Family[Any]]:
        """All metrics in the order of their names."""
        families = self._families
        return [families[name] for name in sorted(families)]

    def add_reader(self, reader: Reader) -> None:
        """Have cells brought up to date before every scrape; for numbers that somebody else counts already.

        Args:
            reader: Called at each scrape. What it raises is counted, and the scrape goes on.

        Raises:
            UsageError: If there are :data:`READERS_MAX` already.
        """
        if len(self._readers) >= READERS_MAX:
            raise UsageError(f"{READERS_MAX} readers already: let one of them read for several")
        self._readers[reader] = None

    def remove_reader(self, reader: Reader) -> None:
        """Call it no more; nothing happens if it isn't called anyway."""
        self._readers.pop(reader, None)

    def refreshing(self, now: float) -> Iterator[None]:
        """Let time pass: readers run, idle gauges are forgotten, limits close or reached are told, each once.

        Several may be under way at once.

        Args:
            now: Monotonic seconds.

        Yields:
            Nothing, now and then: an event loop may have its turn.
        """
        for reader in self._readers.copy():
            yield from self._read(reader)
        for looked, family in enumerate(self.families(), start=1):
            yield from family.sweep(now)
            for fact in family.facts(now, self._warn_share):
                self._tell(fact)
            if looked % FAMILIES_SLICE == 0:
                yield
        census = self._census
        if worse(self._told, "", census.series, census.limit, self._warn_share):
            overflowed = self.statistics().overflowed
            self._tell(
                CardinalityReached(
                    at=now, name="", count=census.series, limit=census.limit, overflowed=overflowed
                )
            )

    def worst_labels(self, limit: int = 10) -> list[LabelReport]:
        """The labels with most values, the worst one first.

        Args:
            limit: How many.
        """
        reports = [report for family in self.families() for report in family.labels()]
        reports.sort(key=lambda report: (-report.values, -report.overflowed, report.metric, report.label))
        return reports[:limit]

    def statistics(self) -> RegistryStatistics:
        """Counts at this moment."""
        families = self.families()
        each = [family.statistics() for family in families]
        return RegistryStatistics(
            families=len(each),
            series=self._census.series,
            series_limit=self._census.limit,
            offered=sum(one.offered for one in each),
            kept=sum(one.kept for one in each),
            overflowed=sum(one.overflowed for one in each),
            forgotten=sum(family.forgotten for family in families),
            callback_errors=self._callback_errors,
        )

    def _read(self, reader: Reader) -> Iterator[None]:
        try:
            yield from reader()
        except Exception:  # noqa: BLE001  # numbers that are a scrape old are better than none
            self._callback_errors += 1

    def _tell(self, fact: CardinalityReached) -> None:
        if self._on_fact is not None:
            try:
                self._on_fact(fact)
            except Exception:  # noqa: BLE001  # whatever a listener does wrong is its own affair
                self._callback_errors += 1

    def _declare(self, metric: Metric, kind: Kind) -> Family[Any]:
        if metric.kind is not kind:
            raise UsageError(f"metric {metric.name!r} is a {metric.kind.value}, not a {kind.value}")
        return self.declare(metric)

    def _add(self, metric: Metric) -> Family[Any]:
        guard = Guard(metric, self._census, exempt=metric == METRIC_OVERFLOW)
        family: Family[Any] = Family(metric, guard=guard, source=self._source, on_overflow=self._count)
        # A copy with one more, since a scrape may be walking over the old one.
        self._families = {**self._families, metric.name: family}
        self._names.update(dict.fromkeys(metric.sample_names, metric.name))
        return family

    def _count(self, metric: Metric) -> None:
        # Called in the middle of somebody's request for a cell: nothing here may fail.
        if metric.name == METRIC_OVERFLOW.name:
            return
        family = self._families.get(METRIC_OVERFLOW.name) or self._add(METRIC_OVERFLOW)
        cast("Counter", family.cell(metric.name)).inc()

    def __repr__(self) -> str:
        series = self._census.series
        return f"<Registry metrics={len(self._families)} series={series}/{self.series_limit}>"
