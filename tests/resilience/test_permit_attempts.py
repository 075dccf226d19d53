"""The attempts of one call as a loop, with ``break``, ``return``, errors and forgetfulness."""

import asyncio
import gc

import pytest

from seawall import (
    BreakerOpen,
    Bulkhead,
    DeadlineExceeded,
    Retry,
    State,
    UsageError,
    deadline,
)
from tests.resilience.world import START_S, TOUCHY, Flaky, World, cancelled, counts, hang, runs, seen

RETRY = Retry(attempts=3, base="1s", jitter="none", budget=None, on=(ConnectionError, DeadlineExceeded))


def inside(db: object) -> int:
    return db.statistics().bulkhead.inside  # type: ignore[attr-defined]  # a guard with a bulkhead


def test_it_loops_until_the_first_success() -> None:
    world = World()
    db = world.guard(retry=RETRY, bulkhead=Bulkhead(limit=1))
    flaky, numbers, answer = Flaky(2), [], ""

    for attempt in db.attempts():
        with attempt as entered:
            assert entered is attempt
            numbers.append(attempt.number)
            answer = flaky()

    assert (answer, numbers) == ("done", [1, 2, 3])
    assert world.elapsed_s == 3.0
    assert seen(db) == (0, 3, 2, 0)
    assert inside(db) == 0


def test_the_last_error_comes_out() -> None:
    db = World().guard(retry=RETRY, bulkhead=Bulkhead(limit=1))

    with pytest.raises(ConnectionError):
        for attempt in db.attempts():
            with attempt:
                Flaky(9)()
    assert seen(db) == (0, 3, 3, 0)
    assert inside(db) == 0


def test_an_error_that_is_not_retried_comes_out_at_once() -> None:
    db = World().guard(retry=RETRY)
    calls = []

    with pytest.raises(KeyError):
        for attempt in db.attempts():
            with attempt:
                calls.append(1)
                raise KeyError
    assert len(calls) == 1


def test_return_and_break_in_the_block_are_successes() -> None:
    db = World().guard(retry=RETRY, bulkhead=Bulkhead(limit=1))

    def returning() -> int:
        for attempt in db.attempts():
            with attempt:
                return attempt.number
        raise AssertionError

    assert returning() == 1
    for attempt in db.attempts():
        with attempt:
            break
    assert seen(db) == (0, 2, 0, 0)
    assert inside(db) == 0


def test_break_between_attempts_gives_the_place_back() -> None:
    db = World().guard(retry=RETRY, bulkhead=Bulkhead(limit=1))

    for attempt in db.attempts():
        with attempt:
            raise ConnectionError
        break
    del attempt
    gc.collect()

    assert inside(db) == 0
    assert seen(db) == (0, 1, 1, 0)


def test_a_loop_that_never_ran_takes_nothing() -> None:
    db = World().guard(retry=RETRY, bulkhead=Bulkhead(limit=1))

    attempts = db.attempts()
    assert iter(attempts) is attempts
    del attempts
    assert inside(db) == 0


def test_an_attempt_that_is_not_entered_is_a_mistake() -> None:
    db = World().guard(retry=RETRY, bulkhead=Bulkhead(limit=1))

    with pytest.raises(UsageError, match="was not entered, so nothing was guarded"):
        for _ in db.attempts():
            pass
    assert inside(db) == 0


def test_an_attempt_is_entered_once_and_in_its_turn() -> None:
    db = World().guard(retry=RETRY)
    attempts = db.attempts()
    first = next(attempts)
    with first:
        raise ConnectionError

    with pytest.raises(UsageError, match="entered once, inside its loop"), first:
        pass
    second = next(attempts)
    with second:
        pass
    with pytest.raises(UsageError), second:
        pass
    assert list(attempts) == []


def test_the_breaker_opens_between_two_attempts() -> None:
    world = World()
    db = world.guard(retry=RETRY, breaker=TOUCHY, bulkhead=Bulkhead(limit=1))

    with pytest.raises(BreakerOpen):
        for attempt in db.attempts():
            with attempt:
                raise ConnectionError
    assert db.state is State.OPEN
    assert inside(db) == 0


