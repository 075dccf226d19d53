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

__all__ = ["STATE", "TRANSITIONS", "group"]

STATE: Final = "circuit_breaker_state"
"""The gauge or state set that the group is about; without it there is no group."""
TRANSITIONS: Final = "circuit_breaker_transitions"
"""The counter of changes, with a label ``to``."""

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
    transitions = rows.get(TRANSITIONS)
    flaps = () if transitions is None else (_flaps(naming, transitions),)
    return RuleGroup(name="breakers", recordings=(), alerts=(*_open(naming, state), *flaps))


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
