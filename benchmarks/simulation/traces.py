"""Drawing the calls of one episode: the same trace is replayed for every rule.

Arrivals are an open-loop Poisson stream. All that chance decides about a call (when it comes, how much
work it is, whether it fails) is drawn before any rule sees it, so that rules differ by their decisions
only (common random numbers). The stream ends at the horizon and nothing after it counts: late
completions of a stopped stream are biased towards the slow ones.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import IntEnum

from benchmarks.simulation.faults import BASE_ERRORS, MEDIAN_S, SIGMA, Fault

_TABLE = 1 << 16


class Fate(IntEnum):
    """What becomes of a call that reaches the backend."""

    GOOD = 0
    ERROR = 1
    IGNORED = 2
    REFUSED = 3
    HUNG = 4


Call = tuple[float, float, int]
"""(arrives at, work in seconds at speed 1, Fate)."""


@dataclass(frozen=True)
class Trace:
    """One episode: the calls, when the fault starts and is repaired, and when counting ends."""

    fault: Fault
    calls: list[Call]
    fault_at: float
    repaired_at: float
    horizon: float
    seed: int


def work_table(size: int = _TABLE) -> list[float]:
    """Return the quantiles of the service time: a draw is one index instead of a logarithm."""
    from statistics import NormalDist

    normal = NormalDist()
    return [MEDIAN_S * math.exp(SIGMA * normal.inv_cdf((i + 0.5) / size)) for i in range(size)]


_WORK = work_table()


def draw_call(fault: Fault | None, rng: random.Random) -> tuple[float, int]:
    """Return (work, fate) of one call; ``fault`` None is the healthy backend."""
    work = _WORK[int(rng.random() * _TABLE)]
    luck = rng.random()
    if fault is None:
        return work, Fate.ERROR if luck < BASE_ERRORS else Fate.GOOD
    if fault.refused and luck < fault.refused:
        return work, Fate.REFUSED
    if fault.hung and luck < fault.hung:
        return work, Fate.HUNG
    kind = rng.random()
    if fault.ignored and kind < fault.ignored:
        return work, Fate.IGNORED
    if fault.heavy and kind < fault.heavy:
        work = rng.uniform(*fault.heavy_s)
    return work, Fate.ERROR if luck < fault.errors else Fate.GOOD


def draw_trace(fault: Fault, *, rate: float, seed: int, warm_s: float = 15.0, tail_s: float = 20.0) -> Trace:
    """Draw one episode: healthy for ``warm_s`` (and a random fraction of a second), faulty, repaired."""
    rng = random.Random(f"{fault.name}/{rate}/{seed}")
    rate = fault.rate or rate
    fault_at = warm_s + rng.random()
    repaired_at = fault_at + fault.lasts_s
    horizon = max(repaired_at, fault_at + 20.0) + tail_s
    calls: list[Call] = []
    now = 0.0
    while True:
        inside = fault_at <= now < repaired_at
        gap = -math.log(1.0 - rng.random()) / (rate * fault.surge if inside else rate)
        if not inside and now < fault_at < now + gap and fault.surge != 1.0:
            now = fault_at
            continue
        now += gap
        if now >= horizon:
            return Trace(fault, calls, fault_at, repaired_at, horizon, seed)
        work, fate = draw_call(fault if fault_at <= now < repaired_at else None, rng)
        calls.append((now, work, fate))
