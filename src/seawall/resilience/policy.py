"""The policies a user writes: frozen, checked at once, in the units people use.

Each class is one part of a guard.  A policy knows no clock and runs nothing: ``Breaker.rules()`` and its
siblings give the plain numbers that the engines take.  Durations are seconds as a number or a text
(``"500ms"``), shares a number from 0 to 1 or a text (``"5%"``), rates per second or a text (``"100/s"``).

Building a policy with wrong values raises one :class:`~seawall.kernel.errors.PolicyError` that names every
one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from seawall.kernel.errors import PolicyError, Problem
from seawall.kernel.signals import PolicyChange
from seawall.kernel.units import format_duration
from seawall.resilience import settings
from seawall.resilience.budget import RetryBudget
from seawall.resilience.detector import confidence_for, run_limit
from seawall.resilience.recovery import RampRules
from seawall.resilience.retry import RetryRules
from seawall.resilience.settings import Duration, Rate, Ratio
from seawall.resilience.states import BreakerRules, Enforcement

STATIC_MINIMUM_REQUESTS: Final = 20
"""What ``mode = "static"`` waits for when ``minimum_requests`` is not given."""
P95_SHARE: Final = 0.05
P99_SHARE: Final = 0.01
LEASE_BOUNDS: Final = 4.0
"""A probe's lease in slow bounds, when none is given."""
LEASE_DEFAULT_S: Final = 10.0


@settings.checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """How traffic comes back after the probes.

    Attributes:
        kind: ``gated`` grows while latency and errors stay near what they were before the fault; ``fixed``
            climbs by the clock; ``none`` lets everything in at once.
        duration: of the fixed climb from nothing to everything.
        step: of the fixed climb.

    Raises:
        PolicyError: a value is out of range.
    """

    kind: str = settings.choice("gated", "gated", "fixed", "none")
    duration: Duration = settings.duration("120s", low=0.1, high=86_400.0)
    step: Ratio = settings.ratio("10%", low=0.001)

    def rules(self) -> RampRules:
        """The plain numbers."""
        values = settings.values_of(self)
        return RampRules(values["kind"], values["duration"], values["step"])


