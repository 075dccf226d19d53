"""A guard is one object with many handles; each does what its docstring says."""

import inspect
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from seawall import (
    Breaker,
    BreakerOpen,
    Budget,
    Bulkhead,
    BulkheadFull,
    DeadlineExceeded,
    Outcome,
    Policy,
    PolicyError,
    Ramp,
    RateLimit,
    Retry,
    State,
    UsageError,
    guard,
    signals,
)
from seawall.resilience.guard import Guard
from seawall.resilience.system import HUB, SYSTEM_CLOCK
from tests.resilience.world import START_S, TOUCHY, Flaky, World, counts, hang, runs

PARTS: dict[str, dict[str, Any]] = {
    "breaker": {"breaker": Breaker(p95="500ms", ramp=Ramp(kind="none"))},
    "retry": {"retry": Retry(attempts=2, base="1ms", budget=Budget(), on=(ConnectionError,))},
    "bulkhead": {"bulkhead": Bulkhead(limit=2, queue=2)},
    "rate": {"rate": RateLimit(rate="1000/s", burst=100)},
    "timeout": {"timeout": "5s"},
    "deadline": {"deadline": "10s"},
    "fallback": {"fallback": lambda error: type(error).__name__},
    "classify_result": {"classify_result": lambda _value: Outcome.OK},
    "probe": {"probe": lambda: True},
}
COMPOSITIONS = [subset for size in range(len(PARTS) + 1) for subset in itertools.combinations(PARTS, size)]


def composed(world: World, names: tuple[str, ...]) -> Guard:
    parts: dict[str, Any] = {"breaker": None}
    for name in names:
        parts |= PARTS[name]
    return world.guard(**parts)


def handles(db: Guard, fn: Callable[..., str], afn: Callable[..., Awaitable[str]]) -> Iterator[Any]:
    """All the ways of calling a function that this guard offers, as functions of no arguments."""
    yield partial(db.call, fn)
    yield db(fn)
    yield lambda: db.try_call(fn).unwrap()
    if db.plan.fallback is None:

        def attempts() -> str:
            for attempt in db.attempts():
                with attempt:
                    return fn()
            raise AssertionError

        yield attempts
        if db.plan.attempts == 1:

            def block() -> str:
                with db:
                    return fn()

            async def ablock() -> str:
                async with db:
                    return await afn()

            async def permit() -> str:
                with await db.aacquire():
                    return await afn()

            def tried() -> str:
                taken = db.try_acquire()
                assert taken is not None
                with taken:
                    return fn()

            yield from (block, ablock, permit, tried)
    yield partial(db.acall, afn)
    yield db(afn)


def outcome(world: World, call: Callable[[], Any]) -> object:
    try:
        value = call()
        return world.run(value) if inspect.iscoroutine(value) else value
    except Exception as error:
        return type(error)


# -- composition -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(len(PARTS) + 1))
def test_every_composition_passes_what_is_good_and_tells_what_is_bad(size: int) -> None:
    for names in [subset for subset in COMPOSITIONS if len(subset) == size]:
        world = World()
        db = composed(world, names)
        good = Flaky(0)
        for call in handles(db, good, good.later):
            assert outcome(world, call) == "done", names
        bad = Flaky(100_000)
        expected = "ConnectionError" if "fallback" in names else ConnectionError
        for call in handles(db, bad, bad.later):
            assert outcome(world, call) == expected, names
            if "breaker" in names:
                db.reset()
        statistics = db.statistics()
        if statistics.bulkhead is not None:
            assert (statistics.bulkhead.inside, statistics.bulkhead.waiting) == (0, 0), names
        if statistics.breaker is not None:
            assert statistics.breaker.in_flight == 0, names


# -- calling -----------------------------------------------------------------------------------------------


def test_arguments_pass_through_every_handle() -> None:
    world = World()
    db = world.guard()

    async def later(*args: int, **kwargs: int) -> object:
        return args, kwargs

    def now(*args: int, **kwargs: int) -> object:
        return args, kwargs

    expected = ((1, 2), {"fn": 3, "self": 4})
    assert db.call(now, 1, 2, fn=3, self=4) == expected
    assert db.try_call(now, 1, 2, fn=3, self=4).value == expected
    assert world.run(db.acall(later, 1, 2, fn=3, self=4)) == expected
    assert world.run(db.atry_call(later, 1, 2, fn=3, self=4)).value == expected


def test_call_refuses_what_would_only_start() -> None:
    db = World().guard()

    async def later() -> None: ...

    def lazy() -> Iterator[int]:
        yield 1

    class Object:
        async def later(self) -> None: ...

    for fn in (later, lazy, Object().later):
        with pytest.raises(UsageError, match="is async or a generator"):
            db.call(fn)
    with pytest.raises(UsageError, match="returned a coroutine"):
        db.call(partial(later))
    assert counts(db).in_flight == 0


