"""The canonical order of a guard's parts, and the life of one call through them."""

import math
from typing import Any

import pytest

from seawall import (
    Breaker,
    BreakerOpen,
    Bulkhead,
    BulkheadFull,
    DeadlineExceeded,
    Outcome,
    RateExceeded,
    RateLimit,
    Retry,
    State,
    deadline,
    signals,
)
from seawall.kernel.errors import NotFoundError, ServiceUnavailable
from seawall.kernel.signals import Hub
from seawall.resilience import threads
from seawall.resilience.plan import Call
from tests.resilience.world import START_S, TOUCHY, Flaky, World, counts

RETRY = Retry(attempts=3, base="1s", jitter="none", budget=None, on=(ConnectionError,))


class Cancelled(BaseException):
    """What a cancellation looks like from here."""


def opened(world: World, **parts: Any) -> Any:
    """A guard whose breaker is open."""
    db = world.guard(**{"breaker": TOUCHY, **parts})
    with pytest.raises(ZeroDivisionError):
        db.call(lambda: 1 / 0)
    assert db.state is State.OPEN
    return db


# -- order -----------------------------------------------------------------------------------------------


def test_the_rate_limit_is_asked_before_the_bulkhead() -> None:
    world = World()
    db = world.guard(rate=RateLimit(rate="1/s", burst=1), bulkhead=Bulkhead(limit=1))

    with db, pytest.raises(RateExceeded) as caught:
        db.call(int)
    assert caught.value.retry_after_s == pytest.approx(1.0)
    (refused,) = world.signals.of(signals.RateRefused)
    assert (refused.name, refused.retry_after_s) == ("db", caught.value.retry_after_s)
    assert db.statistics().bulkhead.busy == 0


def test_the_bulkhead_is_asked_before_the_breaker() -> None:
    world = World()
    db = world.guard(bulkhead=Bulkhead(limit=1), breaker=TOUCHY)

    with db:
        before = counts(db).calls
        with pytest.raises(BulkheadFull) as caught:
            db.call(int)
        assert counts(db).calls == before
    assert "the bulkhead is full" in str(caught.value)
    (refused,) = world.signals.of(signals.BulkheadRefused)
    assert (refused.in_flight, refused.waiting) == (1, 0)


def test_a_retry_passes_the_breaker_again_but_not_the_doors_outside() -> None:
    world = World()
    db = world.guard(retry=RETRY, rate=RateLimit(rate="1/h", burst=1), bulkhead=Bulkhead(limit=1))
    flaky = Flaky(2)

    assert db.call(flaky) == "done"

    assert flaky.calls == 3
    assert world.elapsed_s == 3.0, "1 s and 2 s"
    assert counts(db).failed == 2
    assert db.statistics().rate.admitted == 1
    assert db.statistics().bulkhead.entered == 1
    assert db.statistics().bulkhead.inside == 0
    assert [signal.attempt for signal in world.signals.of(signals.RetryScheduled)] == [2, 3]


def test_the_breaker_ends_the_attempts_when_it_opens() -> None:
    world = World()
    db = world.guard(retry=RETRY, breaker=TOUCHY)
    flaky = Flaky(9)

    with pytest.raises(BreakerOpen):
        db.call(flaky)
    assert flaky.calls == 1


def test_a_rejection_is_waited_for_if_the_policy_says_so() -> None:
    world = World()
    db = world.guard(
        retry=Retry(
            attempts=2, base="1s", jitter="none", retry_rejections=True, on=(ConnectionError,), budget=None
        ),
        breaker=TOUCHY,
    )
    with pytest.raises(BreakerOpen):
        db.call(Flaky(1))
    flaky = Flaky(0)

    assert db.call(flaky) == "done"

    assert flaky.calls == 1
    assert world.elapsed_s == pytest.approx(1.0 + 4.025 + 1.0)
    assert len(world.signals.of(signals.RetryScheduled)) == 2


def test_the_deadline_ends_everything() -> None:
    world = World()
    db = world.guard(retry=RETRY, deadline="2.5s")
    flaky = Flaky(9)

    with pytest.raises(ConnectionError):
        db.call(flaky)

    assert flaky.calls == 2, "the third would start after 3 s"
    (refused,) = world.signals.of(signals.RetryRefused)
    assert refused.reason == "the deadline leaves no time"


