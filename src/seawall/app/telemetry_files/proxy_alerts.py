"""What is watched of the proxy, and of its being there at all."""

from __future__ import annotations

from typing import Final

from seawall.app.telemetry_files.alerts import Alert, Case, Recording, RuleGroup, grew
from seawall.app.telemetry_files.naming import JOB, Naming
from seawall.telemetry.catalogue import proxy

__all__ = ["group"]

_AT: Final = f'job="{JOB}",instance="a:9090"'
_POOL: Final = f'{_AT},database="shop",user="web"'
_DATABASE: Final = {"job": JOB, "database": "shop"}
_INSTANCE: Final = {"job": JOB, "instance": "a:9090"}
_LAG_LIMIT: Final = 64 * 2**20


def group(naming: Naming) -> RuleGroup:
    """The group.

    Args:
        naming: What the metrics are called.
    """
    return RuleGroup(
        name="proxy",
        recordings=_recordings(naming),
        alerts=(
            *_presence(naming),
            *_errors(naming),
            *_waits(naming),
            *_refusals(naming),
            *_servers(naming),
            *_workers(naming),
            *_failovers(naming),
        ),
    )


def _queries(naming: Naming) -> str:
    return naming.recorded("job_database", proxy.QUERIES, "rate5m")


def _error_ratio(naming: Naming) -> str:
    return naming.recorded("job_database", proxy.ERRORS, "ratio_rate5m")


def _mean_wait(naming: Naming) -> str:
    return naming.recorded("job_database", proxy.WAIT_SECONDS, "mean5m")


def _rate(selector: str) -> str:
    return f"sum by (job, database) (rate({selector}[5m]))"


def _recordings(naming: Naming) -> tuple[Recording, ...]:
    queries, errors = naming.counter(proxy.QUERIES), naming.counter(proxy.ERRORS)
    waits, transactions = naming.counter(proxy.WAIT_SECONDS), naming.counter(proxy.TRANSACTIONS)
    buckets = naming.buckets(proxy.TRANSACTION_DURATION)
    return (
        Recording(record=_queries(naming), expr=_rate(queries)),
        Recording(record=_error_ratio(naming), expr=f"{_rate(errors)}\n  /\n{_rate(queries)}"),
        Recording(record=_mean_wait(naming), expr=f"{_rate(waits)}\n  /\n{_rate(transactions)}"),
        Recording(
            record=naming.recorded("job_database", proxy.TRANSACTION_DURATION, "p99_rate5m"),
            expr=f"histogram_quantile(0.99, sum by (job, database, le) (rate({buckets}[5m])))",
        ),
    )


def _presence(naming: Naming) -> tuple[Alert, ...]:
    primary = naming.gauge(proxy.PRIMARY)
    return (
        Alert(
            name="SeawallDown",
            expr=f'up{{job="{JOB}"}} == 0',
            hold="1m",
            severity="page",
            summary="{{ $labels.instance }} can't be scraped.",
            description="The process is gone, hangs, or doesn't let Prometheus in.",
            fires=Case(series={f"up{{{_AT}}}": "1x4 0x10"}, at="5m", labels=_INSTANCE),
            quiet=(Case(series={f"up{{{_AT}}}": "1x4 0 1x10"}, at="5m"),),
        ),
        Alert(
            name="SeawallAbsent",
            expr=f'absent(up{{job="{JOB}"}})',
            hold="5m",
            severity="page",
            summary="Prometheus knows no target of Seawall.",
            description="There is nothing to scrape, so no other alert about it can fire.",
            fires=Case(series={'up{job="other",instance="b:1"}': "1x40"}, at="10m", labels={"job": JOB}),
            quiet=(Case(series={f"up{{{_AT}}}": "1x40"}, at="10m"),),
        ),
        Alert(
            name="SeawallProxyNoPrimary",
            expr=f"max by (job, instance) ({primary}) == 0",
            hold="30s",
            severity="page",
            summary="{{ $labels.instance }} knows no server that takes writes.",
            description="Clients wait, and are told 57P03 when timeouts.unavailable is over.",
            fires=Case(
                series={
                    f'{primary}{{{_AT},backend="one"}}': "1x4 0x10",
                    f'{primary}{{{_AT},backend="two"}}': "0x14",
                },
                at="4m",
                labels=_INSTANCE,
            ),
            quiet=(
                Case(
                    series={
                        f'{primary}{{{_AT},backend="one"}}': "1x4 0x10",
                        f'{primary}{{{_AT},backend="two"}}': "0x4 1x10",
                    },
                    at="4m",
                ),
            ),
        ),
    )


