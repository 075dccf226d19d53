"""What is watched of telemetry itself: whoever loses telemetry should hear of it from what is left."""

from __future__ import annotations

from typing import Final

from seawall.app.telemetry_files.alerts import Alert, Case, RuleGroup, grew
from seawall.app.telemetry_files.naming import JOB, Naming
from seawall.telemetry.catalogue import own
from seawall.telemetry.metrics.cardinality import METRIC_OVERFLOW

__all__ = ["group"]

_AT: Final = f'job="{JOB}",instance="a:9090"'
_INSTANCE: Final = {"job": JOB, "instance": "a:9090"}


def group(naming: Naming) -> RuleGroup:
    """The group.

    Args:
        naming: What the metrics are called.
    """
    return RuleGroup(
        name="telemetry",
        recordings=(),
        alerts=(*_traces(naming), *_logs(naming), *_metrics(naming), *_process(naming)),
    )


def _traces(naming: Naming) -> tuple[Alert, ...]:
    lost, troubles = naming.counter(own.SPANS_LOST), naming.gauge(own.EXPORT_TROUBLES)
    series = f'{lost}{{{_AT},stage="lane",reason="full"}}'
    return (
        Alert(
            name="SeawallTelemetrySpansLost",
            expr=f"sum by (job, stage, reason) (rate({lost}[5m])) > 0",
            hold="10m",
            severity="ticket",
            summary="Spans that were kept get lost: {{ $labels.stage }}, {{ $labels.reason }}.",
            description="{{ $value | humanize }} per second. Traces have holes.",
            fires=Case(
                series={series: "0+30x60"},
                at="20m",
                labels={"job": JOB, "stage": "lane", "reason": "full"},
                shown="1",
            ),
            quiet=(Case(series={series: "500x60"}, at="20m"),),
        ),
        Alert(
            name="SeawallTelemetryExportFails",
            expr=f"max by (job, instance) ({troubles}) >= 5",
            hold="5m",
            severity="ticket",
            summary="{{ $labels.instance }} can't reach its collector.",
            description="{{ $value }} requests have failed in a row.",
            fires=Case(series={f"{troubles}{{{_AT}}}": "0+1x40"}, at="15m", labels=_INSTANCE, shown="30"),
            quiet=(Case(series={f"{troubles}{{{_AT}}}": "0 1 2 3 0x40"}, at="15m"),),
        ),
    )


def _logs(naming: Naming) -> tuple[Alert, ...]:
    records = naming.counter(own.LOG_RECORDS)
    dropped = f'{records}{{{_AT},fate="dropped"}}'
    written = f'{records}{{{_AT},fate="written"}}'
    return (
        Alert(
            name="SeawallTelemetryLogsLost",
            expr=f'sum by (job, fate) (rate({records}{{fate=~"dropped|failed"}}[5m])) > 0',
            hold="5m",
            severity="ticket",
            summary="Log records get lost: {{ $labels.fate }}.",
            description="{{ $value | humanize }} per second.",
            fires=Case(
                series={dropped: "0+30x60"}, at="15m", labels={"job": JOB, "fate": "dropped"}, shown="1"
            ),
            quiet=(Case(series={dropped: "9x60", written: "0+30x60"}, at="15m"),),
        ),
    )


def _metrics(naming: Naming) -> tuple[Alert, ...]:
    overflow, losses = naming.counter(METRIC_OVERFLOW), naming.counter(own.SCRAPE_LOSSES)
    unreadable = naming.counter(own.UNREADABLE)
    series, limit = naming.gauge(own.SERIES), naming.gauge(own.SERIES_LIMIT)
    one = f'{overflow}{{{_AT},metric="calls"}}'
    clash = f'{losses}{{{_AT},what="families_clashing"}}'
    part = f'{unreadable}{{{_AT},part="logs"}}'
    return (
        Alert(
            name="SeawallTelemetryLabelOverflow",
            expr=grew("job, metric", overflow, "1h"),
            severity="ticket",
            summary="Metric {{ $labels.metric }} has more series than it may have.",
            description="Further ones are put together, so queries by label count too little since then.",
            fires=Case(series={one: "_x40 3x20"}, at="25m", labels={"job": JOB, "metric": "calls"}),
            quiet=(Case(series={one: "3x240"}, at="90m"),),
        ),
        Alert(
            name="SeawallTelemetrySeriesNearLimit",
            expr=f"max by (job, instance) ({series} / {limit}) > 0.8",
            hold="15m",
            severity="ticket",
            summary="{{ $labels.instance }} has nearly as many series as it may have.",
            description="{{ $value | humanizePercentage }} of the limit.",
            fires=Case(
                series={f"{series}{{{_AT}}}": "45000x80", f"{limit}{{{_AT}}}": "50000x80"},
                at="30m",
                labels=_INSTANCE,
                shown="90%",
            ),
            quiet=(Case(series={f"{series}{{{_AT}}}": "900x80", f"{limit}{{{_AT}}}": "50000x80"}, at="30m"),),
        ),
        Alert(
            name="SeawallTelemetryScrapesIncomplete",
            expr=f'sum by (job, what) (increase({losses}{{what!="exemplars"}}[1h])) > 0',
            severity="ticket",
            summary="Something is missing in scrapes: {{ $labels.what }}.",
            description="A family or a source could not be read, or two have one name.",
            fires=Case(series={clash: "0+1x60"}, at="20m", labels={"job": JOB, "what": "families_clashing"}),
            quiet=(Case(series={f'{losses}{{{_AT},what="exemplars"}}': "0+1x60"}, at="20m"),),
        ),
        Alert(
            name="SeawallTelemetryUnreadable",
            expr=grew("job, part", unreadable, "1h"),
            severity="ticket",
            summary="Telemetry's {{ $labels.part }} could not be asked for its numbers.",
            description="That is a fault of the program: the numbers of that part stand still.",
            fires=Case(series={part: "_x40 1x20"}, at="25m", labels={"job": JOB, "part": "logs"}),
            quiet=(Case(series={part: "1x240"}, at="90m"),),
        ),
    )


def _process(naming: Naming) -> tuple[Alert, ...]:
    used, limit = naming.gauge(own.PROCESS_OPEN_FDS), naming.gauge(own.PROCESS_MAX_FDS)

    def stories(count: int) -> dict[str, str]:
        return {f"{used}{{{_AT}}}": f"{count}x40", f"{limit}{{{_AT}}}": "1024x40"}

    return (
        Alert(
            name="SeawallProcessFilesNearLimit",
            expr=f"max by (job, instance) ({used} / {limit}) > 0.75",
            hold="5m",
            severity="page",
            summary="{{ $labels.instance }} has nearly as many files open as it may have.",
            description="{{ $value | humanizePercentage }} of the limit; at the limit no client can connect.",
            fires=Case(series=stories(896), at="10m", labels=_INSTANCE, shown="87.5%"),
            quiet=(Case(series=stories(100), at="10m"),),
        ),
    )
