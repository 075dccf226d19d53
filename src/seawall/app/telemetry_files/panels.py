"""Panels of a dashboard: how each kind of metric is queried and drawn.

The rules are the linter's too (``tests/app/telemetry_files``): counters are shown as rates over
``$__rate_interval``, histograms as quantiles of their buckets, gauges as they are; every panel has a unit and
says in its description what the metric's row says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from seawall.app.telemetry_files.naming import Naming
from seawall.telemetry.exposition.views import BREAKER_STATE
from seawall.telemetry.metrics.metric import Aggregation, Kind, Metric

__all__ = ["DATASOURCE", "FILTER", "RATE", "Panel", "Query", "panel_of", "panel_table", "title_of"]

FILTER: Final = 'job=~"$job",instance=~"$instance"'
"""What every selector has: the dashboard's variables."""
RATE: Final = "$__rate_interval"
"""Grafana's own window: four scrapes at least, and no less than a pixel."""
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

_HOLDS: Final = {"0": "no", "1": "yes"}
_QUANTILES: Final = ((0.5, "median"), (0.9, "90 %"), (0.99, "99 %"))
_UNITS: Final = {"seconds": "s", "bytes": "bytes", "ratio": "percentunit"}
_RATE_UNITS: Final = {"bytes": "Bps", "seconds": "short", "ratio": "short"}

Drawing = Literal["timeseries", "stat", "state-timeline"]


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel, or several that its labels tell apart.

    Attributes:
        expr: In PromQL.
        legend: What each is called, with ``{{label}}`` for a label's value.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        title: What stands above it.
        description: What it means.
        unit: Grafana's name of the unit.
        queries: What is shown.
        drawing: How.
        mappings: Words for numbers.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    drawing: Drawing = "timeseries"
    mappings: Mapping[str, str] = field(default_factory=dict)


def title_of(metric: Metric, *prefixes: str) -> str:
    """A title made of the metric's name, without what the dashboard says already."""
    name = metric.full_name
    for prefix in prefixes:
        name = name.removeprefix(f"{prefix}_")
    words = name.removesuffix("_seconds").removesuffix("_bytes").replace("_", " ")
    return words[:1].upper() + words[1:]


def panel_of(metric: Metric, naming: Naming, *, title: str) -> Panel:
    """The panel that a metric has by its kind.

    Args:
        metric: The row.
        naming: What it is called.
        title: What stands above it.
    """
    kind, labels = metric.kind, metric.labels
    drawing: Drawing = "timeseries"
    mappings: Mapping[str, str] = {}
    unit = _UNITS.get(metric.unit, "short")
    if kind is Kind.COUNTER:
        unit = _RATE_UNITS.get(metric.unit, "cps")
        queries = [Query(_summed(f"rate({naming.counter(metric)}{{{FILTER}}}[{RATE}])", labels))]
    elif kind is Kind.GAUGE:
        queries = [Query(_merged(naming.gauge(metric), metric))]
        if metric.name.endswith(BREAKER_STATE):
            drawing, mappings = "state-timeline", naming.state_words
    elif kind is Kind.STATE_SET:
        drawing, mappings = "state-timeline", _HOLDS
        queries = [Query(f"max by ({_list(*labels, 'state')}) ({naming.gauge(metric)}{{{FILTER}}})")]
        labels = (*labels, "state")
    elif kind is Kind.INFO:
        drawing = "stat"
        queries = [Query(f"count by ({_list(*labels)}) ({naming.info(metric)}{{{FILTER}}})")]
    else:
        return Panel(title=title, description=metric.help, unit=unit, queries=_quantiles(metric, naming))
    legend = " ".join(f"{{{{{label}}}}}" for label in labels) or title
    return Panel(
        title=title,
        description=metric.help,
        unit=unit,
        queries=[Query(query.expr, legend) for query in queries],
        drawing=drawing,
        mappings=mappings,
    )


def panel_table(panel: Panel, number: int, *, x: int, y: int, width: int, height: int) -> dict[str, Any]:
    """The panel as Grafana reads it.

    Args:
        panel: What is shown.
        number: Its id, unique in its dashboard.
        x: Column of 24.
        y: Row.
        width: In columns.
        height: In rows.
    """
    return {
        "id": number,
        "type": panel.drawing,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "mappings": _mappings(panel.mappings), **_drawn(panel)},
            "overrides": [],
        },
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
            }
            for index, query in enumerate(panel.queries)
        ],
    }


def _summed(expr: str, labels: Sequence[str]) -> str:
    return f"sum by ({_list(*labels)}) ({expr})" if labels else f"sum({expr})"


def _merged(name: str, metric: Metric) -> str:
    merge = {Aggregation.SUM: "sum", Aggregation.MAX: "max", Aggregation.MIN: "min"}[metric.merged_by]
    by = f" by ({_list(*metric.labels)}) " if metric.labels else ""
    return f"{merge}{by}({name}{{{FILTER}}})"


def _quantiles(metric: Metric, naming: Naming) -> list[Query]:
    if metric.kind is Kind.NATIVE_HISTOGRAM:
        inner = f"sum(rate({naming.native(metric)}{{{FILTER}}}[{RATE}]))"
    else:
        inner = f"sum by (le) (rate({naming.buckets(metric)}{{{FILTER}}}[{RATE}]))"
    return [Query(f"histogram_quantile({share}, {inner})", legend) for share, legend in _QUANTILES]


def _list(*labels: str) -> str:
    return ", ".join(labels)


def _mappings(words: Mapping[str, str]) -> list[dict[str, Any]]:
    if not words:
        return []
    options = {value: {"text": text, "index": index} for index, (value, text) in enumerate(words.items())}
    return [{"type": "value", "options": options}]


def _drawn(panel: Panel) -> dict[str, Any]:
    if panel.drawing != "timeseries":
        return {"custom": {}}
    return {"min": 0, "custom": {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never"}}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.drawing == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if panel.drawing == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "auto", "graphMode": "area"}
    return {"legend": {"showLegend": False}, "showValue": "auto"}
