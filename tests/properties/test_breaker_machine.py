"""The breaker against a simple model: whatever callers, operators and the clock do, in whatever order."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seawall.kernel.errors import Outcome
from seawall.kernel.signals import BreakerChanged, Hub
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.policy import Breaker, Ramp
from seawall.resilience.recovery import Probe
from seawall.resilience.states import TRANSITIONS, Enforcement, Override, State
from seawall.resilience.windows import Cohort, Ticket

STEPS = {(old.label, new.label) for (old, _), new in TRANSITIONS.items()}
POLICIES: dict[str, dict[str, Any]] = {
    "errors": {},
    "slow": {"p95": "500ms"},
    "both bounds": {"p95": "200ms", "p99": "1s"},
    "static": {"mode": "static", "minimum_requests": 5, "p95": "300ms"},
    "few probes": {"probes": 2, "probe_concurrency": 1, "probe_success": "50%", "p95": "500ms"},
    "no ramp": {"ramp": Ramp(kind="none"), "probes": 3},
    "fixed ramp": {"ramp": Ramp(kind="fixed", duration="5s", step="30%"), "probes": 3, "p95": "500ms"},
    "shadow": {"enforcement": "shadow", "p95": "500ms", "probes": 3},
    "disabled": {"enforcement": "disabled"},
}
OPEN_FOR_S = 5.0
"""No policy here opens for less."""
GAPS = st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.3, 0.6, 1.0, 4.5, 5.0, 70.0]) | st.floats(0.0, 8.0)
OUTCOMES = st.sampled_from([*Outcome, Outcome.OK, Outcome.OK, Outcome.FAILED])
FORCES = st.sampled_from(
    [Enforcement.FORCED_OPEN, Enforcement.FORCED_CLOSED, Enforcement.DISABLED, Enforcement.SHADOW]
)


class BreakerMachine(RuleBasedStateMachine):
    """Calls that overlap and end in any way, time that passes, orders that come in between."""

    @initialize(name=st.sampled_from(sorted(POLICIES)), jitter=st.floats(0.0, 0.99))
    def build(self, name: str, jitter: float) -> None:
        self.hub = Hub()
        self.heard = self.hub.subscribe(BreakerChanged)
        self.now = 1000.0
        self.policy = Breaker(**POLICIES[name])
        self.breaker = CircuitBreaker(
            self.policy.rules(), now=self.now, hub=self.hub, rng=lambda: jitter, probing=True
        )
        self.out: list[tuple[Ticket, float]] = []
        self.state = State.CLOSED.label
        self.generation = 0
        self.life = 0
        self.opened_at = 0.0
        self.offered = 0.0
        self.let_in = 0

    # -- what happens ----------------------------------------------------------------------------------------

    @rule(gap=GAPS)
    def pause(self, gap: float) -> None:
        self.now += gap

    @rule(gap=GAPS)
    def pause_and_poll(self, gap: float) -> None:
        self.now += gap
        self.breaker.poll(self.now)

    @rule()
    def wait_until_something_is_due(self) -> None:
        due = self.breaker.next_due
        if self.now < due < self.now + 1000.0:
            self.now = due
        self.breaker.poll(self.now)

    @rule(calls=st.integers(1, 12))
    def call(self, calls: int) -> None:
        for _ in range(calls):
            self.admit()

    def admit(self) -> None:
        breaker = self.breaker
        rejected, early = breaker.rejected, self.now < breaker.rejects_until
        ticket = breaker.admit(self.now)
        mode, state = breaker.enforcement, breaker.state
        self.follow()
        if ticket is None:
            assert breaker.rejected == rejected + 1
            assert not breaker.allows() or state is not State.CLOSED
        else:
            assert not early, "open admits nothing before its time"
            assert mode is not Enforcement.FORCED_OPEN
            if mode is Enforcement.ENFORCE:
                assert state is not State.OPEN
                assert isinstance(ticket, Probe) is (state is State.HALF_OPEN)
            self.out.append((ticket, self.now))
        self.follow_ramp(mode, state, ticket)

    def follow_ramp(self, mode: Enforcement, state: State, ticket: Ticket | None) -> None:
        """The admitted share follows the target within one call."""
        if mode is not Enforcement.ENFORCE or state is not State.RAMPING:
            self.offered, self.let_in = 0.0, 0
            return
        self.offered += self.breaker.share
        self.let_in += ticket is not None
        assert abs(self.let_in - self.offered) <= 1.0 + 1e-6

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=OUTCOMES, lasts=GAPS, many=st.integers(1, 6))
    def end_some_calls(self, data: st.DataObject, outcome: Outcome, lasts: float, many: int) -> None:
        self.now += lasts
        for _ in range(min(many, len(self.out))):
            index = data.draw(st.integers(0, len(self.out) - 1))
            self.settle(*self.out.pop(index), outcome)

    def settle(self, ticket: Ticket, started: float, outcome: Outcome) -> None:
        breaker = self.breaker
        breaker.poll(self.now)
        self.follow()
        before, share, forced = breaker.state, breaker.share, breaker.override
        counted = self.counts()
        late = ticket.generation not in (-1, breaker.generation)
        breaker.settle(ticket, outcome, started, self.now)
        if late or ticket.generation == -1:
            assert (breaker.state, breaker.share) == (before, share), "it is of another life"
            assert self.counts() == counted
        elif forced is not None and forced.mode is not Enforcement.SHADOW:
            assert breaker.state is before, "an override stops the walk"
        elif outcome is Outcome.VOID:
            assert breaker.state is before
            assert self.counts() == counted, "a cancelled call changes no ratio"
        self.follow()

    def counts(self) -> tuple[int, ...]:
        seen = self.breaker.statistics()
        return seen.calls, seen.failed, seen.slow, seen.slower, seen.throttled

    @rule(outcome=st.sampled_from([Outcome.OK, Outcome.OK, Outcome.FAILED]), calls=st.integers(5, 40))
    def one_call_after_another(self, outcome: Outcome, calls: int) -> None:
        for _ in range(calls):
            self.admit()
            if self.out and self.out[-1][1] == self.now:
                ticket, started = self.out.pop()
                self.now += 0.01
                self.settle(ticket, started, outcome)
            self.now += 0.02

    @rule(ok=st.booleans(), latency=st.sampled_from([0.001, 0.1, 0.7, 3.0]))
    def report(self, ok: bool, latency: float) -> None:
        self.breaker.record(ok, latency, self.now)

    @rule(ok=st.booleans())
    def watch(self, ok: bool) -> None:
        if self.breaker.suspects(self.now):
            assert not self.breaker.suspects(self.now)
            self.breaker.probed(ok, self.now)

    @rule(mode=FORCES, lasts=st.sampled_from([0.5, 5.0, 100.0]))
    def force(self, mode: Enforcement, lasts: float) -> None:
        self.breaker.force(Override(mode, "ada", "test", self.now + lasts), self.now)

    @rule()
    def release(self) -> None:
        self.breaker.release(self.now, "bob")

    @rule()
    def reset(self) -> None:
        self.breaker.reset(self.now)
        assert self.breaker.state is State.CLOSED

    @rule(name=st.sampled_from(sorted(POLICIES)))
    def reload(self, name: str) -> None:
        self.breaker.poll(self.now)
        self.follow()
        before, concurrency = self.breaker.state, self.policy.probe_concurrency
        if self.breaker.state is State.HALF_OPEN and POLICIES[name].get("probe_concurrency", 3) < concurrency:
            return  # the round that is under way ends by the rules it began with
        self.policy = Breaker(**POLICIES[name])
        self.breaker.reload(self.policy.rules(), self.now)
        assert self.breaker.state is before

    # -- what holds ------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Check the steps that were announced, each from where the last one ended."""
        for signal in self.heard.take():
            assert isinstance(signal, BreakerChanged)
            assert (signal.old, signal.new) in STEPS
            assert signal.old == self.state, "no step is skipped"
            self.state = signal.new
            if signal.new in {"open", "ramping"} or (signal.old, signal.new) == ("half_open", "closed"):
                assert signal.generation > self.life, "what is still out must not count here"
            self.life = signal.generation
            if signal.new == "open":
                self.opened_at = signal.at
            elif signal.reason == "the open time is over":
                assert signal.at >= self.opened_at + OPEN_FOR_S
            self.offered, self.let_in = 0.0, 0

    @invariant()
    def steps_are_those_of_the_table(self) -> None:
        self.follow()
        assert self.breaker.state.label == self.state

    @invariant()
    def no_more_probes_are_out_than_allowed(self) -> None:
        if self.breaker.state is not State.HALF_OPEN:
            return
        probes = [
            ticket
            for ticket, _ in self.out
            if isinstance(ticket, Probe)
            and ticket.generation == self.breaker.generation
            and ticket.expires_at > self.now
        ]
        assert len(probes) <= self.policy.probe_concurrency

    @invariant()
    def every_call_of_this_life_is_one_thing(self) -> None:
        """Out, answered fast, slow or withdrawn; what a coarse cohort still holds back is late in it."""
        breaker = self.breaker
        window = breaker._window
        held = sum(cohort.late for cohort in [*window.live, window.cohort] if not cohort.matured)
        slower = window.slower_s > 0.0
        in_flight = sum(
            isinstance(ticket, Cohort) and ticket.generation == breaker.generation for ticket, _ in self.out
        )
        assert window.in_flight() >= 0
        assert held >= 0
        if not slower and breaker.rules.slow_s > 0.0:
            # Without a second bound a matured cohort is dropped: what is out is younger than the bound.
            young = sum(
                isinstance(ticket, Cohort) and ticket.generation == breaker.generation and not ticket.matured
                for ticket, _ in self.out
            )
            assert window.in_flight() == young
        assert window.in_flight() <= in_flight + held + (window.slow if slower else 0)

    @invariant()
    def counts_are_sane(self) -> None:
        seen = self.breaker.statistics()
        assert 0.0 <= seen.share <= 1.0
        assert self.breaker.share == 1.0 or not self.breaker.allows()
        for name in ("calls", "failed", "slow", "slower", "throttled", "late", "forgotten", "in_flight"):
            assert getattr(seen, name) >= 0, name
        assert seen.slower <= seen.slow
        assert seen.generation >= self.generation
        self.generation = seen.generation
        for window in (seen.short, seen.long, seen.minute):
            assert window.total >= 0
            assert 0 <= window.slow <= window.total
            assert window.slower >= 0, "not at most slow: a call gets slower later than it gets slow"


BreakerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestBreaker = BreakerMachine.TestCase


class ConservationMachine(RuleBasedStateMachine):
    """A breaker that never opens: each admitted call is counted exactly once, in exactly one place."""

    @initialize(slow=st.sampled_from([None, "100ms", "500ms", "5s"]), long_way=st.booleans())
    def build(self, slow: str | None, long_way: bool) -> None:
        self.now = 0.0
        rules = Breaker(errors="99%", p95=slow, slow_ratio="99%", throttled=None, consecutive=None).rules()
        rules.minimum_requests = 10**9
        self.breaker = CircuitBreaker(rules)
        self.breaker.take_long_way(long_way)
        self.out: list[tuple[Ticket, float]] = []
        self.admitted = self.answered = self.withdrawn = self.reported = 0

    @rule(gap=GAPS)
    def pause(self, gap: float) -> None:
        self.now += gap
        self.breaker.poll(self.now)

    @rule(calls=st.integers(1, 20))
    def call(self, calls: int) -> None:
        for _ in range(calls):
            ticket = self.breaker.admit(self.now)
            assert isinstance(ticket, Cohort)
            self.out.append((ticket, self.now))
        self.admitted += calls

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=OUTCOMES, lasts=GAPS)
    def end(self, data: st.DataObject, outcome: Outcome, lasts: float) -> None:
        self.now += lasts
        ticket, started = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.breaker.poll(self.now)
        before = self.breaker.statistics()
        self.breaker.settle(ticket, outcome, started, self.now)
        after = self.breaker.statistics()
        left_alone = isinstance(ticket, Cohort) and ticket.matured
        if outcome is Outcome.VOID and not left_alone:
            self.withdrawn += 1
        if outcome is Outcome.IGNORED and not left_alone:
            slow = self.breaker.rules.slow_s > 0.0 and self.now - started >= self.breaker.slow_s
            self.withdrawn += not slow
        assert after.failed - before.failed == (outcome in {Outcome.FAILED, Outcome.UNREACHABLE})

    @rule(ok=st.booleans(), latency=st.sampled_from([0.001, 0.3, 9.0]))
    def report(self, ok: bool, latency: float) -> None:
        self.breaker.record(ok, latency, self.now)
        self.reported += 1

    @invariant()
    def nothing_is_lost(self) -> None:
        window = self.breaker._window
        seen = self.breaker.statistics()
        held = sum(cohort.late for cohort in [*window.live, window.cohort])
        forgotten_and_back = 0
        if self.breaker.rules.slow_s == 0.0:
            # What was forgotten and came back after all is in both counts.
            both = seen.calls + seen.in_flight + held + seen.forgotten + self.withdrawn
            forgotten_and_back = both - self.admitted - self.reported
            assert 0 <= forgotten_and_back <= seen.forgotten
        total = seen.calls + seen.in_flight + held + seen.forgotten + self.withdrawn
        assert total - forgotten_and_back == self.admitted + self.reported


ConservationMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestConservation = ConservationMachine.TestCase
