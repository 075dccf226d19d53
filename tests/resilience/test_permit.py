"""Permits, blocks and results: settled once, given back when forgotten, whatever happens in between."""

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from seawall import (
    Breaker,
    BreakerOpen,
    Bulkhead,
    DeadlineExceeded,
    Permit,
    RateLimit,
    Result,
    State,
    UsageError,
    deadline,
)
from seawall.kernel.errors import NotFoundError
from seawall.resilience import permit as module
from seawall.resilience import threads
from tests.resilience.world import START_S, TOUCHY, Flaky, World, counts, hang, runs, seen

# -- results -----------------------------------------------------------------------------------------------


def test_a_result_has_a_value_or_an_error() -> None:
    good, bad = Result(7), Result[int](error=KeyError("x"))

    assert (good.ok, good.value, good.rejected, good.unwrap()) == (True, 7, False, 7)
    assert (bad.ok, bad.value, bad.rejected) == (False, None, False)
    with pytest.raises(KeyError):
        bad.unwrap()
    assert Result[int](error=BreakerOpen("db")).rejected


# -- permits -----------------------------------------------------------------------------------------------


def test_a_permit_is_settled_in_one_of_four_ways() -> None:
    db = World().guard(bulkhead=Bulkhead(limit=1))

    def taken() -> Permit:
        permit = db.try_acquire()
        assert permit is not None
        assert db.try_acquire() is None, "the bulkhead is full"
        return permit

    taken().ok()
    taken().fail()
    taken().fail(ConnectionError())
    taken().fail(NotFoundError())
    taken().ignore()
    taken().drop()

    at = counts(db)
    assert (at.failed, at.ignored, at.voided, at.in_flight) == (2, 2, 1, 0)
    assert db.statistics().bulkhead.inside == 0


@pytest.mark.parametrize("way", ["ok", "fail", "ignore", "drop"])
def test_a_permit_is_settled_once(way: str) -> None:
    db = World().guard(bulkhead=Bulkhead(limit=1))
    permit = db.acquire()
    assert not permit.settled
    permit.ok()
    assert permit.settled

    with pytest.raises(UsageError, match="'db' was settled twice"):
        getattr(permit, way)()
    with pytest.raises(UsageError):
        permit.fail(ConnectionError())
    assert db.statistics().bulkhead.inside == 0


def test_a_forgotten_permit_comes_back() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY, bulkhead=Bulkhead(limit=1))
    with pytest.raises(ConnectionError):
        db.call(Flaky(1))
    world.clock.advance(10.0)
    probe = db.try_acquire()
    assert probe is not None
    assert db.try_acquire() is None

    del probe
    gc.collect()

    assert db.statistics().bulkhead.inside == 0
    assert db.call(Flaky(0)) == "done", "the lease is free again"


def test_what_is_good_but_late_has_failed() -> None:
    world = World()
    db = world.guard(timeout="1s")
    permit = db.acquire()
    assert permit.until == START_S + 1.0

    world.clock.advance(2.0)
    permit.ok()

    assert counts(db).failed == 1


def test_trying_never_raises() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY, rate=RateLimit(rate="1/s", burst=2), bulkhead=Bulkhead(limit=1))

    with deadline.scope(START_S):
        assert db.try_acquire() is None, "no time"
    with db.acquire() as permit:
        assert db.try_acquire() is None, "no place"
        permit.fail()
    world.clock.advance(2.0)
    assert db.try_acquire() is None, "open"
    db.try_acquire()
    assert db.try_acquire() is None, "too many"
    assert db.statistics().bulkhead.inside == 0


def test_trying_looks_after_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    started: list[object] = []
    monkeypatch.setattr(threads, "start_probe", lambda *args: started.append(args))

    def probe() -> bool:
        return True

    db = world.guard(breaker=Breaker(p95="2s", stall_after="150ms"), probe=probe)
    hanging = []
    while not started:
        hanging.append(db.try_acquire())
        world.clock.advance(0.01)
    assert started == [(db.breaker, probe, world.clock.monotonic)]
    assert world.elapsed_s < 0.5


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, (0, 0, 0)),
        (ConnectionError, (1, 0, 0)),
        (NotFoundError, (0, 1, 0)),
        (KeyboardInterrupt, (0, 0, 1)),
    ],
)
def test_as_a_context_manager_it_settles_itself(
    error: type[BaseException] | None, expected: tuple[int, int, int]
) -> None:
    db = World().guard()

    with contextlib.suppress(BaseException), db.acquire():
        if error is not None:
            raise error
    at = counts(db)
    assert (at.failed, at.ignored, at.voided) == expected
    assert at.in_flight == 0


def test_what_was_settled_inside_stays_settled() -> None:
    db = World().guard()

    with pytest.raises(ConnectionError), db.acquire() as permit:
        permit.ignore()
        raise ConnectionError
    assert (counts(db).failed, counts(db).ignored) == (0, 1)


def test_a_classifier_that_raises_gives_the_permit_back() -> None:
    def broken(_error: BaseException) -> None:
        raise LookupError

    db = World().guard(classify=broken, bulkhead=Bulkhead(limit=1))
    with pytest.raises(LookupError), db:
        raise ConnectionError
    assert seen(db)[0] == 0
    assert db.statistics().bulkhead.inside == 0


