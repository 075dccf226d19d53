"""The detector's shortcut against the formula it stands for."""

import math

import hypothesis.strategies as st
from hypothesis import assume, given

from seawall.resilience.detector import (
    LOOKS_PER_HOUR,
    RUN_MAX,
    RUN_MIN,
    Rule,
    confidence_for,
    run_limit,
    wilson_lower,
)

TOTALS = st.integers(1, 1_000_000)
LIMITS = st.floats(1e-4, 0.99)
ZS = st.floats(0.5, 8.0)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    total = draw(TOTALS)
    return draw(st.integers(0, total)), total


@given(seen=counts(), limit=LIMITS, z=ZS)
def test_exceeded_is_wilson_s_bound_above_the_limit(seen: tuple[int, int], limit: float, z: float) -> None:
    bad, total = seen
    bound = wilson_lower(bad, total, z)
    assume(abs(bound - limit) > 1e-9)
    assert Rule("errors", limit, z, 0.0).exceeded(bad, total) == (bound > limit)


@given(seen=counts(), z=ZS)
def test_the_bound_is_a_share_below_the_raw_one(seen: tuple[int, int], z: float) -> None:
    bad, total = seen
    assert 0.0 <= wilson_lower(bad, total, z) <= bad / total + 1e-12


@given(seen=counts(), limit=LIMITS, z=ZS, more=st.integers(1, 1000))
def test_more_bad_calls_never_make_it_look_better(
    seen: tuple[int, int], limit: float, z: float, more: int
) -> None:
    bad, total = seen
    worse = min(total, bad + more)
    rule = Rule("errors", limit, z, 0.0)
    assert rule.exceeded(worse, total) or not rule.exceeded(bad, total)
    assert wilson_lower(worse, total, z) >= wilson_lower(bad, total, z) - 1e-12


@given(seen=counts(), limit=LIMITS, z=ZS, more=st.integers(1, 1000))
def test_more_good_calls_never_make_it_look_worse(
    seen: tuple[int, int], limit: float, z: float, more: int
) -> None:
    bad, total = seen
    rule = Rule("errors", limit, z, 0.0)
    assert rule.exceeded(bad, total) or not rule.exceeded(bad, total + more)
    assert wilson_lower(bad, total + more, z) <= wilson_lower(bad, total, z) + 1e-12


@given(seen=counts(), limit=LIMITS, z=ZS, times=st.integers(2, 50))
def test_the_same_share_of_more_calls_is_more_certain(
    seen: tuple[int, int], limit: float, z: float, times: int
) -> None:
    bad, total = seen
    rule = Rule("errors", limit, z, 0.0)
    # On its limit a share's excess is nothing but rounding.
    assume(abs(bad - total * limit) > 1e-6 * total)
    assert rule.exceeded(bad * times, total * times) or not rule.exceeded(bad, total)


@given(seen=counts(), limit=LIMITS, z=ZS, doubt=st.floats(0.01, 4.0))
def test_more_confidence_is_harder_to_convince(
    seen: tuple[int, int], limit: float, z: float, doubt: float
) -> None:
    bad, total = seen
    eager, strict = Rule("errors", limit, z, 0.0), Rule("errors", limit, z + doubt, 0.0)
    assert eager.exceeded(bad, total) or not strict.exceeded(bad, total)


@given(rate=st.floats(1e-6, 1000.0))
def test_confidence_inverts_the_normal_tail(rate: float) -> None:
    z = confidence_for(rate)
    tail = 0.5 * math.erfc(z / math.sqrt(2.0))
    assert math.isclose(tail * LOOKS_PER_HOUR, rate, rel_tol=1e-9)


@given(errors=st.floats(-1.0, 2.0), more=st.floats(0.0, 1.0))
def test_the_longest_run_grows_with_the_limit(errors: float, more: float) -> None:
    run = run_limit(errors)
    assert RUN_MIN <= run <= RUN_MAX
    if errors > 0.0:
        assert run_limit(errors + more) >= run
