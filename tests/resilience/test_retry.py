"""The retry schedule: delays, and the table of what is repeated."""

import dataclasses
import math

import pytest

from seawall.kernel.errors import Outcome
from seawall.resilience.budget import RetryBudget
from seawall.resilience.retry import RetryReason, RetryRules, RetrySchedule, RetryStatistics


def half() -> float:
    return 0.5


def decide(schedule: RetrySchedule, attempt: int = 1, outcome: Outcome = Outcome.FAILED, **more):
    return schedule.should_retry(attempt, outcome, **{"rng": half, "retryable": True} | more)


@pytest.mark.parametrize(
    ("jitter", "draw", "expected"),
    [
        ("full", 0.0, [0.0, 0.0, 0.0, 0.0]),
        ("full", 0.5, [0.05, 0.1, 0.2, 0.25]),
        ("equal", 0.0, [0.05, 0.1, 0.2, 0.25]),
        ("equal", 0.5, [0.075, 0.15, 0.3, 0.375]),
        ("none", 0.7, [0.1, 0.2, 0.4, 0.5]),
    ],
)
def test_delays_grow_to_the_cap_and_are_spread(jitter, draw: float, expected: list[float]) -> None:
    schedule = RetrySchedule(RetryRules(base_s=0.1, max_s=0.5, multiplier=2.0, jitter=jitter))
    assert [schedule.delay(attempt, lambda: draw) for attempt in (1, 2, 3, 4)] == pytest.approx(expected)


def test_a_power_beyond_all_numbers_is_the_cap() -> None:
    schedule = RetrySchedule(RetryRules(attempts=5000, max_s=7.0, multiplier=10.0, jitter="none"))
    assert schedule.delay(4000, half) == 7.0
    assert RetrySchedule(RetryRules(base_s=0.0, multiplier=1.0)).delay(4000, half) == 0.0


def test_what_the_callee_asked_for_comes_first_and_the_spread_after_it() -> None:
    schedule = RetrySchedule(RetryRules(base_s=0.1))
    assert schedule.delay(1, half, 30.0) == pytest.approx(30.05)
    assert schedule.delay(1, half, 0.0) == schedule.delay(1, half, -1.0) == schedule.delay(1, half)


@pytest.mark.parametrize(
    ("outcome", "flags", "reason"),
    [
        (Outcome.OK, {}, RetryReason.SUCCEEDED),
        (Outcome.SLOW, {}, RetryReason.SUCCEEDED),
        (Outcome.VOID, {}, RetryReason.CANCELLED),
        (Outcome.FAILED, {"retryable": False}, RetryReason.NOT_RETRYABLE),
        (Outcome.IGNORED, {"retryable": False}, RetryReason.NOT_RETRYABLE),
        (Outcome.FAILED, {"idempotent": False}, RetryReason.NOT_IDEMPOTENT),
        (Outcome.UNREACHABLE, {"idempotent": False}, RetryReason.NOT_IDEMPOTENT),
        (Outcome.FAILED, {}, RetryReason.RETRY),
        (Outcome.UNREACHABLE, {}, RetryReason.RETRY),
        (Outcome.THROTTLED, {"idempotent": False}, RetryReason.RETRY),
        (Outcome.IGNORED, {"idempotent": False}, RetryReason.RETRY),  # a deadlock victim: rolled back
        (Outcome.VOID, {"rejected": True, "retry_after_s": 0.1}, RetryReason.REJECTED),
        (Outcome.FAILED, {"rejected": True}, RetryReason.REJECTED),
    ],
)
def test_what_is_repeated(outcome: Outcome, flags: dict[str, object], reason: RetryReason) -> None:
    decision = decide(RetrySchedule(RetryRules()), outcome=outcome, **flags)
    assert decision.reason is reason
    assert decision.retry is (reason is RetryReason.RETRY)
    assert decision.delay_s == pytest.approx(0.05 if decision.retry else 0.0)


def test_a_rejection_is_retried_only_if_wanted_and_told_when_and_in_time() -> None:
    schedule = RetrySchedule(RetryRules(base_s=0.0, retry_rejections=True))

    def rejected(**more):
        decision = decide(schedule, outcome=Outcome.VOID, retryable=False, rejected=True, **more)
        return decision.reason, decision.delay_s

    assert rejected() == (RetryReason.REJECTED, 0.0)
    assert rejected(retry_after_s=2.0) == (RetryReason.RETRY, 2.0)
    assert rejected(retry_after_s=2.0, remaining_s=2.0) == (RetryReason.DEADLINE, 0.0)