def test_a_permit_that_is_refused_leaves_nothing_behind() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY, bulkhead=Bulkhead(limit=1))
    with pytest.raises(ConnectionError):
        db.call(Flaky(1))

    with pytest.raises(BreakerOpen):
        db.acquire()
    assert db.statistics().bulkhead.inside == 0


# -- blocks ------------------------------------------------------------------------------------------------


def test_a_block_passes_its_deadline_on() -> None:
    world = World()
    outer, inner = world.guard(deadline="3s"), world.guard()

    with outer as held:
        assert held is outer
        assert deadline.remaining(START_S) == 3.0
        with inner:
            assert deadline.remaining(START_S) == 3.0
    assert deadline.current() is None
    assert seen(outer) == seen(inner) == (0, 1, 0, 0)


def test_a_block_that_overran_has_failed() -> None:
    world = World()
    db = world.guard(timeout="1s")

    with db:
        world.clock.advance(2.0)
    assert counts(db).failed == 1


def test_blocks_of_one_guard_nest() -> None:
    db = World().guard(bulkhead=Bulkhead(limit=3))

    with db, db:
        with pytest.raises(ConnectionError), db:
            raise ConnectionError
        assert db.statistics().bulkhead.inside == 2
    assert db.statistics().bulkhead.inside == 0
    assert seen(db)[2] == 1


def test_a_generators_block_may_end_inside_its_consumers() -> None:
    world = World()
    rows, reader, other = (world.guard(bulkhead=Bulkhead(limit=1)) for _ in range(3))

    def read() -> Iterator[int]:
        with rows:
            yield 1

    with other:
        source = read()
        next(source)
        with reader:
            assert list(source) == [], "its block ends here"
            assert rows.statistics().bulkhead.inside == 0
            assert reader.statistics().bulkhead.inside == 1
    for db in (rows, reader, other):
        assert (db.statistics().bulkhead.inside, seen(db)[0]) == (0, 0)


def test_a_block_that_ends_in_another_context_is_refused() -> None:
    db = World().guard()
    contextvars.copy_context().run(db.__enter__)

    with pytest.raises(UsageError, match=r"ends in another task .* 'with guard.acquire\(\):'"):
        db.__exit__(None, None, None)


@runs
async def test_blocks_of_concurrent_tasks_do_not_mix(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=10))

    async def work(number: int) -> None:
        async with db:
            await asyncio.sleep(1.0 + number % 3)
            if number % 2:
                raise ConnectionError

    async with db:
        answers = await asyncio.gather(*(work(number) for number in range(8)), return_exceptions=True)
    assert sum(isinstance(answer, ConnectionError) for answer in answers) == 4
    assert seen(db) == (0, 9, 4, 0)
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_an_async_block_is_interrupted(world: World) -> None:
    db = world.guard(timeout="2s")

    with pytest.raises(DeadlineExceeded, match=r"after 2 s \(attempt\)"):
        async with db as held:
            assert held is db
            assert deadline.remaining(world.clock.monotonic()) == 2.0
            await hang()

    assert world.elapsed_s == 2.0
    assert seen(db) == (0, 1, 1, 0)
    assert deadline.current() is None


@runs
async def test_a_cancelled_async_block_counts_as_nothing(world: World) -> None:
    db = world.guard(timeout="2s", bulkhead=Bulkhead(limit=1))

    async def work() -> None:
        async with db:
            await hang()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await work()
    assert seen(db)[2:] == (0, 1)
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_an_async_generators_block_may_outlive_its_consumers(world: World) -> None:
    db = world.guard(timeout="1h")

    async def read() -> AsyncIterator[int]:
        async with db:
            yield 1

    source = read()
    await anext(source)
    async with db:
        await source.aclose()
    assert seen(db)[0] == 0


def test_an_async_block_outside_a_task_takes_nothing() -> None:
    db = World().guard(timeout="1s", bulkhead=Bulkhead(limit=1))

    with pytest.raises(RuntimeError, match="no running event loop"):
        db.__aenter__().send(None)
    assert db.statistics().bulkhead.inside == 0
    assert seen(db)[0] == 0


def test_nobody_is_in_a_block_at_the_end() -> None:
    db = World().guard()
    with db:
        pass

    assert module._BLOCKS.get() is None


def test_a_probe_that_was_taken_and_dropped_can_be_taken_again() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY)
    with pytest.raises(ConnectionError):
        db.call(Flaky(1))
    world.clock.advance(10.0)

    for _ in range(5):
        permit = db.try_acquire()
        assert permit is not None
        permit.drop()
    with db:
        assert db.state is State.HALF_OPEN
    assert db.state is State.RAMPING


@pytest.mark.parametrize("parts", [{}, {"timeout": "1s"}])
def test_a_permit_knows_until_when(parts: dict[str, Any]) -> None:
    with World().guard(**parts).acquire() as permit:
        assert permit.until == (START_S + 1.0 if parts else float("inf"))
