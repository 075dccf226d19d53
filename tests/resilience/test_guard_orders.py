"""What an operator can do to a guard: reload, force, release, reset, and the same by typed orders."""

import asyncio

import pytest

from seawall import (
    Breaker,
    BreakerOpen,
    Bulkhead,
    BulkheadFull,
    DeadlineExceeded,
    Policy,
    RateLimit,
    Retry,
    State,
    UsageError,
    signals,
)
from seawall.kernel.commands import Command, ForceBreaker, ReleaseBreaker, ReloadPolicy, ResetBreaker
from seawall.kernel.errors import UnitError
from tests.resilience.world import TOUCHY, Flaky, World, cancelled, counts, hang, runs

RETRY = Retry(attempts=2, base="1ms", budget=None, on=(ConnectionError,))

# -- reload ------------------------------------------------------------------------------------------------


def test_a_reload_tells_what_changed() -> None:
    world = World()
    db = world.guard()

    changes = db.change(timeout="2s", breaker=Breaker(errors="10%"), owner="ops")

    assert [(change.key, change.new) for change in changes] == [("breaker.errors", "10%"), ("timeout", "2s")]
    (told,) = world.signals.of(signals.PolicyReloaded)
    assert (told.owner, told.changes) == ("ops", changes)
    assert db.policy.timeout == "2s"


def test_a_reload_without_a_change_does_nothing() -> None:
    world = World()
    db = world.guard()
    plan = db.plan

    assert db.reload(Policy()) == ()
    assert db.plan is plan
    assert world.signals == []


def test_nobody_listens_and_the_reload_takes_place() -> None:
    db = World().guard(hub=signals.Hub())

    db.change(timeout="1s")
    assert db.plan.timeout_s == 1.0


def test_the_breaker_keeps_its_state_and_its_counts() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY)
    with pytest.raises(ConnectionError):
        db.call(Flaky(1))

    db.change(bulkhead=Bulkhead(limit=3))

    assert db.state is State.OPEN
    assert counts(db).failed == 1


def test_the_budget_the_bulkhead_and_the_limit_keep_theirs() -> None:
    db = World().guard(retry=RETRY, bulkhead=Bulkhead(limit=1), rate=RateLimit(rate="1/s", burst=3))
    assert db.call(Flaky(1)) == "done"

    db.change(timeout="1s")

    statistics = db.statistics()
    assert (statistics.retry.retried, statistics.bulkhead.entered, statistics.rate.admitted) == (1, 1, 1)


def test_the_count_of_fallbacks_outlives_a_reload() -> None:
    db = World().guard(fallback=lambda _error: "cached")
    db.call(Flaky(1))
    db.at("a").call(Flaky(1))

    db.change(timeout="1s")
    db.call(Flaky(1))

    assert db.statistics().fallbacks == 3


def test_a_decorated_function_follows_every_reload() -> None:
    world = World()
    db = world.guard()
    flaky = Flaky(0)
    guarded = db(flaky)
    assert guarded() == "done"

    db.change(retry=RETRY)
    flaky.calls, flaky.failures = 0, 1
    assert guarded() == "done"
    assert flaky.calls == 2

    db.change(retry=None)
    flaky.calls, flaky.failures = 0, 1
    with pytest.raises(ConnectionError):
        guarded()

    db.change(breaker=TOUCHY)
    flaky.calls = 0
    with pytest.raises(ConnectionError):
        guarded()
    with pytest.raises(BreakerOpen):
        guarded()

    db.change(breaker=None)
    assert guarded() == "done", "the old breaker is open, but it has no say any more"
    db.change(breaker=Breaker())
    assert guarded() == "done"
    assert db.state is State.CLOSED


def test_a_function_decorated_by_a_composed_guard_follows_too() -> None:
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=1))
    guarded = db(int)
    with db, pytest.raises(BulkheadFull):
        guarded()

    db.change(bulkhead=None)

    with db:
        assert guarded() == 0
    assert counts(db).calls == 3


@runs
async def test_calls_under_way_end_under_the_policy_they_began_with(world: World) -> None:
    db = world.guard(timeout="5s", bulkhead=Bulkhead(limit=1))
    first = asyncio.create_task(db.acall(hang))
    await asyncio.sleep(1.0)

    db.change(timeout="1s", bulkhead=Bulkhead(limit=2))
    second = asyncio.create_task(db.acall(hang))

    for task, ended_s in ((second, 2.0), (first, 5.0)):
        with pytest.raises(DeadlineExceeded):
            await task
        assert world.elapsed_s == ended_s
    assert db.statistics().bulkhead.inside == 0


