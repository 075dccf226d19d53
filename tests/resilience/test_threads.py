"""The blocking edge: counting, retries, deadlines, reloads, fallbacks."""

import asyncio
import pickle

import pytest

from seawall import (
    Breaker,
    BreakerOpen,
    Bulkhead,
    BulkheadFull,
    DeadlineExceeded,
    Outcome,
    Retry,
    State,
    UsageError,
    deadline,
)
from seawall.kernel.errors import NotFoundError
from seawall.resilience import threads
from tests.resilience.world import TOUCHY, Flaky, World, counts


@pytest.fixture(params=["inlined", "called"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both short ways of counting, whichever build this is."""
    monkeypatch.setattr(threads, "COMPILED", request.param == "called")
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_the_short_way_counts_what_the_long_way_counts() -> None:
    for parts in ({}, {"timeout": "60s"}):
        world = World()
        db = world.guard(breaker=Breaker(p95="500ms"), ignore=(KeyError,), **parts)

        @db
        def call(error: BaseException | None = None, seconds: float = 0.0, world: World = world) -> int:
            world.clock.advance(seconds)
            if error is not None:
                raise error
            return 7

        assert [call() for _ in range(5)] == [7] * 5
        assert call(seconds=0.6) == 7
        for error in (
            ConnectionError(),
            KeyError(),
            NotFoundError(),
            BreakerOpen("inner"),
            KeyboardInterrupt(),
        ):
            with pytest.raises(type(error)):
                call(error)
        seen = counts(db)
        assert (seen.in_flight, seen.slow, seen.failed, seen.ignored, seen.voided) == (0, 1, 1, 2, 2)


@pytest.mark.usefixtures("way")
def test_an_open_breaker_is_not_passed_and_lets_probes_through_in_time() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY)
    flaky = Flaky(1)
    guarded = db(flaky)

    with pytest.raises(ConnectionError):
        guarded()
    for _ in range(3):
        with pytest.raises(BreakerOpen):
            guarded()
    assert flaky.calls == 1
    world.clock.advance(6.0)

    assert guarded() == "done"
    assert db.state is State.RAMPING


@pytest.mark.usefixtures("way")
def test_a_coroutine_in_disguise_is_refused_at_each_functions_first_call() -> None:
    world = World()
    db = world.guard()

    async def hidden() -> int:
        return 7

    def disguised() -> object:
        return hidden()

    plain = db(lambda: 7)
    assert [plain() for _ in range(3)] == [7] * 3
    for guarded in (db(disguised), db(disguised), world.guard(timeout="1s")(disguised)):
        for _ in range(2):
            with pytest.raises(UsageError, match="returned a coroutine, which would run outside the guard"):
                guarded()
    assert counts(db).in_flight == 0


@pytest.mark.usefixtures("way")
def test_a_reload_sends_decorated_functions_the_long_way_and_back() -> None:
    world = World()
    db = world.guard()
    guarded = db(int)
    assert [guarded() for _ in range(3)] == [0] * 3

    db.change(bulkhead=Bulkhead(limit=1))
    with db, pytest.raises(BulkheadFull):
        guarded()
    db.change(bulkhead=None)
    with db:
        assert guarded() == 0
    assert counts(db).in_flight == 0


def test_a_timeout_can_not_interrupt_but_counts() -> None:
    world = World()
    db = world.guard(timeout="1s", retry=Retry(attempts=3, budget=None))
    calls: list[float | None] = []

    @db
    def slow() -> str:
        calls.append(deadline.remaining(world.clock.monotonic()))
        world.clock.advance(1.5)
        return "late"

    assert slow() == "late"
    assert calls == [1.0], "it can see its time, and it is not called again"
    assert counts(db).failed == 1


def test_a_deadline_reaches_the_guards_inside() -> None:
    world = World()
    outer, inner = world.guard(deadline="3s"), world.guard(timeout="10s")
    seen: list[float | None] = []

    def innermost() -> None:
        seen.append(deadline.remaining(world.clock.monotonic()))

    def middle() -> None:
        world.clock.advance(2.0)
        inner.call(innermost)
        world.clock.advance(2.0)
        inner.call(innermost)

    with pytest.raises(DeadlineExceeded, match="before the call"):
        outer.call(middle)
    assert seen == [1.0]
    assert deadline.current() is None


def test_a_retry_sleeps_by_the_clock() -> None:
    world = World()
    db = world.guard(
        retry=Retry(attempts=3, base="1s", jitter="none", budget=None, on=(ConnectionError,)),
        classify_result=lambda value: Outcome.FAILED if value == "bad" else Outcome.OK,
    )
    answers = ["bad", "good"]

    assert db.call(Flaky(2)) == "done"
    assert world.elapsed_s == 3.0
    assert db.call(lambda: answers.pop(0)) == "good"
    assert world.elapsed_s == 4.0


def test_ctrl_c_in_a_backoff_gives_everything_back() -> None:
    world = World()
    db = world.guard(retry=Retry(attempts=2, budget=None, on=(ConnectionError,)), bulkhead=Bulkhead(limit=1))
    object.__setattr__(db.plan, "sleep", Flaky(1, KeyboardInterrupt))

    with pytest.raises(KeyboardInterrupt):
        db.call(Flaky(9))
    assert db.statistics().bulkhead.inside == 0
    assert counts(db).in_flight == 0


def test_a_fallback_that_is_async_is_refused_by_a_sync_guard() -> None:
    async def instead(_error: BaseException) -> str:
        return "cached"

    db = World().guard(fallback=instead)

    with pytest.raises(UsageError, match="instead returned a coroutine"):
        db.call(Flaky(1))
    assert World().guard(fallback=lambda _error: "cached").call(Flaky(1)) == "cached"


@pytest.mark.usefixtures("way")
def test_a_deadline_from_outside_is_kept_on_the_short_way_too() -> None:
    world = World()
    guarded = world.guard()(lambda: "done")
    guarded()
    with deadline.scope(world.clock.monotonic() + 1.0):
        assert [guarded() for _ in range(20)] == ["done"] * 20
        world.clock.advance(1.0)
        for _ in range(20):
            with pytest.raises(DeadlineExceeded, match="before the call"):
                guarded()
    assert guarded() == "done"


def test_calling_once_counts_and_refuses_like_a_wrapper() -> None:
    world = World()
    db = world.guard(breaker=Breaker(p95="500ms", consecutive=2), ignore=(KeyError,))

    def work(error: BaseException | None = None, seconds: float = 0.0) -> int:
        world.clock.advance(seconds)
        if error is not None:
            raise error
        return 7

    assert [db.call(work) for _ in range(3)] == [7] * 3
    assert db.call(work, seconds=0.6) == 7
    with pytest.raises(KeyError):
        db.call(work, KeyError())
    with pytest.raises(UsageError, match="returned a coroutine"):
        db.call(lambda: Flaky(0).later())
    with deadline.scope(world.clock.monotonic()), pytest.raises(DeadlineExceeded):
        db.call(work)
    seen = counts(db)
    assert (seen.in_flight, seen.slow, seen.ignored, seen.voided) == (0, 1, 1, 1)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            db.call(work, ConnectionError())
    with pytest.raises(BreakerOpen):
        db.call(work)
    assert db.breaker.rejected == 1
    world.clock.advance(6.0)
    assert db.call(work) == 7


def test_a_full_bulkhead_tells_how_full_it_was_and_can_be_sent_away() -> None:
    db = World().guard(bulkhead=Bulkhead(limit=1))
    permit = db.acquire()
    with pytest.raises(BulkheadFull) as caught:
        db.call(int)
    permit.ok()
    assert "1 of 1 places taken, 0 waiting" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_task_is_no_result_either() -> None:
    world = World()
    db = world.guard()

    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(0.0))
        with pytest.raises(UsageError, match="returned a Task"):
            db(lambda: task)()
        await task

    world.run(main())
