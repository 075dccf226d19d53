"""Registries that the tests of the writers share."""

from seawall.telemetry.exposition import Format
from seawall.telemetry.metrics import Exemplar, Kind, Metric, Registry

TEXT, OPENMETRICS, PROTOBUF = Format

TRACE = Exemplar((("trace_id", "4bf92f3577b34da6"),), 0.25, 1_520_879_607.789)


def every_kind() -> Registry:
    """One family of each kind, with what makes each hard."""
    registry = Registry()
    calls = registry.declare(
        Metric(
            name="calls",
            kind=Kind.COUNTER,
            help='Calls, "all" of them \\ counted.\nTwice.',
            labels=("backend", "outcome"),
            alias=("service_calls_total", "service_calls_count"),
        )
    )
    calls.cell("eu-1", "ok").inc(3, exemplar=TRACE)
    calls.cell('a"b\\c\nd', "").inc(0.5)
    state = registry.declare(
        Metric(
            name="circuit_breaker_state",
            kind=Kind.GAUGE,
            help="State of a breaker.",
            labels=("backend",),
            alias=("mpc_circuit_breaker_state",),
        )
    )
    for number in range(3):
        state.cell(f"b{number}").set(number)
    status = registry.declare(
        Metric(
            name="circuit_breaker_status",
            kind=Kind.STATE_SET,
            help="Which state holds.",
            labels=("backend",),
            states=("closed", "half_open", "open"),
        )
    )
    status.cell("b1").set("open")
    wait = registry.declare(
        Metric(
            name="wait",
            kind=Kind.HISTOGRAM,
            help="Time in the queue.",
            unit="seconds",
            labels=("pool",),
            buckets=(0.1, 1.0, 2.5),
        )
    )
    for value in (0.05, 0.25, 0.5, 9.0):
        wait.cell("p").observe(value, TRACE if value == 0.25 else None)
    native = registry.declare(
        Metric(name="query_seconds", kind=Kind.NATIVE_HISTOGRAM, help="Queries.", unit="seconds")
    )
    for value in (0.0, 0.25, 0.25, 0.3, 4.0, -2.0):
        native.cell().observe(value, TRACE if value == 0.25 else None)
    build = registry.declare(Metric(name="build", kind=Kind.INFO, help="This build.", labels=("version",)))
    build.cell("1.2")
    registry.declare(Metric(name="never_used", kind=Kind.GAUGE, help="Has no series.", labels=("a",)))
    return registry


def counters(count: int) -> Registry:
    """A registry with so many counters."""
    registry = Registry()
    metric = Metric(
        name="many", kind=Kind.COUNTER, help="Many.", labels=("n",), limit=count, values_limit=count
    )
    family = registry.declare(metric)
    for number in range(count):
        family.cell(str(number)).inc(number)
    return registry
