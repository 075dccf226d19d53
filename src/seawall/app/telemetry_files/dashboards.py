"""Dashboards: which panels stand where. Whatever a group of rows has and nobody placed comes last.

The proxy's overview goes by the four questions that tell a healthy service: how much is asked, how much of it
fails, how long it takes, how full is what it runs on. The groups of the catalogue that this module doesn't
know get a dashboard of their own, with a panel for each row, under the first words of their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from seawall.app.telemetry_files.naming import JOB, Naming
from seawall.app.telemetry_files.panels import (
    DATASOURCE,
    FILTER,
    RATE,
    Panel,
    Query,
    panel_of,
    panel_table,
    title_of,
)
from seawall.telemetry.catalogue import GROUPS, own, proxy
from seawall.telemetry.metrics.cardinality import METRIC_OVERFLOW
from seawall.telemetry.metrics.metric import Metric

__all__ = ["Section", "dashboard_files"]

Section = tuple[str, Sequence[Metric | Panel]]
"""A heading, and what stands under it."""

REFRESH: Final = "30s"
_COLUMNS: Final = 24
_HEIGHT: Final = 8
_SCHEMA: Final = 39
"""Of Grafana 10 and later, which migrate it on their own."""

_FAILOVER: Final = (
    proxy.PRIMARY,
    proxy.BACKEND_STATE,
    proxy.FAILOVERS,
    proxy.FAILOVER_DURATION,
    proxy.TOPOLOGY_EPOCH,
    proxy.BACKEND_LAG,
    proxy.RESCUES,
    proxy.BACKEND_CONNECTIONS,
    proxy.CONNECT_ERRORS,
    proxy.WORKERS,
    proxy.WORKER_RESTARTS,
)


def dashboard_files(naming: Naming, groups: Mapping[str, tuple[Metric, ...]] = GROUPS) -> dict[str, str]:
    """Texts by path.

    Args:
        naming: What the metrics are called.
        groups: What there is.
    """
    made = {
        "proxy": ("Seawall: proxy", _with_rest(_proxy(naming), groups["proxy"], placed=_FAILOVER)),
        "failover": ("Seawall: failover", list(_failover(naming))),
        "telemetry": ("Seawall: telemetry", _with_rest(_telemetry(naming), groups["telemetry"])),
    }
    for name, rows in groups.items():
        if name not in made:
            made[name] = (f"Seawall: {name}", _by_subject(rows))
    return {
        f"grafana/{name}.json": _json(_dashboard(naming, name, title, sections))
        for name, (title, sections) in made.items()
    }


def _proxy(naming: Naming) -> Iterator[Section]:
    queries = f"sum(rate({naming.counter(proxy.QUERIES)}{{{FILTER}}}[{RATE}]))"
    errors = f"sum(rate({naming.counter(proxy.ERRORS)}{{{FILTER}}}[{RATE}]))"
    waited = f"sum(rate({naming.counter(proxy.WAIT_SECONDS)}{{{FILTER}}}[{RATE}]))"
    transactions = f"sum(rate({naming.counter(proxy.TRANSACTIONS)}{{{FILTER}}}[{RATE}]))"
    servers, idle = (
        f"sum by (database, user) ({naming.gauge(metric)}{{{FILTER}}})"
        for metric in (proxy.SERVERS, proxy.SERVERS_IDLE)
    )
    yield (
        "At a glance",
        [
            _stat("Targets that are up", f"sum(up{{{FILTER}}})", "short", "Processes that could be scraped."),
            _stat("Queries per second", queries, "cps", proxy.QUERIES.help),
            _stat(
                "Share of errors",
                f"{errors} / {queries}",
                "percentunit",
                "Share of queries answered by an error.",
            ),
            _stat(
                "Clients now", f"sum({naming.gauge(proxy.CLIENTS)}{{{FILTER}}})", "short", proxy.CLIENTS.help
            ),
        ],
    )
    yield "Rate", [proxy.QUERIES, proxy.TRANSACTIONS, proxy.CLIENT_CONNECTIONS]
    yield "Errors", [proxy.ERRORS, proxy.QUEUE_OVERFLOWS, proxy.CONNECTIONS_REFUSED]
    mean = Panel(
        title="Mean wait for a server connection",
        description=proxy.WAIT_SECONDS.help,
        unit="s",
        queries=[Query(f"{waited} / {transactions}", "mean")],
    )
    yield "Duration", [proxy.TRANSACTION_DURATION, mean, proxy.WAIT_SECONDS]
    busy = Panel(
        title="Server connections in use",
        description="Share of the open server connections that somebody uses.",
        unit="percentunit",
        queries=[Query(f"1 - {idle} / {servers}", "{{database}} {{user}}")],
    )
    yield (
        "Saturation",
        [proxy.CLIENTS, proxy.CLIENTS_WAITING, busy, proxy.SERVERS, proxy.SERVERS_IDLE, proxy.SERVERS_OPENED],
    )


def _failover(naming: Naming) -> Iterator[Section]:  # noqa: ARG001  # as its siblings
    yield "Roles", _FAILOVER[:2]
    yield "Changes of the primary", _FAILOVER[2:5]
    yield "What it depends on, and what became of clients", _FAILOVER[5:]


def _telemetry(naming: Naming) -> Iterator[Section]:
    kept = f'sum(rate({naming.counter(own.SPANS)}{{{FILTER},fate="kept"}}[{RATE}]))'
    offered = f"sum(rate({naming.counter(own.SPANS)}{{{FILTER}}}[{RATE}]))"
    share = Panel(
        title="Share of spans that is kept",
        description="Errors, slow ones and breaker events are always kept; the rest by the ratio.",
        unit="percentunit",
        queries=[Query(f"{kept} / {offered}", "kept")],
    )
    yield "Traces", [share, own.SEGMENTS, own.SPANS, own.SPANS_LOST, own.SPANS_OPEN, own.SPANS_LATE]
    yield (
        "Export",
        [
            *(own.EXPORTED, own.EXPORT_ATTEMPTS, own.EXPORT_FAILURES),
            *(own.EXPORT_TROUBLES, own.LANE_DEPTH, own.EXPORT_PENDING),
        ],
    )
    yield (
        "Logs",
        [
            *(own.LOG_RECORDS, own.LOG_QUEUE, own.LOG_QUEUE_BYTES),
            *(own.LOG_ERRORS, own.LOG_WRITE_ERRORS, own.LOG_LINES_MASKED),
        ],
    )
    yield "Metrics", [own.SERIES, METRIC_OVERFLOW, own.SCRAPES, own.SCRAPE_SERIES, own.SCRAPE_LOSSES]
    yield (
        "Process",
        [
            *(own.PROCESS_CPU, own.PROCESS_RESIDENT, own.PROCESS_OPEN_FDS),
            *(own.BUILD, own.PROCESS_VIRTUAL, own.PROCESS_MAX_FDS),
        ],
    )


def _with_rest(
    sections: Iterable[Section], rows: Sequence[Metric], *, placed: Sequence[Metric] = ()
) -> list[Section]:
    made = list(sections)
    seen = {item.name for _, items in made for item in items if isinstance(item, Metric)}
    seen.update(metric.name for metric in placed)
    rest = [metric for metric in rows if metric.name not in seen]
    return [*made, ("More", rest)] if rest else made


def _by_subject(rows: Sequence[Metric]) -> list[Section]:
    subjects: dict[str, list[Metric | Panel]] = {}
    for metric in rows:
        subjects.setdefault(metric.name.partition("_")[0].capitalize(), []).append(metric)
    return list(subjects.items())


def _stat(title: str, expr: str, unit: str, description: str) -> Panel:
    return Panel(
        title=title, description=description, unit=unit, queries=[Query(expr, title)], drawing="stat"
    )


def _dashboard(naming: Naming, name: str, title: str, sections: Iterable[Section]) -> dict[str, Any]:
    return {
        "uid": f"{naming.prefix}-{name}",
        "title": title,
        "description": "Made by `seawall telemetry dashboards` from the metric catalogue.",
        "tags": [JOB],
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": _SCHEMA,
        "refresh": REFRESH,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "templating": {"list": _variables()},
        "panels": list(_panels(naming, name, sections)),
    }


def _panels(naming: Naming, name: str, sections: Iterable[Section]) -> Iterator[dict[str, Any]]:
    number = y = 0
    for heading, items in sections:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": heading,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
            "panels": [],
        }
        y += 1
        glance = all(isinstance(item, Panel) and item.drawing == "stat" for item in items)
        width, height = (6, 4) if glance else (8, _HEIGHT)
        for index, item in enumerate(items):
            number += 1
            x = index * width % _COLUMNS
            y += height if index and not x else 0
            panel = item if isinstance(item, Panel) else _of(item, naming, name)
            yield panel_table(panel, number, x=x, y=y, width=width, height=height)
        y += height


def _of(metric: Metric, naming: Naming, name: str) -> Panel:
    return panel_of(metric, naming, title=title_of(metric, name, "proxy", "telemetry"))


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        _variable("job", "Job", "label_values(up, job)", JOB),
        _variable("instance", "Instance", 'label_values(up{job=~"$job"}, instance)', "All"),
    ]


def _variable(name: str, label: str, query: str, chosen: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": chosen, "value": "$__all" if chosen == "All" else chosen},
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
