"""What the status API shows of a proxy, and the checks behind ``/health`` and ``/ready``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from seawall.proxy.topology import Phase, Topology
from seawall.telemetry.serving import Check, CheckFailed, Checks, StatusApi

__all__ = ["Proxy", "checks_of", "status_api"]

NAMED_MAX: Final = 8
"""Workers that a reason names; with more it would be a report."""
BEAT_MAX_S: Final = 2.0
"""A worker writes its beat ten times a second; one that is so old belongs to a worker that hangs."""
NO_BEAT: Final = -1.0
"""The age of the beat of a worker that is just being started."""
MICRO: Final = 1_000_000


class Proxy(Protocol):
    """The supervisor, as far as it is looked at."""

    @property
    def count(self) -> int:
        """How many workers there are to be."""
        ...

    @property
    def alive(self) -> int:
        """How many of them run."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether it lets nobody in any more."""
        ...

    @property
    def topology(self) -> Topology | None:
        """What the workers go by; ``None`` if nobody watches the servers."""
        ...

    def show(self, what: str) -> list[dict[str, Any]]:
        """Rows as the console has them."""
        ...

    def rows(self) -> list[dict[str, int]]:
        """Every worker's counters."""
        ...


class Backend(msgspec.Struct, frozen=True):
    """One server."""

    name: str
    host: str
    port: int
    role: str
    state: str
    timeline: int | None = None
    system_identifier: int | None = None
    lag_bytes: int | None = None
    connected_s: float | None = None
    reason: str | None = None
    sync_state: str | None = None


class TopologyView(msgspec.Struct, frozen=True):
    """What the workers go by."""

    epoch: int
    phase: str
    tracked: bool
    multi_primary: bool
    reason: str
    plan: str
    primary: str | None = None
    timeline: int | None = None
    system_identifier: int | None = None


class Failover(msgspec.Struct, frozen=True):
    """What became of a primary that was lost or replaced; times in milliseconds from the first sign."""

    at: str
    kind: str
    old_primary: str
    outcome: str
    reason: str
    replays: int
    new_primary: str | None = None
    timeline: int | None = None
    took_ms: int | None = None
    end_lsn: str | None = None
    detected_ms: int | None = None
    promoted_ms: int | None = None
    resumed_ms: int | None = None


class Worker(msgspec.Struct, frozen=True):
    """One worker's counters, as it wrote them last; an age of -1 is that of a worker that has just begun."""

    number: int
    pid: int
    beat_age_s: float
    clients: int
    clients_waiting: int
    servers: int
    servers_idle: int
    queries: int
    transactions: int
    errors: int


class Telemetry(msgspec.Struct, frozen=True):
    """How telemetry itself is; of all that was offered or taken it is said what became of it."""

    spans: Mapping[str, int]
    export: Mapping[str, int]
    logs: Mapping[str, int]
    scrapes: int
    series: int
    failed: int


def status_api(proxy: Proxy, telemetry: Callable[[], Telemetry]) -> StatusApi:
    """The status API of a proxy.

    Args:
        proxy: What is shown.
        telemetry: How telemetry itself is.
    """
    api = StatusApi("Seawall proxy")
    api.resource(
        "backends",
        list[Backend],
        lambda: msgspec.convert(proxy.show("backends"), list[Backend]),
        summary="The servers; none if nobody watches them.",
    )
    api.resource(
        "topology",
        list[TopologyView],
        lambda: msgspec.convert(proxy.show("topology"), list[TopologyView]),
        summary="Which server takes writes, and what clients may do; none if nobody watches the servers.",
    )
    api.resource(
        "failovers",
        list[Failover],
        lambda: msgspec.convert(proxy.show("failovers"), list[Failover]),
        summary="Primaries that were lost or replaced, the last one first.",
    )
    api.resource("workers", list[Worker], lambda: workers_of(proxy), summary="The worker processes.")
    api.resource("telemetry", Telemetry, telemetry, summary="What telemetry has sent, dropped and failed at.")
    return api


def workers_of(proxy: Proxy) -> list[Worker]:
    """The workers' counters."""
    rows = proxy.rows()
    now = time.monotonic()  # after the rows are read, or a beat might be in the future
    names = ("pid", "clients", "clients_waiting", "servers", "servers_idle", "queries", "transactions")
    return [
        Worker(
            number=number,
            beat_age_s=round(max(now - row["beat"] / MICRO, 0.0), 3) if row["beat"] else NO_BEAT,
            errors=row["errors"],
            **{name: row[name] for name in names},
        )
        for number, row in enumerate(rows)
    ]


def checks_of(proxy: Proxy) -> Checks:
    """The checks of a proxy: it is ready when its workers answer, clients are served and it is to go on."""
    checks = Checks()

    def workers() -> Mapping[str, int]:
        silent = [worker.number for worker in workers_of(proxy) if not 0 <= worker.beat_age_s < BEAT_MAX_S]
        details = {"alive": proxy.alive, "wanted": proxy.count, "silent": len(silent)}
        if proxy.stopping:
            raise CheckFailed("the proxy is shutting down", details)
        if silent:
            named = ", ".join(str(number) for number in silent[:NAMED_MAX])
            more = ", ..." if len(silent) > NAMED_MAX else ""
            raise CheckFailed(f"no sign of life from worker {named}{more}", details)
        if proxy.alive < proxy.count:
            raise CheckFailed(f"{proxy.alive} of {proxy.count} workers are alive", details)
        return details

    def primary() -> Mapping[str, str]:
        topology = proxy.topology
        if topology is None or not topology.tracked:
            return {"phase": "unwatched"}
        if topology.phase is not Phase.SERVING:
            raise CheckFailed("clients wait: there is no server for them", {"phase": topology.phase.value})
        return {"phase": topology.phase.value, "primary": topology.primary or "several"}

    checks.add(Check(name="workers", call=workers, max_age_s=0.0))
    checks.add(Check(name="primary", call=primary, max_age_s=0.0))
    return checks
