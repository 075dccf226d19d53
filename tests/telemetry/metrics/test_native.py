"""Exponential buckets against exact arithmetic: no float in a wrong bucket."""

from fractions import Fraction
from math import inf, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.metrics.native import (
    BUCKETS_MAX,
    LARGEST,
    SCHEMA_MAX,
    SCHEMA_MIN,
    ZERO_THRESHOLD,
    Exponential,
    bounds_of,
    key_of,
    lowered,
    merged,
)

SCHEMAS = st.integers(SCHEMA_MIN, SCHEMA_MAX)
MAGNITUDES = st.floats(min_value=5e-324, max_value=LARGEST, allow_subnormal=True)


def not_above(value: float, key: int, schema: int) -> bool:
    """Whether value <= 2 ** (key * 2 ** -schema), without rounding."""
    exact = Fraction(value)
    if schema <= 0:
        return exact <= Fraction(2) ** (key << -schema)
    return exact ** (1 << schema) <= Fraction(2) ** key


@given(MAGNITUDES, SCHEMAS)
def test_a_value_is_above_the_bound_before_its_bucket_and_not_above_its_own(
    value: float, schema: int
) -> None:
    key = key_of(value, schema)
    assert not_above(value, key, schema)
    assert not not_above(value, key - 1, schema)


@pytest.mark.parametrize("schema", range(1, SCHEMA_MAX + 1))
def test_a_bound_is_the_largest_float_that_is_not_above_the_exact_one(schema: int) -> None:
    for position, bound in enumerate(bounds_of(schema)):
        key = position - (1 << schema)
        assert not_above(bound, key, schema)
        assert not not_above(nextafter(bound, inf), key, schema)
        assert (key_of(bound, schema), key_of(nextafter(bound, inf), schema)) == (key, key + 1)


@pytest.mark.parametrize("schema", range(SCHEMA_MIN, SCHEMA_MAX + 1))
def test_the_ends_of_the_scale(schema: int) -> None:
    last = key_of(LARGEST, schema)
    assert key_of(inf, schema) == last + 1
    assert key_of(1.0, schema) == 0
    assert key_of(nextafter(ZERO_THRESHOLD, inf), schema) == key_of(ZERO_THRESHOLD, schema) + 1


def test_every_second_bound_is_one_of_the_next_lower_schema() -> None:
    for schema in range(1, SCHEMA_MAX + 1):
        assert bounds_of(schema)[::2] == (bounds_of(schema - 1) or (0.5,))
    assert bounds_of(0) == ()


@given(MAGNITUDES | st.just(inf), SCHEMAS, st.integers(0, 12))
def test_lowering_agrees_with_sorting_at_the_lower_schema(value: float, schema: int, steps: int) -> None:
    lower = max(SCHEMA_MIN, schema - steps)
    assert lowered(key_of(value, schema), schema - lower) == key_of(value, lower)


def state(schema: int, positive: dict[int, int], negative: dict[int, int], zeros: int = 0) -> Exponential:
    return Exponential(schema=schema, zero_count=zeros, positive=positive, negative=negative, sum=1.0)


TABLES = st.dictionaries(st.integers(-8, 60), st.integers(1, 1000), max_size=60)
STATES = st.builds(state, SCHEMAS, TABLES, TABLES, st.integers(0, 9))


@given(st.lists(STATES, min_size=1, max_size=6))
def test_merging_keeps_every_observation_and_the_bound_on_buckets(parts: list[Exponential]) -> None:
    whole = merged(parts)
    assert whole.count == sum(part.count for part in parts)
    assert len(whole.positive) + len(whole.negative) <= BUCKETS_MAX
    assert whole.schema <= min(part.schema for part in parts)
    assert whole.sum == len(parts)


def test_at_the_lowest_schema_all_floats_fit() -> None:
    first = key_of(nextafter(ZERO_THRESHOLD, inf), SCHEMA_MIN)
    assert 2 * (key_of(inf, SCHEMA_MIN) - first + 1) <= BUCKETS_MAX


def test_merging_joins_the_buckets_of_a_finer_schema() -> None:
    whole = merged([state(0, {1: 1}, {}, zeros=2), state(1, {0: 3, 2: 5, 3: 9}, {-1: 7})])
    assert (whole.schema, whole.zero_count) == (0, 2)
    assert (whole.positive, whole.negative) == ({0: 3, 1: 1 + 5, 2: 9}, {0: 7})
    assert whole.zero_threshold == ZERO_THRESHOLD
