"""One family under one name, in one format: what is worked out once, before any cell is read.

A family has a view for its own name and, if the settings say so, one for each alias. Views don't change, so
the writer keeps them from scrape to scrape. What is rendered per cell is the text of its labels, which no
name is part of: the cell keeps it in its slot ``line``, for all its views and formats together.

Where a name has to be quoted or rewritten, the view is not ``plain``: its cells are read as finished samples
and written the general way, which costs more and is seldom needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from seawall.telemetry.exposition.formats import Format, Syntax
from seawall.telemetry.exposition.names import Escaping, base_name, is_plain_label, is_plain_metric
from seawall.telemetry.exposition.settings import Settings
from seawall.telemetry.exposition.sources import MetricShape
from seawall.telemetry.exposition.values import bound, label_value

__all__ = ["SUFFIXES", "Items", "Line", "View", "braced_of", "claims", "inner_of", "views_of"]

Items = Sequence[tuple[tuple[str, ...], Any]]
"""Cells with the values of their labels."""

SUFFIXES: Final[dict[str, tuple[str, ...]]] = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "summary": ("_sum", "_count", "_created"),
    "info": ("_info",),
}
"""What a type's samples have behind the family's name."""

_TYPES: Final = {
    "COUNTER": "counter",
    "GAUGE": "gauge",
    "HISTOGRAM": "histogram",
    "NATIVE_HISTOGRAM": "histogram",
    "STATE_SET": "gauge",
    "INFO": "info",
}
_HELIOS: Final[dict[float, float]] = {1: 2, 2: 1}
_BUCKETS_PER_SERIES: Final = 8
"""A message of so many buckets takes about as long as one of a counter."""


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
        kind: Name of its kind.
        type: OpenMetrics' word for how it is written.
        name: Name of the family, without suffix.
        sample: Name of the sample, for kinds that have one sample per cell.
        unit: Unit, if the name ends in it.
        plain: Whether all names can be written as they stand.
        cost: Series that one cell is counted as in a slice.
        swap: Numbers that are written as others.
        closes: What stands behind the labels of each bucket or state.
        state_label: The label of a state.
        created_at: When counting began, if it shall be told.
        head: The lines above the samples, in the format's own way.
    """

    metric: MetricShape
    kind: str
    type: str
    name: str
    sample: str
    unit: str
    plain: bool
    cost: int
    swap: dict[float, float] | None
    closes: tuple[str, ...]
    state_label: str
    created_at: float | None
    head: bytes = b""


def views_of(metric: MetricShape, settings: Settings, namespace: str, form: Format) -> tuple[View, ...]:
    """The views of a metric: its own, then its aliases' if they are wanted.

    Args:
        metric: The row of the catalogue.
        settings: How families are named and numbered.
        namespace: Prefix, or empty.
        form: The format; of an alias and of a name without ``_total`` it depends how it can be said.
    """
    kind = metric.kind.name
    name = base_name(metric.name, kind=kind, unit=metric.unit, namespace=namespace)
    own = _view(metric, settings, form, name=name, kind_type=_TYPES[kind])
    if not settings.aliases:
        return (own,)
    return (own, *(_alias(metric, settings, form, alias) for alias in metric.alias))


def claims(name: str, kind_type: str) -> set[str]:
    """All names that a family occupies, its own and its samples'."""
    return {name, *(name + suffix for suffix in SUFFIXES.get(kind_type, ()))}


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


def _alias(metric: MetricShape, settings: Settings, form: Format, alias: str) -> View:
    # An alias is there for what somebody's dashboards ask for, so it is written to the letter. Where its name
    # lacks the suffix of its type, OpenMetrics can only call it unknown.
    kind_type = _TYPES[metric.kind.name]
    if kind_type in {"counter", "info"}:
        suffix = SUFFIXES[kind_type][0]
        if alias.endswith(suffix):
            return _view(metric, settings, form, name=alias.removesuffix(suffix), kind_type=kind_type)
        kind_type = "unknown" if kind_type == "counter" else "gauge"
    return _view(metric, settings, form, name=alias, kind_type=kind_type)


def _view(metric: MetricShape, settings: Settings, form: Format, *, name: str, kind_type: str) -> View:
    kind = metric.kind.name
    state_label = settings.state_label
    if kind == "STATE_SET" and (not state_label or state_label in metric.labels):
        state_label = name
        kind_type = "stateset"
    unit = metric.unit
    if kind in {"INFO", "STATE_SET"} or not (name == unit or name.endswith(f"_{unit}")):
        unit = ""
    sample = name + SUFFIXES[kind_type][0] if kind_type in {"counter", "info"} else name
    labels = (*metric.labels, state_label) if kind == "STATE_SET" else metric.labels
    swapped = settings.state_numbering == "helios" and metric.name in settings.breaker_states
    created = settings.created_at if form.syntax is not Syntax.TEXT and kind_type in SUFFIXES else None
    return View(
        metric=metric,
        kind=kind,
        type=kind_type,
        name=name,
        sample=sample,
        unit=unit,
        plain=(
            form.escaping is not Escaping.DOTS
            and is_plain_metric(name)
            and all(is_plain_label(label) for label in labels)
        ),
        cost=_cost(metric, form, created=created is not None and kind_type != "info"),
        swap=_HELIOS if swapped else None,
        closes=_closes(metric, state_label),
        state_label=state_label,
        created_at=None if kind_type == "info" else created,
    )


def _closes(metric: MetricShape, state_label: str) -> tuple[str, ...]:
    kind = metric.kind.name
    if kind == "STATE_SET":
        return tuple(f'{state_label}="{label_value(state)}"}} ' for state in metric.states)
    if kind in {"HISTOGRAM", "NATIVE_HISTOGRAM"}:
        return tuple(f'le="{edge}"}} ' for edge in (*map(bound, metric.buckets), "+Inf"))
    return ()


def _cost(metric: MetricShape, form: Format, *, created: bool) -> int:
    kind = metric.kind.name
    if kind == "STATE_SET":
        return len(metric.states)
    if form.syntax is Syntax.PROTOBUF:
        if kind == "NATIVE_HISTOGRAM":
            return 160 // _BUCKETS_PER_SERIES
        return 1 + len(metric.buckets) // _BUCKETS_PER_SERIES
    if kind in {"HISTOGRAM", "NATIVE_HISTOGRAM"}:
        return len(metric.buckets) + 3 + created
    return 1 + created
