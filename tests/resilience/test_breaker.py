"""The breaker as its callers see it: tickets, verdicts, stalls, orders and what it tells about itself."""

import dataclasses
import itertools
import math
from types import TracebackType

import pytest

from seawall.kernel.errors import Outcome
from seawall.kernel.signals import BreakerChanged, BreakerForced, BreakerReleased
from seawall.resilience.breaker import STALL_BASELINE_FACTOR, STALL_RETRY_S, CircuitBreaker
from seawall.resilience.policy import Breaker
from seawall.resilience.states import Enforcement, Override, State
from seawall.resilience.windows import Cohort
from tests.resilience.breakers import AT_ONCE, FIXED, Driven

STATES = list(State)


# -- the hot path --------------------------------------------------------------------------------------------


def test_a_closed_breaker_counts_two_increments_per_call() -> None:
    driven = Driven()
    driven.call()
    breaker = driven.breaker
    cohort = breaker.cohort
    started = driven.now
    assert breaker.admit(started) is cohort
    breaker.settle(cohort, Outcome.OK, started, started + 0.001)
    assert (cohort.started, cohort.fast) == (2, 2)


def test_the_halves_of_the_hot_path_do_the_same() -> None:
    driven = Driven()
    driven.call()
    breaker, now = driven.breaker, driven.now
    cohort = breaker.enter(now)
    assert cohort is breaker.cohort
    assert breaker.leave(cohort, now, now + 0.001)
    assert not breaker.leave(cohort, now, now + 0.5), "slow: to be settled"
    assert (cohort.started, cohort.fast) == (2, 2)
    assert breaker.enter(breaker.due) is None, "a roll is due"
    driven.open()
    assert breaker.enter(driven.now) is None


def test_the_first_call_and_one_per_tick_take_the_long_way() -> None:
    driven = Driven()
    breaker = driven.breaker
    assert breaker.due == 100.0
    driven.call()
    assert breaker.due == pytest.approx(100.02)


def test_open_rejects_without_the_lock() -> None:
    class Watched:
        entered = 0

        def __enter__(self) -> None:
            self.entered += 1

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
        ) -> None:
            assert error is None

    lock = Watched()
    breaker = CircuitBreaker(Breaker().rules(), lock=lock)
    for _ in range(10):
        breaker.record(False, 0.01, 0.0)
    assert breaker.state is State.OPEN
    before = lock.entered
    assert breaker.admit(1.0) is None
    assert (lock.entered, breaker.rejected) == (before, 1)
    assert breaker.admit(breaker.rejects_until) is not None
    assert lock.entered > before


def test_a_call_that_finds_the_open_time_over_announces_it() -> None:
    driven = Driven().open()
    driven.signals()
    driven.now = driven.breaker.next_due
    assert driven.call()
    assert driven.moves() == [("open", "half_open")]


# -- the verdict ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "allows", "share"),
    [
        (State.CLOSED, True, 1.0),
        (State.OPEN, False, 0.0),
        (State.HALF_OPEN, False, 0.0),
        (State.RAMPING, False, 0.1),
    ],
)
def test_the_verdict_in_each_state(state: State, allows: bool, share: float) -> None:
    breaker = Driven(ramp=FIXED).put(state).breaker
    assert (breaker.state, breaker.allows(), breaker.share) == (state, allows, share)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("mode", "allows", "share"),
    [
        (Enforcement.FORCED_OPEN, False, 0.0),
        (Enforcement.FORCED_CLOSED, True, 1.0),
        (Enforcement.DISABLED, True, 1.0),
        (Enforcement.SHADOW, True, 1.0),
    ],
)
def test_an_override_is_above_every_state(
    state: State, mode: Enforcement, allows: bool, share: float
) -> None:
    driven = Driven().put(state)
    driven.force(mode)
    breaker = driven.breaker
    assert (breaker.allows(), breaker.share, breaker.enforcement) == (allows, share, mode)
    assert (breaker.admit(driven.now) is not None) is allows
    assert breaker.state is state
    assert breaker.override is not None


