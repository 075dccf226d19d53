"""Finished samples as protobuf metrics: the samples of one metric are found by their labels and put together.

The text formats write samples one by one; a protobuf metric is a whole histogram or summary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Final

from seawall.telemetry.exposition.protobuf import (
    double,
    exemplar_body,
    histogram_body,
    integer,
    labels_of,
    message,
    native_body,
    plain_metric,
)
from seawall.telemetry.exposition.samples import Pairs, Sample, SampleFamily
from seawall.telemetry.exposition.values import Losses, real, writable
from seawall.telemetry.metrics.cells import Exemplar

__all__ = ["sample_metrics"]

_SUMMARY: Final = 0x22
_HISTOGRAM: Final = 0x3A


@dataclass(slots=True)
class _Group:
    """All samples of one metric."""

    labels: Pairs
    timestamp: float | None = None
    count: float = 0.0
    total: float | None = None
    buckets: list[tuple[float, int, Exemplar | None]] = field(default_factory=list)
    quantiles: list[tuple[float, float]] = field(default_factory=list)
    native: Sample | None = None


def sample_metrics(family: SampleFamily, losses: Losses) -> Iterator[bytes]:
    """The metrics of a finished family, each as a field of it.

    Args:
        family: The family.
        losses: Counts exemplars that may not be written.
    """
    # Field order is free in protobuf, so the time may stand before what it is the time of.
    if family.type in {"histogram", "gaugehistogram", "summary"}:
        summary = family.type == "summary"
        for group in _groups(family).values():
            body = message(_SUMMARY, _summary(group)) if summary else _histogram(group, losses)
            yield message(0x22, labels_of(group.labels) + _stamp(group.timestamp) + body)
        return
    for sample in family.without_created():
        behind = b""
        if family.type == "counter" and sample.exemplars and writable(sample.exemplars[0], losses):
            behind = message(0x12, exemplar_body(sample.exemplars[0]))
        labels = labels_of(sample.labels) + _stamp(sample.timestamp)
        yield plain_metric(family.type, labels, sample.value, behind)


def _groups(family: SampleFamily) -> dict[Pairs, _Group]:
    groups: dict[Pairs, _Group] = {}
    own = "quantile" if family.type == "summary" else "le"
    for sample in family.without_created():
        labels = tuple(pair for pair in sample.labels if pair[0] != own)
        group = groups.setdefault(labels, _Group(labels))
        group.timestamp = sample.timestamp
        _join(group, sample, sample.name.removeprefix(family.name), dict(sample.labels).get(own))
    return groups


def _join(group: _Group, sample: Sample, suffix: str, edge: str | None) -> None:
    if sample.native is not None:
        group.native = sample
    elif suffix in {"_count", "_gcount"}:
        group.count = sample.value
    elif suffix in {"_sum", "_gsum"}:
        group.total = sample.value
    elif edge is None:
        return
    elif suffix == "_bucket":
        exemplar = sample.exemplars[0] if sample.exemplars else None
        group.buckets.append((_edge(edge), _whole(sample.value), exemplar))
    elif not suffix:
        group.quantiles.append((_edge(edge), sample.value))


def _histogram(group: _Group, losses: Losses) -> bytes:
    found = group.native
    if found is not None and found.native is not None:
        return message(_HISTOGRAM, native_body(found.native, found.exemplars, losses))
    buckets = sorted(group.buckets, key=lambda bucket: bucket[0])
    count = _whole(group.count) or (buckets[-1][1] if buckets else 0)
    return message(_HISTOGRAM, histogram_body(buckets, count, group.total, losses))


def _summary(group: _Group) -> bytes:
    parts = [integer(0x08, _whole(group.count))]
    if group.total is not None:
        parts.append(double(0x11, group.total))
    parts += [message(0x1A, double(0x09, edge) + double(0x11, value)) for edge, value in group.quantiles]
    return b"".join(parts)


def _stamp(timestamp: float | None) -> bytes:
    if timestamp is None:
        return b""
    # A negative int64 is ten bytes of two's complement.
    return integer(0x30, round(timestamp * 1000) & 0xFFFF_FFFF_FFFF_FFFF)


def _edge(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return inf


def _whole(value: float) -> int:
    value = real(value)
    return int(value) if isfinite(value) and value > 0 else 0
