"""The way back: leased probes, their acceptance, and the ramp to full traffic.

Pure; driven by ``breaker``, which owns the lock and the window.  Nothing here decides to open.

Theory of operation
-------------------
*Probes are leases.*  While half-open, a limited number of calls go through as probes.  A probe that does not
settle before its lease ends counts as failed: a hung probe can neither block recovery for ever nor be
mistaken for health.

*Acceptance* is curtailed: the round ends as soon as enough probes succeeded or enough failed that the rest no
longer matters.  A handful of probes cannot certify health (ten clean probes in a row still happen in a third
of the cases at 10 % errors), which is why acceptance leads into a ramp and not to full traffic.

*The ramp* admits a share of the calls.  The share that really goes through follows the target by error
diffusion (Bresenham's line algorithm over calls), so it is exact to one call and needs no random numbers.
The ``fixed`` kind climbs in equal steps on the clock.  The ``gated`` kind grows until it meets resistance: it
compares the typical latency with the higher of two references, the baseline from before the fault and the
lowest latency this ramp has seen.  The second one matters for a backend that comes back cold: it is slow
whatever it is sent, warms up only by being used, and what must not happen is a queue, which shows as latency
above the ramp's own floor.  (The idea is TCP Vegas', L. Brakmo and L. Peterson 1994: congestion is delay
above the smallest delay seen.)
"""

from __future__ import annotations

import math
from typing import Final

from seawall.resilience.windows import Ticket

GATE_INTERVAL_S: Final = 0.25
"""The gated ramp moves at most this often."""
GATE_CALLS_MIN: Final = 8
"""Fewer calls than this in an interval say little: the interval is extended ..."""
GATE_PATIENCE_S: Final = 2.0
"""... but not beyond this, or a quiet key would take half an hour; a rare call can do little harm."""
GATE_START: Final = 0.1
GATE_GROWTH: Final = 1.05
"""Growth per interval while the backend is slower than it was, but not because of what it is sent."""
GATE_GROWTH_RESTORED: Final = 1.2
"""Growth per interval while it is as fast as it was before the fault."""
GATE_SHRINK: Final = 0.65
GATE_FLOOR: Final = 0.01
"""The share never falls below this, or there would be nothing left to learn from."""
LATENCY_GROW: Final = 1.1
"""Grow while the typical latency is below this multiple of the reference, beyond doubt."""
LATENCY_SHRINK: Final = 1.15
"""Shrink when it is above this multiple."""
FLOOR_RISE: Final = 1.02
"""How fast the ramp's own lowest latency is forgotten, per interval."""
SPREAD_USUAL: Final = 0.8
"""Standard deviation of log latencies that is assumed while there are too few calls to measure it."""
LATENCY_MIN_S: Final = 1e-6
BASELINE_WEIGHT: Final = 0.02
"""Weight of one sample in the baseline: with 20 samples a second, the last few seconds of health."""
BASELINE_SAMPLES_MIN: Final = 10


class Probe(Ticket):
    """A leased probe of a half-open breaker."""

    __slots__ = ("expires_at", "settled")

    def __init__(self, generation: int, expires_at: float) -> None:
        super().__init__(generation)
        self.expires_at: float = expires_at
        self.settled: bool = False


class ProbeRound:
    """One round of probes.

    Args:
        needed: probes that decide the round.
        successes_needed: how many of them have to succeed.
        concurrency: probes that may be out at once.
        lease_s: how long one may take.
    """

    __slots__ = (
        "concurrency",
        "expired",
        "failures",
        "lease_s",
        "needed",
        "out",
        "successes",
        "successes_needed",
    )

    def __init__(self, needed: int, successes_needed: int, concurrency: int, lease_s: float) -> None:
        self.needed: int = needed
        self.successes_needed: int = successes_needed
        self.concurrency: int = concurrency
        self.lease_s: float = lease_s
        self.successes: int = 0
        self.failures: int = 0
        self.expired: int = 0
        self.out: list[Probe] = []

    def lease(self, generation: int, now: float) -> Probe | None:
        """A probe, or ``None`` when enough are out or the round needs no more."""
        self.expire(now)
        out = len(self.out)
        if out >= self.concurrency or self.successes + self.failures + out >= self.needed or self.refused:
            return None
        probe = Probe(generation, now + self.lease_s)
        self.out.append(probe)
        return probe

    def settle(self, probe: Probe, *, ok: bool) -> None:
        """The probe came back."""
        if self._take(probe):
            self.report(ok=ok)

    def report(self, *, ok: bool) -> None:
        """A call that was not leased went well or not."""
        if ok:
            self.successes += 1
        else:
            self.failures += 1

    def give_back(self, probe: Probe) -> None:
        """The probe was cancelled or proved nothing: somebody else may have it."""
        self._take(probe)

    def _take(self, probe: Probe) -> bool:
        if probe.settled:
            return False
        probe.settled = True
        self.out.remove(probe)
        return True

    def expire(self, now: float) -> None:
        """Leases that ended count as failed probes."""
        for probe in [p for p in self.out if p.expires_at <= now]:
            self._take(probe)
            self.failures += 1
            self.expired += 1

    @property
    def next_expiry(self) -> float:
        """When the next lease ends; infinity when none is out."""
        return min([p.expires_at for p in self.out], default=math.inf)

    @property
    def accepted(self) -> bool:
        """Enough probes succeeded."""
        return self.successes >= self.successes_needed

    @property
    def refused(self) -> bool:
        """Enough probes failed that acceptance is out of reach."""
        return self.failures > self.needed - self.successes_needed


