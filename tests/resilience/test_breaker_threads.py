"""The breaker under threads that are switched as often as CPython can.

First the same harness shows that it finds lost updates where there are any.
"""

import random
import threading
from collections.abc import Iterator

import pytest

from seawall.kernel.errors import Outcome
from seawall.kernel.signals import BreakerChanged, Hub
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.policy import Breaker, Ramp
from seawall.resilience.registry import Registry
from seawall.resilience.states import Enforcement, Override, State
from seawall.resilience.windows import Cohort
from tests.resilience.crowd import THREADS, hectic, loses_updates, together

ROUNDS = 1_500
NEVER_OPENS = Breaker(errors="99%", throttled=None, consecutive=None, p95="500ms", slow_ratio="99%")


@pytest.fixture(autouse=True)
def switched_often() -> Iterator[None]:
    with hectic():
        yield


def test_the_crowd_finds_lost_updates_where_there_are_any() -> None:
    assert loses_updates(), "no update was lost in 50 runs: the stress shows nothing on this machine"


class Ticking:
    """A clock that all threads push on: each reading is a little later.

    Choose the step so that the whole test is shorter than the slow bound, or a thread that is switched away
    for long has made slow calls.
    """

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.now = 0.0

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


@pytest.mark.timeout(20)
def test_no_call_and_no_ending_is_lost() -> None:
    breaker = CircuitBreaker(NEVER_OPENS.rules(), lock=threading.Lock())
    clock = Ticking(0.00002)
    kinds = list(Outcome)

    def work(number: int) -> int:
        dice = random.Random(number)
        reported = 0
        for _ in range(ROUNDS):
            started = clock()
            ticket = breaker.admit(started)
            assert isinstance(ticket, Cohort)
            outcome = dice.choice(kinds) if dice.random() < 0.3 else Outcome.OK
            if outcome is Outcome.VOID:
                breaker.record(True, 0.001, started)
                reported += 1
            breaker.settle(ticket, outcome, started, clock())
        return reported

    reported = sum(together(work))
    seen = breaker.statistics()
    assert seen.calls + seen.ignored + seen.voided == THREADS * ROUNDS + reported
    assert seen.voided == reported
    assert (seen.in_flight, seen.late, seen.forgotten, seen.rejected, seen.opened) == (0, 0, 0, 0, 0)


@pytest.mark.timeout(20)
def test_endings_add_up_to_the_calls() -> None:
    breaker = CircuitBreaker(NEVER_OPENS.rules(), lock=threading.Lock())
    clock = Ticking(0.00002)

    def work(number: int) -> int:
        dice = random.Random(number)
        bad = 0
        for _ in range(ROUNDS):
            started = clock()
            ticket = breaker.admit(started)
            assert ticket is not None
            outcome = Outcome.OK
            if dice.random() < 0.2:
                outcome = dice.choice([Outcome.FAILED, Outcome.UNREACHABLE])
                bad += 1
            breaker.settle(ticket, outcome, started, clock())
        return bad

    bad = sum(together(work))
    seen = breaker.statistics()
    assert seen.calls + seen.in_flight == THREADS * ROUNDS
    assert (seen.in_flight, seen.slow) == (0, 0)
    assert seen.failed == bad


@pytest.mark.timeout(20)
def test_reports_without_tickets_add_up_too() -> None:
    breaker = CircuitBreaker(NEVER_OPENS.rules(), lock=threading.Lock())
    clock = Ticking(0.0001)

    def work(number: int) -> int:
        dice = random.Random(number)
        return sum(not _report(breaker, dice.random() < 0.9, clock()) for _ in range(ROUNDS))

    bad = sum(together(work))
    seen = breaker.statistics()
    assert (seen.calls, seen.failed) == (THREADS * ROUNDS, bad)


def _report(breaker: CircuitBreaker, ok: bool, now: float) -> bool:
    breaker.record(ok, 0.001, now)
    return ok


@pytest.mark.timeout(20)
@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_probes_are_out_than_allowed(concurrency: int) -> None:
    """Sixteen threads at the door of a half-open breaker, whose round never ends: nothing is proved."""
    policy = Breaker(probes=10_000, probe_concurrency=concurrency, open_jitter=0)
    breaker = CircuitBreaker(policy.rules(), lock=threading.Lock())
    breaker.force(Override(Enforcement.FORCED_OPEN, "ada", "test", 1.0), 0.0)
    breaker.poll(2.0)
    assert breaker.state is State.HALF_OPEN
    inside: list[int] = []

    def work(number: int) -> int:
        leased = 0
        for _ in range(300):
            ticket = breaker.admit(2.0)
            if ticket is None:
                continue
            inside.append(number)
            for _ in range(50):  # time to be switched away from with the lease in hand
                assert len(inside) <= concurrency
            inside.pop()
            leased += 1
            breaker.settle(ticket, Outcome.VOID, 2.0, 2.0)
        return leased

    leased = sum(together(work, threads=16))
    assert leased > 0
    assert leased + breaker.rejected == 16 * 300
    assert breaker.state is State.HALF_OPEN


@pytest.mark.timeout(20)
def test_each_step_is_announced_exactly_once() -> None:
    hub = Hub()
    policy = Breaker(
        errors="20%",
        probes=3,
        open_for="1s",
        open_for_max="1s",
        open_jitter=0,
        ramp=Ramp(kind="fixed", duration="1s", step="50%"),
    )
    breaker = CircuitBreaker(policy.rules(), hub=hub, lock=threading.Lock())
    clock = Ticking(0.001)
    with hub.subscribe(BreakerChanged, capacity=100_000) as heard:

        def work(number: int) -> int:
            dice = random.Random(number)
            for _ in range(ROUNDS):
                started = clock()
                ticket = breaker.admit(started)
                if ticket is not None:
                    ill = started % 10.0 < 2.0 or dice.random() < 0.01
                    breaker.settle(ticket, Outcome.FAILED if ill else Outcome.OK, started, clock())
            return 0

        together(work)
        steps = [signal for signal in heard.take() if isinstance(signal, BreakerChanged)]
    opened = sum(step.old in {"closed", "ramping"} and step.new == "open" for step in steps)
    assert opened == breaker.opened > 0
    # Two threads may publish in the other order, but what was left was entered just as often.
    assert len({(step.at, step.old, step.new, step.generation) for step in steps}) == len(steps)
    balance = dict.fromkeys(["closed", "open", "half_open", "ramping"], 0)
    for step in steps:
        balance[step.old] -= 1
        balance[step.new] += 1
    assert balance == dict.fromkeys(balance, 0) | (
        {} if breaker.state is State.CLOSED else {"closed": -1, breaker.state.label: 1}
    )


@pytest.mark.timeout(20)
def test_keys_that_grow_under_threads_keep_their_calls() -> None:
    for turn in range(60):
        registry = Registry(NEVER_OPENS.rules(), make_lock=threading.Lock)

        def work(number: int, registry: Registry = registry, turn: int = turn) -> int:
            entry = registry.get("key")
            failed = 0
            for index in range(20):
                ticket = entry.admit(0.0)
                assert ticket is not None
                bad = (index + number + turn) % 9 == 0
                failed += bad
                entry.settle(ticket, Outcome.FAILED if bad else Outcome.OK, 0.0, 0.001)
            return failed

        failed = sum(together(work))
        seen = registry.get("key").grow(0.0).statistics()
        assert (seen.calls, seen.in_flight, seen.failed) == (THREADS * 20, 0, failed)
        assert len(registry) == 1