def _errors(naming: Naming) -> tuple[Alert, ...]:
    ratio, rate = _error_ratio(naming), _queries(naming)
    queries, errors = naming.counter(proxy.QUERIES), naming.counter(proxy.ERRORS)

    def stories(failed: int, of: int = 600) -> dict[str, str]:
        return {f"{queries}{{{_POOL}}}": f"0+{of}x60", f"{errors}{{{_POOL}}}": f"0+{failed}x60"}

    description = (
        "{{ $value | humanizePercentage }} of the queries of database {{ $labels.database }} were answered "
        "with an error by the server. Mistakes of clients count too: a release may be the cause."
    )
    return (
        Alert(
            name="SeawallProxyErrors",
            expr=f"{ratio} > 0.05\n  and\n{rate} > 1",
            hold="10m",
            severity="ticket",
            summary="More than 5 % of the queries of {{ $labels.database }} fail.",
            description=description,
            fires=Case(series=stories(60), at="20m", labels=_DATABASE, shown="10%"),
            quiet=(Case(series=stories(12), at="20m"), Case(series=stories(6, of=15), at="20m")),
        ),
        Alert(
            name="SeawallProxyErrorsMany",
            expr=f"{ratio} > 0.25\n  and\n{rate} > 1",
            hold="5m",
            severity="page",
            summary="More than a quarter of the queries of {{ $labels.database }} fail.",
            description=description,
            fires=Case(series=stories(300), at="20m", labels=_DATABASE, shown="50%"),
            quiet=(Case(series=stories(60), at="20m"),),
        ),
    )


def _waits(naming: Naming) -> tuple[Alert, ...]:
    mean = _mean_wait(naming)
    waits, transactions = naming.counter(proxy.WAIT_SECONDS), naming.counter(proxy.TRANSACTIONS)

    def stories(seconds: int) -> dict[str, str]:
        return {f"{waits}{{{_POOL}}}": f"0+{seconds}x60", f"{transactions}{{{_POOL}}}": "0+100x60"}

    description = (
        "A transaction of database {{ $labels.database }} waits {{ $value | humanizeDuration }} on average "
        "before it gets a server connection."
    )
    return (
        Alert(
            name="SeawallProxyWaits",
            expr=f"{mean} > 0.1",
            hold="10m",
            severity="ticket",
            summary="Clients of {{ $labels.database }} wait for server connections.",
            description=description,
            fires=Case(series=stories(25), at="20m", labels=_DATABASE, shown="250ms"),
            quiet=(Case(series=stories(5), at="20m"),),
        ),
        Alert(
            name="SeawallProxyWaitsLong",
            expr=f"{mean} > 1",
            hold="5m",
            severity="page",
            summary="Clients of {{ $labels.database }} wait more than a second for server connections.",
            description=description,
            fires=Case(series=stories(200), at="20m", labels=_DATABASE, shown="2s"),
            quiet=(Case(series=stories(25), at="20m"),),
        ),
    )


def _refusals(naming: Naming) -> tuple[Alert, ...]:
    overflows = naming.counter(proxy.QUEUE_OVERFLOWS)
    refused = naming.counter(proxy.CONNECTIONS_REFUSED)
    return (
        Alert(
            name="SeawallProxyQueueOverflows",
            expr=f"sum by (job, instance) (rate({overflows}[5m])) > 0",
            hold="1m",
            severity="page",
            summary="{{ $labels.instance }} refuses clients because too many wait.",
            description="{{ $value | humanize }} clients per second are told 53300.",
            fires=Case(series={f"{overflows}{{{_AT}}}": "0+30x40"}, at="10m", labels=_INSTANCE, shown="1"),
            quiet=(Case(series={f"{overflows}{{{_AT}}}": "7x40"}, at="10m"),),
        ),
        Alert(
            name="SeawallProxyConnectionsRefused",
            expr=f"sum by (job, instance) (increase({refused}[15m])) > 0",
            severity="ticket",
            summary="{{ $labels.instance }} turned connections away before they logged in.",
            description="A limit on those who haven't logged in was met: an attack, a scan, or a rush.",
            fires=Case(series={f"{refused}{{{_AT}}}": "0x20 5x20"}, at="15m", labels=_INSTANCE),
            quiet=(Case(series={f"{refused}{{{_AT}}}": "5x80"}, at="35m"),),
        ),
    )