def test_when_polling_is_next_of_use() -> None:
    driven = Driven(open_jitter=0)
    assert driven.breaker.next_due == 100.0
    driven.call()
    assert driven.breaker.next_due == pytest.approx(100.02)
    driven.open()
    assert driven.breaker.next_due == pytest.approx(driven.now + 5.0)
    driven.wait(5.0)
    assert driven.breaker.next_due == math.inf, "a half-open breaker waits for calls"
    driven.admit()
    assert driven.breaker.next_due == pytest.approx(driven.now + 2.0), "the probe's lease"
    driven.force(Enforcement.FORCED_OPEN, for_s=1.0)
    assert driven.breaker.next_due == pytest.approx(driven.now + 1.0)


def test_how_long_a_rejected_caller_does_well_to_wait() -> None:
    driven = Driven(open_jitter=0).open()
    assert driven.breaker.retry_after_s(driven.now + 1.0) == pytest.approx(4.0)
    assert driven.breaker.retry_after_s(driven.now + 9.0) == 0.0
    driven.wait(5.0)
    assert driven.breaker.retry_after_s(driven.now) == 2.0, "a probe's lease"
    driven = Driven().ramping()
    assert driven.breaker.retry_after_s(driven.now) == 0.0
    driven.force(Enforcement.FORCED_OPEN, for_s=7.0)
    assert driven.breaker.retry_after_s(driven.now) == 7.0
    driven.force(Enforcement.FORCED_OPEN, for_s=math.inf)
    assert driven.breaker.retry_after_s(driven.now) is None


# -- results without a ticket --------------------------------------------------------------------------------


def test_results_without_a_ticket_open_and_close_too() -> None:
    driven = Driven(ramp=FIXED)
    breaker = driven.breaker
    for _ in range(50):
        breaker.record(True, 0.01, driven.now)
    assert breaker.statistics().calls == 50
    while breaker.state is State.CLOSED:
        breaker.record(False, 0.01, driven.now)
    driven.now = breaker.next_due
    breaker.poll(driven.now)
    while breaker.state is State.HALF_OPEN:
        driven.now += 0.1
        breaker.record(True, 0.01, driven.now)
    while breaker.state is State.RAMPING:
        driven.now += 0.1
        breaker.record(True, 0.01, driven.now)
    assert driven.moves() == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "ramping"),
        ("ramping", "closed"),
    ]


def test_slow_results_without_a_ticket_are_slow() -> None:
    driven = Driven()
    for _ in range(10):
        driven.breaker.record(True, 0.7, driven.now)
    assert driven.breaker.state is State.OPEN
    assert driven.breaker.evidence is not None
    assert driven.breaker.evidence.rule == "slow"


# -- saturation ----------------------------------------------------------------------------------------------


def test_saturation_opens_after_a_whole_short_window_of_it() -> None:
    driven = Driven(saturation="90%")
    breaker = driven.breaker
    breaker.saturation(0.95, 100.0)
    breaker.saturation(0.95, 100.9)
    breaker.saturation(0.5, 100.95)
    breaker.saturation(0.9, 101.0)
    breaker.saturation(1.0, 101.99)
    assert breaker.state is State.CLOSED
    breaker.saturation(1.0, 102.0)
    assert breaker.state is State.OPEN
    assert str(breaker.evidence) == "100% of the capacity was in use for 1 s (limit 90%)"
    breaker.saturation(1.0, 104.0)
    assert breaker.opened == 1
    assert driven.moves() == [("closed", "open")]


def test_saturation_is_not_judged_unless_asked_for() -> None:
    breaker = Driven().breaker
    for step in range(10):
        breaker.saturation(1.0, 100.0 + step)
    assert breaker.state is State.CLOSED


# -- the stall path ------------------------------------------------------------------------------------------


def stalled(driven: Driven, after_s: float = 0.2) -> Driven:
    for _ in range(10):
        driven.admit()
    driven.now += after_s
    return driven


def test_a_stall_asks_for_one_probe_and_a_failed_one_opens() -> None:
    driven = stalled(Driven(probing=True))
    breaker = driven.breaker
    assert breaker.suspects(driven.now)
    assert not breaker.suspects(driven.now), "once per suspicion"
    breaker.probed(False, driven.now + 0.05)
    assert breaker.state is State.OPEN
    assert str(breaker.evidence) == "calls were left unanswered for 150 ms and the active probe failed"
    assert not breaker.suspects(driven.now + 1.0), "it is open already"
    assert driven.moves() == [("closed", "open")]