class Baseline:
    """What calls usually cost: an exponentially weighted mean of the log latency of healthy calls."""

    __slots__ = ("_log", "samples")

    def __init__(self) -> None:
        self._log: float = 0.0
        self.samples: int = 0

    def sample(self, latency_s: float) -> None:
        """Take in the latency of one successful call of a closed breaker."""
        value = math.log(max(latency_s, LATENCY_MIN_S))
        self.samples += 1
        # The first samples get an equal say; afterwards the weight is constant.
        self._log += (value - self._log) * max(BASELINE_WEIGHT, 1.0 / self.samples)

    @property
    def typical_s(self) -> float:
        """The geometric mean latency in seconds, or 0 when too little is known."""
        return math.exp(self._log) if self.samples >= BASELINE_SAMPLES_MIN else 0.0


class RampRules:
    """How a ramp climbs.

    Attributes:
        kind: ``gated``, ``fixed`` or ``none``.
        duration_s: of the fixed kind.
        step: of the fixed kind, a share.
    """

    __slots__ = ("duration_s", "kind", "step")

    def __init__(self, kind: str, duration_s: float, step: float) -> None:
        self.kind: str = kind
        self.duration_s: float = duration_s
        self.step: float = step


class Ramp:
    """One climb from a small share back to everything.

    Args:
        rules: the kind of climb.
        baseline_s: typical latency before the fault, 0 if unknown (then only errors and slow calls gate).
        bad_limit: the share of failed or slow calls above which a gated ramp shrinks.
        now: start, monotonic seconds.
    """

    __slots__ = (
        "_bad",
        "_bad_limit",
        "_baseline_s",
        "_calls",
        "_credit",
        "_fixed",
        "_floor_s",
        "_held",
        "_log_squares",
        "_log_sum",
        "_rules",
        "_since",
        "_started",
        "share",
        "shrinks",
    )

    def __init__(self, rules: RampRules, baseline_s: float, bad_limit: float, now: float) -> None:
        self._rules: RampRules = rules
        self._fixed: bool = rules.kind == "fixed"
        self._baseline_s: float = baseline_s
        self._bad_limit: float = bad_limit
        self._started: float = now
        self._since: float = now
        self._calls: int = 0
        self._bad: int = 0
        self._log_sum: float = 0.0
        self._log_squares: float = 0.0
        self._floor_s: float = math.inf
        self._credit: float = 0.0
        self._held: int = 0
        self.shrinks: int = 0
        self.share: float = rules.step if self._fixed else GATE_START

    def admit(self) -> bool:
        """Whether this call is one of the admitted share."""
        credit = self._credit + self.share
        if credit >= 1.0:
            self._credit = credit - 1.0
            return True
        self._credit = credit
        self._held += 1
        return False

    def observe(self, *, ok: bool, latency_s: float) -> None:
        """An admitted call came back."""
        self._calls += 1
        if ok:
            value = math.log(max(latency_s, LATENCY_MIN_S))
            self._log_sum += value
            self._log_squares += value * value
        else:
            self._bad += 1

    def overdue(self, calls: int) -> None:
        """So many admitted calls are past the slow bound without an answer."""
        self._calls += calls
        self._bad += calls

    def step(self, now: float) -> bool:
        """Move the share if it is time; true if it moved."""
        before = self.share
        if self._fixed:
            self._climb(now)
        else:
            waited_s = now - self._since
            due = waited_s >= GATE_INTERVAL_S and self._calls >= GATE_CALLS_MIN
            if due or (waited_s >= GATE_PATIENCE_S and self._calls + self._held > 0):
                self._gate(now)
        return self.share != before

    @property
    def complete(self) -> bool:
        """All traffic is admitted."""
        return self.share >= 1.0

    def _climb(self, now: float) -> None:
        steps = math.ceil(1.0 / self._rules.step)
        done = int((now - self._started) / (self._rules.duration_s / steps))
        self.share = min(1.0, self._rules.step * (done + 1))

    def _gate(self, now: float) -> None:
        good = self._calls - self._bad
        excess = self._bad - self._calls * self._bad_limit
        # One standard error above the limit: a single failure in an interval of ten is no reason to step
        # back.
        troubled = excess > 0.0 and excess * excess > self._bad_limit * (1.0 - self._bad_limit) * self._calls
        resistance = 0.0
        restored = True
        if good > 0:
            mean = self._log_sum / good
            # Few calls say little: what they seem to say is believed only beyond two standard errors.
            spread = math.sqrt(max(self._log_squares / good - mean * mean, 0.0))
            if good < GATE_CALLS_MIN:
                spread = max(spread, SPREAD_USUAL)
            doubt = spread / math.sqrt(good)
            typical_s = math.exp(mean - 2.0 * doubt)
            self._floor_s = min(self._floor_s * FLOOR_RISE, math.exp(mean + doubt))
            resistance = typical_s / max(self._floor_s, self._baseline_s)
            restored = typical_s < LATENCY_GROW * self._baseline_s
        if troubled or resistance > LATENCY_SHRINK:
            self.share = max(GATE_FLOOR, self.share * GATE_SHRINK)
            self.shrinks += 1
        elif resistance < LATENCY_GROW:
            self.share = min(1.0, self.share * (GATE_GROWTH_RESTORED if restored else GATE_GROWTH))
        self._since = now
        self._calls = 0
        self._bad = 0
        self._log_sum = 0.0
        self._log_squares = 0.0
        self._held = 0
