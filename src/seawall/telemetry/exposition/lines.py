"""The lines of samples, which both text formats share.

The functions for cells are the hot part of a scrape: one formatted string per line, from pieces that were
made before. Each takes some cells and appends whole lines; how many at a time is the writer's decision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from seawall.telemetry.exposition.exemplars import appended
from seawall.telemetry.exposition.formats import Format, Syntax
from seawall.telemetry.exposition.losses import Losses
from seawall.telemetry.exposition.names import (
    Escaping,
    escape_label,
    escape_metric,
    is_plain_label,
    is_plain_metric,
)
from seawall.telemetry.exposition.readings import gauge_value, native_of, samples_of
from seawall.telemetry.exposition.sources import Cell, Sample
from seawall.telemetry.exposition.values import label_value, number
from seawall.telemetry.exposition.views import Items, Line, View, braced_of, inner_of

__all__ = ["cell_lines", "sample_line", "written_name"]


def cell_lines(view: View, items: Items, form: Format, losses: Losses) -> list[str]:
    """The lines of some cells.

    Args:
        view: Their family.
        items: The cells with the values of their labels.
        form: The format; exemplars are OpenMetrics' alone.
        losses: Counts what is left out.
    """
    openmetrics = form.syntax is Syntax.OPENMETRICS
    if view.plain:
        out: list[str] = []
        _WRITERS[view.kind](view, items, out, losses if openmetrics else None)
        return out
    return [line for sample in samples_of(view, items) if (line := sample_line(sample, form, losses))]


def sample_line(sample: Sample, form: Format, losses: Losses) -> str:
    """The line of a finished sample; empty for a native histogram, which has no line in these formats."""
    if sample.native is not None:
        return ""
    scheme = form.escaping
    pairs = [f'{_label(name, scheme)}="{label_value(value)}"' for name, value in sample.labels]
    name = written_name(sample.name, scheme)
    if name.startswith('"'):
        start = f"{{{','.join([name, *pairs])}}}"
    else:
        start = f"{name}{{{','.join(pairs)}}}" if pairs else name
    text = f"{start} {number(sample.value)}"
    if form.syntax is Syntax.TEXT:
        return f"{text}\n" if sample.timestamp is None else f"{text} {round(sample.timestamp * 1000)}\n"
    if sample.timestamp is not None:
        text = f"{text} {sample.timestamp:.3f}"
    return f"{text}{appended(sample.exemplar, losses)}\n"


def written_name(name: str, scheme: Escaping) -> str:
    """The metric name as it is written, in quotes if it must be."""
    name = escape_metric(name, scheme)
    return name if is_plain_metric(name) else f'"{label_value(name)}"'


def _label(name: str, scheme: Escaping) -> str:
    name = escape_label(name, scheme)
    return name if is_plain_label(name) else f'"{label_value(name)}"'


def _line(cell: Cell) -> Line:
    line = cell.line
    if type(line) is not Line:
        line = cell.line = Line()
    return line


def _counters(view: View, items: Items, out: list[str], losses: Losses | None) -> None:
    name = view.sample
    created = "" if losses is None or view.created_at is None else f"{view.created_at:.3f}\n"
    exemplars = losses is not None and view.type == "counter"
    for values, cell in items:
        line = cell.line or _line(cell)
        braced = line.braced or braced_of(line, view, values)
        if exemplars and losses is not None and cell.exemplar is not None:
            out.append(f"{name}{braced}{number(cell.value)}{appended(cell.exemplar, losses)}\n")
        else:
            out.append(f"{name}{braced}{number(cell.value)}\n")
        if created:
            out.append(f"{view.name}_created{braced}{created}")


def _gauges(view: View, items: Items, out: list[str], _losses: Losses | None) -> None:
    name = view.sample
    for values, cell in items:
        line = cell.line or _line(cell)
        braced = line.braced or braced_of(line, view, values)
        out.append(f"{name}{braced}{number(gauge_value(cell, view))}\n")


def _infos(view: View, items: Items, out: list[str], _losses: Losses | None) -> None:
    for values, cell in items:
        line = cell.line or _line(cell)
        out.append(f"{view.sample}{line.braced or braced_of(line, view, values)}1\n")


def _states(view: View, items: Items, out: list[str], _losses: Losses | None) -> None:
    start = view.name + "{"
    for values, cell in items:
        line = cell.line or _line(cell)
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
        line = cell.line or _line(cell)
        inner = line.inner
        if inner is None:
            inner = inner_of(line, view, values)
        total = 0
        if losses is None or cell.exemplars is None:
            for close, count in zip(view.closes, cell.counts[:], strict=False):
                total += count
                out.append(f"{start}{inner}{close}{total}\n")
        else:
            for close, count, example in zip(view.closes, cell.counts[:], cell.exemplars, strict=False):
                total += count
                out.append(f"{start}{inner}{close}{total}{appended(example, losses)}\n")
        if totals:
            _totals(view, values, line, out, total, cell.sum)
        _created(view, values, line, out)


def _natives(view: View, items: Items, out: list[str], _losses: Losses | None) -> None:
    # These formats have no word for exponential buckets, so only the one that holds all is written.
    for values, cell in items:
        line = cell.line or _line(cell)
        inner = line.inner
        if inner is None:
            inner = inner_of(line, view, values)
        native = native_of(cell)
        out.append(f"{view.name}_bucket{{{inner}{view.closes[-1]}{native.count}\n")
        _totals(view, values, line, out, native.count, native.sum)
        _created(view, values, line, out)


def _totals(
    view: View, values: tuple[str, ...], line: Line, out: list[str], count: int, total: float
) -> None:
    braced = line.braced or braced_of(line, view, values)
    out.append(f"{view.name}_count{braced}{count}\n")
    out.append(f"{view.name}_sum{braced}{number(total)}\n")


def _created(view: View, values: tuple[str, ...], line: Line, out: list[str]) -> None:
    if view.created_at is not None:
        braced = line.braced or braced_of(line, view, values)
        out.append(f"{view.name}_created{braced}{view.created_at:.3f}\n")


_WRITERS: Final[dict[str, Callable[[View, Items, list[str], Losses | None], None]]] = {
    "COUNTER": _counters,
    "GAUGE": _gauges,
    "HISTOGRAM": _histograms,
    "NATIVE_HISTOGRAM": _natives,
    "STATE_SET": _states,
    "INFO": _infos,
}
