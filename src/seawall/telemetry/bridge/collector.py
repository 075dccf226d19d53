"""Our registry as a collector in ``prometheus_client``'s.

For programs that serve or push their metrics with ``prometheus_client`` and want ours among them. It costs
some ten times as much per series as our own writer, and holds its caller for all of it: serve ``/metrics``
from the writer where you can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from math import inf, isfinite
from time import monotonic
from typing import TYPE_CHECKING, Any, final

from seawall.kernel.errors import UsageError
from seawall.telemetry.bridge.source import MERGING
from seawall.telemetry.exposition.formats import Format
from seawall.telemetry.exposition.protobuf import spans
from seawall.telemetry.exposition.settings import Settings
from seawall.telemetry.exposition.values import bound
from seawall.telemetry.exposition.views import STATE_LABEL, View, gauge_value, views_of
from seawall.telemetry.exposition.writer import Readable
from seawall.telemetry.metrics.cells import Exemplar, Histogram, NativeHistogram
from seawall.telemetry.metrics.metric import Kind

if TYPE_CHECKING:
    from prometheus_client import metrics_core
    from prometheus_client import samples as client

__all__ = ["RegistryCollector"]


@final
class RegistryCollector:
    """A collector, to be given to ``CollectorRegistry.register``.

    Args:
        registry: What counts in this process, or what sums up all of them.
        settings: How its families are named and numbered; the same as the writer's, if there is one.
        native_histograms: Whether native histograms are handed over as such. The text format of
            ``prometheus_client`` cannot write them and fails, so they are left at sum and count by default.
        clock: Gives monotonic seconds, by which gauges are idle.

    Raises:
        UsageError: ``prometheus_client`` is not installed.
    """

    __slots__ = ("_client", "_clock", "_core", "_native", "_registry", "_settings")

    def __init__(
        self,
        registry: Readable,
        settings: Settings | None = None,
        *,
        native_histograms: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        try:
            from prometheus_client import metrics_core, samples  # noqa: PLC0415  # an extra
        except ImportError as missing:
            raise UsageError(
                "prometheus_client is not installed: pip install 'seawall[telemetry]'"
            ) from missing
        self._core = metrics_core
        self._client = samples
        self._registry = registry
        self._settings = Settings() if settings is None else settings
        self._native = native_histograms
        self._clock = clock

    def describe(self) -> Iterator[metrics_core.Metric]:
        """Names and types alone, by which their registry finds clashes."""
        for family in self._registry.families():
            for view in views_of(family.metric, self._settings, Format.OPENMETRICS):
                yield self._metric(view)

    def collect(self) -> Iterator[metrics_core.Metric]:
        """All families of this moment."""
        if MERGING.get():
            return
        for _ in self._registry.refreshing(self._clock()):
            continue
        for family in self._registry.families():
            # The copy is one step of the interpreter, whatever other threads add meanwhile.
            cells = family.cells.copy()
            if not cells:
                continue
            for view in views_of(family.metric, self._settings, Format.OPENMETRICS):
                metric = self._metric(view)
                for values, cell in cells.items():
                    self._add(metric, view, dict(zip(family.metric.labels, values, strict=True)), cell)
                yield metric

    def __repr__(self) -> str:
        return f"<RegistryCollector native_histograms={self._native}>"

    def _metric(self, view: View) -> metrics_core.Metric:
        return self._core.Metric(view.name, view.metric.help.strip(), view.type, view.unit)

    def _add(
        self,
        metric: metrics_core.Metric,
        view: View,
        labels: dict[str, str],
        cell: Any,  # noqa: ANN401  # of the metric's kind
    ) -> None:
        kind = view.metric.kind
        if kind is Kind.COUNTER:
            told = view.type == "counter" and cell.exemplar is not None
            exemplar = self._exemplar(cell.exemplar) if told else None
            metric.add_sample(view.sample, labels, cell.value, exemplar=exemplar)
        elif kind is Kind.GAUGE:
            metric.add_sample(view.sample, labels, gauge_value(view, cell))
        elif kind is Kind.INFO:
            metric.add_sample(view.sample, labels, 1)
        elif kind is Kind.STATE_SET:
            for index, state in enumerate(view.metric.states):
                metric.add_sample(view.sample, {**labels, STATE_LABEL: state}, int(index == cell.state))
        elif kind is Kind.HISTOGRAM:
            self._add_histogram(metric, view, labels, cell)
        else:
            self._add_native(metric, view, labels, cell)

    def _add_histogram(
        self, metric: metrics_core.Metric, view: View, labels: dict[str, str], cell: Histogram
    ) -> None:
        edges = (*view.metric.buckets, inf)
        exemplars = cell.exemplars or [None] * len(edges)
        count = 0
        for edge, count, exemplar in zip(edges, accumulate(cell.counts[:]), exemplars, strict=False):
            edged = {**labels, "le": bound(edge)}
            told = None if exemplar is None else self._exemplar(exemplar)
            metric.add_sample(f"{view.name}_bucket", edged, count, exemplar=told)
        # OpenMetrics: a histogram with bounds below zero has neither sum nor count, for they could fall.
        if view.metric.buckets[0] >= 0:
            metric.add_sample(f"{view.name}_count", labels, count)
            metric.add_sample(f"{view.name}_sum", labels, cell.sum)

    def _add_native(
        self, metric: metrics_core.Metric, view: View, labels: dict[str, str], cell: NativeHistogram
    ) -> None:
        state = cell.snapshot()
        if self._native:
            positive, positive_deltas = spans(state.positive)
            negative, negative_deltas = spans(state.negative)
            exemplars = [self._exemplar(each) for each in cell.exemplars.copy()] if cell.exemplars else []
            native = self._client.NativeHistogram(
                state.count,
                state.sum,
                state.schema,
                state.zero_threshold,
                state.zero_count,
                [self._client.BucketSpan(*span) for span in positive] or None,
                [self._client.BucketSpan(*span) for span in negative] or None,
                positive_deltas or None,
                negative_deltas or None,
                exemplars or None,
            )
            metric.add_sample(view.name, labels, state.count, native_histogram=native)
        metric.add_sample(f"{view.name}_bucket", {**labels, "le": "+Inf"}, state.count)
        metric.add_sample(f"{view.name}_count", labels, state.count)
        metric.add_sample(f"{view.name}_sum", labels, state.sum)

    def _exemplar(self, exemplar: Exemplar) -> client.Exemplar:
        at = exemplar.at if isfinite(exemplar.at) else None
        return self._client.Exemplar(dict(exemplar.labels), exemplar.value, at)