def test_without_time_left_nothing_is_called() -> None:
    world = World()
    db = world.guard()
    plain = Flaky(0)

    with deadline.scope(START_S), pytest.raises(DeadlineExceeded) as caught:
        db.call(plain)

    assert plain.calls == 0
    assert str(caught.value) == "db: deadline exceeded after 0 s (before the call)"
    (expired,) = world.signals.of(signals.DeadlineExpired)
    assert (expired.stage, expired.timeout_s) == ("before the call", 0.0)


def test_time_may_run_out_between_the_door_and_the_attempt() -> None:
    world = World()
    call = Call(world.guard(deadline="1s").plan, START_S)
    assert call.enter(START_S)

    with pytest.raises(DeadlineExceeded, match=r"after 1.*s \(before the attempt\)"):
        call.begin(START_S + 1.0)


def test_the_error_names_the_limit_that_was_reached() -> None:
    world = World()
    db = world.guard(timeout="2s", deadline="3s")
    call = Call(db.plan, START_S)

    assert call.expired(START_S + 2.0, "attempt").timeout_s == 2.0
    assert call.expired(START_S + 3.0, "attempt").timeout_s == 3.0
    assert call.begin(START_S) == START_S + 2.0
    assert not call.overran(START_S + 2.0)
    assert call.overran(START_S + 2.1)
    call.done(START_S + 2.1)
    assert counts(db).failed == 1


# -- settling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [{}, {"timeout": "1s"}, {"retry": RETRY}], ids=["short", "long", "retry"])
def test_a_classifier_that_raises_leaves_nothing_in_flight(parts: dict[str, Any]) -> None:
    def broken(_error: BaseException) -> None:
        raise LookupError

    db = World().guard(classify=broken, **parts)
    guarded = db(Flaky(9))

    for _ in range(3):
        with pytest.raises(LookupError):
            guarded()
    assert counts(db).in_flight == 0
    assert counts(db).failed == 3, "it can't blind the breaker"


def test_a_result_classifier_that_raises_leaves_nothing_in_flight() -> None:
    def broken(_value: object) -> Outcome:
        raise LookupError

    db = World().guard(classify_result=broken, bulkhead=Bulkhead(limit=1))

    for _ in range(3):
        with pytest.raises(LookupError):
            db.call(int)
    assert counts(db).in_flight == 0
    assert db.statistics().bulkhead.inside == 0


@pytest.mark.parametrize("parts", [{}, {"timeout": "10s"}], ids=["short", "long"])
@pytest.mark.parametrize(
    ("error", "failed"),
    [(Cancelled, 1), (KeyboardInterrupt, 0), (SystemExit, 0), (GeneratorExit, 0), (BreakerOpen, 0)],
)
def test_a_cancellation_by_somebodys_deadline_is_a_failure(
    error: type[BaseException], failed: int, parts: dict[str, Any]
) -> None:
    world = World()
    db = world.guard(**parts)
    db.call(int)

    @db
    def call() -> None:
        world.clock.advance(1.0)
        raise error("db") if error is BreakerOpen else error

    with deadline.scope(START_S + 1.0), pytest.raises(error):
        call()
    assert counts(db).failed == failed
    assert counts(db).voided == 1 - failed


@pytest.mark.parametrize("parts", [{}, {"timeout": "10s"}], ids=["short", "long"])
@pytest.mark.parametrize("scope_s", [2.0, math.inf])
def test_a_cancellation_from_outside_counts_as_nothing(parts: dict[str, Any], scope_s: float) -> None:
    world = World()
    db = world.guard(**parts)
    db.call(int)

    @db
    def call() -> None:
        world.clock.advance(1.0)
        raise Cancelled

    with deadline.scope(START_S + scope_s), pytest.raises(Cancelled):
        call()
    assert (counts(db).failed, counts(db).voided, counts(db).in_flight) == (0, 1, 0)


def test_leaving_twice_gives_one_place_back() -> None:
    db = World().guard(bulkhead=Bulkhead(limit=2))
    call = threads.enter(db.plan)
    call.begin(START_S)

    call.leave(START_S)
    call.leave(START_S)

    assert db.statistics().bulkhead.inside == 0
    assert counts(db).voided == 1


def test_the_place_goes_to_the_one_who_waits() -> None:
    db = World().guard(bulkhead=Bulkhead(limit=1, queue=1))
    bulkhead = db.plan.bulkhead
    first, second = Call(db.plan, START_S), Call(db.plan, START_S)
    woken: list[str] = []
    assert first.enter(START_S)
    assert not second.enter(START_S)
    assert bulkhead is not None
    bulkhead.enqueue(START_S, lambda: woken.append("second"))

    first.leave(START_S)

    assert woken == ["second"]
    second.entered()
    second.leave(START_S)
    assert bulkhead.inside == 0


