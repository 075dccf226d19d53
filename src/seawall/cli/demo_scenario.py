"""The demo's play: a service that hangs, crawls, fails and comes back cold, and the times at which it does.

Pure: it reads no clock and starts nothing, so that tests can play it on virtual time. The stage does it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from seawall import Breaker, Budget, Ramp, Retry

NEVER_S: Final = 3600.0
"""How long a hung call takes; nobody waits for it."""
TYPICAL_S: Final = 0.015
"""Median latency of the healthy service."""
SPREAD: Final = 0.3
"""Standard deviation of the latency's logarithm."""
SLOW_FACTOR: Final = 40.0
COLD_FACTOR: Final = 3.0
WARM_AFTER_CALLS: Final = 12.0
"""Calls that the repaired service has to answer until its cold cache costs 1/e of what it did."""
ERROR_SHARE: Final = 0.005
"""Share of the healthy service's calls that fail, as they do everywhere."""


class Phase(Enum):
    """How the service behaves; the value is what a person reads."""

    HEALTHY = "healthy"
    HANGS = "hangs"
    SLOW = "40 times slower"
    ERRORS = "errors"
    COLD = "repaired, cold cache"

    @property
    def short(self) -> str:
        """A word that fits into a few columns."""
        return _SHORT[self]


_SHORT: Final = {
    Phase.HEALTHY: "healthy",
    Phase.HANGS: "hang",
    Phase.SLOW: "slow",
    Phase.ERRORS: "err",
    Phase.COLD: "repaired",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """When what happens, in seconds since the curtain, and what guards against it.

    Attributes:
        name: for the report.
        hangs_at_s: the service stops answering.
        slow_at_s: it answers again, but 40 times slower.
        errors_at_s: it answers fast, with errors.
        repaired_at_s: it is well again, with a cold cache.
        ends_at_s: the curtain falls.
        calls_per_s: how many calls the clients make.
        breaker: the guard's breaker.
        retry: the guard's retries.
        timeout: the guard's timeout.
    """

    name: str
    hangs_at_s: float
    slow_at_s: float
    errors_at_s: float
    repaired_at_s: float
    ends_at_s: float
    calls_per_s: float
    breaker: Breaker
    retry: Retry
    timeout: str

    def phase_at(self, elapsed_s: float) -> Phase:
        """How the service behaves at a moment."""
        for start_s, phase in reversed(self.phases()):
            if elapsed_s >= start_s:
                return phase
        return Phase.HEALTHY

    def phases(self) -> tuple[tuple[float, Phase], ...]:
        """All phases with their starts, in order."""
        return (
            (0.0, Phase.HEALTHY),
            (self.hangs_at_s, Phase.HANGS),
            (self.slow_at_s, Phase.SLOW),
            (self.errors_at_s, Phase.ERRORS),
            (self.repaired_at_s, Phase.COLD),
        )


_RETRY: Final = Retry(attempts=2, base="20ms", budget=Budget(ratio="10%"))
_TIMEOUT: Final = "1s"


def _breaker(ramp: Ramp) -> Breaker:
    return Breaker(
        errors="5%",
        p95="250ms",
        stall_after="80ms",
        open_for="500ms",
        open_for_max="1s",
        probe_success="80%",
        probe_lease="300ms",
        ramp=ramp,
    )


FULL: Final = Scenario(
    name="full",
    hangs_at_s=4.0,
    slow_at_s=6.5,
    errors_at_s=9.0,
    repaired_at_s=11.0,
    ends_at_s=30.0,
    calls_per_s=400.0,
    breaker=_breaker(Ramp(kind="gated")),
    retry=_RETRY,
    timeout=_TIMEOUT,
)
"""With the ramp that follows the service's latency."""

FAST: Final = Scenario(
    name="fast",
    hangs_at_s=2.0,
    slow_at_s=3.0,
    errors_at_s=4.0,
    repaired_at_s=5.0,
    ends_at_s=11.0,
    calls_per_s=300.0,
    breaker=_breaker(Ramp(kind="fixed", duration="3s")),
    retry=_RETRY,
    timeout=_TIMEOUT,
)
"""For the impatient: a short fixed ramp instead of the gated one, which takes its time by design."""


class Dice(Protocol):
    """What the play draws from; ``random.Random`` fits."""

    def random(self) -> float:
        """A number from [0, 1)."""
        ...

    def lognormvariate(self, mu: float, sigma: float) -> float:
        """A number whose logarithm is normally distributed."""
        ...

    def expovariate(self, lambd: float) -> float:
        """A waiting time of a Poisson process."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """How one call goes: how long it takes, and whether it ends well."""

    latency_s: float
    ok: bool


class FlakyService:
    """A service that follows the scenario.

    Args:
        scenario: what happens when.
        dice: for latencies and the odd error.
        elapsed_s: gives the seconds since the curtain.
        sleep: waits.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        dice: Dice,
        elapsed_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._scenario = scenario
        self._dice = dice
        self._elapsed_s = elapsed_s
        self._sleep = sleep
        self.warmed_by = 0
        """Calls answered since the repair."""
        self.sent = dict.fromkeys(Phase, 0)
        """Calls that came in, by phase; health checks are none."""

    async def price(self) -> str:
        """What clients call.

        Raises:
            ConnectionResetError: in the errors phase always, else now and then.
        """
        self.sent[self._scenario.phase_at(self._elapsed_s())] += 1
        return await self._answer()

    async def ping(self) -> str:
        """What the guard's active probe calls; as well or ill as everything else here."""
        return await self._answer()

    async def _answer(self) -> str:
        reply = self.reply(self._scenario.phase_at(self._elapsed_s()))
        await self._sleep(reply.latency_s)
        if not reply.ok:
            raise ConnectionResetError("the service closed the connection")
        return "42.00"

    def reply(self, phase: Phase) -> Reply:
        """Draw how a call goes that comes in now."""
        usual_s = self._dice.lognormvariate(math.log(TYPICAL_S), SPREAD)
        if phase is Phase.HANGS:
            return Reply(NEVER_S, ok=True)
        if phase is Phase.SLOW:
            return Reply(usual_s * SLOW_FACTOR, ok=True)
        if phase is Phase.ERRORS:
            return Reply(usual_s, ok=False)
        factor = 1.0
        if phase is Phase.COLD:
            factor += (COLD_FACTOR - 1.0) * math.exp(-self.warmed_by / WARM_AFTER_CALLS)
            self.warmed_by += 1
        return Reply(usual_s * factor, ok=self._dice.random() >= ERROR_SHARE)
