"""Delimited protobuf: messages ``io.prometheus.client.MetricFamily``, each behind its length.

Field numbers from ``metrics.proto`` of prometheus/client_model. It is the one format that can say native
histograms. A family's length stands in front of it, so the writer gathers its metrics before it sends them.

Native histograms (Prometheus, "Native Histograms", section "Protobuf format"): buckets that follow each
other make a span; a span says how far it begins behind the one before, or, the first, at which key; each
count is told as the difference to the one before. A gap of up to two buckets is cheaper as counts of zero
than as a new span. A histogram that has counted nothing yet, and whose zero bucket has no width, has one
empty span, for else it could not be told from a classic one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf, isfinite
from struct import Struct
from typing import Final

from seawall.telemetry.exposition.values import Losses, real, writable
from seawall.telemetry.exposition.views import STATE_LABEL, Items, View, gauge_value, line_of
from seawall.telemetry.metrics.cells import (
    Counter,
    Exemplar,
    Gauge,
    Histogram,
    Info,
    NativeHistogram,
    StateSet,
)
from seawall.telemetry.metrics.metric import Kind
from seawall.telemetry.metrics.native import Exponential

__all__ = [
    "cell_metrics",
    "double",
    "exemplar_body",
    "head",
    "histogram_body",
    "integer",
    "labels_of",
    "message",
    "native_body",
    "plain_metric",
    "spans",
    "tail",
    "varint",
]

_TYPES: Final = {
    "counter": 0,
    "gauge": 1,
    "summary": 2,
    "unknown": 3,
    "histogram": 4,
    "gaugehistogram": 5,
    "info": 1,
    "stateset": 1,
}
GAP_FILLED: Final = 2
"""Empty buckets that are told as counts of zero; more begin a new span."""

_DOUBLE: Final = Struct("<d").pack
_SHORT: Final = tuple(bytes((number,)) for number in range(128))
_GAUGE: Final = 0x12
_COUNTER: Final = 0x1A
_UNTYPED: Final = 0x2A
_HISTOGRAM: Final = 0x3A


def varint(number: int) -> bytes:
    """The number, 0 or above, in groups of seven bits."""
    if number < 128:
        return _SHORT[number]
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(tag: int, body: bytes) -> bytes:
    """A field that holds bytes, with its tag and length."""
    return b"%c%b%b" % (tag, varint(len(body)), body)


def integer(tag: int, number: int) -> bytes:
    """A field that holds an integer, 0 or above."""
    return _SHORT[tag] + varint(number)


def double(tag: int, number: float) -> bytes:
    """A field that holds a float."""
    return _SHORT[tag] + _DOUBLE(real(number))


def head(name: str, kind: str, text: str) -> bytes:
    """The fields of a family that come before its metrics."""
    text = text.strip()
    described = message(0x12, _utf8(text)) if text else b""
    return message(0x0A, _utf8(name)) + described + integer(0x18, _TYPES.get(kind, 3))


def tail(unit: str) -> bytes:
    """The field of a family that comes behind its metrics."""
    return message(0x2A, _utf8(unit)) if unit else b""


def labels_of(labels: Iterable[tuple[str, str]]) -> bytes:
    """Labels as the first field of a metric."""
    return b"".join(
        [message(0x0A, message(0x0A, _utf8(name)) + message(0x12, _utf8(value))) for name, value in labels]
    )


def plain_metric(kind: str, labels: bytes, value: float, behind: bytes = b"") -> bytes:
    """A metric that is one number.

    Args:
        kind: The type of its family.
        labels: Its labels, encoded.
        value: The number.
        behind: Further fields of the message that holds the number.
    """
    tag = _COUNTER if kind == "counter" else _UNTYPED if kind == "unknown" else _GAUGE
    if behind:
        return message(0x22, labels + message(tag, double(0x09, value) + behind))
    # Nine bytes, the tag of the number and the number: this is the hot part of a scrape.
    body = b"%b%c\x09\x09%b" % (labels, tag, _DOUBLE(real(value)))
    return b'"%b%b' % (varint(len(body)), body)


def exemplar_body(exemplar: Exemplar) -> bytes:
    """The message of an exemplar that may be written."""
    when = _timestamp(exemplar.at) if _known(exemplar.at) else b""
    return labels_of(exemplar.labels) + double(0x11, exemplar.value) + when


def histogram_body(
    buckets: Iterable[tuple[float, int, Exemplar | None]], count: int, total: float | None, losses: Losses
) -> bytes:
    """The message of a classic histogram.

    Args:
        buckets: Upper bound, cumulated count and exemplar of each.
        count: All observations.
        total: Their sum.
        losses: Counts exemplars that may not be written.
    """
    parts = [integer(0x08, count)]
    if total is not None:
        parts.append(double(0x11, total))
    for edge, cumulated, exemplar in buckets:
        body = integer(0x08, cumulated) + double(0x11, edge)
        if exemplar is not None and writable(exemplar, losses):
            body += message(0x1A, exemplar_body(exemplar))
        parts.append(message(0x1A, body))
    return b"".join(parts)


def native_body(state: Exponential, exemplars: Iterable[Exemplar], losses: Losses) -> bytes:
    """The message of a native histogram.

    Args:
        state: One moment of it.
        exemplars: Its exemplars.
        losses: Counts those that may not be written.
    """
    parts = [
        integer(0x08, state.count),
        double(0x11, state.sum),
        integer(0x28, _zigzag(state.schema)),
        double(0x31, state.zero_threshold),
        integer(0x38, state.zero_count),
        _buckets(0x4A, state.negative),
        _buckets(0x62, state.positive),
    ]
    if not (state.positive or state.negative or state.zero_count or state.zero_threshold > 0):
        parts.append(message(0x62, integer(0x08, 0) + integer(0x10, 0)))
    # Prometheus takes an exemplar of a native histogram only with its time.
    for exemplar in exemplars:
        if not _known(exemplar.at):
            losses.exemplars += 1
        elif writable(exemplar, losses):
            body = exemplar_body(exemplar)
            parts.append(b"\x82\x01" + varint(len(body)) + body)
    return b"".join(parts)


def spans(counts: Mapping[int, int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Buckets as spans and differences.

    Args:
        counts: Count by key.

    Returns:
        Each span's offset and length; the difference of each bucket's count to the one before.
    """
    offsets: list[tuple[int, int]] = []
    deltas: list[int] = []
    start = length = end = before = 0
    for key in sorted(counts):
        if length and key - (start + length) <= GAP_FILLED:
            for _ in range(key - (start + length)):
                deltas.append(-before)
                before = 0
            length = key - start + 1
        else:
            if length:
                offsets.append((start - end, length))
                end = start + length
            start, length = key, 1
        deltas.append(counts[key] - before)
        before = counts[key]
    if length:
        offsets.append((start - end, length))
    return offsets, deltas