def test_a_good_probe_ends_the_suspicion_for_a_while() -> None:
    driven = Driven(probing=True, p95="9s")
    breaker = driven.breaker
    asked = []
    for _ in range(100):
        driven.now += 0.01
        driven.admit()
        if breaker.suspects(driven.now):
            asked.append(driven.now)
            breaker.probed(True, driven.now)
    assert breaker.state is State.CLOSED
    assert len(asked) >= 2
    assert min(later - earlier for earlier, later in itertools.pairwise(asked)) >= STALL_RETRY_S


def test_nobody_suspects_without_reason() -> None:
    driven = stalled(Driven(probing=False))
    assert not driven.breaker.suspects(driven.now), "nobody would run the probe"
    driven = stalled(Driven(probing=True, stall_after=None))
    assert not driven.breaker.suspects(driven.now), "switched off"
    driven = stalled(Driven(probing=True), after_s=0.1)
    assert not driven.breaker.suspects(driven.now), "too early"
    driven = stalled(Driven(probing=True))
    driven.force(Enforcement.FORCED_CLOSED)
    assert not driven.breaker.suspects(driven.now), "an operator decides"
    driven.breaker.probed(False, driven.now)
    assert driven.breaker.state is State.CLOSED


def test_switched_off_stays_off_with_a_known_baseline() -> None:
    driven = Driven(probing=True, stall_after=None)
    driven.calls(1000)
    assert driven.breaker.baseline_s > 0.0
    driven = stalled(driven)
    assert not driven.breaker.suspects(driven.now)


def test_a_stall_is_suspected_without_a_latency_rule() -> None:
    driven = Driven(probing=True, p95=None)
    while not driven.breaker.suspects(driven.now):
        driven.admit()
        driven.now += 0.01
    assert driven.now < 100.5


def test_a_backend_that_usually_takes_longer_is_suspected_later() -> None:
    driven = Driven(probing=True)
    assert driven.breaker.stall_after_s == 0.15
    driven.calls(100, lasts_s=0.1)
    assert driven.breaker.stall_after_s == pytest.approx(STALL_BASELINE_FACTOR * 0.1)
    driven = stalled(driven)
    assert not driven.breaker.suspects(driven.now)


def test_asking_lets_time_pass() -> None:
    driven = Driven(probing=True)
    driven.calls(100)
    for _ in range(30):
        driven.admit()
    driven.now += 0.7
    driven.signals()
    assert not driven.breaker.suspects(driven.now)
    assert driven.breaker.state is State.OPEN, "they were slow before anybody suspected anything"
    assert driven.moves() == [("closed", "open")]


# -- orders --------------------------------------------------------------------------------------------------


def test_forcing_tells_who_why_and_until_when() -> None:
    driven = Driven()
    driven.force(Enforcement.FORCED_OPEN, for_s=10.0)
    [forced] = driven.signals()
    assert forced == BreakerForced(
        at=100.0, name="db", key="k", mode="open", owner="ada", reason="maintenance", until=110.0
    )
    assert not driven.call()
    driven.breaker.release(driven.now, "bob")
    released, changed = driven.signals()
    assert released == BreakerReleased(at=driven.now, name="db", key="k", mode="open", owner="bob")
    assert isinstance(changed, BreakerChanged)
    assert changed.reason == "the open state forced by ada ended"
    assert driven.breaker.state is State.HALF_OPEN, "it has to prove itself"


def test_releasing_nothing_is_nothing() -> None:
    driven = Driven()
    driven.breaker.release(driven.now)
    assert driven.signals() == []


@pytest.mark.parametrize("state", STATES)
def test_a_reset_closes_from_everywhere(state: State) -> None:
    driven = Driven().put(state)
    driven.force(Enforcement.FORCED_OPEN)
    driven.signals()
    driven.breaker.reset(driven.now)
    released, changed = driven.signals()
    assert isinstance(released, BreakerReleased)
    assert (changed.old, changed.new, changed.reason) == (state.label, "closed", "reset by an operator")
    assert driven.breaker.override is None
    assert driven.breaker.statistics().minute.total == 0
    assert driven.call()


def test_a_reset_forgets_how_often_recovery_failed() -> None:
    driven = Driven(open_jitter=0)
    for _ in range(3):
        driven.half_open()
        driven.call(Outcome.FAILED)
    driven.breaker.reset(driven.now)
    driven.open()
    assert driven.breaker.retry_after_s(driven.now) == 5.0