@pytest.mark.parametrize("error", [ConnectionError(), KeyError(), RecursionError(), DeadlineExceeded("x")])
def test_trying_gives_every_error_as_a_value(error: Exception) -> None:
    world = World()
    db = world.guard(breaker=TOUCHY, fallback=None)

    def call() -> str:
        raise error

    async def later() -> str:
        raise error

    result = db.try_call(call)
    assert (result.ok, result.error, result.rejected) == (False, error, False)
    db.reset()
    assert world.run(db.atry_call(later)).error is error
    assert db.try_call(call).rejected
    assert world.run(db.atry_call(later)).rejected
    broken = world.guard(fallback=lambda _error: 1 / 0).try_call(call)
    assert isinstance(broken.error, ZeroDivisionError)


def test_trying_does_not_hide_a_wrong_use_nor_ctrl_c() -> None:
    world = World()
    db = world.guard()

    async def later() -> None:
        raise KeyboardInterrupt

    async def wrong() -> None:
        raise UsageError("wrong")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(UsageError):
        db.try_call(later)
    with pytest.raises(UsageError):
        world.run(db.atry_call(wrong))
    with pytest.raises(KeyboardInterrupt):
        db.try_call(stop)
    with pytest.raises(KeyboardInterrupt):
        world.run(db.atry_call(later))


@runs
async def test_a_block_needs_a_guard_that_tries_once(world: World) -> None:
    for parts, why in (
        ({"retry": Retry(attempts=2)}, "retries"),
        ({"fallback": lambda _error: None}, "has a fallback"),
    ):
        db = world.guard(**parts)
        with pytest.raises(UsageError, match=why):
            db.acquire()
        with pytest.raises(UsageError, match=why):
            await db.aacquire()
        with pytest.raises(UsageError, match=why), db:
            pass
        with pytest.raises(UsageError, match=why):
            async with db:
                pass
    with pytest.raises(UsageError, match="has a fallback"):
        world.guard(fallback=lambda _error: None).attempts()


@runs
async def test_an_async_permit_waits_for_its_place(world: World) -> None:
    db = world.guard(bulkhead=Bulkhead(limit=1, queue=1, max_wait="2s"))

    with await db.aacquire(), pytest.raises(BulkheadFull):
        await db.aacquire()
    assert world.elapsed_s == 2.0


# -- by key ------------------------------------------------------------------------------------------------


def test_each_key_has_a_breaker_of_its_own_and_shares_the_rest() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY, bulkhead=Bulkhead(limit=1))

    with pytest.raises(ConnectionError):
        db.at("bad").call(Flaky(1))

    assert db.at("bad").state is State.OPEN
    assert not db.at("bad").allows()
    assert db.at("good").call(int) == 0
    assert db.state is State.CLOSED
    with db.at("good"), pytest.raises(BulkheadFull):
        db.at("other").call(int)
    assert db.statistics().keys.keys == 3
    assert db.at("good").statistics().keys.keys == 3
    assert db.at("a").at("bad").state is State.OPEN
    assert "light" in repr(db.at("new"))


def test_a_key_can_be_decorated_with() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY)
    flaky = Flaky(1)
    guarded, other = db.at("a")(flaky), db.at("b")(int)

    with pytest.raises(ConnectionError):
        guarded()
    with pytest.raises(BreakerOpen):
        guarded()
    assert other() == 0


def test_a_key_follows_its_guards_reloads() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY)
    view = db.at("a")
    guarded = view(hang)
    calls = view(Flaky(9))

    db.change(timeout="2s", breaker=Breaker(consecutive=2))

    with pytest.raises(DeadlineExceeded):
        world.run(guarded())
    assert view.policy is db.policy
    assert view.state is State.CLOSED, "one failure is no longer enough"
    with pytest.raises(ConnectionError):
        calls()
    assert view.state is State.OPEN
    db.change(breaker=None)
    with pytest.raises(ConnectionError):
        calls()
    with pytest.raises(UsageError, match="nothing to keep per key"):
        db.at("a")


def test_a_key_has_no_policy_of_its_own() -> None:
    with pytest.raises(UsageError, match="reload the guard"):
        World().guard().at("a").change(timeout="1s")


def test_without_a_breaker_there_is_nothing_to_keep_per_key() -> None:
    with pytest.raises(UsageError, match="nothing to keep per key"):
        World().guard(breaker=None).at("a")


def test_keys_are_bounded() -> None:
    db = World().guard(keys_max=3)

    for number in range(10):
        db.at(str(number)).call(int)
    assert db.statistics().keys.keys == 3
    assert db.statistics().keys.evicted == 7


