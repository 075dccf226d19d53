"""Tells what a policy will do, and where its parts contradict each other.

A contradiction is not an error: each value is allowed, but together they do something that nobody wants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from seawall.kernel.units import format_duration, format_ratio, parse_duration, parse_ratio
from seawall.resilience import settings
from seawall.resilience.policy import Breaker, Bulkhead, Policy, RateLimit, Retry
from seawall.resilience.states import BreakerRules

ORDER: Final = "fallback > deadline > rate limit > bulkhead > retry and budget > breaker > timeout > call"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two settings that work against each other.

    Attributes:
        keys: the settings.
        problem: what happens.
        fix: what to do about it.
    """

    keys: tuple[str, ...]
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{' and '.join(self.keys)}: {self.problem}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a guard does, in words.

    Attributes:
        name: the guard.
        order: how its parts are nested, outermost first.
        lines: one sentence per part.
        contradictions: what doesn't fit together.
    """

    name: str
    order: str
    lines: tuple[str, ...]
    contradictions: tuple[Contradiction, ...]

    def __str__(self) -> str:
        text = [f"{self.name}: {self.order}", *(f"  {line}" for line in self.lines)]
        if self.contradictions:
            text.append("contradictions:")
            text.extend(f"  ! {item}" for item in self.contradictions)
        return "\n".join(text)


def explain(
    policy: Policy, *, name: str = "policy", fallback: bool = False, probe: bool = False
) -> Explanation:
    """Put ``policy`` into words.

    Args:
        policy: what to explain.
        name: whose it is.
        fallback: the guard has one.
        probe: the guard has an active probe.
    """
    lines: list[str] = []
    if fallback:
        lines.append("fallback: answers instead of an error, but not instead of a proper refusal")
    if policy.deadline is not None:
        lines.append(f"deadline: {_time(policy.deadline)} for everything, passed on to inner calls")
    if policy.rate is not None:
        values = settings.values_of(policy.rate)
        lines.append(f"rate limit: {values['rate']:g} calls/s, {values['burst']} at once")
    if policy.bulkhead is not None:
        lines.append(_bulkhead(policy.bulkhead))
    if policy.retry is not None:
        lines.append(_retry(policy.retry))
    if policy.breaker is not None:
        lines.extend(_breaker(policy.breaker.rules(), probe=probe))
    if policy.timeout is not None:
        lines.append(
            f"timeout: {_time(policy.timeout)} per attempt; interrupts async functions, while a sync "
            "function runs on and only counts as failed"
        )
    return Explanation(name, ORDER, tuple(lines), contradictions(policy, probe=probe))


def _time(value: settings.Duration) -> str:
    return format_duration(parse_duration(value))


def _bulkhead(bulkhead: Bulkhead) -> str:
    if not bulkhead.queue:
        return f"bulkhead: {bulkhead.limit} calls at once, the next one is rejected"
    return (
        f"bulkhead: {bulkhead.limit} calls at once, {bulkhead.queue} wait in turn for up to "
        f"{_time(bulkhead.max_wait)}"
    )


def _retry(retry: Retry) -> str:
    values = settings.values_of(retry)
    text = (
        f"retry: {retry.attempts} attempts, waits up to {format_duration(values['base'])} x "
        f"{retry.multiplier:g}^n, at most {format_duration(values['max_delay'])}, jitter {retry.jitter}"
    )
    if retry.budget is None:
        return text + ", without a budget"
    return text + (
        f"; the budget grants {format_ratio(parse_ratio(retry.budget.ratio))} of the calls and "
        f"{retry.budget.min_per_second:g} per second"
    )


def _breaker(rules: BreakerRules, *, probe: bool) -> list[str]:
    opens: list[str] = []
    if rules.errors:
        opens.append(f"more than {format_ratio(rules.errors)} fail")
    if rules.slow:
        opens.append(f"more than {format_ratio(rules.slow)} take over {format_duration(rules.slow_s)}")
    if rules.slower:
        opens.append(f"more than {format_ratio(rules.slower)} take over {format_duration(rules.slower_s)}")
    if rules.throttled:
        opens.append(f"more than {format_ratio(rules.throttled)} are throttled")
    if rules.saturation:
        opens.append(f"the bulkhead is over {format_ratio(rules.saturation)} full")
    if rules.consecutive:
        opens.append(f"{rules.consecutive} in a row are bad")
    judged = (
        f"raw shares over {format_duration(rules.long_s)} after {rules.minimum_requests} calls"
        if rules.static
        else f"over {format_duration(rules.short_s)} and {format_duration(rules.long_s)}, beyond "
        f"{rules.confidence:.3g} standard errors of doubt"
    )
    lines = [f"breaker: opens when {' or '.join(opens)} ({judged})"]
    if probe and rules.stall_s:
        lines.append(
            f"probe: runs as soon as calls are unanswered for {format_duration(rules.stall_s)}; if it fails, "
            "the breaker opens at once"
        )
    ramp = {
        "gated": "a ramp that follows latency and errors",
        "fixed": f"a ramp of {format_duration(rules.ramp.duration_s)}",
        "none": "full traffic at once",
    }[rules.ramp.kind]
    lines.append(
        f"recovery: after {format_duration(rules.open_for_s)} (doubling to "
        f"{format_duration(rules.open_for_max_s)}), {rules.probes_needed} of {rules.probes} probes, at most "
        f"{rules.probe_concurrency} at once, then {ramp}"
    )
    if rules.enforcement.value != "enforce":
        lines.append(f"enforcement: {rules.enforcement.value}: no call is rejected")
    return lines


def contradictions(policy: Policy, *, probe: bool = False) -> tuple[Contradiction, ...]:
    """Everything in ``policy`` that works against something else in it."""
    found: list[Contradiction] = []
    timeout_s = None if policy.timeout is None else parse_duration(policy.timeout)
    deadline_s = None if policy.deadline is None else parse_duration(policy.deadline)
    if timeout_s is not None and deadline_s is not None and timeout_s > deadline_s:
        found.append(
            Contradiction(
                ("timeout", "deadline"),
                f"an attempt may take {_time(timeout_s)}, but the whole call only {_time(deadline_s)}",
                "make the timeout shorter than the deadline",
            )
        )
    if policy.breaker is not None:
        found.extend(_with_breaker(policy.breaker.rules(), timeout_s, policy, probe=probe))
        found.extend(_without_effect(policy.breaker))
    elif probe:
        found.append(Contradiction(("probe", "breaker"), "the probe is never run", "add a breaker"))
    if policy.retry is not None:
        found.extend(_with_retry(policy.retry, timeout_s, deadline_s))
    if policy.bulkhead is not None:
        found.extend(_with_bulkhead(policy.bulkhead, policy.rate, deadline_s))
    return tuple(found)


def _with_breaker(
    rules: BreakerRules, timeout_s: float | None, policy: Policy, *, probe: bool
) -> list[Contradiction]:
    found: list[Contradiction] = []
    attempts = 1 if policy.retry is None else policy.retry.attempts
    if 0 < rules.consecutive <= attempts and attempts > 1:
        found.append(
            Contradiction(
                ("retry.attempts", "breaker.consecutive"),
                f"one call makes {attempts} attempts, and {rules.consecutive} failures in a row open the "
                "breaker: one bad call stops everybody",
                "allow more failures in a row or fewer attempts",
            )
        )
    slow_s = rules.slow_s
    if slow_s and timeout_s is not None and timeout_s <= slow_s:
        found.append(
            Contradiction(
                ("timeout", "breaker.p95" if rules.slow != 0.01 else "breaker.p99"),
                f"calls end after {_time(timeout_s)} and can never become slow ({_time(slow_s)})",
                "make the timeout longer than the slow bound, or leave the bound out",
            )
        )
    if rules.saturation and policy.bulkhead is None:
        found.append(
            Contradiction(
                ("breaker.saturation", "bulkhead"),
                "without a bulkhead nothing is saturated",
                "add a bulkhead",
            )
        )
    if probe and slow_s and rules.stall_s >= slow_s:
        found.append(
            Contradiction(
                ("breaker.stall_after", "breaker.p95"),
                "a stall is suspected only after it was already counted as slow",
                "make stall_after shorter than the slow bound",
            )
        )
    if rules.probe_lease_s < slow_s:
        found.append(
            Contradiction(
                ("breaker.probe_lease", "breaker.p95"),
                f"a probe fails after {_time(rules.probe_lease_s)} although {_time(slow_s)} would do",
                "make the lease at least as long as the slow bound",
            )
        )
    return found


def _without_effect(breaker: Breaker) -> list[Contradiction]:
    """Values that were written but that something else in the policy switches off."""
    usual = Breaker()
    idle: list[tuple[str, str, str]] = []
    if breaker.slow_ratio != usual.slow_ratio and breaker.p95 is None:
        idle.append(("slow_ratio", "p95", "there is no P95 bound whose share it could be"))
    if breaker.confidence != usual.confidence and breaker.false_opens_per_hour is not None:
        idle.append(("confidence", "false_opens_per_hour", "the confidence is derived from the other"))
    if breaker.confidence != usual.confidence and breaker.mode == "static":
        idle.append(("confidence", "mode", "the static mode compares raw shares"))
    ramp = breaker.ramp
    if ramp.kind != "fixed" and (ramp.duration, ramp.step) != (usual.ramp.duration, usual.ramp.step):
        idle.append(("ramp.duration", "ramp.kind", "only a fixed ramp goes by duration and step"))
    return [
        Contradiction((f"breaker.{key}", f"breaker.{other}"), f"the first has no effect: {why}", "remove one")
        for key, other, why in idle
    ]


def _with_retry(retry: Retry, timeout_s: float | None, deadline_s: float | None) -> list[Contradiction]:
    found: list[Contradiction] = []
    if retry.attempts == 1:
        found.append(Contradiction(("retry.attempts",), "one attempt is no retry", "leave retry out"))
        return found
    if retry.jitter == "none":
        found.append(
            Contradiction(
                ("retry.jitter",), "all callers come back at the same moment", 'use jitter = "full"'
            )
        )
    if retry.budget is None:
        found.append(
            Contradiction(
                ("retry.attempts", "retry.budget"),
                f"when everything fails, the load is multiplied by {retry.attempts}",
                "set a budget",
            )
        )
    if (
        timeout_s is not None
        and deadline_s is not None
        and timeout_s * retry.attempts > deadline_s >= timeout_s
    ):
        found.append(
            Contradiction(
                ("retry.attempts", "timeout", "deadline"),
                f"{retry.attempts} attempts of {_time(timeout_s)} don't fit into {_time(deadline_s)}",
                "shorten the timeout or lengthen the deadline",
            )
        )
    return found


def _with_bulkhead(
    bulkhead: Bulkhead, rate: RateLimit | None, deadline_s: float | None
) -> list[Contradiction]:
    found: list[Contradiction] = []
    wait_s = parse_duration(bulkhead.max_wait)
    if bulkhead.queue and deadline_s is not None and wait_s >= deadline_s:
        found.append(
            Contradiction(
                ("bulkhead.max_wait", "deadline"),
                "a call may spend its whole time in the queue",
                "make max_wait a small part of the deadline",
            )
        )
    if rate is not None and rate.burst > bulkhead.limit + bulkhead.queue:
        found.append(
            Contradiction(
                ("rate.burst", "bulkhead"),
                f"a burst of {rate.burst} is let in, but only {bulkhead.limit + bulkhead.queue} find a place",
                "lower the burst or raise the bulkhead",
            )
        )
    return found
