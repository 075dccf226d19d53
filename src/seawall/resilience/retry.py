"""Retry: whether a failed attempt is repeated, and after how long.

Pure arithmetic and one decision table; nothing here sleeps, loops or calls anything. The guard's attempt loop
asks :meth:`RetrySchedule.should_retry` after each attempt and sleeps at its edge.

What is never repeated: what succeeded, however slowly; what was cancelled from outside; what the callee
understood and turned down for good (tier 1); what this process rejected itself, since repeating that turns
one refusal into several. The one exception is a rejection that says when to come back, if the policy opts in
and the deadline leaves the time.

Delays: exponential with jitter, from Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog,
2015). "full" spreads a crowd best and is the default; "equal" keeps half of the wait for those who need a
lower bound; "none" is for tests and for a single client.

Threads: no lock. Rules and decisions never change. The counters of a schedule are changed with one load, one
addition and one store, with no call, loop or allocation of a container in between, and CPython 3.11 to 3.13
with the GIL switches threads only at function entry, after a call has returned and on a loop's backward jump.
A free-threaded build may lose counts, never a decision.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal, final

from seawall.kernel.errors import Outcome
from seawall.resilience.budget import RetryBudget

__all__ = ["RetryDecision", "RetryReason", "RetryRules", "RetrySchedule", "RetryStatistics"]


class RetryReason(enum.Enum):
    """Why an attempt is, or isn't, followed by another. In the order in which they are looked at."""

    RETRY = "another attempt"
    SUCCEEDED = "the attempt succeeded"
    REJECTED = "a rejection is not retried"
    CANCELLED = "cancelled from outside"
    NOT_RETRYABLE = "the error is not transient"
    NOT_IDEMPOTENT = "the attempt may have taken effect"
    ATTEMPTS = "all attempts are used"
    ELAPSED = "the time for retries is over"
    DEADLINE = "the deadline leaves no time"
    RETRY_AFTER = "the callee asks for too long a wait"
    BUDGET = "the retry budget is empty"