def test_the_last_attempt_is_the_last() -> None:
    schedule = RetrySchedule(RetryRules(attempts=2))
    assert decide(schedule, 1).retry
    assert decide(schedule, 2).reason is RetryReason.ATTEMPTS
    assert decide(RetrySchedule(RetryRules(attempts=1)), 1).reason is RetryReason.ATTEMPTS


def test_no_attempt_starts_after_the_time_for_retries() -> None:
    schedule = RetrySchedule(RetryRules(base_s=1.0, jitter="none", max_elapsed_s=3.0))
    assert decide(schedule, elapsed_s=2.0).retry
    assert decide(schedule, elapsed_s=2.1).reason is RetryReason.ELAPSED


def test_no_attempt_starts_at_the_deadline_or_later() -> None:
    schedule = RetrySchedule(RetryRules(base_s=1.0, jitter="none"))
    assert decide(schedule, remaining_s=1.1).retry
    assert decide(schedule, remaining_s=1.0).reason is RetryReason.DEADLINE
    assert decide(schedule, remaining_s=None).retry


def test_the_budget_is_asked_last_so_that_nothing_else_costs() -> None:
    schedule, budget = RetrySchedule(RetryRules(attempts=3)), RetryBudget(capacity=1.0)
    decide(schedule, 3, budget=budget)
    decide(schedule, outcome=Outcome.VOID, budget=budget)
    decide(schedule, remaining_s=0.0, budget=budget)
    assert budget.statistics().granted == budget.statistics().refused == 0
    assert decide(schedule, budget=budget).retry
    assert decide(schedule, budget=budget).reason is RetryReason.BUDGET
    assert decide(schedule, budget=budget, now=1.0).retry


def test_statistics_and_repr_show_how_decisions_fell() -> None:
    schedule, budget = RetrySchedule(RetryRules(max_elapsed_s=10.0)), RetryBudget(capacity=1.0)
    decide(schedule, outcome=Outcome.OK)
    decide(schedule, budget=budget)
    decide(schedule, budget=budget)
    decide(schedule, outcome=Outcome.VOID)
    decide(schedule, 3)
    decide(schedule, elapsed_s=11.0)
    decide(schedule, remaining_s=0.0)
    now = schedule.statistics()
    assert now == RetryStatistics(retried=1, not_retried=1, exhausted=1, out_of_time=2, out_of_budget=1)
    assert repr(schedule) == "<RetrySchedule attempts=3 0.1 s x 2 up to 5 s jitter=full retried=1 refused=5>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        now.retried = 5  # type: ignore[misc]  # the point of the test
    for thing in (schedule, now, schedule.rules, decide(schedule)):
        assert not hasattr(thing, "__dict__")


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"attempts": 0}, "attempts = 0"),
        ({"base_s": -0.1}, "base_s = -0.1"),
        ({"base_s": math.nan}, "base_s = nan"),
        ({"max_s": 0.01}, "max_s = 0.01"),
        ({"max_s": math.inf}, "max_s = inf"),
        ({"multiplier": 0.5}, "multiplier = 0.5"),
        ({"multiplier": math.inf}, "multiplier = inf"),
        ({"jitter": "some"}, "jitter = 'some'"),
        ({"max_elapsed_s": -1.0}, "max_elapsed_s = -1.0"),
        ({"max_elapsed_s": math.nan}, "max_elapsed_s = nan"),
    ],
)
def test_numbers_that_cannot_work_are_named(settings, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        RetryRules(**settings)


@pytest.mark.parametrize("asked_s", [30.1, 86_400.0, math.inf])
def test_a_callee_that_asks_for_too_long_a_wait_is_not_called_again(asked_s: float) -> None:
    schedule = RetrySchedule(RetryRules(max_retry_after_s=30.0))
    decision = schedule.should_retry(
        1, Outcome.THROTTLED, rng=lambda: 0.5, retryable=True, retry_after_s=asked_s
    )
    assert (decision.retry, decision.reason) == (False, RetryReason.RETRY_AFTER)
    assert schedule.statistics().out_of_time == 1
