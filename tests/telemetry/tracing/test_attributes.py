"""Taking attributes over: as the SDK does, and without ever raising."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from opentelemetry.attributes import BoundedAttributes

from seawall.telemetry.tracing.attributes import (
    DEPTH_MAX,
    ITEMS_MAX,
    Trimmed,
    dropped_of,
    freeze,
    put,
    take_over,
)


class Spoken:
    def __str__(self) -> str:
        return "s"


class Mute:
    """Its text would be an address."""


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text today")


SCALAR_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
VALUES = st.recursive(
    SCALAR_VALUES | st.builds(Spoken) | st.builds(Mute),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["a", "b", "c", "d", "", "e", 5, "5", None])


@given(
    attributes=st.dictionaries(KEYS, VALUES, max_size=8),
    limit=st.integers(0, 6),
    length=st.sampled_from([1, 2, 3, 1_000]),
)
@settings(max_examples=120)
def test_what_is_kept_and_dropped_is_what_the_sdk_keeps_and_drops(attributes, limit, length):
    theirs = BoundedAttributes(limit, attributes, max_value_len=length)
    ours = take_over(attributes, limit, length)
    assert list(ours.items()) == list(theirs.items())
    assert dropped_of(ours) == theirs.dropped


@given(
    steps=st.lists(st.tuples(KEYS, VALUES), max_size=12),
    limit=st.integers(0, 4),
    length=st.sampled_from([1, 2, 3, 1_000]),
)
@settings(max_examples=120)
def test_setting_one_by_one_keeps_what_the_sdk_keeps(steps, limit, length):
    theirs = BoundedAttributes(limit, immutable=False, max_value_len=length)
    ours, lost = {}, 0
    for key, value in steps:
        theirs[key] = value
        lost += put(ours, key, value, limit, length)
    assert list(ours.items()) == list(theirs.items())
    assert lost == theirs.dropped


def test_a_sequence_becomes_a_tuple_that_its_owner_can_not_change():
    given_list = ["a", ["b"]]
    frozen = freeze(given_list, 1_000)
    given_list.append("c")
    given_list[1].append("d")
    assert frozen == ("a", ("b",))


def test_a_value_whose_text_is_broken_is_dropped_and_counted():
    taken = take_over({"good": 1, "bad": Broken()}, 10, 1_000)
    assert taken == {"good": 1}
    assert isinstance(taken, Trimmed)
    assert taken.dropped == 1
    assert put({}, "bad", Broken(), 10, 1_000) == 1


def test_a_sequence_that_holds_itself_is_dropped_and_counted():
    endless: list[object] = []
    endless.append(endless)
    assert dropped_of(take_over({"endless": endless}, 10, 1_000)) == 1


@pytest.mark.parametrize(("levels", "kept"), [(DEPTH_MAX, True), (DEPTH_MAX + 1, False)])
def test_nesting_has_a_limit(levels, kept):
    value: object = 1
    for _ in range(levels):
        value = [value]
    assert (put({}, "deep", value, 10, 1_000) == 0) is kept


def test_nothing_was_dropped_from_attributes_that_are_not_there():
    assert dropped_of(None) == 0


@pytest.mark.parametrize(("items", "kept"), [(ITEMS_MAX, True), (ITEMS_MAX + 1, False)])
def test_the_number_of_items_has_a_limit(items, kept):
    assert (put({}, "wide", [0] * items, 10, 1_000) == 0) is kept


def test_the_limit_is_for_all_levels_together():
    value: object = [0] * 10
    for _ in range(DEPTH_MAX - 2):
        value = [value] * 10  # 10 ** 15 items, were they counted one by one
    assert put({}, "many", value, 10, 1_000) == 1
    assert put({}, "mapping", {"a": [0] * ITEMS_MAX}, 10, 1_000) == 1


@pytest.mark.parametrize("value", ["abcdef", b"abcdef", ["abcdef"], {"k": b"abcdef"}, Path("abcdef")])
def test_texts_and_bytes_are_cut_wherever_they_are(value):
    cut = freeze(value, 3)
    [text] = cut.values() if isinstance(cut, dict) else cut if isinstance(cut, tuple) else [cut]
    assert text in {"abc", b"abc"}
