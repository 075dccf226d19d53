"""The awaiting edge, on real asyncio and virtual time: timeouts, cancellation, retries, fallbacks."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from seawall import (
    Breaker,
    BreakerOpen,
    Bulkhead,
    DeadlineExceeded,
    Outcome,
    Retry,
    State,
    deadline,
)
from seawall.kernel.errors import NotFoundError
from seawall.resilience import threads
from tests.resilience.world import (
    TOUCHY,
    Flaky,
    World,
    cancelled,
    counts,
    hang,
    runs,
)


@pytest.fixture(params=["inlined", "called"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both short ways of counting, whichever build this is."""
    monkeypatch.setattr(threads, "COMPILED", request.param == "called")
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("parts", [{}, {"timeout": "60s"}], ids=["short", "long"])
def test_every_ending_is_counted_for_what_it_is(parts: dict[str, Any]) -> None:
    world = World()
    db = world.guard(breaker=Breaker(p95="500ms"), **parts)

    @db
    async def call(error: BaseException | None = None, seconds: float = 0.0) -> int:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return 7

    async def main() -> None:
        assert [await call() for _ in range(5)] == [7] * 5
        assert await call(seconds=0.6) == 7
        for error in (ConnectionError(), NotFoundError(), BreakerOpen("inner"), asyncio.CancelledError()):
            with pytest.raises(type(error)):
                await call(error)

    world.run(main())
    seen = counts(db)
    assert (seen.in_flight, seen.slow, seen.failed, seen.ignored, seen.voided) == (0, 1, 1, 1, 2)


@pytest.mark.usefixtures("way")
def test_an_open_breaker_is_not_passed_and_lets_probes_through_in_time() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY)
    flaky = Flaky(1)
    guarded = db(flaky.later)

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await guarded()
        for _ in range(3):
            with pytest.raises(BreakerOpen):
                await guarded()
        assert flaky.calls == 1
        await asyncio.sleep(6.0)
        assert await guarded() == "done"

    world.run(main())
    assert db.state is State.RAMPING


@pytest.mark.usefixtures("way")
def test_a_reload_sends_decorated_functions_the_long_way() -> None:
    world = World()
    db = world.guard()
    guarded = db(hang)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await guarded()
        db.change(timeout="3s")
        with pytest.raises(DeadlineExceeded):
            await guarded()

    world.run(main())
    assert world.elapsed_s == 4.0
    assert (counts(db).voided, counts(db).failed) == (1, 1)


@runs
async def test_a_timeout_interrupts_and_counts_as_a_failure(world: World) -> None:
    db = world.guard(timeout="2s")

    with pytest.raises(DeadlineExceeded) as caught:
        await db.acall(hang)

    assert str(caught.value) == "db: deadline exceeded after 2 s (attempt)"
    assert isinstance(caught.value, TimeoutError)
    assert world.elapsed_s == 2.0
    assert (counts(db).failed, counts(db).in_flight) == (1, 0)


@runs
async def test_each_attempt_has_its_own_timeout(world: World) -> None:
    db = world.guard(timeout="2s", retry=Retry(attempts=3, base="1s", jitter="none", budget=None))

    with pytest.raises(DeadlineExceeded):
        await db.acall(hang)

    assert world.elapsed_s == 2.0 + 1.0 + 2.0 + 2.0 + 2.0
    assert counts(db).failed == 3


@runs
async def test_the_deadline_cuts_the_last_attempt_short(world: World) -> None:
    db = world.guard(
        timeout="2s", deadline="4s", retry=Retry(attempts=3, base="1s", jitter="none", budget=None)
    )

    with pytest.raises(DeadlineExceeded) as caught:
        await db.acall(hang)

    assert world.elapsed_s == 4.0
    assert caught.value.timeout_s == pytest.approx(4.0)


@runs
async def test_the_functions_own_timeout_is_its_own_affair(world: World) -> None:
    db = world.guard(timeout="2s")

    async def impatient() -> None:
        async with asyncio.timeout(1.0):
            await hang()

    with pytest.raises(TimeoutError) as caught:
        await db.acall(impatient)
    assert not isinstance(caught.value, DeadlineExceeded)
    assert world.elapsed_s == 1.0


@runs
async def test_an_attempt_that_can_not_be_interrupted_counts_all_the_same(world: World) -> None:
    db = world.guard(timeout="2s", retry=Retry(attempts=3, budget=None))

    async def stubborn() -> str:
        try:
            await hang()
        except asyncio.CancelledError:
            await asyncio.sleep(1.0)
        return "late"

    assert await db.acall(stubborn) == "late"
    assert world.elapsed_s == 3.0
    assert counts(db).failed == 1


@runs
async def test_a_cancellation_from_outside_counts_as_nothing_and_frees_the_place(world: World) -> None:
    db = world.guard(timeout="2s", bulkhead=Bulkhead(limit=1), retry=Retry(attempts=3))

    await cancelled(asyncio.create_task(db.acall(hang)))

    assert (counts(db).voided, counts(db).failed, counts(db).in_flight) == (1, 0, 0)
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_a_cancelled_probe_gives_its_lease_back(world: World) -> None:
    db = world.guard(breaker=Breaker(consecutive=1, probes=1, probe_concurrency=1))
    with pytest.raises(ConnectionError):
        await db.acall(Flaky(1).later)
    await asyncio.sleep(10.0)

    await cancelled(asyncio.create_task(db.acall(hang)))

    assert db.state is State.HALF_OPEN
    assert await db.acall(Flaky(0).later) == "done"
    assert db.state is State.RAMPING