@settings.checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When to stop calling, and how to start again.

    Attributes:
        errors: open when the failed share is above this, beyond reasonable doubt.
        p95: open when more than 5 % of the calls take longer than this.
        p99: open when more than 1 % take longer than this.
        slow_ratio: the share behind ``p95``, if 5 % is not what you want.
        throttled: open when more than this share is throttled by the server (HTTP 429, SQLSTATE 53300).
        saturation: open when the bulkhead has been fuller than this for a whole short window.
        consecutive: open after so many failures in a row; ``"auto"`` derives it from ``errors``.
        mode: ``adaptive`` asks for confidence, ``static`` compares raw shares.
        confidence: standard errors of doubt that a verdict must overcome.
        false_opens_per_hour: instead of ``confidence``: how often a key that sits exactly at its limit may
            open.
        minimum_requests: no share is judged on fewer calls; 0 is fine in adaptive mode; 20 if static.
        window: the long window.
        short_window: the short one; adaptive mode judges both.
        open_for: how long to reject at first; doubles with every failed recovery.
        open_for_max: where the doubling ends; also how long a recovery must last to count as stable.
        open_jitter: random lengthening of the open time, as a share of it.
        probes: calls that decide about recovery.
        probe_success: share of them that has to succeed.
        probe_concurrency: how many may be out at once.
        probe_lease: after this long without an answer a probe has failed; by default four slow bounds (10 s
            without a latency rule).
        stall_after: with an active probe: unanswered for this long is suspicious.
        ramp: how traffic comes back.
        enforcement: ``shadow`` measures and tells but never rejects; ``disabled`` does not even measure.

    Raises:
        PolicyError: listing every value out of range and every contradiction.

    Example:
        >>> Breaker(errors="5%", p95="500ms").rules().slow_s
        0.5
    """

    errors: Ratio | None = settings.ratio("5%", high=0.99, optional=True)
    p95: Duration | None = settings.duration(None, low=0.001, high=3600.0, optional=True)
    p99: Duration | None = settings.duration(None, low=0.001, high=3600.0, optional=True)
    slow_ratio: Ratio = settings.ratio("5%", high=0.99)
    throttled: Ratio | None = settings.ratio("50%", high=0.99, optional=True)
    saturation: Ratio | None = settings.ratio(None, low=0.1, optional=True)
    consecutive: int | str | None = settings.count("auto", low=1, high=10_000, optional=True, words=("auto",))
    mode: str = settings.choice("adaptive", "adaptive", "static")
    confidence: float = settings.number(4.0, low=1.0, high=8.0)
    false_opens_per_hour: float | None = settings.optional_number(None, low=1e-6, high=1000.0)
    minimum_requests: int | None = settings.count(None, low=0, high=1_000_000, optional=True)
    window: Duration = settings.duration("10s", low=1.0, high=3600.0)
    short_window: Duration = settings.duration("1s", low=0.1, high=600.0)
    open_for: Duration = settings.duration("5s", low=0.001, high=86_400.0)
    open_for_max: Duration = settings.duration("60s", low=0.001, high=86_400.0)
    open_jitter: Ratio = settings.ratio("10%", open_low=False)
    probes: int = settings.count(10, low=1, high=10_000)
    probe_success: Ratio = settings.ratio("100%")
    probe_concurrency: int = settings.count(3, low=1, high=1000)
    probe_lease: Duration | None = settings.duration(None, low=0.001, high=3600.0, optional=True)
    stall_after: Duration | None = settings.duration("150ms", low=0.005, high=600.0, optional=True)
    ramp: Ramp = settings.part(Ramp)
    enforcement: str = settings.choice("enforce", "enforce", "shadow", "disabled")

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[Problem]:
        """Values that are fine by themselves, but not together; called with those that are."""
        return [*_bounds_at_odds(values), *_times_at_odds(values), *_no_rule(values)]

    def rules(self) -> BreakerRules:
        """The plain numbers."""
        values = settings.values_of(self)
        static = values["mode"] == "static"
        p95, p99 = values["p95"] or 0.0, values["p99"] or 0.0
        # A lone P99 is the first bound; two bounds are nested.
        slow_s, slow = (p95, values["slow_ratio"]) if p95 else (p99, P99_SHARE if p99 else 0.0)
        slower_s, slower = (p99, P99_SHARE) if p95 and p99 else (0.0, 0.0)
        minimum = values["minimum_requests"]
        return BreakerRules(
            errors=values["errors"] or 0.0,
            slow=slow,
            slow_s=slow_s,
            slower=slower,
            slower_s=slower_s,
            throttled=values["throttled"] or 0.0,
            saturation=values["saturation"] or 0.0,
            consecutive=_consecutive(values["consecutive"], values["errors"], static=static),
            confidence=(
                values["confidence"]
                if values["false_opens_per_hour"] is None
                else confidence_for(values["false_opens_per_hour"])
            ),
            minimum_requests=(STATIC_MINIMUM_REQUESTS if static else 0) if minimum is None else minimum,
            static=static,
            short_s=values["short_window"],
            long_s=values["window"],
            open_for_s=values["open_for"],
            open_for_max_s=values["open_for_max"],
            open_jitter=values["open_jitter"],
            probes=values["probes"],
            probes_needed=max(1, math.ceil(values["probes"] * values["probe_success"] - 1e-9)),
            probe_concurrency=values["probe_concurrency"],
            probe_lease_s=values["probe_lease"] or (slow_s * LEASE_BOUNDS if slow_s else LEASE_DEFAULT_S),
            stall_s=values["stall_after"] or 0.0,
            ramp=self.ramp.rules(),
            enforcement=Enforcement(values["enforcement"]),
        )


def _consecutive(value: int | str | None, errors: float | None, *, static: bool) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return 0 if static or errors is None else run_limit(errors)
    return value


def _above(key: str, floor: str, values: Mapping[str, Any]) -> list[Problem]:
    """The problem with ``key`` being below ``floor``, if both are known."""
    if key not in values or floor not in values or values[key] >= values[floor]:
        return []
    allowed = f"duration from {floor} ({format_duration(values[floor])}) up"
    return [Problem(key, format_duration(values[key]), allowed, "raise it")]


def _bounds_at_odds(values: Mapping[str, Any]) -> list[Problem]:
    p95, p99 = values.get("p95"), values.get("p99")
    if p95 is None or p99 is None or p99 > p95:
        return []
    allowed = f"duration above p95 ({format_duration(p95)})"
    return [Problem("p99", format_duration(p99), allowed, "raise p99 or leave it out")]


def _times_at_odds(values: Mapping[str, Any]) -> list[Problem]:
    found: list[Problem] = []
    short, long = values.get("short_window"), values.get("window")
    if short is not None and long is not None and short >= long:
        allowed = f"duration below window ({format_duration(long)})"
        found.append(Problem("short_window", format_duration(short), allowed, "shorten it"))
    found.extend(_above("open_for_max", "open_for", values))
    slow = values.get("p99") or values.get("p95")
    if slow is not None and long is not None and long <= slow:
        allowed = f"duration above the slow bound ({format_duration(slow)})"
        fix = "lengthen the window or lower p95/p99"
        found.append(Problem("window", format_duration(long), allowed, fix))
    return found


def _no_rule(values: Mapping[str, Any]) -> list[Problem]:
    watched = ("errors", "p95", "p99", "throttled", "saturation")
    if not {*watched, "consecutive"} <= values.keys() or isinstance(values["consecutive"], int):
        return []
    if any(values[key] is not None for key in watched):
        return []
    return [Problem("errors", None, "at least one rule", "set one of " + ", ".join(watched))]


@settings.checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What retries may cost: a bucket that first attempts and time refill, and that only retries pay from.

    Attributes:
        ratio: retries per call, in the long run.
        min_per_second: so many are granted however little traffic there is.
        capacity: how many can be saved up.

    Raises:
        PolicyError: a value is out of range.
    """

    ratio: Ratio = settings.ratio("10%", open_low=False)
    min_per_second: float = settings.number(1.0, low=0.001, high=1e6)
    capacity: float = settings.number(10.0, low=1.0, high=1e6)

    def build(self) -> RetryBudget:
        """The engine."""
        values = settings.values_of(self)
        return RetryBudget(
            ratio=values["ratio"], min_per_s=values["min_per_second"], capacity=values["capacity"]
        )


