"""All metrics of one process: declared once, found by name, bounded in number.

It declares, finds and reports; it does not count (``cells``), write (the exposition) or wait. Somebody calls
``sweep`` now and then, best before each scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Final, cast

from seawall.kernel.errors import UsageError
from seawall.telemetry.metrics.cardinality import CardinalityReached, Census, Guard, LabelReport, worse
from seawall.telemetry.metrics.cells import Counter, Gauge, Histogram, Info, NativeHistogram, StateSet
from seawall.telemetry.metrics.families import Cells, Family, Local, SeriesOf
from seawall.telemetry.metrics.metric import Kind, Metric

__all__ = ["FAMILIES_MAX", "METRIC_OVERFLOW", "SERIES_LIMIT", "WARN_SHARE", "Registry", "RegistryStatistics"]

FAMILIES_MAX: Final = 2_000
"""Metrics of one registry; each may have one series outside all other limits."""
SERIES_LIMIT: Final = 50_000
"""Series of one registry, unless another number is asked for."""
WARN_SHARE: Final = 0.8
"""From this share of a limit on it is told that the limit is close."""

METRIC_OVERFLOW: Final = Metric(
    name="metric_overflow",
    kind=Kind.COUNTER,
    help="Requests for a series that were answered by another one, because of a limit, by metric.",
    labels=("metric",),
    limit=FAMILIES_MAX,
    values_limit=FAMILIES_MAX,
)
"""Declared by a registry at its first overflow."""


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
        callback_errors: Exceptions that ``on_fact`` raised.
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
        namespace: What the writer puts in front of every name.
        series_limit: Series of all metrics together.
        cells: Where cells live; in this process's memory unless said otherwise.
        on_fact: Called by ``sweep`` for every limit that is close or was reached. What it raises is counted.
        warn_share: Share of a limit from which on it is close.

    Attributes:
        namespace: As given.

    Raises:
        UsageError: If a number is out of range.
    """

    __slots__ = (
        "_callback_errors",
        "_census",
        "_families",
        "_forgotten",
        "_lock",
        "_names",
        "_on_fact",
        "_source",
        "_told",
        "_warn_share",
        "namespace",
    )

    def __init__(
        self,
        *,
        namespace: str = "seawall",
        series_limit: int = SERIES_LIMIT,
        cells: Cells | None = None,
        on_fact: Callable[[CardinalityReached], object] | None = None,
        warn_share: float = WARN_SHARE,
    ) -> None:
        if series_limit < 1:
            raise UsageError(f"series_limit = {series_limit!r}: allowed is a whole number from 1 up")
        if not 0.0 < warn_share <= 1.0:
            raise UsageError(f"warn_share = {warn_share!r}: allowed is above 0 and at most 1")
        self.namespace: Final = namespace
        self._census = Census(series_limit)
        self._source: Cells = Local() if cells is None else cells
        self._on_fact = on_fact
        self._warn_share = warn_share
        self._families: dict[str, Family] = {}
        # Names of samples, and whose they are.
        self._names: dict[str, str] = dict.fromkeys(METRIC_OVERFLOW.sample_names, METRIC_OVERFLOW.name)
        self._told: dict[str, int] = {}
        self._forgotten = 0
        self._callback_errors = 0
        # Reentrant: a finalizer that runs while it is held may count something new.
        self._lock = RLock()

    @property
    def series_limit(self) -> int:
        """Series that all metrics together may have."""
        return self._census.limit

    def declare(self, metric: Metric) -> Family:
        """Make a metric known, or find it again.

        Args:
            metric: The row of the catalogue.

        Returns:
            Its family; the same one for an equal row.

        Raises:
            UsageError: If another metric has this name or would be mistaken for it by a reader, if there are
                too many metrics, or if its cells have no place to live.
        """
        with self._lock:
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

    def counter(self, metric: Metric) -> SeriesOf[Counter]:
        """Declare a counter; the family is typed."""
        return cast("SeriesOf[Counter]", self._declare(metric, Kind.COUNTER))

    def gauge(self, metric: Metric) -> SeriesOf[Gauge]:
        """Declare a gauge; the family is typed."""
        return cast("SeriesOf[Gauge]", self._declare(metric, Kind.GAUGE))

    def histogram(self, metric: Metric) -> SeriesOf[Histogram]:
        """Declare a histogram; the family is typed."""
        return cast("SeriesOf[Histogram]", self._declare(metric, Kind.HISTOGRAM))

    def native_histogram(self, metric: Metric) -> SeriesOf[NativeHistogram]:
        """Declare a native histogram; the family is typed."""
        return cast("SeriesOf[NativeHistogram]", self._declare(metric, Kind.NATIVE_HISTOGRAM))

    def state_set(self, metric: Metric) -> SeriesOf[StateSet]:
        """Declare a state set; the family is typed."""
        return cast("SeriesOf[StateSet]", self._declare(metric, Kind.STATE_SET))

    def info(self, metric: Metric) -> SeriesOf[Info]:
        """Declare facts; the family is typed."""
        return cast("SeriesOf[Info]", self._declare(metric, Kind.INFO))

    def families(self) -> Sequence[Family]:
        """All metrics in the order of their names."""
        families = self._families
        return [families[name] for name in sorted(families)]

    def sweep(self, now: float) -> list[CardinalityReached]:
        """Let time pass: idle gauges are forgotten, limits that are close or reached are told, each once.

        Args:
            now: Monotonic seconds.

        Returns:
            What ``on_fact`` was told.
        """
        facts: list[CardinalityReached] = []
        for family in self.families():
            self._forgotten += family.sweep(now)
            facts += family.facts(now, self._warn_share)
        census = self._census
        if worse(self._told, "", census.series, census.limit, self._warn_share):
            facts.append(
                CardinalityReached(
                    at=now,
                    name="",
                    count=census.series,
                    limit=census.limit,
                    overflowed=self.statistics().overflowed,
                )
            )
        if self._on_fact is not None:
            for fact in facts:
                try:
                    self._on_fact(fact)
                except Exception:  # noqa: BLE001  # whatever a listener does wrong is its own affair
                    self._callback_errors += 1
        return facts

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
        with self._lock:
            each = [family.statistics() for family in self._families.values()]
            return RegistryStatistics(
                families=len(each),
                series=self._census.series,
                series_limit=self._census.limit,
                offered=sum(one.offered for one in each),
                kept=sum(one.kept for one in each),
                overflowed=sum(one.overflowed for one in each),
                forgotten=self._forgotten,
                callback_errors=self._callback_errors,
            )

    def _declare(self, metric: Metric, kind: Kind) -> Family:
        if metric.kind is not kind:
            raise UsageError(f"metric {metric.name!r} is a {metric.kind.value}, not a {kind.value}")
        return self.declare(metric)

    def _add(self, metric: Metric) -> Family:
        family = Family(
            metric,
            guard=Guard(metric, self._census, exempt=metric == METRIC_OVERFLOW),
            source=self._source,
            lock=self._lock,
            on_overflow=self._count,
        )
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
        return (
            f"<Registry {self.namespace} metrics={len(self._families)} series={series}/{self.series_limit}>"
        )
