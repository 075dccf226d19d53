"""Both text formats: Prometheus' own, 0.0.4, and OpenMetrics 1.0.0.

Facts from their documents. The older format knows five types, and a counter's family is named there like its
samples, with ``_total``; what OpenMetrics has besides becomes a gauge. OpenMetrics names a family without
the suffixes of its samples, its unit is the end of its name, metadata comes before samples, no line is empty,
and ``# EOF`` is the last. Only OpenMetrics has exemplars: the functions below are given where to count those
that can't be written, or ``None`` for the older format.

The functions for cells are the hot part of a scrape: one formatted string per line, from pieces that were
made before. Each takes some cells and appends whole lines; how many at a time is the writer's decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from seawall.telemetry.exposition.formats import Format
from seawall.telemetry.exposition.samples import Sample, SampleFamily
from seawall.telemetry.exposition.values import Losses, exemplar_text, help_text, label_value, number
from seawall.telemetry.exposition.views import (
    Items,
    Line,
    View,
    braced_of,
    gauge_value,
    inner_of,
    line_of,
)
from seawall.telemetry.metrics.metric import Kind

__all__ = ["END", "cell_lines", "families", "head", "sample_line"]

END: Final = b"# EOF\n"

_OLD_TYPES: Final = {
    "info": "gauge",
    "stateset": "gauge",
    "gaugehistogram": "histogram",
    "unknown": "untyped",
}
_APART: Final = ("_gcount", "_gsum")
"""Samples that no type of the older format has; they become gauges of their own."""


def head(form: Format, *, name: str, sample: str, kind: str, unit: str, description: str) -> str:
    """The lines above a family.

    Args:
        form: The format.
        name: Name of the family, without suffix.
        sample: Name of its samples, where they have one suffix.
        kind: Its type.
        unit: Its unit, or empty.
        description: Its help text.
    """
    text = help_text(description)
    if form is Format.TEXT:
        described = f"# HELP {sample} {text}\n" if text else ""
        return f"{described}# TYPE {sample} {_OLD_TYPES.get(kind, kind)}\n"
    lines = [f"# TYPE {name} {kind}\n"]
    if unit and name.endswith(f"_{unit}") and kind not in {"info", "stateset"}:
        lines.append(f"# UNIT {name} {unit}\n")
    if text:
        quoted = text.replace('"', '\\"')
        lines.append(f"# HELP {name} {quoted}\n")
    return "".join(lines)


def families(family: SampleFamily, form: Format) -> Iterator[tuple[str, list[Sample]]]:
    """A finished family as one or more families of the format: the lines above, and the samples."""
    kind, name = family.type, family.name
    sample = name + {"counter": "_total", "info": "_info"}.get(kind, "")
    samples = family.without_created()
    apart: dict[str, list[Sample]] = {}
    if form is Format.TEXT:
        for found in samples:
            if found.name.removeprefix(name) in _APART:
                apart.setdefault(found.name, []).append(found)
        samples = [found for found in samples if found.name not in apart]
    yield head(form, name=name, sample=sample, kind=kind, unit=family.unit, description=family.help), samples
    for other, found_apart in apart.items():
        yield (
            head(form, name=other, sample=other, kind="gauge", unit="", description=family.help),
            found_apart,
        )


def sample_line(sample: Sample, losses: Losses | None) -> str:
    """The line of a finished sample; empty for a native histogram, which has no line in these formats."""
    if sample.native is not None:
        return ""
    pairs = ",".join([f'{name}="{label_value(value)}"' for name, value in sample.labels])
    text = f"{sample.name}{{{pairs}}}" if pairs else sample.name
    text = f"{text} {number(sample.value)}"
    if losses is None:
        return f"{text}\n" if sample.timestamp is None else f"{text} {round(sample.timestamp * 1000)}\n"
    if sample.timestamp is not None:
        text = f"{text} {sample.timestamp:.3f}"
    return f"{text}{exemplar_text(sample.exemplars[0] if sample.exemplars else None, losses)}\n"


def cell_lines(view: View, items: Items, losses: Losses | None) -> list[str]:
    """The lines of some cells.

    Args:
        view: Their family.
        items: The cells with the values of their labels.
        losses: Counts exemplars that are left out; ``None`` for a format that has none.
    """
    out: list[str] = []
    _WRITERS[view.metric.kind](view, items, out, losses)
    return out


def _counters(view: View, items: Items, out: list[str], losses: Losses | None) -> None:
    name = view.sample
    exemplars = losses if view.type == "counter" else None
    for values, cell in items:
        line = cell.line or line_of(cell)
        braced = line.braced or braced_of(line, view, values)
        if exemplars is not None and cell.exemplar is not None:
            out.append(f"{name}{braced}{number(cell.value)}{exemplar_text(cell.exemplar, exemplars)}\n")
        else:
            out.append(f"{name}{braced}{number(cell.value)}\n")


def _gauges(view: View, items: Items, out: list[str], _losses: Losses | None) -> None:
    name = view.sample
    for values, cell in items:
        line = cell.line or line_of(cell)
        braced = line.braced or braced_of(line, view, values)
        out.append(f"{name}{braced}{number(gauge_value(view, cell))}\n")


def _infos(view: View, items: Items, out: list[str], _losses: Losses | None) -> None:
    for values, cell in items:
        line = cell.line or line_of(cell)
        out.append(f"{view.sample}{line.braced or braced_of(line, view, values)}1\n")


def _states(view: View, items: Items, out: list[str], _losses: Losses | None) -> None:
    start = view.name + "{"
    for values, cell in items:
        line = cell.line or line_of(cell)
        inner = line.inner
        if inner is None:
            inner = inner_of(line, view, values)
        holds = cell.state
        out += [f"{start}{inner}{close}{index == holds:d}\n" for index, close in enumerate(view.closes)]


def _histograms(view: View, items: Items, out: list[str], losses: Losses | None) -> None:
    start = view.name + "_bucket{"
    # OpenMetrics: a histogram with bounds below zero has neither sum nor count, for they could fall.
    totals = losses is None or view.metric.buckets[0] >= 0
    for values, cell in items:
        line = cell.line or line_of(cell)
        inner = line.inner
        if inner is None:
            inner = inner_of(line, view, values)
        total = 0
        if losses is None or cell.exemplars is None:
            for close, count in zip(view.closes, cell.counts[:], strict=False):
                total += count
                out.append(f"{start}{inner}{close}{total}\n")
        else:
            for close, count, exemplar in zip(view.closes, cell.counts[:], cell.exemplars, strict=False):
                total += count
                out.append(f"{start}{inner}{close}{total}{exemplar_text(exemplar, losses)}\n")
        if totals:
            _totals(view, values, line, out, total, cell.sum)


def _natives(view: View, items: Items, out: list[str], _losses: Losses | None) -> None:
    # These formats have no word for exponential buckets, so only the one that holds all is written.
    for values, cell in items:
        line = cell.line or line_of(cell)
        inner = line.inner
        if inner is None:
            inner = inner_of(line, view, values)
        state = cell.snapshot()
        count = state.count
        out.append(f"{view.name}_bucket{{{inner}{view.closes[-1]}{count}\n")
        _totals(view, values, line, out, count, state.sum)


def _totals(
    view: View, values: tuple[str, ...], line: Line, out: list[str], count: int, total: float
) -> None:
    braced = line.braced or braced_of(line, view, values)
    out.append(f"{view.name}_count{braced}{count}\n")
    out.append(f"{view.name}_sum{braced}{number(total)}\n")


_WRITERS: Final[dict[Kind, Callable[[View, Items, list[str], Losses | None], None]]] = {
    Kind.COUNTER: _counters,
    Kind.GAUGE: _gauges,
    Kind.HISTOGRAM: _histograms,
    Kind.NATIVE_HISTOGRAM: _natives,
    Kind.STATE_SET: _states,
    Kind.INFO: _infos,
}
