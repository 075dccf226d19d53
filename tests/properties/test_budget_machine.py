"""The retry budget against a model that remembers all that was paid in."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seawall.resilience.budget import RetryBudget

RATIOS = st.sampled_from([0.0, 0.05, 0.1, 0.25, 1.0])
FLOORS = st.sampled_from([0.1, 1.0, 10.0])
CAPACITIES = st.sampled_from([1.0, 2.5, 10.0])
GAPS = st.sampled_from([0.0, 0.001, 0.1, 1.0, 30.0]) | st.floats(0.0, 100.0)
ROUNDING = 1e-6


class BudgetMachine(RuleBasedStateMachine):
    """Any order of first attempts, retries, pauses and late clock readings."""

    @initialize(
        ratio=RATIOS, min_per_s=FLOORS, capacity=CAPACITIES, start=st.sampled_from([0.0, 12_345.6, 1e7])
    )
    def build(self, ratio: float, min_per_s: float, capacity: float, start: float) -> None:
        self.budget = RetryBudget(ratio=ratio, min_per_s=min_per_s, capacity=capacity)
        self.ratio, self.min_per_s, self.capacity = ratio, min_per_s, capacity
        self.start = self.now = start
        self.first_attempts = self.spent = self.refused = 0
        self.level = capacity

    @rule(gap=GAPS)
    def pause(self, gap: float) -> None:
        before = self.now
        self.now += gap
        self.level = min(self.capacity, self.level + (self.now - before) * self.min_per_s)

    @rule(calls=st.integers(1, 50))
    def first_attempt(self, calls: int) -> None:
        for _ in range(calls):
            assert self.budget.deposit(self.now) is None, "nothing that could refuse a first attempt"
        self.first_attempts += calls
        self.level = min(self.capacity, self.level + calls * self.ratio)

    @rule(late_by=st.sampled_from([0.0, 0.0, 0.001, 5.0]))
    def retry(self, late_by: float) -> None:
        self.budget.deposit(self.now)  # so that the budget has seen this moment before the late reading
        self.first_attempts += 1
        self.level = min(self.capacity, self.level + self.ratio)
        granted = self.budget.try_spend(self.now - late_by)
        if granted:
            assert self.level > 1.0 - ROUNDING
            self.level -= 1.0
            self.spent += 1
        else:
            assert self.level < 1.0 + ROUNDING
            self.refused += 1

    @rule()
    def wait_as_long_as_the_floor_says(self) -> None:
        self.pause(1.0 / self.min_per_s + ROUNDING)
        assert self.budget.try_spend(self.now), "after any history one retry is granted within 1 / min_per_s"
        self.level -= 1.0
        self.spent += 1

    @invariant()
    def keeps_its_bound(self) -> None:
        earned = self.ratio * self.first_attempts + self.min_per_s * (self.now - self.start)
        assert self.spent <= earned + self.capacity + ROUNDING

    @invariant()
    def agrees_with_the_model(self) -> None:
        balance = self.budget.balance(self.now)
        assert 0.0 <= balance <= self.capacity
        assert balance == pytest.approx(self.level, abs=ROUNDING)
        counted = self.budget.statistics()
        assert (counted.deposits, counted.granted, counted.refused) == (
            self.first_attempts,
            self.spent,
            self.refused,
        )


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(failures=st.integers(0, 500), capacity=CAPACITIES, min_per_s=FLOORS)
@settings(max_examples=50, deadline=None)
def test_after_any_outage_the_bucket_is_full_again_within_capacity_over_floor(
    failures: int, capacity: float, min_per_s: float
) -> None:
    budget = RetryBudget(ratio=0.0, min_per_s=min_per_s, capacity=capacity)
    for _ in range(failures):
        budget.deposit(0.0)
        budget.try_spend(0.0)
    later = (capacity + ROUNDING) / min_per_s
    assert all(budget.try_spend(later) for _ in range(int(capacity)))
