"""Waiting for a place in the bulkhead on asyncio: order, time limits, cancellation at every bad moment."""

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall import (
    BreakerOpen,
    Bulkhead,
    BulkheadFull,
    DeadlineExceeded,
)
from seawall.resilience import aio, threads
from seawall.testing import VirtualLoop
from tests.resilience.world import (
    START_S,
    Flaky,
    World,
    cancelled,
    counts,
    hang,
    runs,
)

JOIN_S = 10.0


@runs
async def test_waiters_come_in_one_after_the_other(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=2, max_wait="1h"))
    order: list[int] = []

    async def work(number: int) -> None:
        order.append(number)
        await asyncio.sleep(1.0)

    tasks = [asyncio.create_task(db.acall(work, number)) for number in range(3)]
    await asyncio.sleep(0.5)
    with pytest.raises(BulkheadFull, match="the bulkhead is full"):
        await db.acall(work, 9)
    await asyncio.gather(*tasks)

    assert order == [0, 1, 2]
    assert world.elapsed_s == 3.0
    assert db.statistics().bulkhead.inside == 0


@pytest.mark.parametrize(
    ("parts", "kind", "text", "after_s"),
    [
        ({}, BulkheadFull, "waited too long", 2.0),
        ({"deadline": "1s"}, DeadlineExceeded, "in the queue", 1.0),
    ],
)
def test_who_waits_too_long_goes_without(
    parts: dict[str, Any], kind: type[Exception], text: str, after_s: float
) -> None:
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=1, max_wait="2s"), **parts)
    place = threads.enter(world.guard().plan)
    bulkhead = db.plan.bulkhead
    assert bulkhead is not None
    assert bulkhead.try_enter()

    with pytest.raises(kind, match=text):
        world.run(db.acall(hang))
    assert world.elapsed_s == after_s
    bulkhead.leave(world.clock.monotonic())
    assert (bulkhead.inside, bulkhead.waiting) == (0, 0)
    place.leave(START_S)


@runs
async def test_without_a_limit_it_waits_until_there_is_a_place(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=1))
    bulkhead = db.plan.bulkhead
    assert bulkhead is not None
    object.__setattr__(bulkhead, "_max_wait_s", float("inf"))
    first = asyncio.create_task(db.acall(asyncio.sleep, 100_000.0))
    await asyncio.sleep(1.0)

    assert await db.acall(Flaky(0).later) == "done"
    await first
    assert world.elapsed_s == 100_000.0


@runs
async def test_a_cancelled_waiter_leaves_the_queue(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=1, max_wait="1h"))
    first = asyncio.create_task(db.acall(asyncio.sleep, 1.0))
    await asyncio.sleep(0)

    await cancelled(asyncio.create_task(db.acall(hang)))

    assert db.statistics().bulkhead.waiting == 0
    await first
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_a_place_that_was_granted_to_somebody_just_cancelled_goes_on(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=2, max_wait="1h"))
    place = await aio.enter(db.plan)
    doomed = asyncio.create_task(db.acall(hang))
    heir = asyncio.create_task(db.acall(Flaky(0).later))
    await asyncio.sleep(0)

    place.leave(START_S)
    doomed.cancel()

    assert await heir == "done"
    assert doomed.cancelled()
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_a_waiter_whose_time_ends_as_its_place_comes_leaves_nothing_behind(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=1, max_wait="2s"))
    first = asyncio.create_task(db.acall(asyncio.sleep, 2.0))
    await asyncio.sleep(0)

    answers = await asyncio.gather(db.acall(Flaky(0).later), first, return_exceptions=True)

    assert isinstance(answers[0], BulkheadFull) or answers[0] == "done"
    assert (db.statistics().bulkhead.inside, db.statistics().bulkhead.waiting) == (0, 0)


@runs
async def test_a_place_that_comes_free_in_the_meantime_is_taken_at_once(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=1, max_wait="1h"))
    place, second = await aio.enter(db.plan), threads.Call(db.plan, START_S)
    assert not second.enter(START_S)
    place.leave(START_S)

    await aio._wait_for_place(second, START_S)

    assert db.statistics().bulkhead.inside == 1
    second.leave(START_S)


def test_a_thread_can_leave_to_a_task() -> None:
    """One guard for both worlds: the place goes from a thread to the event loop."""
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=1, max_wait="1h"))
    bulkhead = db.plan.bulkhead
    assert bulkhead is not None
    object.__setattr__(bulkhead, "_max_wait_s", float("inf"))
    place = threads.enter(db.plan)

    async def main() -> str:
        waiting = asyncio.create_task(db.acall(Flaky(0).later))
        await asyncio.sleep(0)
        thread = threading.Thread(target=place.leave, args=(START_S,))
        thread.start()
        try:
            return await waiting
        finally:
            thread.join(JOIN_S)

    assert world.run(main()) == "done"
    assert bulkhead.inside == 0


def test_a_place_for_a_loop_that_is_gone_goes_on() -> None:
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=2, max_wait="1h"))
    bulkhead = db.plan.bulkhead
    assert bulkhead is not None
    place = threads.enter(db.plan)
    loop = VirtualLoop(world.clock)
    waiting = loop.create_task(db.acall(hang))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert bulkhead.waiting == 1

    place.leave(START_S)

    assert bulkhead.inside == 0
    waiting._log_destroy_pending = False
    waiting.get_coro().close()
    assert bulkhead.inside == 0


def test_a_second_wake_up_is_one_too_many_and_harmless() -> None:
    async def main() -> None:
        woken = asyncio.get_running_loop().create_future()
        aio._resolve(woken)
        aio._resolve(woken)
        await woken

    World().run(main())


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.one_of(st.none(), st.integers(0, 20))),
        max_size=25,
    ),
    st.integers(1, 3),
    st.integers(0, 4),
)
def test_a_storm_of_cancellations_leaks_no_place(
    calls: list[tuple[int, int, int | None]], limit: int, queue: int
) -> None:
    """Each call starts, works and may be cancelled at tenths of a second: many of them at the same moment."""
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=limit, queue=queue, max_wait="700ms"), timeout="900ms")
    inside = 0

    async def work(seconds: float) -> None:
        nonlocal inside
        inside += 1
        assert inside <= limit
        try:
            await asyncio.sleep(seconds)
        finally:
            inside -= 1

    async def one(start: int, length: int, end: int | None) -> None:
        await asyncio.sleep(start / 10)
        task = asyncio.create_task(db.acall(work, length / 10))
        if end is not None:
            await asyncio.sleep(end / 10)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or isinstance(
            task.exception(), BulkheadFull | DeadlineExceeded | BreakerOpen | None
        )

    async def main() -> None:
        await asyncio.gather(*(one(*call) for call in calls))

    world.run(main())
    assert (db.statistics().bulkhead.inside, db.statistics().bulkhead.waiting) == (0, 0)
    assert counts(db).in_flight == 0
