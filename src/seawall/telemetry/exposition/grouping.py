"""Finished samples as protobuf metrics: the samples of one metric are found by their labels and put together.

The text formats write samples one by one; a protobuf metric is a whole histogram or summary. Times of
creation are not taken over from other libraries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Final

from seawall.telemetry.exposition.exemplars import writable
from seawall.telemetry.exposition.formats import Format
from seawall.telemetry.exposition.losses import Losses
from seawall.telemetry.exposition.names import escape_label
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
from seawall.telemetry.exposition.sources import ExemplarShape, Native, Pairs, Sample, SampleFamily
from seawall.telemetry.exposition.values import real

__all__ = ["sample_metrics"]

_HISTOGRAMS: Final = {"histogram", "gaugehistogram"}
_SUMMARY: Final = 0x22
_HISTOGRAM: Final = 0x3A


@dataclass(slots=True)
class _Group:
    """All samples of one metric."""

    labels: Pairs
    timestamp: float | None = None
    count: float = 0.0
    total: float | None = None
    buckets: list[tuple[float, int, ExemplarShape | None]] = field(default_factory=list)
    quantiles: list[tuple[float, float]] = field(default_factory=list)
    native: Native | None = None


def sample_metrics(family: SampleFamily, form: Format, losses: Losses) -> Iterator[bytes]:
    """The metrics of a finished family, each as a field of it.

    Args:
        family: The family.
        form: The format, for its escaping of names.
        losses: Counts exemplars that may not be written.
    """
    if family.type in _HISTOGRAMS or family.type == "summary":
        for group in _groups(family).values():
            labels = _labels(group.labels, form)
            body = _summary(group) if family.type == "summary" else _histogram(group, losses)
            tag = _SUMMARY if family.type == "summary" else _HISTOGRAM
            yield message(0x22, labels + _stamped(message(tag, body), group.timestamp, tag))
        return
    for sample in family.samples:
        if family.type == "counter" and sample.name == f"{family.name}_created":
            continue
        behind = b""
        if family.type == "counter" and sample.exemplar is not None and writable(sample.exemplar, losses):
            behind = message(0x12, exemplar_body(sample.exemplar))
        labels = _labels(sample.labels, form)
        if sample.timestamp is not None:
            # Field order is free in protobuf, so the time may stand before the number.
            labels += _milliseconds(sample.timestamp)
        yield plain_metric(family.type, labels, sample.value, behind)


def _groups(family: SampleFamily) -> dict[Pairs, _Group]:
    groups: dict[Pairs, _Group] = {}
    own = "quantile" if family.type == "summary" else "le"
    for sample in family.samples:
        labels = tuple(pair for pair in sample.labels if pair[0] != own)
        group = groups.setdefault(labels, _Group(labels))
        group.timestamp = sample.timestamp
        _join(group, sample, sample.name.removeprefix(family.name), dict(sample.labels).get(own))
    return groups


def _join(group: _Group, sample: Sample, suffix: str, edge: str | None) -> None:
    if sample.native is not None:
        group.native = sample.native
    elif suffix in {"_count", "_gcount"}:
        group.count = sample.value
    elif suffix in {"_sum", "_gsum"}:
        group.total = sample.value
    elif edge is None:
        return
    elif suffix == "_bucket":
        group.buckets.append((_edge(edge), _whole(sample.value), sample.exemplar))
    elif not suffix:
        group.quantiles.append((_edge(edge), sample.value))


def _histogram(group: _Group, losses: Losses) -> bytes:
    if group.native is not None:
        return native_body(group.native, losses)
    buckets = sorted(group.buckets, key=lambda bucket: bucket[0])
    count = _whole(group.count) or (buckets[-1][1] if buckets else 0)
    return histogram_body(buckets, count, group.total, losses)


def _summary(group: _Group) -> bytes:
    parts = [integer(0x08, _whole(group.count))]
    if group.total is not None:
        parts.append(double(0x11, group.total))
    parts += [message(0x1A, double(0x09, edge) + double(0x11, value)) for edge, value in group.quantiles]
    return b"".join(parts)


def _stamped(body: bytes, timestamp: float | None, tag: int) -> bytes:
    if timestamp is None:
        return body
    stamp = _milliseconds(timestamp)
    return stamp + body if tag == _HISTOGRAM else body + stamp


def _milliseconds(timestamp: float) -> bytes:
    # A negative int64 is ten bytes of two's complement.
    return integer(0x30, round(timestamp * 1000) & 0xFFFF_FFFF_FFFF_FFFF)


def _labels(labels: Pairs, form: Format) -> bytes:
    return labels_of((escape_label(name, form.escaping), value) for name, value in labels)


def _edge(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return inf


def _whole(value: float) -> int:
    value = real(value)
    return int(value) if isfinite(value) and value > 0 else 0
