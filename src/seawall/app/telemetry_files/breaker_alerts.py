"""What is watched of circuit breakers, if the catalogue has them.

Nobody is woken because a breaker has opened: that is its work. One that stays open for five minutes means
that a dependency is gone, and that is worth a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from seawall.app.telemetry_files.alerts import Alert, Case, RuleGroup
from seawall.app.telemetry_files.naming import JOB, Naming
from seawall.telemetry.metrics.metric import Kind, Metric

__all__ = ["CALLS", "DROPPED", "RETRIES", "STATE", "TRANSITIONS", "group"]

STATE: Final = "circuit_breaker_state"
"""The gauge or state set that the group is about; without it there is no group."""
TRANSITIONS: Final = "circuit_breaker_transitions"
"""The counter of changes, with a label ``to``."""
RETRIES: Final = "guard_retries"
"""The counter of further attempts."""
CALLS: Final = "circuit_breaker_calls"
"""The counter of calls that breakers have seen."""
DROPPED: Final = "signals_dropped"
"""The counter of what subscribers have lost."""

_AT: Final = f'job="{JOB}",instance="a:9090"'


def group(naming: Naming, rows: Mapping[str, Metric]) -> RuleGroup | None:
    """The group, or ``None`` if there are no breakers.

    Args:
        naming: What the metrics are called.
        rows: What there is, by the names of the rows.
    """
    state = rows.get(STATE)
    if state is None:
        return None
    alerts = [*_open(naming, state)]
    if TRANSITIONS in rows:
        alerts.append(_flaps(naming, rows[TRANSITIONS]))
    if RETRIES in rows and CALLS in rows:
        alerts.append(_storm(naming, rows[RETRIES], rows[CALLS]))
    if DROPPED in rows:
        alerts.append(_dropped(naming, rows[DROPPED]))
    return RuleGroup(name="breakers", recordings=(), alerts=tuple(alerts))


def _open(naming: Naming, row: Metric) -> tuple[Alert, ...]:
    name = naming.gauge(row)
    by = ", ".join(("job", *row.labels))
    labels = {"job": JOB, **dict.fromkeys(row.labels, "orders")}
    series, expr, opened = _opened(naming, row, name, by)

    def story(values: str) -> dict[str, str]:
        return {series: values}

    which = " ".join(f"{{{{ $labels.{label} }}}}" for label in row.labels)
    return (
        Alert(
            name="SeawallBreakerOpen",
            expr=expr,
            hold="5m",
            severity="page",
            summary=f"Breaker {which} has been open for five minutes.",
            description="What it guards is not there, and doesn't come back by itself. Calls are refused.",
            fires=Case(series=story(f"0x4 {opened}x20"), at="8m", labels=labels),
            quiet=(
                Case(series=story(f"0x4 {opened}x4 0x20"), at="8m"),
                Case(series=story("0x40"), at="8m"),
            ),
        ),
        Alert(
            name="SeawallBreakerTripped",
            expr=expr,
            severity="ticket",
            summary=f"Breaker {which} is open.",
            description="Calls are refused until a trial call succeeds.",
            fires=Case(series=story(f"0x4 {opened}x20"), at="4m", labels=labels),
            quiet=(Case(series=story("0x40"), at="4m"),),
        ),
    )


def _opened(naming: Naming, row: Metric, name: str, by: str) -> tuple[str, str, int]:
    """A series of the tests, the expression, and the value that means open."""
    values = ",".join(f'{label}="orders"' for label in row.labels)
    if row.kind is Kind.STATE_SET:
        return f'{name}{{{_AT},{values},state="open"}}', f'max by ({by}) ({name}{{state="open"}}) == 1', 1
    number = naming.open_state
    # Counted and not compared: of several processes, the highest number need not be the worst state.
    return f"{name}{{{_AT},{values}}}", f"count by ({by}) ({name} == {number}) > 0", number


def _flaps(naming: Naming, row: Metric) -> Alert:
    name = naming.counter(row)
    kept = tuple(label for label in row.labels if label != "to")
    values = ",".join(f'{label}="orders"' for label in kept)
    series = f'{name}{{{_AT},{values},to="open"}}'
    which = " ".join(f"{{{{ $labels.{label} }}}}" for label in kept)
    return Alert(
        name="SeawallBreakerFlaps",
        expr=f'sum by ({", ".join(("job", *kept))}) (increase({name}{{to="open"}}[30m])) > 3',
        severity="ticket",
        summary=f"Breaker {which} opens again and again.",
        description="{{ $value | humanize }} times in 30 minutes: it recovers too early, or guards too much.",
        fires=Case(
            series={series: "0+1x80"},
            at="35m",
            labels={"job": JOB, **dict.fromkeys(kept, "orders")},
            shown="60",
        ),
        quiet=(Case(series={series: "0x20 1x60"}, at="35m"),),
    )


def _storm(naming: Naming, retries: Metric, calls: Metric) -> Alert:
    kept = tuple(label for label in retries.labels if label in calls.labels)
    by = ", ".join(("job", *kept))
    values = ",".join(f'{label}="orders"' for label in kept)
    again, all_of_them = naming.counter(retries), naming.counter(calls)
    which = " ".join(f"{{{{ $labels.{label} }}}}" for label in kept)

    def story(count: int) -> dict[str, str]:
        return {
            f"{again}{{{_AT},{values}}}": f"0+{count}x60",
            f"{all_of_them}{{{_AT},{values}}}": "0+600x60",
        }

    return Alert(
        name="SeawallRetryStorm",
        expr=(
            f"sum by ({by}) (rate({again}[5m]))\n  /\n(sum by ({by}) (rate({all_of_them}[5m])) > 1)\n  > 0.1"
        ),
        hold="5m",
        severity="ticket",
        summary=f"More than a tenth of the calls of {which} are retries.",
        description="{{ $value | humanizePercentage }} of the calls: what is called has to carry them too.",
        fires=Case(
            series=story(150), at="15m", labels={"job": JOB, **dict.fromkeys(kept, "orders")}, shown="25%"
        ),
        quiet=(Case(series=story(30), at="15m"),),
    )


def _dropped(naming: Naming, row: Metric) -> Alert:
    name = naming.counter(row)
    return Alert(
        name="SeawallSignalsDropped",
        expr=f"sum by (job, instance) (rate({name}[5m])) > 0",
        hold="5m",
        severity="ticket",
        summary="Subscribers of {{ $labels.instance }} lose signals.",
        description="{{ $value | humanize }} per second: a subscriber is slower than what it listens to.",
        fires=Case(
            series={f"{name}{{{_AT}}}": "0+30x60"},
            at="15m",
            labels={"job": JOB, "instance": "a:9090"},
            shown="1",
        ),
        quiet=(Case(series={f"{name}{{{_AT}}}": "9x60"}, at="15m"),),
    )
