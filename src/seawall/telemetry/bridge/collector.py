"""Our registry as a collector in ``prometheus_client``'s.

For programs that serve or push their metrics with ``prometheus_client`` and want ours among them. It costs
some ten times as much per series as our own writer, and holds its caller for all of it: serve ``/metrics``
from the writer where you can.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

from seawall.kernel.errors import UsageError
from seawall.telemetry.bridge.merging import MERGING
from seawall.telemetry.exposition.protobuf import spans
from seawall.telemetry.exposition.readings import families_of
from seawall.telemetry.exposition.settings import Settings
from seawall.telemetry.exposition.sources import ExemplarShape, Native, RegistryShape, Sample

if TYPE_CHECKING:
    from prometheus_client import metrics_core
    from prometheus_client import samples as client

__all__ = ["RegistryCollector"]


@final
class RegistryCollector:
    """A collector, to be given to ``CollectorRegistry.register``.

    Args:
        registry: Our registry.
        settings: How its families are named and numbered; the same as the writer's, if there is one.
        native_histograms: Whether native histograms are handed over as such. The text format of
            ``prometheus_client`` cannot write them and fails, so they are left at sum and count by default.

    Raises:
        UsageError: ``prometheus_client`` is not installed.
    """

    __slots__ = ("_client", "_core", "_native", "_registry", "_settings")

    def __init__(
        self, registry: RegistryShape, settings: Settings | None = None, *, native_histograms: bool = False
    ) -> None:
        try:
            from prometheus_client import metrics_core, samples  # noqa: PLC0415 -- an extra
        except ImportError as missing:
            raise UsageError(
                "prometheus_client is not installed: pip install 'seawall[telemetry]'"
            ) from missing
        self._core = metrics_core
        self._client = samples
        self._registry = registry
        self._settings = Settings() if settings is None else settings
        self._native = native_histograms

    def describe(self) -> Iterator[metrics_core.Metric]:
        """Names and types alone, by which their registry finds clashes."""
        for metric, _ in self._families():
            yield metric

    def collect(self) -> Iterator[metrics_core.Metric]:
        """All families of this moment."""
        if MERGING.get():
            return
        for metric, samples in self._families():
            for sample in samples:
                self._add(metric, sample)
            if metric.samples:
                yield metric

    def __repr__(self) -> str:
        return f"<RegistryCollector native_histograms={self._native}>"

    def _families(self) -> Iterator[tuple[metrics_core.Metric, list[Sample]]]:
        for family in families_of(self._registry, self._settings):
            metric = self._core.Metric(family.name, family.help.strip(), family.type, family.unit)
            yield metric, list(family.samples)

    def _add(self, metric: metrics_core.Metric, sample: Sample) -> None:
        labels = dict(sample.labels)
        if sample.native is None:
            exemplar = None if sample.exemplar is None else self._exemplar(sample.exemplar)
            metric.add_sample(sample.name, labels, sample.value, exemplar=exemplar)
        elif self._native:
            native = self._histogram(sample.native)
            metric.add_sample(sample.name, labels, sample.value, native_histogram=native)

    def _exemplar(self, example: ExemplarShape) -> client.Exemplar:
        return self._client.Exemplar(dict(example.labels), example.value, example.at)

    def _histogram(self, native: Native) -> client.NativeHistogram:
        positive, positive_deltas = spans(native.positive)
        negative, negative_deltas = spans(native.negative)
        return self._client.NativeHistogram(
            native.count,
            native.sum,
            native.schema,
            native.zero_threshold,
            native.zero_count,
            [self._client.BucketSpan(*span) for span in positive] or None,
            [self._client.BucketSpan(*span) for span in negative] or None,
            positive_deltas or None,
            negative_deltas or None,
            [self._exemplar(example) for example in native.exemplars] or None,
        )