def test_a_classifier_that_raises_ends_the_loop() -> None:
    def broken(_error: BaseException) -> None:
        raise LookupError

    db = World().guard(retry=RETRY, classify=broken, bulkhead=Bulkhead(limit=1))
    with pytest.raises(LookupError):
        for attempt in db.attempts():
            with attempt:
                raise ConnectionError
    assert seen(db)[0] == 0
    assert inside(db) == 0


def test_ctrl_c_in_the_backoff_gives_the_place_back() -> None:
    db = World().guard(retry=RETRY, bulkhead=Bulkhead(limit=1))
    object.__setattr__(db.plan, "sleep", Flaky(1, KeyboardInterrupt))
    attempts = db.attempts()
    with next(attempts):
        raise ConnectionError

    with pytest.raises(KeyboardInterrupt):
        next(attempts)
    assert inside(db) == 0


def test_the_deadline_is_seen_inside_and_a_late_success_has_failed() -> None:
    world = World()
    db = world.guard(retry=RETRY, timeout="1s")

    for attempt in db.attempts():
        with attempt:
            assert deadline.remaining(START_S) == 1.0
            world.clock.advance(2.0)
    assert deadline.current() is None
    assert counts(db).failed == 1


@runs
async def test_async_attempts_are_interrupted_and_retried(world: World) -> None:
    db = world.guard(retry=RETRY, timeout="2s", bulkhead=Bulkhead(limit=1))
    numbers = []

    async for attempt in db.attempts():
        async with attempt as entered:
            assert entered is attempt
            numbers.append(attempt.number)
            if attempt.number < 3:
                await hang()

    assert numbers == [1, 2, 3]
    assert world.elapsed_s == 2.0 + 1.0 + 2.0 + 2.0
    assert seen(db) == (0, 3, 2, 0)
    assert inside(db) == 0


@runs
async def test_the_last_interruption_comes_out(world: World) -> None:
    db = world.guard(retry=RETRY, timeout="2s", bulkhead=Bulkhead(limit=1))

    with pytest.raises(DeadlineExceeded):
        async for attempt in db.attempts():
            async with attempt:
                await hang()
    assert inside(db) == 0


@runs
async def test_a_plain_with_works_in_an_async_loop_too(world: World) -> None:
    db = world.guard(retry=RETRY)
    flaky = Flaky(1)

    async for attempt in db.attempts():
        with attempt:
            await flaky.later()
    assert flaky.calls == 2
    assert world.elapsed_s == 1.0


@runs
async def test_an_async_attempt_without_a_limit_goes_by_its_end(world: World) -> None:
    db = world.guard(retry=RETRY)
    flaky = Flaky(1)

    async for attempt in db.attempts():
        async with attempt:
            await flaky.later()
    assert flaky.calls == 2


@runs
async def test_a_cancelled_attempt_or_backoff_gives_the_place_back(world: World) -> None:
    db = world.guard(retry=RETRY, bulkhead=Bulkhead(limit=1))

    async def work(*, failing: bool) -> None:
        async for attempt in db.attempts():
            async with attempt:
                if failing:
                    raise ConnectionError
                await hang()

    for failing in (True, False):
        await cancelled(asyncio.create_task(work(failing=failing)))
        assert inside(db) == 0
    assert seen(db)[0] == 0


@runs
async def test_an_async_attempt_that_is_not_entered_is_a_mistake(world: World) -> None:
    db = world.guard(retry=RETRY, bulkhead=Bulkhead(limit=1))

    with pytest.raises(UsageError, match="was not entered"):
        async for _ in db.attempts():
            pass
    assert inside(db) == 0


def test_an_async_attempt_outside_a_task_takes_nothing() -> None:
    db = World().guard(timeout="1s", bulkhead=Bulkhead(limit=1))
    with pytest.raises(StopIteration) as first:
        db.attempts().__anext__().send(None)
    attempt = first.value.value

    with pytest.raises(RuntimeError, match="no running event loop"):
        attempt.__aenter__().send(None)
    assert inside(db) == 0
    assert seen(db)[0] == 0


def test_a_plain_loop_does_not_block_the_event_loop() -> None:
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=1))

    async def main() -> None:
        for attempt in db.attempts():
            async with attempt:
                raise AssertionError("not reached")

    with pytest.raises(UsageError, match="needs 'async for'"):
        world.run(main())
    assert inside(db) == 0
