"""Every parser accepts or raises UnitError; every formatter's text parses back to the same number."""

import math
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seawall.kernel.units import (
    MAX_DURATION_S,
    MAX_RATE_PER_S,
    MAX_SIZE_BYTES,
    MIN_RATE_PER_S,
    UnitError,
    format_duration,
    format_ratio,
    parse_duration,
    parse_rate,
    parse_ratio,
    parse_size,
)

PARSERS = [
    (parse_duration, 0.0, MAX_DURATION_S),
    (parse_ratio, 0.0, 1.0),
    (parse_rate, MIN_RATE_PER_S, MAX_RATE_PER_S),
    (parse_size, 0, MAX_SIZE_BYTES),
]

numbers = st.from_regex(r"[0-9]{0,5}\.?[0-9]{0,5}([eE][+-]?[0-9]{1,4})?", fullmatch=True)
units = st.sampled_from(
    ["", "%", "us", "µs", "ms", "s", "m", "min", "h", "d", "/s", "/m", "/d", "B", "kB", "MiB", "TiB"]
)
near_misses = st.builds(
    lambda number, gap, unit: number + gap + unit, numbers, st.sampled_from(["", " ", "\t"]), units
)
anything = st.one_of(
    near_misses,
    st.text(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.timedeltas(),
    st.binary(),
    st.complex_numbers(),
    st.lists(st.integers(), max_size=2),
)


@pytest.mark.parametrize(("parse", "low", "high"), PARSERS)
@given(value=anything)
@example(value=10**5_000)
@example(value="9" * 100_000)
@example(value=timedelta.min)
def test_accepted_within_the_range_or_refused_with_a_unit_error(parse, low, high, value):
    refused = None
    try:
        parsed = parse(value)
    except UnitError as error:
        refused = error
    if refused is None:
        assert low <= parsed <= high
        assert math.isfinite(parsed)
        assert type(parsed) is type(low)
    else:
        assert refused.value is value
        assert 0 < len(str(refused)) < 400


@given(st.floats(0.0, MAX_DURATION_S))
@example(5e-324)
@example(MAX_DURATION_S)
def test_durations_round_trip(seconds):
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 800_000), st.sampled_from(["us", "ms", "s", "m", "h"]))
def test_durations_written_by_people_round_trip(number, unit):
    seconds = parse_duration(f"{number}{unit}")
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.floats(1e-9, 1e8), st.integers(1, 6))
def test_a_rounded_duration_is_near_and_short(seconds, digits):
    text = format_duration(seconds, digits)
    assert len(text) <= 18
    # Rounded twice, each time by at most half of the last digit.
    assert parse_duration(text) == pytest.approx(seconds, rel=1.1 * 10.0 ** (1 - digits))


@given(st.floats(0.0, 1.0))
@example(5e-324)
def test_ratios_round_trip(ratio):
    assert parse_ratio(format_ratio(ratio)) == ratio


@given(st.integers(0, 10_000))
def test_percentages_of_people_come_back_as_written(hundredths):
    text = f"{hundredths / 100:g}%"
    assert format_ratio(parse_ratio(text)) == text


@given(
    st.integers(0, 10**9), st.integers(1, 15), st.sampled_from([("%", -2), ("ms", -3), ("us", -6), ("s", 0)])
)
def test_decimals_become_the_nearest_float(digits, places, unit):
    exact = Fraction(digits, 10**places) * Fraction(10) ** unit[1]
    text = f"{digits // 10**places}.{digits % 10**places:0{places}d}{unit[0]}"
    if unit[0] != "%":
        assert parse_duration(text) == float(exact)
    elif exact <= 1:
        assert parse_ratio(text) == float(exact)


@given(st.integers(0, MAX_SIZE_BYTES))
def test_sizes_are_exact(size):
    assert parse_size(f"{size}B") == parse_size(size) == size
