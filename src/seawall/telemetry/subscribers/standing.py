"""How a guard's breaker stands, in the cells that say so.

Signals set it the moment it changes, and readings put it right at every scrape: of two guards with one name
the worse one is shown. Nothing is counted here.
"""

from __future__ import annotations

from typing import Final

from seawall.telemetry.catalogue.resilience import (
    BREAKER_FORCED,
    BREAKER_IN_STATE,
    BREAKER_RAMP_SHARE,
    BREAKER_STATE,
)
from seawall.telemetry.metrics.registry import Registry

__all__ = ["CLOSED", "NUMBERS", "OPEN", "Standing"]

CLOSED: Final = "closed"
OPEN: Final = "open"
NUMBERS: Final = {CLOSED: 0, "ramping": 1, "half_open": 1, OPEN: 2}
"""What the gauge of the state says; a breaker that recovers is neither open nor closed."""


class Standing:
    """The cells of all breakers' standing in one registry.

    Args:
        registry: Where they are.
    """

    __slots__ = ("_forced", "_in_state", "_share", "_state")

    def __init__(self, registry: Registry) -> None:
        self._state = registry.gauge(BREAKER_STATE)
        self._in_state = registry.state_set(BREAKER_IN_STATE)
        self._share = registry.gauge(BREAKER_RAMP_SHARE)
        self._forced = registry.gauge(BREAKER_FORCED)

    def state(self, name: str, state: str) -> None:
        """It is in this state; nothing changes if that is none."""
        number = NUMBERS.get(state)
        if number is not None:
            self._state.cell(name).set(number)
            self._in_state.cell(name).set(state)

    def share(self, name: str, share: float) -> None:
        """It admits this share of the calls, 0 to 1."""
        self._share.cell(name).set(share)

    def forced(self, name: str, forced: bool) -> None:  # noqa: FBT001  # a setter
        """Whether an operator's order stands above it."""
        self._forced.cell(name).set(int(forced))

    def remove(self, name: str) -> None:
        """There is no such breaker any more."""
        for family in (self._state, self._in_state, self._share, self._forced):
            family.remove(name)
