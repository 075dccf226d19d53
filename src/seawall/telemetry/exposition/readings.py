"""Cells read as finished samples: the general way, for names that need care and for other libraries.

The dialects have a faster way for cells with plain names. This one serves what is left, and the bridge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from math import inf

from seawall.telemetry.exposition.formats import Format, Syntax
from seawall.telemetry.exposition.settings import Settings
from seawall.telemetry.exposition.sources import (
    Cell,
    FamilyShape,
    Native,
    Pairs,
    RegistryShape,
    Sample,
    SampleFamily,
)
from seawall.telemetry.exposition.values import bound, real
from seawall.telemetry.exposition.views import View, views_of

__all__ = ["families_of", "gauge_value", "native_of", "samples_of"]


def gauge_value(cell: Cell, view: View) -> float:
    """What a gauge reads now, in the numbers that the view writes."""
    value = real(cell.read())
    return value if view.swap is None else view.swap.get(value, value)


def native_of(cell: Cell) -> Native:
    """A native histogram of one moment.

    Prometheus refuses a histogram whose count is not what its buckets hold, so the count is taken from them.
    """
    now = cell.snapshot()
    positive, negative = dict(now.positive), dict(now.negative)
    exemplars = cell.exemplars
    return Native(
        schema=now.schema,
        zero_threshold=now.zero_threshold,
        zero_count=now.zero_count,
        positive=positive,
        negative=negative,
        count=now.zero_count + sum(positive.values()) + sum(negative.values()),
        sum=now.sum,
        exemplars=() if exemplars is None else tuple(example for example in exemplars if example is not None),
    )


def samples_of(view: View, items: Iterable[tuple[tuple[str, ...], Cell]]) -> Iterator[Sample]:
    """The samples of some cells, under the view's names.

    Args:
        view: The names.
        items: Cells with the values of their labels.
    """
    for values, cell in items:
        labels = tuple(zip(view.metric.labels, values, strict=False))
        if view.kind in {"HISTOGRAM", "NATIVE_HISTOGRAM"}:
            yield from _histogram(view, labels, cell)
        elif view.kind == "STATE_SET":
            for index, state in enumerate(view.metric.states):
                yield Sample(view.sample, (*labels, (view.state_label, state)), int(index == cell.state))
        elif view.kind == "GAUGE":
            yield Sample(view.sample, labels, gauge_value(cell, view))
        elif view.kind == "INFO":
            yield Sample(view.sample, labels, 1)
        else:
            exemplar = cell.exemplar if view.type == "counter" else None
            yield Sample(view.sample, labels, cell.value, exemplar=exemplar)
        if view.created_at is not None:
            yield Sample(f"{view.name}_created", labels, view.created_at)


def families_of(registry: RegistryShape, settings: Settings) -> Iterator[SampleFamily]:
    """All families of a registry as finished samples, with their aliases if they are wanted."""
    form = Format(syntax=Syntax.OPENMETRICS, version="1.0.0")
    namespace = registry.namespace if settings.namespace is None else settings.namespace
    for family in registry.families():
        yield from _family(family, settings, namespace, form)


def _family(family: FamilyShape, settings: Settings, namespace: str, form: Format) -> Iterator[SampleFamily]:
    for view in views_of(family.metric, settings, namespace, form):
        samples = list(samples_of(view, family.cells.copy().items()))
        yield SampleFamily(view.name, view.type, family.metric.help, view.unit, samples)


def _histogram(view: View, labels: Pairs, cell: Cell) -> Iterator[Sample]:
    bucket = f"{view.name}_bucket"
    if view.kind == "NATIVE_HISTOGRAM":
        native = native_of(cell)
        yield Sample(view.name, labels, native.count, native=native)
        yield Sample(bucket, (*labels, ("le", "+Inf")), native.count)
        count, total = native.count, native.sum
    else:
        edges = (*view.metric.buckets, inf)
        examples = cell.exemplars or [None] * len(edges)
        total = cell.sum
        count = 0
        for edge, count, example in zip(edges, accumulate(cell.counts[:]), examples, strict=False):
            yield Sample(bucket, (*labels, ("le", bound(edge))), count, exemplar=example)
    if not view.metric.buckets or view.metric.buckets[0] >= 0:
        yield Sample(f"{view.name}_count", labels, count)
        yield Sample(f"{view.name}_sum", labels, total)
