"""Seawall's breaker behind the simulator's protocol: the engine itself, nothing re-implemented.

The engine takes time as a parameter, so it runs here exactly as it runs behind a guard.
"""

from __future__ import annotations

import random

from seawall.kernel.errors import Outcome
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.policy import Breaker
from seawall.resilience.states import State
from seawall.resilience.windows import Ticket

FATES = {"ok": Outcome.OK, "failed": Outcome.FAILED, "ignored": Outcome.IGNORED}
POLICY = Breaker(errors="5%", p95="500ms")


class SeawallRule:
    """Drives one engine; ``policy`` defaults to the configuration under test.

    ``probing`` says that an active probe will be run whenever the engine suspects a stall.
    """

    def __init__(self, policy: Breaker = POLICY, *, probing: bool = False, seed: int = 1) -> None:
        self.engine = CircuitBreaker(
            policy.rules(), name="simulated", rng=random.Random(seed).random, probing=probing
        )
        self.admit = self.engine.admit
        self.poll = self.engine.poll
        self.suspects = self.engine.suspects
        self.probed = self.engine.probed

    @property
    def is_open(self) -> bool:
        """True while nothing but probes passes."""
        return self.engine.state in (State.OPEN, State.HALF_OPEN)

    @property
    def next_due(self) -> float:
        """When the engine wants to be polled."""
        return self.engine.next_due

    @property
    def probe_timeout_s(self) -> float:
        """How long the guard lets an active probe take."""
        return self.engine.stall_after_s

    @property
    def share(self) -> float:
        """The share of traffic that the engine means to admit."""
        return self.engine.share

    def settle(self, ticket: object, fate: str, started: float, now: float) -> None:
        """Hand the result of a call to the engine."""
        if not isinstance(ticket, Ticket):
            raise TypeError(f"ticket: {type(ticket).__name__}; pass what admit() returned")
        self.engine.settle(ticket, FATES[fate], started, now)


def seawall() -> SeawallRule:
    """Return a fresh rule with the policy under test, on passive data alone."""
    return SeawallRule()


def seawall_probing() -> SeawallRule:
    """Return a fresh rule with the policy under test and an active probe."""
    return SeawallRule(probing=True)
