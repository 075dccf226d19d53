"""One family under one name, in one format: what is worked out once, before any cell is read.

A family has a view for its own name and, if the settings say so, one for each alias. Views don't change, so
the writer keeps them from scrape to scrape. What is rendered per cell is the text of its labels, which no
name of a family is part of: the cell keeps it in its slot ``line``, for all its views and formats together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from seawall.telemetry.exposition.formats import Format
from seawall.telemetry.exposition.samples import SUFFIXES, claims
from seawall.telemetry.exposition.settings import Settings
from seawall.telemetry.exposition.values import bound, label_value
from seawall.telemetry.metrics.cells import Cell, Gauge
from seawall.telemetry.metrics.metric import Kind, Metric

__all__ = [
    "STATE_LABEL",
    "Items",
    "Line",
    "View",
    "braced_of",
    "gauge_value",
    "inner_of",
    "line_of",
    "views_of",
]

Items = Sequence[tuple[tuple[str, ...], Any]]
"""Cells of one kind with the values of their labels."""

STATE_LABEL: Final = "state"
"""The label that tells the states of a state set apart."""
BREAKER_STATE: Final = "circuit_breaker_state"
"""End of the names of the gauges that hold a breaker's state, whose numbering is a setting."""

_TYPES: Final = {
    Kind.COUNTER: "counter",
    Kind.GAUGE: "gauge",
    Kind.HISTOGRAM: "histogram",
    Kind.NATIVE_HISTOGRAM: "histogram",
    # OpenMetrics' own state sets have a label that is named like the metric, which no query would guess.
    Kind.STATE_SET: "gauge",
    Kind.INFO: "info",
}
_HELIOS: Final = {1.0: 2.0, 2.0: 1.0}
_NATIVE_COST: Final = 40
"""A message of a native histogram takes as long as so many of a counter."""


@final
class Line:
    """What a writer has rendered of one cell's labels; each part is made when it is first needed.

    Attributes:
        inner: ``a="x",b="y",`` with its last comma, or nothing: for samples that have a label more.
        braced: The same in braces and with a blank behind.
        proto: The same as fields of a protobuf message.
    """

    __slots__ = ("braced", "inner", "proto")

    def __init__(self) -> None:
        self.inner: str | None = None
        self.braced: str | None = None
        self.proto: bytes | None = None


@dataclass(slots=True, kw_only=True)
class View:
    """One family under one name, in one format.

    Attributes:
        metric: The row of the catalogue.
        type: OpenMetrics' word for how it is written.
        name: Name of the family, without suffix.
        sample: Name of the sample, for kinds that have one sample per cell.
        unit: Unit, if the name ends in it.
        claims: All names it occupies.
        cost: Series that one cell is counted as in a slice.
        swap: Numbers that are written as others.
        closes: What stands behind the labels of each bucket or state.
        head: The lines above the samples, in the format's own way.
    """

    metric: Metric
    type: str
    name: str
    sample: str
    unit: str
    claims: frozenset[str]
    cost: int
    swap: dict[float, float] | None
    closes: tuple[str, ...]
    head: bytes = b""


def views_of(metric: Metric, settings: Settings, form: Format) -> tuple[View, ...]:
    """The views of a metric: its own, then its aliases' if they are wanted.

    Args:
        metric: The row of the catalogue.
        settings: How families are named and numbered.
        form: The format; it decides how an alias without the suffix of its type can be said.
    """
    name = f"{settings.namespace}_{metric.full_name}" if settings.namespace else metric.full_name
    own = _view(metric, settings, form, name, _TYPES[metric.kind])
    if not settings.aliases:
        return (own,)
    return (own, *(_alias(metric, settings, form, alias) for alias in metric.alias))


def inner_of(line: Line, view: View, values: tuple[str, ...]) -> str:
    """Render the labels for samples that have one more."""
    pairs = zip(view.metric.labels, values, strict=False)
    line.inner = "".join([f'{name}="{label_value(value)}",' for name, value in pairs])
    return line.inner


def braced_of(line: Line, view: View, values: tuple[str, ...]) -> str:
    """Render the labels for samples that have no others."""
    pairs = zip(view.metric.labels, values, strict=False)
    inner = ",".join([f'{name}="{label_value(value)}"' for name, value in pairs])
    line.braced = f"{{{inner}}} " if inner else " "
    return line.braced


def line_of(cell: Cell) -> Line:
    """Give a cell its line."""
    line = cell.line = Line()
    return line


def gauge_value(view: View, cell: Gauge) -> float:
    """What a gauge reads now, in the numbers that the view writes."""
    value = cell.read()
    return value if view.swap is None else view.swap.get(value, value)


def _alias(metric: Metric, settings: Settings, form: Format, alias: str) -> View:
    # An alias is there for what somebody's dashboards ask for, so it is written to the letter. Where its name
    # lacks the suffix of its type, OpenMetrics can only call it unknown.
    kind = _TYPES[metric.kind]
    if kind not in {"counter", "info"}:
        return _view(metric, settings, form, alias, kind)
    suffix = SUFFIXES[kind][0]
    if alias.endswith(suffix):
        return _view(metric, settings, form, alias.removesuffix(suffix), kind)
    if kind == "info":
        kind = "gauge"
    elif form is Format.OPENMETRICS:
        kind = "unknown"
    return _view(metric, settings, form, alias, kind, sample=alias)


def _view(
    metric: Metric, settings: Settings, form: Format, name: str, kind: str, *, sample: str | None = None
) -> View:
    if sample is None:
        sample = name + SUFFIXES[kind][0] if kind in {"counter", "info"} else name
    swapped = settings.state_numbering == "helios" and metric.name.endswith(BREAKER_STATE)
    return View(
        metric=metric,
        type=kind,
        name=name,
        sample=sample,
        unit=metric.unit if name == metric.unit or name.endswith(f"_{metric.unit}") else "",
        claims=claims(name, kind),
        cost=_cost(metric, form),
        swap=_HELIOS if swapped else None,
        closes=_closes(metric),
    )


def _closes(metric: Metric) -> tuple[str, ...]:
    if metric.kind is Kind.STATE_SET:
        return tuple(f'{STATE_LABEL}="{label_value(state)}"}} ' for state in metric.states)
    if metric.kind is Kind.HISTOGRAM or metric.kind is Kind.NATIVE_HISTOGRAM:
        return tuple(f'le="{edge}"}} ' for edge in (*map(bound, metric.buckets), "+Inf"))
    return ()


def _cost(metric: Metric, form: Format) -> int:
    kind = metric.kind
    if kind is Kind.STATE_SET:
        return len(metric.states)
    if form is Format.PROTOBUF:
        if kind is Kind.NATIVE_HISTOGRAM:
            return _NATIVE_COST
        return 1 + len(metric.buckets)
    if kind is Kind.HISTOGRAM or kind is Kind.NATIVE_HISTOGRAM:
        return len(metric.buckets) + 3
    return 1