def _servers(naming: Naming) -> tuple[Alert, ...]:
    failed = naming.counter(proxy.CONNECT_ERRORS)
    state, lag = naming.gauge(proxy.BACKEND_STATE), naming.gauge(proxy.BACKEND_LAG)
    backend = f'{_AT},backend="two"'
    return (
        Alert(
            name="SeawallProxyConnectErrors",
            expr=f"sum by (job, database) (rate({failed}[5m])) > 0.1",
            hold="5m",
            severity="ticket",
            summary="Logins to the servers of {{ $labels.database }} fail.",
            description="{{ $value | humanize }} per second: a password, pg_hba.conf, max_connections.",
            fires=Case(series={f"{failed}{{{_POOL}}}": "0+30x60"}, at="15m", labels=_DATABASE, shown="1"),
            quiet=(Case(series={f"{failed}{{{_POOL}}}": "0+1x60"}, at="15m"),),
        ),
        Alert(
            name="SeawallProxyBackendDown",
            expr=f'max by (job, backend, state) ({state}{{state=~"down|zombie"}}) == 1',
            hold="2m",
            severity="ticket",
            summary="Server {{ $labels.backend }} is {{ $labels.state }}.",
            description="down: nobody answers there. zombie: it takes writes, but isn't the primary.",
            fires=Case(
                series={f'{state}{{{backend},state="down"}}': "0x4 1x20"},
                at="8m",
                labels={"job": JOB, "backend": "two", "state": "down"},
            ),
            quiet=(
                Case(series={f'{state}{{{backend},state="down"}}': "0x4 1 1 0x20"}, at="8m"),
                Case(series={f'{state}{{{backend},state="replica"}}': "1x20"}, at="8m"),
            ),
        ),
        Alert(
            name="SeawallProxyReplicaLag",
            expr=f"max by (job, backend) ({lag}) > {_LAG_LIMIT}",
            hold="5m",
            severity="ticket",
            summary="Replica {{ $labels.backend }} is far behind the primary.",
            description="{{ $value | humanize1024 }}B are not replayed there yet.",
            fires=Case(
                series={f"{lag}{{{backend}}}": f"{2 * _LAG_LIMIT}x30"},
                at="10m",
                labels={"job": JOB, "backend": "two"},
                shown="128Mi",
            ),
            quiet=(Case(series={f"{lag}{{{backend}}}": f"{_LAG_LIMIT}x30"}, at="10m"),),
        ),
    )


def _workers(naming: Naming) -> tuple[Alert, ...]:
    restarts = naming.counter(proxy.WORKER_RESTARTS)
    series = f"{restarts}{{{_AT}}}"
    return (
        Alert(
            name="SeawallProxyWorkerRestarted",
            expr=f"sum by (job, instance) (increase({restarts}[15m])) > 0",
            severity="ticket",
            summary="A worker of {{ $labels.instance }} died and was replaced.",
            description="Its clients were cut. The log says how it ended.",
            fires=Case(series={series: "0x20 1x20"}, at="15m", labels=_INSTANCE),
            quiet=(Case(series={series: "1x80"}, at="35m"),),
        ),
        Alert(
            name="SeawallProxyWorkersCrash",
            expr=f"sum by (job, instance) (increase({restarts}[15m])) > 5",
            severity="page",
            summary="Workers of {{ $labels.instance }} die again and again.",
            description="{{ $value | humanize }} were replaced in 15 minutes.",
            fires=Case(series={series: "0+1x60"}, at="25m", labels=_INSTANCE, shown="30"),
            quiet=(Case(series={series: "0x20 1x20"}, at="15m"),),
        ),
    )


def _failovers(naming: Naming) -> tuple[Alert, ...]:
    failovers, epoch = naming.counter(proxy.FAILOVERS), naming.gauge(proxy.TOPOLOGY_EPOCH)
    done = f'{failovers}{{{_AT},kind="unplanned",outcome="done"}}'
    given_up = f'{failovers}{{{_AT},kind="planned",outcome="given_up"}}'
    return (
        Alert(
            name="SeawallProxyFailover",
            expr=grew("job, kind", f'{failovers}{{outcome="done"}}', "15m"),
            severity="ticket",
            summary="The primary was lost or replaced ({{ $labels.kind }}).",
            description="`seawall proxy failovers` tells why, how long it took, and what became of clients.",
            fires=Case(series={done: "_x40 1x20"}, at="25m", labels={"job": JOB, "kind": "unplanned"}),
            quiet=(
                Case(series={done: "_x40 1x60"}, at="40m"),
                Case(series={given_up: "_x40 1x20"}, at="25m"),
            ),
        ),
        Alert(
            name="SeawallProxyFailoverFailed",
            expr=grew("job, kind, outcome", f'{failovers}{{outcome!="done"}}', "15m"),
            severity="page",
            summary="A change of the primary ended as: {{ $labels.outcome }}.",
            description="It was {{ $labels.kind }}. `seawall proxy failovers` tells why.",
            fires=Case(
                series={given_up: "_x40 1x20"},
                at="25m",
                labels={"job": JOB, "kind": "planned", "outcome": "given_up"},
            ),
            quiet=(Case(series={done: "_x40 1x20"}, at="25m"),),
        ),
        Alert(
            name="SeawallProxyTopologyFlaps",
            expr=f"max by (job, instance) (changes({epoch}[15m])) > 4",
            severity="ticket",
            summary="{{ $labels.instance }} sees the servers' roles change again and again.",
            description="{{ $value }} changes in 15 minutes.",
            fires=Case(series={f"{epoch}{{{_AT}}}": "1+1x40"}, at="20m", labels=_INSTANCE, shown="30"),
            quiet=(Case(series={f"{epoch}{{{_AT}}}": "1x20 2x20"}, at="15m"),),
        ),
    )