@dataclass(frozen=True, slots=True)
class RetryRules:
    """The numbers of a retry policy.

    Attributes:
        attempts: Most attempts in all, the first included.
        base_s: Longest delay before the second attempt, in seconds.
        max_s: Longest delay before any attempt, in seconds.
        multiplier: How the delay grows from attempt to attempt.
        jitter: ``"full"``: 0 to the delay; ``"equal"``: half of the delay to the delay; ``"none"``: the
            delay.
        max_elapsed_s: No attempt starts later than this after the first, in seconds; None for no such limit.
        max_retry_after_s: A callee that asks for a longer wait than this is not called again.
        retry_rejections: Whether a rejection that says when to come back is retried then.

    Raises:
        ValueError: A number is out of range.
    """

    attempts: int = 3
    base_s: float = 0.1
    max_s: float = 5.0
    multiplier: float = 2.0
    jitter: Literal["full", "equal", "none"] = "full"
    max_elapsed_s: float | None = None
    max_retry_after_s: float = 30.0
    retry_rejections: bool = False

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(
                f"attempts = {self.attempts!r}: must be an integer >= 1, the first attempt included"
            )
        if not (isfinite(self.base_s) and self.base_s >= 0.0):
            raise ValueError(f"base_s = {self.base_s!r}: must be a finite number of seconds >= 0")
        if not (isfinite(self.max_s) and self.max_s >= self.base_s):
            raise ValueError(f"max_s = {self.max_s!r}: must be a finite number of seconds >= base_s")
        if not (isfinite(self.multiplier) and self.multiplier >= 1.0):
            raise ValueError(f"multiplier = {self.multiplier!r}: must be a finite number >= 1")
        if self.jitter not in {"full", "equal", "none"}:
            raise ValueError(f"jitter = {self.jitter!r}: must be 'full', 'equal' or 'none'")
        if self.max_elapsed_s is not None and not self.max_elapsed_s >= 0.0:
            raise ValueError(
                f"max_elapsed_s = {self.max_elapsed_s!r}: must be a number of seconds >= 0, or None"
            )


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What to do after an attempt.

    Attributes:
        retry: Whether to make another attempt.
        delay_s: How long to wait before it; 0 when there is none.
        reason: Why.
    """

    retry: bool
    delay_s: float
    reason: RetryReason


@dataclass(frozen=True, slots=True)
class RetryStatistics:
    """One moment of a schedule: how its decisions fell. Successes are not counted.

    Attributes:
        retried: Another attempt was made.
        not_retried: The error's kind forbade it: rejected, cancelled, not transient or not idempotent.
        exhausted: All attempts were used.
        out_of_time: Too late for another attempt, by ``max_elapsed_s`` or by the deadline.
        out_of_budget: The retry budget was empty.
    """

    retried: int
    not_retried: int
    exhausted: int
    out_of_time: int
    out_of_budget: int


_REFUSALS: Final = {reason: RetryDecision(retry=False, delay_s=0.0, reason=reason) for reason in RetryReason}

# The callee said so itself: THROTTLED turned the call away at the door, and an IGNORED one that is retryable
# was rolled back (a serialization failure, a deadlock victim). After FAILED and UNREACHABLE nobody knows: the
# connection may have broken before the work or after it.
_WITHOUT_EFFECT: Final = frozenset({Outcome.THROTTLED, Outcome.IGNORED})


@final
class RetrySchedule:
    """Decides on retries by the given rules, and counts the decisions.

    Args:
        rules: The policy's numbers.
    """

    __slots__ = ("_exhausted", "_not_retried", "_out_of_budget", "_out_of_time", "_retried", "rules")

    def __init__(self, rules: RetryRules) -> None:
        self.rules: Final = rules
        self._retried = 0
        self._not_retried = 0
        self._exhausted = 0
        self._out_of_time = 0
        self._out_of_budget = 0

    def delay(self, attempt: int, rng: Callable[[], float], retry_after_s: float | None = None) -> float:
        """How long to wait before the next attempt.

        Args:
            attempt: Number of the attempt that has just failed, from 1.
            rng: Uniform random numbers in [0, 1).
            retry_after_s: What the callee asked for. It comes on top, uncapped: earlier is no use, and
                without the jitter after it everybody who was told the same would come back at the same
                instant.

        Returns:
            Seconds.
        """
        rules = self.rules
        try:
            longest = min(rules.max_s, rules.base_s * rules.multiplier ** (attempt - 1))
        except OverflowError:
            longest = rules.max_s
        if rules.jitter == "full":
            wait = rng() * longest
        elif rules.jitter == "equal":
            wait = (0.5 + 0.5 * rng()) * longest
        else:
            wait = longest
        return wait if retry_after_s is None or not retry_after_s > 0.0 else retry_after_s + wait

    def should_retry(
        self,
        attempt: int,
        outcome: Outcome,
        *,
        rng: Callable[[], float],
        retryable: bool,
        idempotent: bool = True,
        rejected: bool = False,
        retry_after_s: float | None = None,
        elapsed_s: float = 0.0,
        remaining_s: float | None = None,
        budget: RetryBudget | None = None,
        now: float = 0.0,
    ) -> RetryDecision:
        """Decide after an attempt; the budget is asked last, so a retry forbidden otherwise costs nothing.

        Args:
            attempt: Number of the attempt that has just ended, from 1.
            outcome: How it ended.
            rng: Uniform random numbers in [0, 1).
            retryable: Whether the error's classification calls it transient.
            idempotent: Whether twice is as good as once. If not, only what had no effect is repeated.
            rejected: Whether this process refused the attempt; ``outcome`` then doesn't matter.
            retry_after_s: When to come back, if somebody said so.
            elapsed_s: Seconds since the first attempt began.
            remaining_s: Seconds until the deadline; None for no deadline.
            budget: Who pays; None for nobody.
            now: Monotonic seconds, for the budget.

        Returns:
            The decision, with its reason.
        """
        forbidden = self._forbidden(
            outcome,
            retryable=retryable,
            idempotent=idempotent,
            rejected=rejected,
            retry_after_s=retry_after_s,
        )
        if forbidden is not None:
            if forbidden is not RetryReason.SUCCEEDED:
                self._not_retried += 1
            return _REFUSALS[forbidden]
        if attempt >= self.rules.attempts:
            self._exhausted += 1
            return _REFUSALS[RetryReason.ATTEMPTS]
        delay_s = self.delay(attempt, rng, retry_after_s)
        too_late = self._too_late(delay_s, retry_after_s, elapsed_s, remaining_s)
        if too_late is not None:
            self._out_of_time += 1
            return _REFUSALS[too_late]
        if budget is not None and not budget.try_spend(now):
            self._out_of_budget += 1
            return _REFUSALS[RetryReason.BUDGET]
        self._retried += 1
        return RetryDecision(retry=True, delay_s=delay_s, reason=RetryReason.RETRY)

    def _too_late(
        self, delay_s: float, retry_after_s: float | None, elapsed_s: float, remaining_s: float | None
    ) -> RetryReason | None:
        """What time forbids; None if there is enough of it."""
        rules = self.rules
        if retry_after_s is not None and retry_after_s > rules.max_retry_after_s:
            return RetryReason.RETRY_AFTER
        if rules.max_elapsed_s is not None and elapsed_s + delay_s > rules.max_elapsed_s:
            return RetryReason.ELAPSED
        if remaining_s is not None and delay_s >= remaining_s:
            return RetryReason.DEADLINE
        return None

    def _forbidden(
        self,
        outcome: Outcome,
        *,
        retryable: bool,
        idempotent: bool,
        rejected: bool,
        retry_after_s: float | None,
    ) -> RetryReason | None:
        """What the kind of the ending alone forbids; None if it may be repeated."""
        if rejected:
            # Nothing was sent, so neither transience nor idempotence matter.
            welcome = self.rules.retry_rejections and retry_after_s is not None
            return None if welcome else RetryReason.REJECTED
        if outcome in {Outcome.OK, Outcome.SLOW}:
            return RetryReason.SUCCEEDED
        if outcome is Outcome.VOID:
            return RetryReason.CANCELLED
        if not retryable:
            return RetryReason.NOT_RETRYABLE
        if not idempotent and outcome not in _WITHOUT_EFFECT:
            return RetryReason.NOT_IDEMPOTENT
        return None

    def statistics(self) -> RetryStatistics:
        """How the decisions fell so far, all of one moment."""
        return RetryStatistics(
            retried=self._retried,
            not_retried=self._not_retried,
            exhausted=self._exhausted,
            out_of_time=self._out_of_time,
            out_of_budget=self._out_of_budget,
        )

    def __repr__(self) -> str:
        now, rules = self.statistics(), self.rules
        refused = now.not_retried + now.exhausted + now.out_of_time + now.out_of_budget
        return (
            f"<RetrySchedule attempts={rules.attempts} {rules.base_s:g} s x {rules.multiplier:g}"
            f" up to {rules.max_s:g} s jitter={rules.jitter} retried={now.retried} refused={refused}>"
        )