@settings.checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When and how often to try again.

    Attributes:
        attempts: calls in all, the first one included.
        base: the first wait is drawn from zero to this.
        max_delay: no wait is longer.
        multiplier: growth of the waits.
        jitter: ``full`` (from zero), ``equal`` (from half) or ``none``.
        max_elapsed: give up when all attempts together took this long.
        budget: what retries may cost; ``None`` for no limit.
        on: exception types worth a retry; empty: what the error table calls retryable, and timeouts and lost
            connections.
        idempotent: calls may be repeated although they may have taken effect.
        max_retry_after: when the callee asks for a longer wait than this, the error comes out instead.
        retry_rejections: also wait for a rejection's retry-after (an open breaker, a full bulkhead).

    Raises:
        PolicyError: a value is out of range.
    """

    attempts: int = settings.count(3, low=1, high=100)
    base: Duration = settings.duration("50ms", open_low=False, high=3600.0)
    max_delay: Duration = settings.duration("2s", open_low=False, high=3600.0)
    multiplier: float = settings.number(2.0, low=1.0, high=10.0)
    jitter: str = settings.choice("full", "full", "equal", "none")
    max_elapsed: Duration | None = settings.duration(None, optional=True)
    budget: Budget | None = settings.part(Budget, optional=True)
    max_retry_after: Duration = settings.duration("30s", high=86_400.0)
    on: tuple[type[BaseException], ...] = settings.exceptions()
    idempotent: bool = settings.truth(default=True)
    retry_rejections: bool = settings.truth(default=False)

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[Problem]:
        """Values that are fine by themselves, but not together; called with those that are."""
        return _above("max_delay", "base", values)

    def rules(self) -> RetryRules:
        """The plain numbers."""
        values = settings.values_of(self)
        return RetryRules(
            attempts=values["attempts"],
            base_s=values["base"],
            max_s=values["max_delay"],
            multiplier=values["multiplier"],
            jitter=values["jitter"],
            max_elapsed_s=values["max_elapsed"],
            max_retry_after_s=values["max_retry_after"],
            retry_rejections=values["retry_rejections"],
        )


@settings.checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Bulkhead:
    """How many calls may be inside at once, and how many may wait.

    Attributes:
        limit: calls inside.
        queue: calls waiting, first in first out; 0 rejects at once.
        max_wait: a call that waited this long is rejected.

    Raises:
        PolicyError: a value is out of range.
    """

    limit: int = settings.count(10, low=1, high=1_000_000)
    queue: int = settings.count(0, low=0, high=1_000_000)
    max_wait: Duration = settings.duration("1s", high=3600.0)


@settings.checked
@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How many calls per time may start.

    Attributes:
        rate: the sustained rate.
        burst: calls that may start at once after a quiet time.

    Raises:
        PolicyError: a value is out of range.
    """

    rate: Rate = settings.rate("100/s")
    burst: int = settings.count(1, low=1, high=1_000_000)