def cell_metrics(view: View, items: Items, losses: Losses) -> list[bytes]:
    """The metrics of some cells, each as the field of its family.

    Args:
        view: Their family.
        items: The cells with the values of their labels.
        losses: Counts what is left out.
    """
    write = _WRITERS[view.metric.kind]
    out: list[bytes] = []
    for values, cell in items:
        line = cell.line or line_of(cell)
        labels = line.proto
        if labels is None:
            labels = line.proto = labels_of(zip(view.metric.labels, values, strict=False))
        write(view, labels, cell, losses, out)
    return out


def _counter(view: View, labels: bytes, cell: Counter, losses: Losses, out: list[bytes]) -> None:
    exemplar = cell.exemplar
    behind = b""
    if exemplar is not None and writable(exemplar, losses):
        behind = message(0x12, exemplar_body(exemplar))
    out.append(plain_metric(view.type, labels, cell.value, behind))


def _gauge(view: View, labels: bytes, cell: Gauge, _losses: Losses, out: list[bytes]) -> None:
    out.append(plain_metric("gauge", labels, gauge_value(view, cell)))


def _info(_view: View, labels: bytes, _cell: Info, _losses: Losses, out: list[bytes]) -> None:
    out.append(plain_metric("gauge", labels, 1.0))


def _states(view: View, labels: bytes, cell: StateSet, _losses: Losses, out: list[bytes]) -> None:
    holds = cell.state
    for index, state in enumerate(view.metric.states):
        extended = labels + labels_of([(STATE_LABEL, state)])
        out.append(plain_metric("gauge", extended, index == holds))


def _histogram(view: View, labels: bytes, cell: Histogram, losses: Losses, out: list[bytes]) -> None:
    edges = (*view.metric.buckets, inf)
    exemplars = cell.exemplars or [None] * len(edges)
    total = 0
    buckets: list[tuple[float, int, Exemplar | None]] = []
    for edge, count, exemplar in zip(edges, cell.counts[:], exemplars, strict=False):
        total += count
        buckets.append((edge, total, exemplar))
    body = histogram_body(buckets, total, cell.sum, losses)
    out.append(message(0x22, labels + message(_HISTOGRAM, body)))


def _native(_view: View, labels: bytes, cell: NativeHistogram, losses: Losses, out: list[bytes]) -> None:
    # The copy is one step of the interpreter, whatever other threads add meanwhile.
    exemplars = () if cell.exemplars is None else cell.exemplars.copy()
    body = native_body(cell.snapshot(), exemplars, losses)
    out.append(message(0x22, labels + message(_HISTOGRAM, body)))


def _buckets(tag: int, counts: Mapping[int, int]) -> bytes:
    if not counts:
        return b""
    offsets, deltas = spans(counts)
    parts = [
        message(tag, integer(0x08, _zigzag(offset)) + integer(0x10, length)) for offset, length in offsets
    ]
    parts.append(message(tag + 8, b"".join([varint(_zigzag(delta)) for delta in deltas])))
    return b"".join(parts)


def _known(at: float) -> bool:
    at = real(at)
    return isfinite(at) and at >= 0


def _timestamp(at: float) -> bytes:
    seconds, nanoseconds = divmod(round(at * 1_000_000_000), 1_000_000_000)
    return message(0x1A, integer(0x08, seconds) + integer(0x10, nanoseconds))


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


_WRITERS: Final[dict[Kind, Callable[..., None]]] = {
    Kind.COUNTER: _counter,
    Kind.GAUGE: _gauge,
    Kind.INFO: _info,
    Kind.STATE_SET: _states,
    Kind.HISTOGRAM: _histogram,
    Kind.NATIVE_HISTOGRAM: _native,
}