def test_an_inner_rejection_says_nothing_about_the_outer_callee() -> None:
    world = World()
    outer = world.guard()
    inner = opened(world)

    with pytest.raises(BreakerOpen):
        outer.call(inner.call, int)
    assert (counts(outer).failed, counts(outer).voided) == (0, 1)
    assert outer.state is State.CLOSED


def test_an_inner_rejection_is_not_retried() -> None:
    world = World()
    inner = opened(world)
    for parts in ({}, {"breaker": None}):
        outer = world.guard(retry=RETRY, **parts)
        before = counts(inner).rejected
        with pytest.raises(BreakerOpen):
            outer.call(inner.call, int)
        assert counts(inner).rejected == before + 1


def test_saturation_reaches_the_breaker() -> None:
    world = World()
    db = world.guard(breaker=Breaker(saturation="90%", short_window="1s"), bulkhead=Bulkhead(limit=1))
    with db:
        for _ in range(3):
            assert db.try_call(int).rejected
            world.clock.advance(0.6)
    assert db.state is State.OPEN
    assert db.breaker.evidence.rule == "saturation"


def test_a_keyed_breaker_is_not_told_of_saturation() -> None:
    db = World().guard(bulkhead=Bulkhead(limit=1))

    assert db.at("a").call(int) == 0


# -- what is said ----------------------------------------------------------------------------------------


def test_an_open_breaker_says_why_and_for_how_long() -> None:
    world = World()
    db = opened(world)
    guarded = db(int)

    for call in (db.call, lambda fn: guarded()):
        with pytest.raises(BreakerOpen) as caught:
            call(int)
        assert caught.value.retry_after_s == pytest.approx(5.025)
        assert caught.value.detail is db.breaker.evidence
    refused = world.signals.of(signals.BreakerRefused)
    assert len(refused) == counts(db).rejected >= 2


def test_an_open_key_says_which() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY)
    one = db.at("one")
    with pytest.raises(ZeroDivisionError):
        one.call(lambda: 1 / 0)

    assert one.try_call(int).rejected
    assert [signal.key for signal in world.signals.of(signals.BreakerRefused)] == ["one"]


def test_nobody_listens_and_nothing_is_announced() -> None:
    world = World()
    quiet = Hub()
    db = world.guard(
        hub=quiet,
        breaker=TOUCHY,
        retry=RETRY,
        rate=RateLimit(rate="1/s", burst=6),
        bulkhead=Bulkhead(limit=1),
        fallback=lambda error: error,
    )
    plain = world.guard(hub=quiet, breaker=TOUCHY)(Flaky(9))

    inside = threads.enter(db.plan)
    for kind in [*[BulkheadFull] * 5, RateExceeded]:
        assert isinstance(db.call(int), kind)
    with deadline.scope(START_S):
        assert isinstance(db.call(int), DeadlineExceeded)
    inside.leave(START_S)
    with pytest.raises(ConnectionError):
        plain()
    with pytest.raises(BreakerOpen):
        plain()
    assert opened(world, hub=quiet).try_call(int).rejected
    assert quiet.statistics().published == 0


def test_an_outcome_can_be_told_outright() -> None:
    db = World().guard()
    call = threads.enter(db.plan)
    call.begin(START_S)

    call.end(Outcome.IGNORED, START_S)
    call.end(Outcome.FAILED, START_S)

    assert (counts(db).ignored, counts(db).failed) == (1, 0), "only the first counts"


def test_unavailable_is_retried_and_a_refusal_is_not() -> None:
    for error, calls in ((ServiceUnavailable("db"), 2), (NotFoundError("no"), 1)):
        world = World()
        db = world.guard(retry=Retry(attempts=2, budget=None))
        seen: list[int] = []

        def call(error: Exception = error, seen: list[int] = seen) -> None:
            seen.append(1)
            raise error

        with pytest.raises(type(error)):
            db.call(call)
        assert len(seen) == calls


def test_rejections_are_not_announced_when_nobody_listens() -> None:
    world = World()
    hub = Hub()
    db = world.guard(breaker=TOUCHY, bulkhead=Bulkhead(limit=1), hub=hub)
    with pytest.raises(ZeroDivisionError):
        db.call(lambda: 1 / 0)
    with pytest.raises(BreakerOpen):
        db.call(lambda: None)
    assert hub.statistics().published == 0