@settings.checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything a guard does that can be written in a file.

    The parts act in this order, from the outside in: deadline, rate limit, bulkhead, retry (with its budget),
    breaker, timeout, call.

    Attributes:
        breaker: stops calling what is not well; ``None`` for none, and so with the other parts.
        retry: tries again.
        bulkhead: bounds the calls inside.
        rate: bounds the calls per time.
        timeout: for one attempt.
        deadline: for the whole call, with all attempts and waits.

    Raises:
        PolicyError: a value is out of range.
    """

    breaker: Breaker | None = settings.part(Breaker, optional=True)
    retry: Retry | None = settings.part(Retry, given=False, optional=True)
    bulkhead: Bulkhead | None = settings.part(Bulkhead, given=False, optional=True)
    rate: RateLimit | None = settings.part(RateLimit, given=False, optional=True)
    timeout: Duration | None = settings.duration(None, low=0.001, high=86_400.0, optional=True)
    deadline: Duration | None = settings.duration(None, low=0.001, high=86_400.0, optional=True)


PARTS: Final[dict[str, type]] = {
    "breaker": Breaker,
    "retry": Retry,
    "bulkhead": Bulkhead,
    "rate": RateLimit,
}
"""The parts of a :class:`Policy` that are tables of their own in TOML."""
NESTED: Final[dict[tuple[str, str], type]] = {("breaker", "ramp"): Ramp, ("retry", "budget"): Budget}
"""Tables within those tables."""


def differences(old: Policy, new: Policy) -> tuple[PolicyChange, ...]:
    """What changed from ``old`` to ``new``, key by key."""
    return tuple(_differences(old, new, ""))


def _differences(old: Any, new: Any, path: str) -> Iterator[PolicyChange]:  # noqa: ANN401 -- any policy class
    for f in fields(new):
        before, after = getattr(old, f.name), getattr(new, f.name)
        if before == after:
            continue
        if is_dataclass(before) and is_dataclass(after):
            yield from _differences(before, after, f"{path}{f.name}.")
        else:
            yield PolicyChange(key=f"{path}{f.name}", old=before, new=after)


__all__ = [
    "Breaker",
    "Budget",
    "Bulkhead",
    "PolicyError",
    "Ramp",
    "RateLimit",
    "Retry",
    "differences",
]
