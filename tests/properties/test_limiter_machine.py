"""The rate limiter against its definition: what every window admitted, what each wait was worth."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seawall.resilience.limits import RateLimiter

GAPS = st.sampled_from([0.0, 1e-6, 0.001, 0.1, 1.0, 60.0]) | st.floats(0.0, 20.0)


class LimiterMachine(RuleBasedStateMachine):
    """Calls of any cost at any time, impatient ones and ones that wait as told."""

    @initialize(
        rate_per_s=st.sampled_from([0.1, 1.0, 3.0, 100.0, 12_345.678]),
        burst=st.sampled_from([1.0, 2.0, 2.5, 10.0, 100.0]),
        start=st.sampled_from([0.0, 0.3, 12_345.6, 1e6 + 0.1]),
    )
    def build(self, rate_per_s: float, burst: float, start: float) -> None:
        self.limiter = RateLimiter(rate_per_s, burst)
        self.rate_per_s, self.burst, self.now = rate_per_s, burst, start
        self.history: list[tuple[float, float]] = []
        self.refused = 0

    def acquire(self, cost: float) -> float:
        wait = self.limiter.try_acquire(self.now, cost)
        if wait == 0.0:
            self.history.append((self.now, cost))
        else:
            assert wait > 0.0
            self.refused += 1
        return wait

    @rule(gap=GAPS)
    def pause(self, gap: float) -> None:
        self.now += gap

    @rule(cost=st.sampled_from([1.0, 1.0, 0.5, 2.0, 10.0]), calls=st.integers(1, 20))
    def call(self, cost: float, calls: int) -> None:
        for _ in range(calls):
            wait = self.acquire(min(cost, self.burst))
            # Nobody waits longer than it takes to pay for a whole burst: refused calls cost nothing.
            assert wait <= self.burst / self.rate_per_s * (1 + 1e-6) + 1e-6

    @rule(cost=st.sampled_from([1.0, 2.0, 100.0]))
    def call_again_after_the_wait_it_was_told(self, cost: float) -> None:
        cost = min(cost, self.burst)
        wait = self.acquire(cost)
        if wait > 0.0:
            self.now += wait
            assert self.acquire(cost) == 0.0, "a wait it returned is sufficient"

    @rule()
    def after_a_long_pause_the_whole_burst_is_there(self) -> None:
        self.now += self.burst / self.rate_per_s + 1e-6
        assert self.acquire(self.burst) == 0.0

    @precondition(lambda self: self.history)
    @invariant()
    def keeps_its_bound_in_every_window(self) -> None:
        last = self.history[-1][0]
        admitted = 0.0
        for at, cost in reversed(self.history):
            admitted += cost
            forgiven = (self.burst + 1.0) * last * 2.0**-51 * self.rate_per_s
            drift = 1e-9 * admitted + last * 2.0**-53 * len(self.history) * self.rate_per_s
            assert admitted <= self.burst + self.rate_per_s * (last - at) + forgiven + drift + 1e-9

    @invariant()
    def counts(self) -> None:
        counted = self.limiter.statistics()
        assert (counted.admitted, counted.refused) == (len(self.history), self.refused)


TestLimiterMachine = LimiterMachine.TestCase
TestLimiterMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
