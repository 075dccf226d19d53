"""Their registry as a source of our exposition.

For programs whose libraries count with ``prometheus_client``: one scrape has everything. Names are taken as
they are, without our prefix; a character that not every scraper can read becomes an underscore, as their own
text format has it. A family whose name is taken already is left out and counted by the writer, since scrapers
refuse a name that comes twice.

Their collectors make a family in one go, however many series it has, so a large one holds the loop for as
long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from math import nan
from typing import Any, Final, Protocol, final

from seawall.telemetry.exposition.samples import Pairs, Sample, SampleFamily
from seawall.telemetry.metrics.cells import Exemplar
from seawall.telemetry.metrics.native import Exponential

__all__ = [
    "FAMILIES_MAX",
    "MERGING",
    "CollectorRegistryShape",
    "PrometheusSource",
    "PrometheusSourceStatistics",
]

FAMILIES_MAX: Final = 10_000
"""Families taken of one registry in one scrape; a generator that never ends must not be ours."""

MERGING: Final[ContextVar[bool]] = ContextVar("seawall_merging", default=False)
"""True while a source asks their registry on behalf of our writer. Our own collectors keep still then: if one
is registered there, our families would come back to us."""

_NOT_IN_METRICS: Final = re.compile(r"[^a-zA-Z0-9_:]|^(?=[0-9])")
_NOT_IN_LABELS: Final = re.compile(r"[^a-zA-Z0-9_]|^(?=[0-9])")


class CollectorRegistryShape(Protocol):
    """A ``CollectorRegistry``, or whatever else collects like one."""

    def collect(self) -> Iterable[Any]:
        """The families of this moment."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSourceStatistics:
    """One moment of a source.

    Attributes:
        collected: Families handed over.
        families_refused: Scrapes that had more families than the limit, and lost the rest.
    """

    collected: int
    families_refused: int


@final
class PrometheusSource:
    """A source, to be given to the writer.

    Args:
        registry: Theirs, a ``CollectorRegistry``; in a program with several worker processes one that has a
            ``MultiProcessCollector``.
    """

    __slots__ = ("_collected", "_refused", "_registry")

    def __init__(self, registry: CollectorRegistryShape) -> None:
        self._registry = registry
        self._collected = 0
        self._refused = 0

    def collect(self) -> Iterator[SampleFamily]:
        """The families of this moment, one by one as their registry makes them."""
        families: Iterator[Any] = iter(())
        taken = 0
        while True:
            # Set for each step alone: between two, the loop may run what also collects.
            token = MERGING.set(True)
            try:
                if not taken:
                    families = iter(self._registry.collect())
                metric = next(families, None)
            finally:
                MERGING.reset(token)
            if metric is None:
                return
            if taken >= FAMILIES_MAX:
                self._refused += 1
                return
            taken += 1
            self._collected += 1
            yield SampleFamily(
                _metric_name(metric.name), metric.type, metric.documentation, metric.unit, _samples(metric)
            )

    def statistics(self) -> PrometheusSourceStatistics:
        """Counters of one moment."""
        return PrometheusSourceStatistics(collected=self._collected, families_refused=self._refused)

    def __repr__(self) -> str:
        return f"<PrometheusSource collected={self._collected} families_refused={self._refused}>"


def _samples(metric: Any) -> Sequence[Sample]:  # noqa: ANN401  # theirs, whatever its release
    return [
        Sample(
            _metric_name(sample.name),
            _labels(sample.labels),
            sample.value,
            timestamp=None if sample.timestamp is None else float(sample.timestamp),
            exemplars=(_exemplar(sample.exemplar),) if sample.exemplar else (),
        )
        if not (native := getattr(sample, "native_histogram", None))
        else Sample(
            _metric_name(sample.name),
            _labels(sample.labels),
            sample.value,
            exemplars=tuple(map(_exemplar, native.nh_exemplars or ())),
            native=_native(native),
        )
        for sample in metric.samples
    ]


def _metric_name(name: str) -> str:
    return _NOT_IN_METRICS.sub("_", name)


def _labels(labels: dict[str, str] | None) -> Pairs:
    # By name, since two names may become one, and a scraper refuses a label that comes twice.
    return tuple({_NOT_IN_LABELS.sub("_", name): value for name, value in (labels or {}).items()}.items())


def _exemplar(theirs: Any) -> Exemplar:  # noqa: ANN401  # as above
    at = nan if theirs.timestamp is None else float(theirs.timestamp)
    return Exemplar(tuple(theirs.labels.items()), theirs.value, at)


def _native(theirs: Any) -> Exponential:  # noqa: ANN401  # as above
    return Exponential(
        schema=theirs.schema,
        zero_threshold=theirs.zero_threshold,
        zero_count=int(theirs.zero_count),
        positive=_counts(theirs.pos_spans, theirs.pos_deltas),
        negative=_counts(theirs.neg_spans, theirs.neg_deltas),
        sum=theirs.sum_value,
    )


def _counts(spans: Iterable[tuple[int, int]] | None, deltas: Iterable[int] | None) -> dict[int, int]:
    counts: dict[int, int] = {}
    steps = iter(deltas or ())
    key = count = 0
    for offset, length in spans or ():
        key += offset
        for _ in range(length):
            count += next(steps, 0)
            if count:
                counts[key] = count
            key += 1
    return counts