@runs
async def test_a_call_that_outlives_its_window_is_not_counted_in_the_new_one(world: World) -> None:
    db = world.guard(breaker=Breaker(p95="500ms"))
    task = asyncio.create_task(db.acall(hang))
    await asyncio.sleep(0.1)

    db.change(breaker=Breaker(p95="100ms"))

    await cancelled(task)
    assert counts(db).in_flight == 0


# -- force -------------------------------------------------------------------------------------------------


def test_forced_open_rejects_until_its_time_is_over() -> None:
    world = World()
    db = world.guard()
    guarded = db(int)

    db.force("open", owner="ops", reason="maintenance", for_="5m")

    for call in (guarded, lambda: db.call(int)):
        with pytest.raises(BreakerOpen) as caught:
            call()
        assert caught.value.retry_after_s == pytest.approx(300.0)
    (forced,) = world.signals.of(signals.BreakerForced)
    assert (forced.owner, forced.reason) == ("ops", "maintenance")
    world.clock.advance(301.0)
    assert db.state is State.HALF_OPEN
    assert guarded() == 0


def test_forced_closed_disabled_and_shadow_admit() -> None:
    for mode in ("closed", "disabled", "shadow"):
        world = World()
        db = world.guard(breaker=TOUCHY)
        db.force(mode, owner="ops", reason="test", for_=60)
        for _ in range(3):
            with pytest.raises(ConnectionError):
                db.call(Flaky(1))
        db.release()
        assert len(world.signals.of(signals.BreakerReleased)) == 1


def test_a_reset_closes() -> None:
    db = World().guard(breaker=TOUCHY)
    with pytest.raises(ConnectionError):
        db.call(Flaky(1))

    db.reset()

    assert db.state is State.CLOSED
    assert db.call(int) == 0


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"mode": "ajar"}, UsageError, "allowed are open, closed, disabled, shadow"),
        ({"owner": ""}, UsageError, "an owner and a reason"),
        ({"reason": ""}, UsageError, "an owner and a reason"),
        ({"for_": 0}, UsageError, "above 0"),
        ({"for_": "soon"}, UnitError, "soon"),
    ],
)
def test_a_forced_state_says_who_why_and_for_how_long(
    change: dict[str, object], error: type[Exception], text: str
) -> None:
    order: dict[str, object] = {"mode": "open", "owner": "ops", "reason": "test", "for_": "1m"}

    with pytest.raises(error, match=text):
        World().guard().force(**(order | change))  # type: ignore[arg-type]  # that is the test


# -- orders ------------------------------------------------------------------------------------------------


def test_orders_are_carried_out() -> None:
    world = World()
    db = world.guard()

    db.execute(ForceBreaker(target="db", owner="ops", mode="open", reason="test", for_s=60.0))
    assert db.try_call(int).rejected
    db.execute(ReleaseBreaker(target="db", owner="ops"))
    assert db.state is State.HALF_OPEN
    db.execute(ResetBreaker(target="db", owner="ops"))
    assert db.state is State.CLOSED
    db.execute(ReloadPolicy(target="db", owner="ops", policy=Policy(timeout="3s")))
    assert db.plan.timeout_s == 3.0
    assert world.signals.of(signals.PolicyReloaded)[0].owner == "ops"


def test_an_order_can_be_for_one_key() -> None:
    db = World().guard()

    db.execute(ForceBreaker(target="db/a/1", owner="ops", mode="open", reason="test", for_s=60.0))

    assert db.at("a/1").try_call(int).rejected
    assert db.call(int) == 0
    assert db.at("a").call(int) == 0


@pytest.mark.parametrize("target", ["web", "db2", "db/", "d"])
def test_an_order_for_somebody_else_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match="the order is for"):
        World().guard().execute(ResetBreaker(target=target, owner="ops"))


@pytest.mark.parametrize(
    "order",
    [Command(target="db", owner="ops"), ReloadPolicy(target="db", owner="ops", policy="timeout = 1s")],
)
def test_an_order_that_nobody_knows_is_refused(order: Command) -> None:
    with pytest.raises(UsageError, match="does not know the order"):
        World().guard().execute(order)
