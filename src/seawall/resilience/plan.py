"""A guard's policies as running engines, and the life of one call through them.

``guard`` builds a :class:`Plan` and hands it to the two edges, ``threads`` (blocking) and ``aio`` (awaiting).
The edges only wait; every decision is taken here, once for both.  Time is a parameter; nothing here sleeps or
awaits.

Canonical order, from the outside in: fallback, deadline, rate limit, bulkhead, retry and its budget, breaker,
timeout, call.  A retry passes the breaker again, because the breaker has to see what the server feels; it
does not pass the rate limit and the bulkhead again, because the call still holds its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeAlias

from seawall.kernel.errors import (
    BreakerOpen,
    BulkheadFull,
    CallRejected,
    DeadlineExceeded,
    Outcome,
    RateExceeded,
    UsageError,
)
from seawall.kernel.signals import (
    BreakerRefused,
    BulkheadRefused,
    DeadlineExpired,
    FallbackUsed,
    Hub,
    RateRefused,
    RetryRefused,
    RetryScheduled,
)
from seawall.kernel.tally import Tally
from seawall.resilience import deadline as deadlines
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.budget import RetryBudget
from seawall.resilience.bulkhead import Bulkhead
from seawall.resilience.bulkhead import Ticket as BulkheadTicket
from seawall.resilience.classify import Classifier, Verdict
from seawall.resilience.limits import RateLimiter
from seawall.resilience.registry import KeyedBreaker
from seawall.resilience.retry import RetryReason, RetrySchedule
from seawall.resilience.windows import Ticket

AnyBreaker: TypeAlias = CircuitBreaker | KeyedBreaker
Fallback: TypeAlias = Callable[[BaseException], object]
"""Takes the error, gives the result to use instead (or an awaitable of it, under an async guard)."""
Probe: TypeAlias = Callable[[], object]
"""An active check: an exception or ``False`` means "not well"."""


class PlanHolder(Protocol):
    """Something that has a plan and may get another one: a guard."""

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        ...


OPEN: Final = "the circuit breaker is open"
FULL: Final = "the bulkhead is full"
TIRED: Final = "waited too long for a place in the bulkhead"
RATE: Final = "the rate limit is reached"
TIMER_SLACK_S: Final = 1e-6
"""A timer may ring this much before its time, by the rounding of two clocks."""


class Occupancy(NamedTuple):
    """How full a bulkhead was when it refused a call."""

    inside: int
    limit: int
    waiting: int

    def __str__(self) -> str:
        return f"{self.inside} of {self.limit} places taken, {self.waiting} waiting"


def hand_on(heir: BulkheadTicket | None) -> None:
    """Wake the waiter whom a place went to; if nobody is there any more, the one after it, and so on."""
    while heir is not None and heir.wake is not None:
        heir = heir.wake()


class Plan:
    """The engines of one guard (or of one key of it).

    Args:
        name: the guard's name.
        key: the key, if this is one of many.
        now: reads the clock, monotonic seconds.
        sleep: waits, for the blocking edge.
        rng: random numbers from [0, 1).
        hub: where signals go.
        classifier: what endings mean.
        breaker: and the other engines; ``None`` where the policy has no such part.
        bulkhead: likewise.
        limiter: likewise.
        schedule: likewise.
        budget: likewise.
        idempotent: whether calls may be repeated.
        timeout_s: for one attempt, infinity for none.
        deadline_s: for the call, infinity for none.
        fallback: instead of an error.
        probe: the active check.
    """

    __slots__ = (
        "breaker",
        "budget",
        "bulkhead",
        "classifier",
        "deadline_s",
        "fallback",
        "fallbacks",
        "hub",
        "idempotent",
        "key",
        "limiter",
        "name",
        "now",
        "probe",
        "rng",
        "schedule",
        "short",
        "sleep",
        "timeout_s",
    )

    def __init__(
        self,
        *,
        name: str,
        key: str,
        now: Callable[[], float],
        sleep: Callable[[float], None],
        rng: Callable[[], float],
        hub: Hub,
        classifier: Classifier,
        breaker: AnyBreaker | None,
        bulkhead: Bulkhead | None,
        limiter: RateLimiter | None,
        schedule: RetrySchedule | None,
        budget: RetryBudget | None,
        idempotent: bool,
        timeout_s: float,
        deadline_s: float,
        fallback: Fallback | None,
        probe: Probe | None,
    ) -> None:
        self.name: Final = name
        self.key: Final = key
        self.now: Final = now
        self.sleep: Final = sleep
        self.rng: Final = rng
        self.hub: Final = hub
        self.classifier: Final = classifier
        self.breaker: Final = breaker
        self.bulkhead: Final = bulkhead
        self.limiter: Final = limiter
        self.schedule: Final = schedule
        self.budget: Final = budget
        self.idempotent: Final = idempotent
        self.timeout_s: Final = timeout_s
        self.deadline_s: Final = deadline_s
        self.fallback: Final = fallback
        self.probe: Final = probe
        self.fallbacks: Tally = Tally()
        plain = (
            breaker is not None
            and bulkhead is None
            and limiter is None
            and schedule is None
            and fallback is None
            and classifier.by_result is None
            and timeout_s == math.inf
            and deadline_s == math.inf
        )
        self.short: Final[CircuitBreaker | None] = (
            breaker if plain and isinstance(breaker, CircuitBreaker) else None
        )
        """The breaker, if there is nothing else: then a wrapper may count calls by itself."""

    @property
    def attempts(self) -> int:
        """Most attempts of one call."""
        return 1 if self.schedule is None else self.schedule.rules.attempts

    def with_breaker(self, key: str, breaker: AnyBreaker) -> Plan:
        """The same plan for one key: a breaker of its own, everything else shared."""
        plan = Plan(
            name=self.name,
            key=key,
            now=self.now,
            sleep=self.sleep,
            rng=self.rng,
            hub=self.hub,
            classifier=self.classifier,
            breaker=breaker,
            bulkhead=self.bulkhead,
            limiter=self.limiter,
            schedule=self.schedule,
            budget=self.budget,
            idempotent=self.idempotent,
            timeout_s=self.timeout_s,
            deadline_s=self.deadline_s,
            fallback=self.fallback,
            probe=self.probe,
        )
        plan.fallbacks = self.fallbacks
        return plan

    def rejection(self, breaker: AnyBreaker, now: float) -> BreakerOpen:
        """The error for a call that ``breaker`` did not admit."""
        full = breaker if isinstance(breaker, CircuitBreaker) else breaker.grow(now)
        after_s = full.retry_after_s(now)
        if self.hub.active:
            self._refused(after_s, now)
        return BreakerOpen(self.name, OPEN, after_s, full.evidence)

    def refusal(self, breaker: CircuitBreaker, now: float) -> BreakerOpen:
        """:meth:`rejection` for wrappers that saw ``now < breaker.rejects_until`` and asked nobody."""
        breaker.rejected += 1
        after_s = breaker.rejects_until - now
        if self.hub.active:
            self._refused(after_s, now)
        return BreakerOpen(self.name, OPEN, after_s, breaker.evidence)

    def turned_away(self) -> BreakerOpen | None:
        """The error for a call that need not even start, because there is only a breaker and it is open."""
        breaker = self.short
        if breaker is None or not breaker.inline:
            return None
        now = self.now()
        return self.refusal(breaker, now) if now < breaker.rejects_until else None

    def _refused(self, after_s: float | None, now: float) -> None:
        self.hub.publish(
            BreakerRefused(at=now, name=self.name, key=self.key, reason=OPEN, retry_after_s=after_s)
        )

    def fall_back(self, error: BaseException, now: float) -> object:
        """The fallback's answer to ``error``.

        Raises:
            BaseException: ``error`` itself, when there is no fallback or the error is a cancellation, a wrong
                use of this library or a proper refusal (tier 1), which no substitute should hide.
        """
        if self.fallback is None or not isinstance(error, Exception) or isinstance(error, UsageError):
            raise error
        if not isinstance(error, CallRejected) and self.classifier.error(error).outcome is Outcome.IGNORED:
            raise error
        self.fallbacks.add()
        if self.hub.active:
            self.hub.publish(FallbackUsed(at=now, name=self.name, key=self.key, error=type(error).__name__))
        return self.fallback(error)

    def settle_error(
        self, breaker: CircuitBreaker, ticket: Ticket, started: float, error: BaseException
    ) -> None:
        """Settle a call that a wrapper counted by itself and that raised."""
        outcome = Outcome.FAILED
        try:
            outcome = self.classifier.error(error).outcome
        finally:
            # Also when the user's classifier raises: a call that is never settled would count as one that
            # hangs.
            breaker.settle(ticket, outcome, started, self.now())


def _cut_short(error: BaseException, until: float, now: float) -> bool:
    """Whether a cancellation is the end of the time that the call had: then it was too slow, and that counts.

    When the deadline of a guard further out is what ends a call, the guards inside see only a cancellation.
    """
    if isinstance(error, Exception | GeneratorExit | KeyboardInterrupt | SystemExit):
        return False
    return now >= until - TIMER_SLACK_S


_UNSAID: Final = frozenset({RetryReason.SUCCEEDED, RetryReason.CANCELLED, RetryReason.REJECTED})
"""Not to retry these is a matter of course; a rejection has its own signal."""


class Call:
    """One call through a plan, with its attempts.

    The edge calls :meth:`enter`, waits for a place in the bulkhead if there is none, then for each attempt
    :meth:`begin` and one of :meth:`succeeded` and :meth:`failed`, and at last :meth:`leave`.
    """

    # fmt: off
    __slots__ = (
        "_attempt_at", "_inside", "_ticket", "_until", "attempt", "deadline_at", "plan", "started_at",
    )
    # fmt: on

    def __init__(self, plan: Plan, now: float) -> None:
        self.plan: Final = plan
        self.started_at: Final = now
        self.attempt: int = 0
        own = now + plan.deadline_s
        outer = deadlines.current()
        self.deadline_at: Final[float] = own if outer is None else min(own, outer.at)
        self._ticket: Ticket | None = None
        self._attempt_at: float = now
        self._until: float = math.inf
        self._inside: bool = False

    def enter(self, now: float) -> bool:
        """Pass the deadline and the rate limit and take a place in the bulkhead; false if there is none free.

        Raises:
            DeadlineExceeded: there is no time left.
            RateExceeded: the rate limit is reached.
        """
        plan = self.plan
        if now >= self.deadline_at:
            raise self.expired(now, "before the call")
        if plan.limiter is not None:
            wait_s = plan.limiter.try_acquire(now)
            if wait_s > 0.0:
                if plan.hub.active:
                    plan.hub.publish(
                        RateRefused(at=now, name=plan.name, key=plan.key, reason=RATE, retry_after_s=wait_s)
                    )
                raise RateExceeded(plan.name, RATE, wait_s)
        bulkhead = plan.bulkhead
        if bulkhead is None:
            return True
        self._inside = entered = bulkhead.try_enter()
        if isinstance(plan.breaker, CircuitBreaker):
            plan.breaker.saturation(bulkhead.inside / bulkhead.limit, now)
        return entered

    def entered(self) -> None:
        """The edge waited, and the place is ours now."""
        self._inside = True

    def crowded(self, now: float, reason: str) -> BulkheadFull:
        """The error for a call that found no place."""
        plan = self.plan
        bulkhead = plan.bulkhead
        if plan.hub.active and bulkhead is not None:
            plan.hub.publish(
                BulkheadRefused(
                    at=now,
                    name=plan.name,
                    key=plan.key,
                    reason=reason,
                    in_flight=bulkhead.inside,
                    waiting=bulkhead.waiting,
                )
            )
        detail = None if bulkhead is None else Occupancy(bulkhead.inside, bulkhead.limit, bulkhead.waiting)
        return BulkheadFull(plan.name, reason, None, detail)

    def begin(self, now: float) -> float:
        """Start an attempt; returns when it has to be over, monotonic seconds (infinity: never).

        Raises:
            DeadlineExceeded: there is no time left for it.
            BreakerOpen: the breaker does not admit it.
        """
        self.attempt += 1
        if now >= self.deadline_at:
            raise self.expired(now, "before the attempt")
        plan = self.plan
        breaker = plan.breaker
        if breaker is not None:
            ticket = breaker.admit(now)
            if ticket is None:
                raise plan.rejection(breaker, now)
            self._ticket = ticket
        if self.attempt == 1 and plan.budget is not None:
            # Only what was sent earns: else an open breaker would fill the budget for the moment it closes.
            plan.budget.deposit(now)
        self._attempt_at = now
        self._until = min(now + plan.timeout_s, self.deadline_at)
        return self._until

    def expired(self, now: float, stage: str) -> DeadlineExceeded:
        """The error for a call whose time is over."""
        plan = self.plan
        limit_s = plan.timeout_s
        if now >= self.deadline_at or limit_s == math.inf:
            limit_s = max(self.deadline_at - self.started_at, 0.0)
        if plan.hub.active:
            plan.hub.publish(
                DeadlineExpired(at=now, name=plan.name, key=plan.key, timeout_s=limit_s, stage=stage)
            )
        return DeadlineExceeded(plan.name, limit_s, stage)

    def succeeded(self, value: object, now: float) -> float | None:
        """An attempt returned; the wait before the next attempt if the value is worth one, else ``None``."""
        verdict = self.plan.classifier.result(value)
        self._settle(verdict.outcome, now)
        if verdict.outcome is Outcome.OK:
            return None
        return self._next(verdict, now, rejected=False)

    def failed(self, error: BaseException, now: float) -> float | None:
        """An attempt raised; the wait before the next attempt, or ``None`` to let the error out."""
        return self._next(self.judge(error, now), now, rejected=isinstance(error, CallRejected))

    def judge(self, error: BaseException, now: float) -> Verdict:
        """Settle an attempt that raised."""
        try:
            verdict = self.plan.classifier.error(error)
        except BaseException:
            # The user's classifier raised: its error comes out, but the call it was asked about had failed.
            self._settle(Outcome.FAILED, now)
            raise
        outcome = verdict.outcome
        if outcome is Outcome.VOID and _cut_short(error, self._until, now):
            outcome = Outcome.FAILED
        self._settle(outcome, now)
        return verdict

    def overran(self, now: float) -> bool:
        """Whether the attempt took longer than it may; for edges that can't interrupt it."""
        return now > self._until

    def done(self, now: float) -> None:
        """The attempt ended without an error and is not followed by another."""
        self._settle(Outcome.FAILED if now > self._until else Outcome.OK, now)

    def end(self, outcome: Outcome, now: float) -> None:
        """The attempt ended with a known outcome and is not followed by another."""
        self._settle(outcome, now)

    def _settle(self, outcome: Outcome, now: float) -> None:
        ticket, breaker = self._ticket, self.plan.breaker
        if ticket is not None and breaker is not None:
            self._ticket = None
            breaker.settle(ticket, outcome, self._attempt_at, now)

    def _next(self, verdict: Verdict, now: float, *, rejected: bool) -> float | None:
        plan = self.plan
        if plan.schedule is None:
            return None
        remaining_s = None if self.deadline_at == math.inf else self.deadline_at - now
        decision = plan.schedule.should_retry(
            self.attempt,
            verdict.outcome,
            rng=plan.rng,
            retryable=verdict.retryable,
            idempotent=plan.idempotent,
            rejected=rejected,
            retry_after_s=verdict.retry_after_s,
            elapsed_s=now - self.started_at,
            remaining_s=remaining_s,
            budget=plan.budget,
            now=now,
        )
        if plan.hub.active and decision.reason not in _UNSAID:
            self._announce(decision.delay_s if decision.retry else None, decision.reason, now)
        return decision.delay_s if decision.retry else None

    def _announce(self, delay_s: float | None, reason: RetryReason, now: float) -> None:
        plan = self.plan
        if delay_s is not None:
            plan.hub.publish(
                RetryScheduled(
                    at=now, name=plan.name, key=plan.key, attempt=self.attempt + 1, delay_s=delay_s
                )
            )
        else:
            plan.hub.publish(
                RetryRefused(at=now, name=plan.name, key=plan.key, attempt=self.attempt, reason=reason.value)
            )

    def leave(self, now: float) -> None:
        """The call is over: give its place to whoever waits, and its probe back if it never settled."""
        self._settle(Outcome.VOID, now)
        bulkhead = self.plan.bulkhead
        if self._inside and bulkhead is not None:
            self._inside = False
            hand_on(bulkhead.leave(now))
            if isinstance(self.plan.breaker, CircuitBreaker):
                self.plan.breaker.saturation(bulkhead.inside / bulkhead.limit, now)
