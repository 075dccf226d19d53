"""Engines are built from a policy once, and live on when their part of the policy stays."""

import math
from dataclasses import replace

import pytest

from seawall import (
    Breaker,
    Budget,
    Bulkhead,
    Policy,
    PolicyError,
    RateLimit,
    Retry,
    UsageError,
    guard,
)
from seawall.kernel.clock import ManualClock
from seawall.resilience.build import Builder
from seawall.resilience.system import SYSTEM_CLOCK
from tests.resilience.world import START_S, Flaky, World, counts

FULL = Policy(
    breaker=Breaker(errors="5%"),
    retry=Retry(attempts=3, budget=Budget(ratio="10%"), idempotent=False, on=(KeyError,)),
    bulkhead=Bulkhead(limit=2, queue=3, max_wait="1s"),
    rate=RateLimit(rate="10/s", burst=2),
    timeout="1s",
    deadline="3s",
)


def builder(**parts: object) -> Builder:
    world = World()
    values = {
        "name": "db",
        "fallback": None,
        "probe": None,
        "ignore": (),
        "failures": (),
        "classify": None,
        "classify_result": None,
        "clock": world.clock,
        "rng": lambda: 0.5,
        "hub": world.hub,
    }
    return Builder(**{**values, **parts})  # type: ignore[arg-type]  # all of them are right


def test_every_part_becomes_an_engine() -> None:
    plan = builder().build(FULL, None, None)

    assert (plan.name, plan.key, plan.timeout_s, plan.deadline_s) == ("db", "", 1.0, 3.0)
    assert plan.breaker is not None
    assert plan.breaker.allows()
    assert plan.bulkhead is not None
    assert plan.bulkhead.limit == 2
    assert plan.limiter is not None
    assert [plan.limiter.try_acquire(START_S) for _ in range(2)] == [0.0, 0.0]
    assert plan.attempts == 3
    assert plan.budget is not None
    assert not plan.idempotent
    assert plan.short is None
    assert plan.classifier.error(KeyError()).retryable


def test_a_part_that_is_missing_is_no_engine() -> None:
    plan = builder().build(Policy(breaker=None), None, None)

    assert plan.breaker is plan.bulkhead is plan.limiter is plan.schedule is plan.budget is None
    assert plan.timeout_s == plan.deadline_s == math.inf
    assert plan.attempts == 1
    assert plan.idempotent
    assert plan.short is None, "without a breaker there is no short way"


def test_one_attempt_is_no_retry() -> None:
    plan = builder().build(Policy(retry=Retry(attempts=1, budget=None)), None, None)

    assert plan.schedule is plan.budget is None


def test_only_a_breaker_is_plain() -> None:
    plan = builder().build(Policy(), None, None)
    assert plan.short is plan.breaker
    assert builder(classify_result=lambda _value: None).build(Policy(), None, None).short is None


def test_a_clock_that_can_not_sleep_borrows_the_systems_sleep() -> None:
    clock = ManualClock(3.0)
    plan = builder(clock=clock).build(Policy(), None, None)

    assert plan.sleep is SYSTEM_CLOCK.sleep
    assert plan.now() == 3.0
    assert builder().build(Policy(), None, None).sleep is not SYSTEM_CLOCK.sleep


def test_the_same_policy_keeps_every_engine() -> None:
    made = builder()
    old = made.build(FULL, None, None)
    new = made.build(replace(FULL, timeout="2s"), FULL, old)

    assert new.timeout_s == 2.0
    assert new.breaker is old.breaker
    assert new.bulkhead is old.bulkhead
    assert new.limiter is old.limiter
    assert new.schedule is old.schedule
    assert new.budget is old.budget
    assert new.fallbacks is old.fallbacks


def test_a_changed_part_gets_a_new_engine_but_the_breaker_goes_on() -> None:
    made = builder()
    old = made.build(FULL, None, None)
    changed = replace(
        FULL,
        breaker=Breaker(errors="10%"),
        retry=replace(FULL.retry, attempts=2),
        bulkhead=Bulkhead(limit=5),
        rate=RateLimit(rate="20/s"),
    )
    new = made.build(changed, FULL, old)

    assert new.breaker is old.breaker
    assert new.bulkhead is not old.bulkhead
    assert new.limiter is not old.limiter
    assert new.schedule is not old.schedule
    assert new.budget is old.budget, "the budget itself did not change"
    other = made.build(replace(FULL, retry=Retry(budget=Budget(ratio="20%"))), FULL, old)
    assert other.budget is not old.budget


def test_a_breaker_comes_and_goes() -> None:
    made = builder()
    without = Policy(breaker=None)
    none = made.build(without, None, None)
    some = made.build(Policy(), without, none)

    assert some.breaker is not None
    assert made.build(without, Policy(), some).breaker is None


def test_an_object_that_is_an_async_probe_is_seen_as_one() -> None:
    class Probe:
        async def __call__(self) -> bool:
            return True

    probe = Probe()
    plan = builder(probe=probe).build(Policy(), None, None)
    assert plan.probe == probe.__call__

    def sync() -> bool:
        return True

    assert builder(probe=sync).build(Policy(), None, None).probe is sync


def test_nothing_wrong_with_a_guards_arguments_is_left_for_later() -> None:
    with pytest.raises(PolicyError) as caught:
        guard("", fallback=3, probe=3, ignore=7, classify="x", rng=1, clock=3, hub=3, keys_max=0, timeout=-1)  # type: ignore[arg-type]
    assert [problem.key for problem in caught.value.problems] == [
        "timeout",
        "name",
        "fallback",
        "probe",
        "ignore",
        "classify",
        "rng",
        "keys_max",
        "clock",
        "hub",
    ]
    with pytest.raises(UsageError, match="can only go by a Policy"):
        World().guard(policy={"timeout": 1})
    with pytest.raises(UsageError, match="can only go by a Policy"):
        World().guard().reload(5)  # type: ignore[arg-type]  # that is the test


def test_lists_of_exceptions_are_as_good_as_tuples() -> None:
    db = World().guard(ignore=[KeyError], retry=Retry(attempts=2, base="1ms", on=[ConnectionError]))  # type: ignore[arg-type]
    assert db.call(Flaky(1)) == "done"
    with pytest.raises(KeyError):
        db.call({}.__getitem__, 1)
    assert counts(db).ignored == 1
