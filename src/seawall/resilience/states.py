"""The breaker's states, events and the one table that joins them; and the numbers a breaker runs on.

``breaker`` walks this table, ``docs`` draws it, and a property test checks that nothing else can happen.

Theory of operation
-------------------
::

              TRIP                      WAITED                     ACCEPTED                FULL
    CLOSED ----------> OPEN ------------------------> HALF_OPEN ------------> RAMPING ------------> CLOSED
       ^                ^ ^                             |     |                  |
       |                | +----------- REFUSED ---------+     |                  |
       |                +--------------- TRIP ----------------|------------------+
       +------------------------- ACCEPTED_FULL --------------+   (ramp of kind ``none``)

* CLOSED admits everything and judges its window.
* OPEN rejects everything until its time is over.  The time doubles with every failed recovery (with jitter,
  so that a fleet does not come back in step) and starts again after a stable recovery.
* HALF_OPEN leases a few probes and rejects the rest.  One round decides: accepted or refused.
* RAMPING admits a share.  A failure lowers the share instead of opening; only evidence against the whole
  window opens.

Entering OPEN, HALF_OPEN's acceptance and RESET start a new *generation*: a ticket of an older generation is a
late result and never changes the verdict.

An *override* (forced open, forced closed, disabled) lies above the table: it stops the walk and has an owner,
a reason and an end.  ``shadow`` walks the table but never rejects.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from seawall.resilience.recovery import RampRules


class State(IntEnum):
    """Where a breaker stands. The numbers are this module's order, not a metric's encoding."""

    CLOSED = 0
    RAMPING = 1
    HALF_OPEN = 2
    OPEN = 3

    @property
    def label(self) -> str:
        """The word for people and metric labels, such as ``half_open``."""
        return self.name.lower()


class Event(Enum):
    """What can happen to a breaker."""

    TRIP = "trip"
    WAITED = "waited"
    ACCEPTED = "accepted"
    ACCEPTED_FULL = "accepted_full"
    REFUSED = "refused"
    FULL = "full"
    RESET = "reset"
    RETRIAL = "retrial"


TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.CLOSED, Event.TRIP): State.OPEN,
    (State.OPEN, Event.WAITED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.ACCEPTED): State.RAMPING,
    (State.HALF_OPEN, Event.ACCEPTED_FULL): State.CLOSED,
    (State.HALF_OPEN, Event.REFUSED): State.OPEN,
    (State.RAMPING, Event.FULL): State.CLOSED,
    (State.RAMPING, Event.TRIP): State.OPEN,
    # An operator's orders: RESET means "believe me, it is well", RETRIAL "prove it again" (after a forced
    # open).
    (State.CLOSED, Event.RESET): State.CLOSED,
    (State.OPEN, Event.RESET): State.CLOSED,
    (State.HALF_OPEN, Event.RESET): State.CLOSED,
    (State.RAMPING, Event.RESET): State.CLOSED,
    (State.CLOSED, Event.RETRIAL): State.HALF_OPEN,
    (State.OPEN, Event.RETRIAL): State.HALF_OPEN,
    (State.HALF_OPEN, Event.RETRIAL): State.HALF_OPEN,
    (State.RAMPING, Event.RETRIAL): State.HALF_OPEN,
}
"""Every legal step; a pair that is missing cannot happen."""


class Enforcement(Enum):
    """What is done with the verdict."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    DISABLED = "disabled"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"


class Override:
    """A state that an operator forced.

    Attributes:
        mode: the enforcement while it lasts.
        owner: who did it.
        reason: why.
        until: monotonic seconds of its end; infinity for "until released".
    """

    __slots__ = ("mode", "owner", "reason", "until")

    def __init__(self, mode: Enforcement, owner: str, reason: str, until: float) -> None:
        self.mode: Enforcement = mode
        self.owner: str = owner
        self.reason: str = reason
        self.until: float = until

    def __repr__(self) -> str:
        return f"<Override {self.mode.value} by {self.owner}: {self.reason}>"


class BreakerRules:
    """A breaker's policy as plain numbers: seconds, shares from 0 to 1, counts; 0 switches a rule off.

    Built by ``policy.Breaker.rules()``, which has checked every value; see there for the meaning of each.
    """

    __slots__ = (
        "confidence",
        "consecutive",
        "enforcement",
        "errors",
        "long_s",
        "minimum_requests",
        "open_for_max_s",
        "open_for_s",
        "open_jitter",
        "probe_concurrency",
        "probe_lease_s",
        "probes",
        "probes_needed",
        "ramp",
        "saturation",
        "short_s",
        "slow",
        "slow_s",
        "slower",
        "slower_s",
        "stall_s",
        "static",
        "throttled",
    )

    def __init__(
        self,
        *,
        errors: float,
        slow: float,
        slow_s: float,
        slower: float,
        slower_s: float,
        throttled: float,
        saturation: float,
        consecutive: int,
        confidence: float,
        minimum_requests: int,
        static: bool,
        short_s: float,
        long_s: float,
        open_for_s: float,
        open_for_max_s: float,
        open_jitter: float,
        probes: int,
        probes_needed: int,
        probe_concurrency: int,
        probe_lease_s: float,
        stall_s: float,
        ramp: RampRules,
        enforcement: Enforcement,
    ) -> None:
        self.errors: float = errors
        self.slow: float = slow
        self.slow_s: float = slow_s
        self.slower: float = slower
        self.slower_s: float = slower_s
        self.throttled: float = throttled
        self.saturation: float = saturation
        self.consecutive: int = consecutive
        self.confidence: float = confidence
        self.minimum_requests: int = minimum_requests
        self.static: bool = static
        self.short_s: float = short_s
        self.long_s: float = long_s
        self.open_for_s: float = open_for_s
        self.open_for_max_s: float = open_for_max_s
        self.open_jitter: float = open_jitter
        self.probes: int = probes
        self.probes_needed: int = probes_needed
        self.probe_concurrency: int = probe_concurrency
        self.probe_lease_s: float = probe_lease_s
        self.stall_s: float = stall_s
        self.ramp: RampRules = ramp
        self.enforcement: Enforcement = enforcement

    def same_window(self, other: BreakerRules) -> bool:
        """Whether a window counted under ``other`` means the same under these rules."""
        return (self.slow_s, self.slower_s, self.short_s, self.long_s) == (
            other.slow_s,
            other.slower_s,
            other.short_s,
            other.long_s,
        )