def test_keys_are_made_once_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited for the lock finds the registry that the other has made."""
    db = World().guard()
    first = db.at("a")
    monkeypatch.setattr(db, "_registry", None)
    registry = object.__getattribute__(first, "_registry")

    class Lock:
        def __enter__(self) -> None:
            db._registry = registry

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(db, "_lock", Lock())
    db.at("b")
    assert db._registry is registry


# -- looking at it -----------------------------------------------------------------------------------------


def test_a_guard_shows_how_it_is() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY)
    assert (db.state, db.allows(), db.share) == (State.CLOSED, True, 1.0)

    with pytest.raises(ConnectionError):
        db.call(Flaky(1))

    assert (db.state, db.allows(), db.share) == (State.OPEN, False, 0.0)
    assert repr(db).startswith("<Guard 'db' <CircuitBreaker 'db' open")
    world.clock.advance(10.0)
    assert db.state is State.HALF_OPEN, "looking is enough to let time pass"
    assert db.at("a").share == 1.0


def test_a_guard_without_a_breaker_is_closed() -> None:
    db = World().guard(breaker=None)

    assert (db.state, db.allows(), db.share) == (State.CLOSED, True, 1.0)
    assert db.statistics().breaker is None
    assert repr(db) == "<Guard 'db' without breaker>"
    with pytest.raises(UsageError, match="has no breaker"):
        _ = db.breaker


def test_statistics_have_what_the_policy_has() -> None:
    db = World().guard(**{key: value for part in PARTS.values() for key, value in part.items()})

    statistics = db.statistics()
    assert statistics.name == "db"
    for part in ("breaker", "bulkhead", "rate", "retry", "budget"):
        assert getattr(statistics, part) is not None
    assert statistics.keys is None
    bare = World().guard().statistics()
    assert bare.bulkhead is bare.rate is bare.retry is bare.budget is bare.keys is None
    assert bare.fallbacks == 0


def test_it_explains_itself() -> None:
    text = str(World().guard(fallback=lambda _error: None, probe=lambda: True, timeout="2s").explain())

    assert text.startswith("db: ")
    for word in ("fallback", "probe", "2s"):
        assert word in text


def test_the_defaults_are_the_systems() -> None:
    plan = guard("db").plan

    assert plan.hub is HUB
    assert plan.now is SYSTEM_CLOCK.monotonic
    assert plan.short is plan.breaker


def test_a_wrong_value_is_refused_when_the_guard_is_made() -> None:
    with pytest.raises(PolicyError, match="timeout"):
        guard("db", timeout=-1)


def test_many_threads_use_one_guard() -> None:
    db = World().guard(bulkhead=Bulkhead(limit=4, queue=100, max_wait="1h"))
    results: list[int] = []

    def work() -> None:
        for number in range(20):
            results.append(db.call(int, number))

    crowd = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(10.0)
    assert len(results) == 160
    assert counts(db).calls == 160
    assert db.statistics().bulkhead.inside == 0


def test_time_begins_with_the_guard() -> None:
    assert World().guard().plan.now() == START_S


def test_a_policy_stands_for_all_parts_or_they_for_it() -> None:
    policy = Policy(breaker=None, timeout="2s", bulkhead=Bulkhead(limit=3))
    db = World().guard(policy=policy)
    assert db.policy is policy
    assert db.plan.timeout_s == 2.0
    with pytest.raises(UsageError, match="has a policy and parts of one besides"):
        World().guard(policy=policy, timeout="1s")


def test_trying_an_open_breaker_neither_calls_nor_raises() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY)
    assert db.try_call(lambda: 1 / 0).rejected is False

    async def work() -> str:
        return "called"

    tried = [db.try_call(lambda: "called"), world.run(db.atry_call(work))]
    assert all(result.rejected for result in tried)
    assert db.breaker.rejected == 2
    assert len(world.signals.of(signals.BreakerRefused)) == 2
    assert isinstance(tried[0].error, BreakerOpen)
    assert tried[0].error.retry_after_s == pytest.approx(5.0, rel=0.1)


def test_trying_goes_the_long_way_when_there_is_more_than_a_breaker() -> None:
    db = World().guard(breaker=TOUCHY, fallback=lambda _error: "instead")
    db.call(lambda: 1 / 0)
    assert db.try_call(lambda: "called").unwrap() == "instead"
    db.change(breaker=None)
    assert db.try_call(lambda: "called").unwrap() == "called"


def test_the_one_who_releases_is_named() -> None:
    world = World()
    db = world.guard()
    db.force("open", owner="ann", reason="drill", for_="1m")
    db.release(owner="bob")
    (released,) = world.signals.of(signals.BreakerReleased)
    assert (released.mode, released.owner) == ("open", "bob")


def test_a_kept_view_outlives_the_eviction_of_its_key() -> None:
    db = World().guard(keys_max=2)
    view = db.at("a")
    view.call(int)
    for key in "bcdef":
        db.at(key).call(int)
    view.force("open", owner="ann", reason="drill", for_="1h")
    assert not db.at("a").allows()


def test_an_operators_order_is_not_evicted_while_there_is_anything_else() -> None:
    db = World().guard(keys_max=4)
    db.at("bad").force("open", owner="ann", reason="drill", for_="1h")
    for number in range(50):
        db.at(f"key-{number}").call(int)
    with pytest.raises(BreakerOpen):
        db.at("bad").call(int)


def test_an_idle_service_is_not_saturated() -> None:
    world = World()
    db = world.guard(breaker=Breaker(saturation="90%"), bulkhead=Bulkhead(limit=1))
    for _ in range(10):
        db.call(int)
        world.clock.advance(10.0)
    assert db.state is State.CLOSED
