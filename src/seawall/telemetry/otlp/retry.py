"""When a request is sent again, and what an attempt came to. Pure: time and randomness are parameters.

The rules are those of the OpenTelemetry Protocol specification ("Failures", "OTLP/gRPC Throttling"): which
answers are transient, that a wait which the collector asks for is kept, and that waits grow and are spread
otherwise.

One gate for all requests: a collector that is down is asked once per wait, not once per waiting request, and
one that wants peace is left in peace by all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, final

__all__ = ["ASKED_LIMIT_S", "Answer", "Gate", "Verdict"]

ASKED_LIMIT_S: Final = 300.0
"""A collector may ask for a longer wait; it gets this one."""

_NO_WAIT_S: Final = 1e-6
"""A wait that rounding left over; a timer for it may be over before the clock has moved."""


class Answer(Enum):
    """What an attempt came to."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    """Nobody took it; the same request may be taken later."""
    REFUSED = "refused"
    """The collector will not take this request, now or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One attempt.

    Attributes:
        answer: What to do with the request.
        reason: What failed, one of a small set of words; ``"ok"`` if nothing did.
        rejected: Spans that an accepting collector did not keep.
        retry_after_s: The wait that the collector asks for.
        text: For the operator: a status, a message of the collector, an exception's text.
    """

    answer: Answer
    reason: str = "ok"
    rejected: int = 0
    retry_after_s: float | None = None
    text: str = ""


@final
class Gate:
    """Closed for a while after a failure.

    Args:
        base_s: The first wait is between half of this and this.
        max_s: The longest wait that the collector didn't ask for.

    Attributes:
        troubles: Failures in a row.
        opens_at: When the next attempt may begin.
        asked: Whether the collector itself asked for the wait.
    """

    __slots__ = ("_base_s", "_closed_at", "_max_s", "asked", "opens_at", "troubles")

    def __init__(self, *, base_s: float, max_s: float) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._closed_at = float("-inf")
        self.troubles = 0
        self.opens_at = float("-inf")
        self.asked = False

    def failed(self, verdict: Verdict, *, began: float, now: float, rng: Callable[[], float]) -> None:
        """Close after a failed attempt.

        Args:
            verdict: What it came to.
            began: When it began: attempts that were under way when another failed tell nothing new.
            now: The time.
            rng: Uniform random numbers in [0, 1).
        """
        if verdict.retry_after_s is not None:
            until = now + min(max(verdict.retry_after_s, 0.0), ASKED_LIMIT_S) + rng() * self._base_s
            if not self.asked or until > self.opens_at:
                self.opens_at = until
            self.asked = True
            self.troubles += 1
            self._closed_at = now
        elif began >= self._closed_at and not (self.asked and now < self.opens_at):
            longest = min(self._max_s, self._base_s * 2.0 ** min(self.troubles, 60))
            self.opens_at = now + longest * (0.5 + 0.5 * rng())
            self.asked = False
            self.troubles += 1
            self._closed_at = now

    def succeeded(self) -> None:
        """Open, unless the collector asked for a wait that isn't over."""
        self.troubles = 0
        if not self.asked:
            self.opens_at = float("-inf")

    def hurry(self) -> None:
        """Open for those who can't wait; a wait that the collector asked for is kept."""
        if not self.asked:
            self.opens_at = float("-inf")

    def wait_s(self, now: float) -> float:
        """How long it stays closed."""
        left_s = self.opens_at - now
        return left_s if left_s > _NO_WAIT_S else 0.0
