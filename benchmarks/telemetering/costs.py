"""Rows of CPU time: ours and the rivals' arms over one control.

All arms run interleaved in this interpreter; what is reported is the median over windows of (arm - control),
taken one right after the other.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.arms import loop, quiet_gc
from benchmarks.harness import Arm, Estimate, Figure, median_interval
from benchmarks.quiet import QUIET

__all__ = [
    "OTEL",
    "OURS",
    "PROMETHEUS",
    "Found",
    "Row",
    "Window",
    "figure",
    "measure",
    "quiet",
    "times",
]

OURS = "Seawall"
PROMETHEUS = "prometheus_client"
OTEL = "OpenTelemetry SDK"

NS, MS = 1.0, 1e-6
"""Nanoseconds in the unit of a row."""
UNITS = {"ns": NS, "ms": MS}
LEAST = 8
"""Windows that a median and its interval are made of."""
WARM_UP = 5
"""Before a window a fifth of it runs untimed, so a page is written once and not twice."""

Found: TypeAlias = dict[str, Estimate]
"""What one row's arms cost, by arm."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One operation.

    Attributes:
        name: What is done.
        arms: Who does it, ours under :data:`OURS`.
        target: What ours may cost at most, in the row's unit; ``None`` for a row that is only shown.
        goal: What it should cost; only told.
        unit: ``"ns"`` or ``"ms"``.
        control: What is done besides in every arm; an empty loop if left out.
        number: Operations in a window.
    """

    name: str
    arms: Mapping[str, Arm]
    target: float | None = None
    goal: float | None = None
    unit: str = "ns"
    control: Arm | None = None
    number: int = 5_000


def measure(
    rows: Sequence[Row], *, rounds: int, number: int | None = None, within_s: float = math.inf
) -> dict[str, Found]:
    """What each arm costs above the control, in the row's unit, by the row's name.

    Every round takes all arms of all rows in turn, each with its control beside it, so that each is measured
    over the whole time: a slow spell of the machine then costs all of them some windows, and none of them
    all. Each window is framed by yardsticks; what counts is the eighth of an arm's windows in the quietest
    moments, whatever came out in them.

    Args:
        rows: What is measured.
        rounds: How often.
        number: Most operations in a window.
        within_s: No round begins later than this, beyond a quarter of them.
    """
    until = time.monotonic() + within_s
    windows: dict[tuple[str, str], list[Window]] = {(row.name, name): [] for row in rows for name in row.arms}
    dice = random.Random(1)
    arms = [
        (taken, row.control or loop("pass"), arm, min(row.number, number or row.number))
        for row in rows
        for arm, taken in ((arm, windows[row.name, name]) for name, arm in row.arms.items())
    ]
    with quiet_gc():
        for done in range(rounds):
            if 4 * done >= rounds and time.monotonic() > until:
                break
            dice.shuffle(arms)
            before = QUIET.yardstick_ns()
            for taken, control, arm, size in arms:
                # What ran before has taken the processor's caches.
                arm(size // WARM_UP)
                spent = arm(size) - control(size)
                after = QUIET.yardstick_ns()
                taken.append(Window(max(before, after), spent / size))
                before = after
    for taken in windows.values():
        QUIET.disturbed += sum(1 for window in taken if QUIET.disturbed_by(window.yardstick_ns))
    return {
        row.name: {name: _estimate(windows[row.name, name], UNITS[row.unit]) for name in row.arms}
        for row in rows
    }


@dataclass(frozen=True)
class Window:
    """One time that an arm ran.

    Attributes:
        yardstick_ns: The slower one of the yardsticks around it.
        spent: Seconds per operation above the control.
    """

    yardstick_ns: float
    spent: float


def quiet(windows: Sequence[Window]) -> list[Window]:
    """The eighth with the fastest yardsticks, but no less than :data:`LEAST`."""
    return sorted(windows, key=lambda window: window.yardstick_ns)[: max(len(windows) // 8, LEAST)]


def _estimate(windows: Sequence[Window], scale: float) -> Estimate:
    return median_interval([window.spent * 1e9 * scale for window in quiet(windows)])


def figure(row: Row, found: Mapping[str, Estimate]) -> Figure:
    """The row with what was found."""
    ours = found[OURS]
    rivals = {name: one.median for name, one in found.items() if name != OURS}
    return Figure(
        figure=row.name,
        value=round(ours.median, 3 if row.unit == "ms" else 1),
        unit=row.unit,
        op="<=" if row.target is not None else None,
        target=row.target,
        interval=(round(ours.low, 3), round(ours.high, 3)),
        rivals={name: round(value, 3 if row.unit == "ms" else 1) for name, value in rivals.items()},
        note="; ".join([*_goal(row), *times(ours.median, rivals)]) or None,
    )


def _goal(row: Row) -> list[str]:
    return [] if row.goal is None else [f"goal {row.goal:g} {row.unit}"]


def times(ours: float, rivals: Mapping[str, float]) -> list[str]:
    """Each rival's cost in ours: ``"prometheus_client x 9.1"``; nothing beside a cost that isn't one."""
    return [f"{name} x {value / ours:.1f}" for name, value in rivals.items()] if ours > 0 else []