@runs
async def test_a_cancelled_backoff_gives_everything_back(world: World) -> None:
    db = world.guard(
        bulkhead=Bulkhead(limit=1), retry=Retry(attempts=2, base="1h", max_delay="1h", on=(ConnectionError,))
    )

    await cancelled(asyncio.create_task(db.acall(Flaky(9).later)))

    assert db.statistics().bulkhead.inside == 0
    assert counts(db).in_flight == 0


@runs
async def test_siblings_in_a_group_are_cancelled_and_not_blamed(world: World) -> None:
    db = world.guard()

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(db.acall(hang))
            tasks.create_task(db.acall(Flaky(1).later))

    assert (counts(db).failed, counts(db).voided, counts(db).in_flight) == (1, 3, 0)


@pytest.mark.parametrize("parts", [{}, {"timeout": "1h"}, {"timeout": "2s"}], ids=["short", "long", "same"])
def test_the_deadline_of_an_outer_guard_is_a_failure_for_the_inner(parts: dict[str, Any]) -> None:
    world = World()
    outer, inner = world.guard(deadline="2s"), world.guard(**parts)
    world.run(outer.acall(inner.acall, Flaky(0).later))

    with pytest.raises(DeadlineExceeded):
        world.run(outer.acall(inner(hang)))

    assert world.elapsed_s == 2.0
    for db in (outer, inner):
        assert (counts(db).failed, counts(db).voided, counts(db).in_flight) == (1, 0, 0)


@runs
async def test_a_deadline_reaches_what_is_inside(world: World) -> None:
    db = world.guard(deadline="3s")
    seen: list[float | None] = []

    async def look() -> None:
        await asyncio.sleep(1.0)
        seen.append(deadline.remaining(world.clock.monotonic()))

    await db.acall(look)
    assert seen == [2.0]
    assert deadline.current() is None


@runs
async def test_context_variables_pass_in_and_out(world: World) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    async def change() -> str:
        before = variable.get()
        variable.set("inside")
        return before

    for parts in ({}, {"timeout": "1s"}, {"retry": Retry(attempts=2)}):
        variable.set("outside")
        assert await world.guard(**parts).acall(change) == "outside"
        assert variable.get() == "inside"


@runs
async def test_retries_wait_without_blocking_and_go_by_results_too(world: World) -> None:
    db = world.guard(
        retry=Retry(attempts=3, base="1s", jitter="none", budget=None, on=(ConnectionError,)),
        classify_result=lambda value: Outcome.FAILED if value == "bad" else Outcome.OK,
    )
    answers = ["bad", "good"]

    async def answer() -> str:
        return answers.pop(0)

    assert await asyncio.gather(db.acall(Flaky(2).later), db.acall(answer)) == ["done", "good"]
    assert world.elapsed_s == 3.0


@runs
async def test_a_fallback_can_be_sync_or_async(world: World) -> None:
    async def later(_error: BaseException) -> str:
        await asyncio.sleep(1.0)
        return "cached"

    for fallback in (later, lambda _error: "cached"):
        db = world.guard(fallback=fallback)
        assert await db.acall(Flaky(1).later) == "cached"
        assert await db.acall(Flaky(0).later) == "done"


@runs
async def test_a_fallback_does_not_swallow_a_cancellation(world: World) -> None:
    db = world.guard(fallback=lambda _error: "cached")

    await cancelled(asyncio.create_task(db.acall(hang)))
    assert db.statistics().fallbacks == 0


@runs
async def test_a_fallback_stands_in_when_the_time_is_over(world: World) -> None:
    db = world.guard(timeout="1s", fallback=lambda error: type(error).__name__)

    assert await db.acall(hang) == "DeadlineExceeded"


@pytest.mark.usefixtures("way")
def test_a_deadline_from_outside_is_kept_on_the_short_way_too() -> None:
    world = World()

    @world.guard()
    async def guarded() -> str:
        return "done"

    async def main() -> None:
        await guarded()
        with deadline.scope(world.clock.monotonic() + 1.0):
            assert [await guarded() for _ in range(20)] == ["done"] * 20
            world.clock.advance(1.0)
            for _ in range(20):
                with pytest.raises(DeadlineExceeded, match="before the call"):
                    await guarded()
        assert await guarded() == "done"

    world.run(main())


def test_calling_once_counts_and_refuses_like_a_wrapper() -> None:
    world = World()
    db = world.guard(breaker=Breaker(p95="500ms", consecutive=2), ignore=(KeyError,))

    async def work(error: BaseException | None = None, seconds: float = 0.0) -> int:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return 7

    async def main() -> None:
        assert [await db.acall(work) for _ in range(3)] == [7] * 3
        assert await db.acall(work, seconds=0.6) == 7
        with pytest.raises(KeyError):
            await db.acall(work, KeyError())
        with deadline.scope(world.clock.monotonic()), pytest.raises(DeadlineExceeded):
            await db.acall(work)
        seen = counts(db)
        assert (seen.in_flight, seen.slow, seen.ignored) == (0, 1, 1)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await db.acall(work, ConnectionError())
        with pytest.raises(BreakerOpen):
            await db.acall(work)
        assert db.breaker.rejected == 1
        await asyncio.sleep(6.0)
        assert await db.acall(work) == 7

    world.run(main())
