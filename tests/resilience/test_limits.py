"""The rate limiter: its bound, its waits, its rounding."""

import dataclasses
import math

import pytest

from seawall.resilience.limits import RateLimiter, RateLimiterStatistics


@pytest.mark.parametrize("start", [0.0, 0.3, 1000.3, 1e6 + 0.1, 1e8 + 0.7])
@pytest.mark.parametrize("burst", [1, 7, 10, 100])
def test_the_whole_burst_is_admitted_at_once_wherever_the_clock_stands(start: float, burst: int) -> None:
    limiter = RateLimiter(10.0, burst)
    assert [limiter.try_acquire(start) for _ in range(burst)] == [0.0] * burst
    assert limiter.try_acquire(start) == pytest.approx(0.1, rel=1e-6, abs=1e-6)


def test_after_the_burst_calls_come_at_the_rate() -> None:
    limiter = RateLimiter(10.0, 2)
    admitted = [step / 100 for step in range(101) if limiter.try_acquire(step / 100) == 0.0]
    assert admitted == pytest.approx([0.0, 0.01] + [step / 10 for step in range(1, 11)])
    limiter = RateLimiter(10.0, 3)
    assert sum(limiter.try_acquire(0.0) == 0.0 for _ in range(5)) == 3
    assert limiter.try_acquire(0.1) == 0.0
    assert limiter.try_acquire(0.1) == pytest.approx(0.1)


def test_a_pause_earns_the_burst_back_and_no_more() -> None:
    limiter = RateLimiter(10.0, 3)
    assert sum(limiter.try_acquire(0.0) == 0.0 for _ in range(5)) == 3
    assert sum(limiter.try_acquire(3600.0) == 0.0 for _ in range(5)) == 3


def test_a_refused_call_costs_nothing() -> None:
    limiter = RateLimiter(1.0)
    assert limiter.try_acquire(0.0) == 0.0
    for _ in range(100):
        assert limiter.try_acquire(0.5) == 0.5
    assert limiter.try_acquire(1.0) == 0.0


def test_the_wait_is_enough_even_where_the_difference_rounds_down() -> None:
    rounded_down = 0
    for step in range(1, 2000):
        spacing = 1.0 / (1.0 / (step * 0.0137))
        now = step * 0.0000771
        rounded_down += now + (spacing - now) < spacing
        limiter = RateLimiter(1.0 / (step * 0.0137))
        assert limiter.try_acquire(0.0) == 0.0
        wait = limiter.try_acquire(now)
        assert limiter.try_acquire(now + wait) == 0.0
    assert rounded_down > 0, "no case came out short; the test shows nothing"


def test_a_dear_call_takes_its_cost_and_waits_for_it() -> None:
    limiter = RateLimiter(10.0, 5)
    assert limiter.try_acquire(0.0, 5.0) == 0.0
    assert limiter.try_acquire(0.0, 5.0) == pytest.approx(0.5)
    assert limiter.try_acquire(0.25, 2.5) == 0.0
    assert limiter.try_acquire(0.25, 0.5) == pytest.approx(0.05)


def test_an_older_reading_of_the_clock_never_admits_too_much() -> None:
    limiter = RateLimiter(1.0)
    assert limiter.try_acquire(10.0) == 0.0
    assert limiter.try_acquire(9.0) == 2.0


@pytest.mark.parametrize("cost", [0.0, -1.0, 3.5, math.nan])
def test_a_cost_that_no_wait_would_satisfy_is_a_misuse(cost: float) -> None:
    limiter = RateLimiter(10.0, 3)
    with pytest.raises(ValueError, match=r"cost = .* at most the burst, 3"):
        limiter.try_acquire(0.0, cost)
    assert limiter.statistics().admitted == limiter.statistics().refused == 0


@pytest.mark.parametrize(
    ("rate_per_s", "burst", "names"),
    [
        (0.0, 1.0, "rate_per_s = 0.0"),
        (-1.0, 1.0, "rate_per_s = -1.0"),
        (1e-12, 1.0, "rate_per_s = 1e-12"),
        (math.inf, 1.0, "rate_per_s = inf"),
        (1.0, 0.5, "burst = 0.5"),
        (1.0, math.nan, "burst = nan"),
    ],
)
def test_numbers_that_cannot_work_are_named(rate_per_s: float, burst: float, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        RateLimiter(rate_per_s, burst)


def test_statistics_and_repr_show_its_state() -> None:
    limiter = RateLimiter(100.0, 2)
    for _ in range(3):
        limiter.try_acquire(0.0)
    now = limiter.statistics()
    assert now == RateLimiterStatistics(rate_per_s=100.0, burst=2, admitted=2, refused=1)
    assert repr(limiter) == "<RateLimiter 100/s burst=2 admitted=2 refused=1>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        now.admitted = 5  # type: ignore[misc]  # the point of the test
    assert not hasattr(limiter, "__dict__")
    assert not hasattr(now, "__dict__")
