"""The retry budget: what it pays for, what refills it, and that it can't lock up."""

import dataclasses
import math

import pytest

from seawall.resilience.budget import BudgetStatistics, RetryBudget


def drained(**settings: float) -> RetryBudget:
    budget = RetryBudget(**settings)
    while budget.try_spend(0.0):
        pass
    return budget


def test_a_new_budget_is_full() -> None:
    budget = RetryBudget(capacity=3.0)
    assert [budget.try_spend(0.0) for _ in range(4)] == [True, True, True, False]


def test_ten_first_attempts_pay_for_one_retry() -> None:
    budget = drained(ratio=0.1, min_per_s=0.0)
    for _ in range(9):
        budget.deposit(0.0)
    assert not budget.try_spend(0.0)
    budget.deposit(0.0)
    assert budget.try_spend(0.0), "0.1 added ten times is a little less than 1.0 and must still be one retry"
    assert not budget.try_spend(0.0)
    assert budget.balance(0.0) == 0.0, "the forgiven rounding isn't shown as debt"
    assert budget.statistics().balance == 0.0


def test_time_refills_it_while_every_call_fails() -> None:
    budget = drained(ratio=0.0, min_per_s=2.0)
    assert not budget.try_spend(0.4)
    assert budget.try_spend(0.5)
    assert not budget.try_spend(0.9)
    assert budget.try_spend(1.0)


def test_deposits_bring_the_time_since_the_last_change_along() -> None:
    budget = drained(ratio=0.25, min_per_s=1.0, capacity=5.0)
    budget.deposit(2.0)
    assert budget.balance(2.0) == pytest.approx(2.25)
    budget.deposit(1.0)
    assert budget.balance(1.0) == pytest.approx(2.5), "nor does it take any away"
    assert budget.balance(2.0) == pytest.approx(2.5), "an older reading of the clock adds no time"
    budget.deposit(100.0)
    assert budget.balance(100.0) == 5.0


def test_the_first_deposit_starts_the_clock() -> None:
    budget = RetryBudget(min_per_s=1.0, capacity=2.0)
    assert budget.balance(50.0) == 2.0
    budget.deposit(1000.0)
    assert budget.try_spend(1000.0)
    assert budget.try_spend(1000.0)
    assert not budget.try_spend(1000.0), "the seconds before the first use are worth nothing"


def test_it_never_holds_more_than_its_capacity() -> None:
    budget = RetryBudget(ratio=1.0, min_per_s=10.0, capacity=2.0)
    assert budget.try_spend(0.0)
    for at in range(20):
        budget.deposit(float(at))
    assert budget.balance(1e9) == 2.0
    assert [budget.try_spend(1e9) for _ in range(3)] == [True, True, False]


def test_an_older_reading_of_the_clock_takes_nothing_away() -> None:
    budget = RetryBudget(capacity=5.0)
    assert budget.try_spend(10.0)
    assert budget.balance(9.0) == 4.0
    assert budget.try_spend(9.0)
    assert budget.balance(9.0) == 3.0


def test_statistics_and_repr_show_its_state() -> None:
    budget = RetryBudget(ratio=0.2, min_per_s=1.0, capacity=1.0)
    budget.deposit(0.0)
    budget.try_spend(0.0)
    budget.try_spend(0.0)
    now = budget.statistics()
    assert now == BudgetStatistics(balance=0.0, capacity=1.0, deposits=1, granted=1, refused=1)
    assert repr(budget) == "<RetryBudget 0.0 of 1 tokens, +0.2 per call, +1 per s, granted=1 refused=1>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        now.granted = 5  # type: ignore[misc]  # the point of the test
    assert not hasattr(budget, "__dict__")
    assert not hasattr(now, "__dict__")


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"ratio": -0.1}, "ratio = -0.1"),
        ({"ratio": math.nan}, "ratio = nan"),
        ({"min_per_s": -1.0}, "min_per_s = -1.0"),
        ({"min_per_s": math.inf}, "min_per_s = inf"),
        ({"capacity": 0.5}, "capacity = 0.5"),
        ({"capacity": math.inf}, "capacity = inf"),
        ({"ratio": 0.0, "min_per_s": 0.0}, "nothing refills the budget"),
    ],
)
def test_numbers_that_cannot_work_are_named(settings: dict[str, float], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        RetryBudget(**settings)


class ReferenceDecorator:
    """The reference's budget, its numbers kept: it gates every call, and only successes refill it."""

    def __init__(self) -> None:
        self.tokens = 100

    def call(self, operation):
        if self.tokens < 10:
            raise PermissionError("Retry budget exhausted. Failing fast.")
        try:
            response = operation()
        except Exception:
            self.tokens = max(0, self.tokens - 10)
            raise
        self.tokens = min(100, self.tokens + 1)
        return response


def failing() -> None:
    raise ConnectionError


def test_the_reference_decorator_locks_up_and_this_budget_does_not() -> None:
    """Ten failures, then a backend in perfect health for 1 000 calls, one each 10 ms."""
    reference = ReferenceDecorator()
    for _ in range(10):
        with pytest.raises(ConnectionError):
            reference.call(failing)
    refused = 0
    for _ in range(1000):
        try:
            reference.call(lambda: None)
        except PermissionError:
            refused += 1
    assert refused == 1000, "it never recovers: nothing runs, so nothing succeeds, so nothing refills it"

    ours = RetryBudget()
    for _ in range(10):
        ours.deposit(0.0)
        ours.try_spend(0.0)
    assert not ours.try_spend(0.0), "the budget is as empty as the reference's"
    ran = 0
    for call in range(1000):
        ours.deposit(call * 0.01)  # returns nothing that could refuse the call
        ran += 1
    assert ran == 1000
    assert ours.balance(10.0) == 10.0, "and the bucket is full again"


def test_a_backend_that_never_recovers_still_gets_its_retries_each_second() -> None:
    budget = RetryBudget(min_per_s=1.0)
    granted = 0
    for call in range(10_000):  # 100 calls a second for 100 s, every one fails and wants a retry
        now = call * 0.01
        budget.deposit(now)
        granted += budget.try_spend(now)
    assert 1_100 <= granted <= 1_110, "10 % of the calls, one per second, and what was in the bucket"
