"""The walk through the table: what opens, what closes, what time does, and what a late result can't do."""

import math
import random

import pytest

from seawall.kernel.errors import Outcome
from seawall.kernel.signals import BreakerReleased, RampMoved
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.policy import Breaker, Ramp
from seawall.resilience.states import Enforcement, Override, State
from tests.resilience.breakers import AT_ONCE, FIXED, Driven

# -- opening -------------------------------------------------------------------------------------------------


def test_good_calls_never_open() -> None:
    driven = Driven()
    assert driven.calls(2000) == 2000
    assert driven.moves() == []


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNREACHABLE, Outcome.THROTTLED, Outcome.SLOW])
def test_bad_outcomes_open(outcome: Outcome) -> None:
    driven = Driven()
    driven.calls(40, outcome)
    assert driven.breaker.opened == 1
    assert driven.moves()[0] == ("closed", "open")


@pytest.mark.parametrize("outcome", [Outcome.IGNORED, Outcome.VOID])
def test_outcomes_that_say_nothing_never_open(outcome: Outcome) -> None:
    driven = Driven()
    assert driven.calls(200, outcome) == 200
    assert driven.breaker.statistics().calls == 0


def test_calls_that_never_come_back_open_at_the_slow_bound() -> None:
    driven = Driven()
    driven.calls(100)
    for _ in range(100):
        driven.admit()
        driven.now += 0.001
    hung_at = driven.now
    while driven.breaker.state is State.CLOSED:
        driven.wait(0.01)
    assert driven.now - hung_at < 0.5
    [changed] = [signal for signal in driven.signals() if getattr(signal, "new", "") == "open"]
    assert changed.evidence is driven.breaker.evidence
    assert changed.reason == str(changed.evidence)


def test_slow_answers_open_even_if_they_are_good() -> None:
    driven = Driven()
    driven.calls(10, lasts_s=0.6)
    driven.wait(1.0)
    assert driven.breaker.state is State.OPEN


# -- the open time -------------------------------------------------------------------------------------------


def test_the_open_time_doubles_with_failed_recoveries_up_to_its_limit() -> None:
    driven = Driven(open_jitter=0)
    waits = []
    for _ in range(6):
        driven.open()
        waits.append(driven.breaker.next_due - driven.now)
        driven.half_open()
        driven.call(Outcome.FAILED)
    assert waits == pytest.approx([5.0, 10.0, 20.0, 40.0, 60.0, 60.0])


def test_the_open_time_starts_again_after_a_stable_recovery() -> None:
    driven = Driven(open_jitter=0, ramp=AT_ONCE)
    driven.half_open()
    driven.calls(10)
    assert driven.breaker.state is State.CLOSED
    driven.open()
    assert driven.breaker.next_due - driven.now == pytest.approx(10.0), "that was no stable recovery"
    driven.wait(10.0)
    driven.calls(10)
    driven.wait(60.0)
    driven.open()
    assert driven.breaker.next_due - driven.now == pytest.approx(5.0)


def test_jitter_only_lengthens() -> None:
    driven = Driven(open_jitter="50%", rng=lambda: 0.5).open()
    assert driven.breaker.next_due - driven.now == pytest.approx(6.25)


# -- half-open -----------------------------------------------------------------------------------------------


def test_enough_good_probes_lead_to_a_ramp() -> None:
    driven = Driven(probes=4).half_open()
    driven.signals()
    assert driven.calls(4) == 4
    [changed] = driven.signals()
    assert (changed.new, changed.reason) == ("ramping", "4 of 4 probes succeeded")


def test_without_a_ramp_they_lead_to_full_traffic() -> None:
    driven = Driven(probes=4, ramp=AT_ONCE).half_open()
    driven.calls(4)
    assert driven.breaker.state is State.CLOSED


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNREACHABLE, Outcome.THROTTLED, Outcome.SLOW])
def test_a_bad_probe_opens_again(outcome: Outcome) -> None:
    driven = Driven().half_open()
    driven.signals()
    driven.call(outcome)
    [changed] = driven.signals()
    assert (changed.new, changed.reason) == ("open", "1 of 10 probes failed")
    assert changed.evidence is None


def test_a_slow_probe_is_a_bad_probe() -> None:
    driven = Driven().half_open()
    driven.call(lasts_s=0.5)
    assert driven.breaker.state is State.OPEN


@pytest.mark.parametrize("outcome", [Outcome.IGNORED, Outcome.VOID])
def test_a_probe_that_proved_nothing_is_leased_again(outcome: Outcome) -> None:
    driven = Driven(probe_concurrency=1).half_open()
    assert driven.calls(50, outcome) == 50
    assert driven.breaker.state is State.HALF_OPEN


