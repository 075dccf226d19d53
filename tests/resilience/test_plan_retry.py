"""Retries and fallbacks: what is tried again, what is paid for it, and what stands in at last."""

import pytest

from seawall import (
    BreakerOpen,
    Budget,
    Outcome,
    Retry,
    UsageError,
    signals,
)
from seawall.kernel.errors import NotFoundError, RateLimitedError
from tests.resilience.world import START_S, TOUCHY, Flaky, World, counts

RETRY = Retry(attempts=3, base="1s", jitter="none", budget=None, on=(ConnectionError,))


class Cancelled(BaseException):
    """What a cancellation looks like from here."""


def test_retry_after_is_honoured() -> None:
    world = World()
    db = world.guard(retry=Retry(attempts=2, base="1s", jitter="none", budget=None))
    answers: list[Exception] = [RateLimitedError("slowly", retry_after_s=7.0)]

    def call() -> str:
        if answers:
            raise answers.pop()
        return "done"

    assert db.call(call) == "done"
    assert world.elapsed_s == 8.0


def test_the_budget_pays_for_retries_only() -> None:
    world = World()
    budget = Budget(ratio="10%", min_per_second=0.001, capacity=1.0)
    db = world.guard(breaker=None, retry=Retry(attempts=2, base="1ms", budget=budget, on=(ConnectionError,)))

    flaky = Flaky(10_000)
    for _ in range(20):
        with pytest.raises(ConnectionError):
            db.call(flaky)

    assert 20 < flaky.calls <= 20 + 1 + 2 + 1
    assert world.signals.of(signals.RetryRefused)[-1].reason == "the retry budget is empty"
    assert db.statistics().budget.deposits == 20


def test_what_was_never_sent_earns_no_budget() -> None:
    world = World()
    db = world.guard(breaker=TOUCHY, retry=RETRY.__class__(attempts=2, on=(ZeroDivisionError,)))
    with pytest.raises(BreakerOpen):
        db.call(lambda: 1 / 0)
    for _ in range(10):
        assert db.try_call(int).rejected

    assert db.statistics().budget.deposits == 1


def test_the_retry_of_a_result_goes_by_its_classification() -> None:
    world = World()
    verdicts = [Outcome.THROTTLED, Outcome.OK]
    db = world.guard(retry=RETRY, classify_result=lambda _value: verdicts.pop(0))

    assert db.call(int) == 0

    assert verdicts == []
    assert counts(db).throttled == 1


def test_a_result_called_slow_is_not_retried_and_nothing_is_announced() -> None:
    world = World()
    db = world.guard(retry=RETRY, classify_result=lambda _value: Outcome.SLOW)

    assert db.call(int) == 0
    assert world.signals == []


def test_a_bad_result_without_a_retry_is_given_all_the_same() -> None:
    db = World().guard(classify_result=lambda _value: Outcome.FAILED)

    assert db.call(int) == 0
    assert counts(db).failed == 1


# -- fallback --------------------------------------------------------------------------------------------


def test_the_fallback_stands_in_for_failures_and_rejections() -> None:
    world = World()
    seen: list[BaseException] = []

    def instead(error: BaseException) -> str:
        seen.append(error)
        return "cached"

    db = world.guard(breaker=TOUCHY, fallback=instead)

    assert db.call(Flaky(9)) == "cached"
    assert db.call(Flaky(9)) == "cached"

    assert [type(error) for error in seen] == [ConnectionError, BreakerOpen]
    assert [signal.error for signal in world.signals.of(signals.FallbackUsed)] == [
        "ConnectionError",
        "BreakerOpen",
    ]
    assert db.statistics().fallbacks == 2


@pytest.mark.parametrize(
    "error", [NotFoundError("no such order"), KeyError("x"), UsageError("wrong"), Cancelled()]
)
def test_the_fallback_hides_no_refusal_no_mistake_and_no_cancellation(error: BaseException) -> None:
    db = World().guard(ignore=(KeyError,), fallback=lambda _error: "cached")

    def call() -> str:
        raise error

    with pytest.raises(type(error)):
        db.call(call)
    assert db.statistics().fallbacks == 0


def test_without_a_fallback_the_error_comes_out() -> None:
    plan = World().guard().plan

    with pytest.raises(KeyError):
        plan.fall_back(KeyError(), START_S)


def test_a_fallback_that_fails_says_so_itself() -> None:
    def broken(_error: BaseException) -> str:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        World().guard(fallback=broken).call(Flaky(1))
    assert isinstance(caught.value.__context__, ConnectionError)