def test_counts_survive_a_reload_that_does_not_change_their_meaning() -> None:
    driven = Driven()
    driven.calls(20)
    out, started = driven.admit(), driven.now
    rules = Breaker(**(driven.policy | {"errors": "50%"})).rules()
    assert driven.breaker.reload(rules, driven.now) is True
    assert driven.breaker.rules is rules
    driven.breaker.settle(out, Outcome.FAILED, started, driven.now + 0.01)
    seen = driven.breaker.statistics()
    assert (seen.calls, seen.failed, seen.generation) == (21, 1, 0)


def test_a_reload_with_other_bounds_starts_the_windows_afresh() -> None:
    driven = Driven()
    driven.calls(20)
    out, started = driven.admit(), driven.now
    rules = Breaker(**(driven.policy | {"p95": "100ms"})).rules()
    assert driven.breaker.reload(rules, driven.now) is False
    assert driven.breaker.slow_s == 0.1
    driven.breaker.settle(out, Outcome.FAILED, started, driven.now + 0.01)
    seen = driven.breaker.statistics()
    assert (seen.calls, seen.failed, seen.late, seen.forgotten, seen.minute.total) == (20, 0, 1, 1, 0)
    driven.calls(1)
    assert driven.breaker.statistics().calls == 21


def test_a_reload_lets_time_pass_first() -> None:
    driven = Driven(open_jitter=0).open()
    driven.signals()
    driven.breaker.reload(driven.breaker.rules, driven.now + 5.0)
    assert driven.moves() == [("open", "half_open")]


def test_the_long_way_is_for_guards_with_more_parts() -> None:
    driven = Driven()
    driven.call()
    driven.breaker.take_long_way(True)
    assert driven.breaker.due == -math.inf
    assert driven.call()
    driven.breaker.take_long_way(False)
    assert driven.breaker.due > driven.now


def test_a_cohort_that_was_counted_before_is_adopted() -> None:
    cohort = Cohort(0, 100.0)
    cohort.started = 6
    breaker = Driven().breaker
    breaker.adopt(cohort)
    breaker.poll(100.01)
    assert breaker.statistics().in_flight == 6
    assert breaker.admit(100.011) is cohort


# -- looking at it -------------------------------------------------------------------------------------------


def test_statistics_hold_everything_and_are_frozen() -> None:
    driven = Driven(consecutive=None, errors="90%")
    driven.calls(30)
    for outcome in Outcome:
        driven.call(outcome)
    driven.admit()
    seen = driven.breaker.statistics()
    assert (seen.name, seen.state, seen.enforcement, seen.share) == ("db", "closed", "enforce", 1.0)
    assert (seen.calls, seen.in_flight, seen.failed, seen.slow) == (35, 1, 2, 1)
    assert (seen.ignored, seen.unreachable, seen.throttled, seen.voided) == (1, 1, 1, 1)
    assert (seen.rejected, seen.would_reject, seen.opened, seen.late) == (0, 0, 0, 0)
    assert seen.minute.total == 35
    assert seen.baseline_s > 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.calls = 5  # type: ignore[misc]  # the point of the test


def test_rejections_are_counted_for_real_and_in_shadow() -> None:
    driven = Driven().open()
    driven.calls(7)
    assert driven.breaker.statistics().rejected == 7
    driven = Driven(enforcement="shadow").open()
    assert driven.calls(7) == 7
    seen = driven.breaker.statistics()
    assert (seen.rejected, seen.would_reject, seen.enforcement) == (0, 7, "shadow")


def test_it_shows_its_state_and_why() -> None:
    driven = Driven(consecutive=3)
    assert repr(driven.breaker) == "<CircuitBreaker 'db' closed enforce 100%>"
    driven.open()
    assert repr(driven.breaker) == "<CircuitBreaker 'db' open enforce 0%: 3 failures in a row (limit 3)>"
    assert not hasattr(driven.breaker, "__dict__")


def test_it_works_without_anybody_listening() -> None:
    breaker = CircuitBreaker(Breaker(ramp=AT_ONCE).rules())
    for _ in range(10):
        breaker.record(False, 0.01, 0.0)
    breaker.force(Override(Enforcement.FORCED_OPEN, "ada", "test", 60.0), 1.0)
    breaker.release(2.0)
    assert breaker.state is State.HALF_OPEN
    breaker.reset(3.0)
    assert (breaker.state, breaker.name, breaker.generation) == (State.CLOSED, "", 3)