def test_a_hung_probe_fails_with_its_lease() -> None:
    driven = Driven(open_jitter=0).half_open()
    probe, started = driven.admit(), driven.now
    driven.wait(2.0)
    assert driven.breaker.state is State.OPEN
    driven.breaker.settle(probe, Outcome.OK, started, driven.now)
    assert driven.breaker.statistics().late == 1


def test_an_answer_after_the_lease_does_not_save_it() -> None:
    driven = Driven(open_jitter=0).half_open()
    assert not driven.call(lasts_s=2.0) or driven.breaker.state is State.OPEN
    driven = Driven(p95="2s", probe_lease="1s").half_open()
    driven.call(lasts_s=1.5)
    assert driven.breaker.state is State.OPEN


def test_probes_of_an_older_round_are_late() -> None:
    driven = Driven(open_jitter=0).half_open()
    old, started = driven.admit(), driven.now
    driven.call(Outcome.FAILED)
    driven.half_open()
    driven.breaker.settle(old, Outcome.FAILED, started, driven.now)
    assert driven.breaker.state is State.HALF_OPEN
    assert driven.breaker.statistics().late == 1


def test_a_reload_with_other_bounds_starts_the_round_again() -> None:
    driven = Driven(probe_concurrency=2).half_open()
    old, started = driven.admit(), driven.now
    driven.breaker.reload(Breaker(**(driven.policy | {"p95": "1s"})).rules(), driven.now)
    driven.breaker.settle(old, Outcome.FAILED, started, driven.now)
    driven.wait(60.0)
    assert driven.breaker.state is State.HALF_OPEN, "the old probe failed nothing"
    assert driven.calls(10) == 10
    assert driven.breaker.state is State.RAMPING


# -- the ramp ------------------------------------------------------------------------------------------------


def test_the_fixed_ramp_lets_its_share_through_and_ends_closed() -> None:
    driven = Driven(ramp=FIXED).ramping()
    driven.signals()
    start = driven.now
    while driven.breaker.state is State.RAMPING:
        share = driven.breaker.share
        assert abs(driven.calls(40, lasts_s=0.001) - share * 40) <= 2
        driven.wait(0.1)
    assert driven.now - start == pytest.approx(9.0, abs=0.3)
    moved = driven.signals(RampMoved)
    assert [(round(signal.old, 1), round(signal.share, 1)) for signal in moved] == [
        (round(tenth / 10, 1), round(tenth / 10 + 0.1, 1)) for tenth in range(1, 9)
    ]


def test_a_ramp_of_one_step_ends_at_once() -> None:
    driven = Driven(ramp=Ramp(kind="fixed", step="100%")).ramping()
    driven.wait(0.1)
    assert driven.breaker.state is State.CLOSED


def test_calls_of_the_ramp_are_still_counted_when_it_ends() -> None:
    driven = Driven(ramp=Ramp(kind="fixed", step="50%", duration="1s")).ramping()
    driven.breaker.admit(driven.now)
    ticket, started = driven.admit(), driven.now
    driven.wait(1.0)
    assert driven.breaker.state is State.CLOSED
    driven.breaker.settle(ticket, Outcome.FAILED, started, driven.now)
    assert (driven.breaker.statistics().minute.failed, driven.breaker.statistics().late) == (1, 0)


def test_evidence_opens_a_ramp() -> None:
    driven = Driven(ramp=FIXED).ramping()
    driven.calls(400, Outcome.FAILED, lasts_s=0.001)
    assert driven.breaker.state is State.OPEN


