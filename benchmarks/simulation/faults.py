"""What goes wrong, and what only looks like it: the fault models and the benign ones.

A ``Fault`` is data. Times are seconds after its start; ``lasts_s`` after the start the backend is
repaired. ``onset_s`` is when harm begins: the first moment a call can go wrong (for a ramp of latency,
when the P95 of the backend crosses the slow bound). Sources: the fault and benign lists of the
resilience research (fail-stop, fail-slow, gray, one of N; surge, drift, heavy queries, business errors).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SLOW_BOUND_S = 0.5
MEDIAN_S = 0.015
SIGMA = 0.5
SERVERS = 100
SERVERS_FEW = 20
TIMEOUT_S = 2.0
BASE_ERRORS = 0.005
REFUSED_AFTER_S = 0.001

P95_S = MEDIAN_S * math.exp(1.6449 * SIGMA)
MEAN_S = MEDIAN_S * math.exp(SIGMA * SIGMA / 2)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One model. Shares are of calls while the fault lasts; None of them means a healthy backend."""

    name: str
    harmful: bool
    speed: tuple[tuple[float, float], ...] = ()
    errors: float = BASE_ERRORS
    refused: float = 0.0
    hung: float = 0.0
    ignored: float = 0.0
    heavy: float = 0.0
    heavy_s: tuple[float, float] = (0.6, 1.6)
    surge: float = 1.0
    rate: float | None = None
    servers: int = SERVERS
    lasts_s: float = 20.0
    onset_s: float = 0.0

    def steps(self, start: float) -> list[tuple[float, float]]:
        """Return the speed schedule of an episode in which the fault starts at ``start``."""
        if not self.speed:
            return []
        inside = [(start + at, speed) for at, speed in self.speed if at < self.lasts_s]
        return [*inside, (start + self.lasts_s, 1.0)]


def _latency_ramp(seconds: float, factor: float) -> tuple[tuple[tuple[float, float], ...], float]:
    """Service times grow geometrically to ``factor`` in ``seconds``; also when the P95 turns slow."""
    count = 40
    steps = tuple((seconds * i / count, factor ** (-i / count)) for i in range(1, count + 1))
    onset = next(at for at, speed in steps if P95_S / speed > SLOW_BOUND_S)
    return steps, onset


_RAMP, _RAMP_ONSET_S = _latency_ramp(10.0, 40.0)

FAULTS: tuple[Fault, ...] = (
    Fault(name="hard failure", harmful=True, refused=1.0),
    Fault(name="hang", harmful=True, speed=((0.0, 0.0),)),
    Fault(name="x40 slow", harmful=True, speed=((0.0, 1 / 40),)),
    Fault(name="x40 slow, pool of 20", harmful=True, speed=((0.0, 1 / 40),), servers=SERVERS_FEW),
    Fault(name="50 % errors", harmful=True, errors=0.5),
    Fault(name="20 % errors", harmful=True, errors=0.2),
    Fault(name="10 % errors", harmful=True, errors=0.1),
    Fault(name="latency ramp", harmful=True, speed=_RAMP, onset_s=_RAMP_ONSET_S),
    Fault(name="one of 4 refuses", harmful=True, refused=0.25),
    Fault(name="one of 4 hangs", harmful=True, hung=0.25),
)

BENIGN: tuple[Fault, ...] = (
    Fault(name="300 ms stall", harmful=False, speed=((0.0, 0.0),), lasts_s=0.3),
    Fault(name="800 ms stall", harmful=False, speed=((0.0, 0.0),), lasts_s=0.8),
    Fault(name="3x surge", harmful=False, surge=3.0),
    Fault(name="3 % heavy queries", harmful=False, heavy=0.03),
    Fault(name="deploy drift x2", harmful=False, speed=((0.0, 0.5),)),
    Fault(name="business-error burst", harmful=False, ignored=0.3),
    Fault(name="quiet key, 2 rps", harmful=False, rate=2.0),
)

BY_NAME = {fault.name: fault for fault in (*FAULTS, *BENIGN)}