@pytest.mark.parametrize(
    ("outcome", "lasts_s"),
    [(Outcome.FAILED, 0.001), (Outcome.THROTTLED, 0.001), (Outcome.SLOW, 0.001), (Outcome.OK, 0.6)],
)
def test_trouble_lowers_the_share_before_there_is_evidence(outcome: Outcome, lasts_s: float) -> None:
    driven = Driven(consecutive=None, errors="60%", slow_ratio="60%", throttled="90%").ramping()
    driven.calls(1000, lasts_s=0.002)
    before = driven.breaker.share
    for _ in range(4):
        started = driven.now
        tickets = [driven.breaker.admit(started) for _ in range(100)]
        leased = [ticket for ticket in tickets if ticket is not None]
        for ticket in leased[: len(leased) * 3 // 4]:
            driven.breaker.settle(ticket, outcome, started, started + lasts_s)
        for ticket in leased[len(leased) * 3 // 4 :]:
            driven.breaker.settle(ticket, Outcome.OK, started, started + 0.002)
        driven.wait(0.7)
    assert driven.breaker.share < before or driven.breaker.state is State.OPEN


def test_a_slow_call_reaches_the_ramp_once() -> None:
    driven = Driven(ramp=Ramp(), probes=1).ramping()
    ramp = driven.breaker._ramp
    assert ramp is not None
    while (ticket := driven.breaker.admit(driven.now)) is None:
        pass
    driven.breaker.settle(ticket, Outcome.SLOW, driven.now, driven.now + 0.01)
    while (ticket := driven.breaker.admit(driven.now)) is None:
        pass
    driven.breaker.settle(ticket, Outcome.OK, driven.now, driven.now + 0.5)
    driven.wait(1.0)
    assert (ramp._calls, ramp._bad) == (2, 2)


# -- late results --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_result_of_an_older_generation_only_counts_as_late(outcome: Outcome) -> None:
    driven = Driven(open_jitter=0)
    tickets, started = [driven.admit() for _ in range(100)], driven.now
    driven.ramping()
    before = driven.breaker.statistics()
    for ticket in tickets:
        driven.breaker.settle(ticket, outcome, started, driven.now)
    after = driven.breaker.statistics()
    assert after.late == before.late + 100
    assert driven.breaker.state is State.RAMPING
    assert (after.failed, after.slow, after.calls) == (before.failed, before.slow, before.calls)


# -- overrides -----------------------------------------------------------------------------------------------


def test_an_override_ends_with_its_time_and_nobody_s_hand() -> None:
    driven = Driven()
    driven.force(Enforcement.FORCED_OPEN, for_s=10.0)
    driven.signals()
    driven.wait(9.99)
    assert not driven.call(lasts_s=0.0)
    driven.wait(0.01)
    released, changed = driven.signals()
    assert isinstance(released, BreakerReleased)
    assert (released.owner, changed.old, changed.new) == ("", "closed", "half_open")


def test_after_a_forced_closed_counting_starts_afresh() -> None:
    driven = Driven().open()
    driven.force(Enforcement.FORCED_CLOSED, for_s=10.0)
    assert driven.calls(100, Outcome.FAILED) == 100
    assert driven.breaker.state is State.OPEN, "the walk stands still"
    driven.signals()
    driven.wait(10.0)
    assert driven.moves() == [("open", "closed")]
    assert driven.breaker.statistics().minute.total == 0


@pytest.mark.parametrize("mode", [Enforcement.DISABLED, Enforcement.SHADOW])
def test_other_overrides_leave_the_state_where_it_was(mode: Enforcement) -> None:
    driven = Driven().open()
    driven.force(mode, for_s=1.0)
    assert driven.calls(10) == 10
    driven.signals()
    driven.wait(1.0)
    assert driven.moves() == []
    assert not driven.call()


def test_disabled_measures_nothing_and_judges_nothing() -> None:
    driven = Driven(enforcement="disabled", saturation="50%")
    assert driven.calls(100, Outcome.FAILED) == 100
    for _ in range(50):
        driven.breaker.record(False, 0.01, driven.now)
        driven.breaker.saturation(1.0, driven.now)
        driven.now += 0.1
    assert driven.breaker.state is State.CLOSED
    assert driven.breaker.statistics().failed == 0


def test_a_forced_shadow_tells_what_would_happen_and_rejects_nobody() -> None:
    driven = Driven(ramp=FIXED)
    driven.calls(100)
    driven.force(Enforcement.SHADOW, for_s=3600.0)
    driven.signals()
    assert driven.calls(60, Outcome.FAILED) == 60
    assert driven.breaker.state is State.OPEN
    assert driven.breaker.statistics().would_reject > 0
    driven.wait(10.0)
    assert driven.calls(100) == 100
    assert driven.moves()[:3] == [("closed", "open"), ("open", "half_open"), ("half_open", "ramping")]
    assert driven.breaker.rejected == 0


def test_a_row_of_failures_under_an_override_is_no_reason_to_open_after_it() -> None:
    driven = Driven()
    driven.force(Enforcement.FORCED_CLOSED, for_s=50.0)
    driven.calls(60, Outcome.FAILED)
    driven.wait(50.0)
    assert driven.breaker.override is None
    driven.calls(100)
    assert driven.breaker.opened == 0


def test_probes_that_come_back_under_an_override_decide_after_it() -> None:
    driven = Driven(probes=1).half_open()
    probe, started = driven.admit(), driven.now
    driven.force(Enforcement.DISABLED, for_s=1.0)
    driven.signals()
    driven.breaker.settle(probe, Outcome.OK, started, driven.now + 0.01)
    assert driven.breaker.state is State.HALF_OPEN
    driven.wait(1.0)
    assert driven.moves() == [("half_open", "ramping")]


def test_shadow_walks_the_table_and_rejects_nobody() -> None:
    driven = Driven(enforcement="shadow", ramp=FIXED)
    driven.ramping()
    while driven.breaker.state is not State.CLOSED:
        assert driven.call(lasts_s=0.1)
    assert [new for _, new in driven.moves()] == ["open", "half_open", "ramping", "closed"]
    assert driven.breaker.would_reject > 0
    assert driven.breaker.rejected == 0


# -- results without a ticket --------------------------------------------------------------------------------


def test_old_results_without_a_ticket_are_late() -> None:
    driven = Driven().half_open()
    driven.breaker.record(False, 10.0, driven.now)
    assert driven.breaker.state is State.HALF_OPEN
    assert driven.breaker.statistics().late == 1
    driven.now += 0.1
    driven.breaker.record(False, 0.01, driven.now)
    assert driven.breaker.state is State.OPEN


def test_results_without_a_ticket_reach_the_ramp() -> None:
    driven = Driven(ramp=Ramp(), errors="50%").ramping()
    for _ in range(20):
        driven.now += 0.05
        driven.breaker.record(True, 0.01, driven.now)
    shares = [signal.share for signal in driven.signals(RampMoved)]
    assert shares == sorted(shares)
    assert len(shares) >= 1
    for _ in range(20):
        driven.now += 0.05
        driven.breaker.record(True, 0.6, driven.now + 0.6)
    assert driven.breaker.state is State.OPEN


# -- the baseline --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", [0.003, 0.02, 0.05, 0.3])
@pytest.mark.parametrize("gap_s", [0.001, 0.007, 0.1])
def test_the_baseline_is_what_calls_take_however_they_overlap(latency_s: float, gap_s: float) -> None:
    """A sample per roll that is overwritten by the next one would only ever see the shortest calls."""
    driven, dice = Driven(p95="1s"), random.Random(7)
    out = []
    for _ in range(2000):
        lasts_s = latency_s * dice.choice((0.5, 2.0))
        out.append((driven.now + lasts_s, driven.now, driven.admit()))
        driven.now += gap_s * 2.0 * dice.random()
        for ending in sorted(item for item in out if item[0] <= driven.now):
            out.remove(ending)
            driven.breaker.settle(ending[2], Outcome.OK, ending[1], ending[0])
    assert latency_s * 0.6 < driven.breaker.baseline_s < latency_s * 1.7


def test_the_baseline_does_not_depend_on_the_long_way() -> None:
    driven = Driven()
    driven.breaker.take_long_way(True)
    driven.calls(100, lasts_s=0.03)
    assert driven.breaker.baseline_s == pytest.approx(0.03)


def test_a_chosen_call_that_never_comes_back_is_replaced() -> None:
    driven = Driven(errors="99%", slow_ratio="99%", consecutive=None)
    driven.admit()
    driven.calls(400, lasts_s=0.015)
    assert driven.breaker.baseline_s == pytest.approx(0.015)


# -- without listeners ---------------------------------------------------------------------------------------


def test_it_walks_without_a_hub_too() -> None:
    breaker = CircuitBreaker(Breaker(open_jitter=0, ramp=FIXED, probes=1).rules())
    for _ in range(10):
        breaker.record(False, 0.01, 0.0)
    breaker.poll(5.0)
    breaker.record(True, 0.01, 5.1)
    assert breaker.state is State.RAMPING
    breaker.poll(6.2)
    assert breaker.share == 0.2
    breaker.force(Override(Enforcement.FORCED_CLOSED, "ada", "test", math.inf), 7.0)
    breaker.poll(1000.0)
    assert breaker.state is State.RAMPING


# -- orders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("change", [{"errors": "6%"}, {"p95": "400ms"}], ids=["kept", "afresh"])
def test_a_reload_leaves_the_state_as_it_is(state: State, change: dict[str, str]) -> None:
    driven = Driven(ramp=FIXED).put(state)
    driven.signals()
    driven.breaker.reload(Breaker(**(driven.policy | change)).rules(), driven.now)
    assert driven.breaker.state is state
    assert driven.signals() == []


def test_an_operator_can_end_what_is_forced_or_nothing_at_all() -> None:
    driven = Driven()
    driven.breaker.release(driven.now)
    driven.force(Enforcement.FORCED_CLOSED, for_s=math.inf)
    driven.breaker.release(driven.now, "bob")
    assert [signal.owner for signal in driven.signals(BreakerReleased)] == ["bob"]


def test_reported_latencies_make_a_baseline() -> None:
    driven = Driven()
    for _ in range(50):
        driven.now += 0.1
        driven.breaker.record(True, 0.03, driven.now)
    assert driven.breaker.baseline_s == pytest.approx(0.03)
