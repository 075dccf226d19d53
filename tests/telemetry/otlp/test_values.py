import enum

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from seawall.telemetry.otlp.values import (
    DEPTH_LIMIT,
    KEPT_BYTES,
    KEYS_LIMIT,
    PAIRS_LIMIT,
    VALUES_LIMIT,
    Values,
)

TAG = b"\x4a"


def encoded(attributes, values=None):
    """What a reader finds, and how many were left out."""
    parts = []
    left_out = (values or Values()).add(parts, TAG, attributes)
    read = Span.FromString(b"".join(parts)).attributes
    return {pair.key: pair.value for pair in read}, left_out


class Colour(enum.IntEnum):
    RED = 3


class Word(str):
    __slots__ = ()


class Broken:
    def __str__(self):
        raise RuntimeError


class BrokenList(list):
    def __iter__(self):
        raise RuntimeError


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -(2**63) - 1,
        object(),
        {1, 2},
        1j,
        BrokenList([1]),
        {"a": Broken()},
        {Broken(): 1},
        nested(DEPTH_LIMIT + 1),
    ],
)
def test_what_the_protocol_cant_carry_is_left_out_and_counted(value):
    assert encoded({"good": 1, "bad": value, "last": "x"})[1] == 1
    assert set(encoded({"good": 1, "bad": value, "last": "x"})[0]) == {"good", "last"}


@pytest.mark.parametrize("key", [1, None, "", b"bytes", ("a",)])
def test_a_key_that_is_no_text_is_left_out_and_counted(key):
    for value in ("text", 1, 1.5, [1]):
        assert encoded({key: value, "good": 1}) == (encoded({"good": 1})[0], 1)


def test_a_value_that_contains_itself_is_left_out():
    loop = []
    loop.append(loop)
    assert encoded({"loop": loop}) == ({}, 1)


def test_nesting_up_to_the_limit_is_read_by_the_library():
    found, left_out = encoded({"deep": nested(DEPTH_LIMIT)})
    assert left_out == 0
    value = found["deep"]
    for _ in range(DEPTH_LIMIT):
        (value,) = value.array_value.values
    assert value.int_value == 1


def test_subclasses_are_what_they_inherit_from():
    found, left_out = encoded({"colour": Colour.RED, Word("word"): Word("w")})
    assert (found["colour"].int_value, found["word"].string_value, left_out) == (3, "w", 0)


def test_equal_values_of_different_types_stay_apart():
    values = Values()
    for _ in range(2):  # the second time from the memories
        kinds = [
            encoded({"k": value}, values)[0]["k"].WhichOneof("value")
            for value in (1, True, 1.0, 0, False, 0.0)
        ]
        assert kinds == ["int_value", "bool_value", "double_value"] * 2


def test_a_tag_has_memories_of_its_own():
    values = Values()
    event = []
    encoded({"k": "v", "n": 1, "d": 0.5}, values)
    values.add(event, b"\x1a", {"k": "v", "n": 1, "d": 0.5})
    read = Span.Event.FromString(b"".join(event)).attributes
    assert [pair.key for pair in read] == ["k", "n", "d"]


def test_a_span_has_room_for_so_many_values():
    values = Values()
    found, left_out = encoded({f"k{number}": number for number in range(VALUES_LIMIT + 7)}, values)
    assert (len(found), left_out) == (VALUES_LIMIT, 7)
    assert encoded({"one more": 1}, values) == ({}, 1)


def test_the_elements_of_a_value_take_room():
    values = Values()
    assert encoded({"long": [0] * VALUES_LIMIT}, values)[1] == 1  # the attribute itself takes a place
    assert encoded({"fits": [0] * (VALUES_LIMIT - 2)}, values)[1] == 0
    assert values.room == 0


def test_elements_deep_inside_take_room_too():
    assert encoded({"long": [{"a": [0] * VALUES_LIMIT}]})[1] == 1


def test_members_are_afforded_up_to_the_room():
    values = Values()
    values.room = 3
    assert values.afford([1, 2]) == ([1, 2], 0)
    assert values.afford(iter([3, 4])) == ((3,), 1)
    assert values.afford([5]) == ([], 1)


def test_the_memories_are_bounded_and_say_when_they_were_emptied():
    values = Values()
    for number in range(PAIRS_LIMIT + 1):
        values.room = VALUES_LIMIT
        encoded({"k": f"value {number}"}, values)
    assert values.emptied == 1
    for number in range(KEYS_LIMIT):
        values.room = VALUES_LIMIT
        encoded({f"key {number}": 0.5}, values)
    assert values.emptied == 2
    assert len(values._keys) <= KEYS_LIMIT
    memory = values._memories[TAG]
    assert sum(map(len, memory.by_class.values())) + len(memory.doubles) <= PAIRS_LIMIT + KEYS_LIMIT


def test_what_is_long_is_not_kept():
    values = Values()
    encoded({"k": "x" * KEPT_BYTES, "x" * KEPT_BYTES: 1}, values)
    memory = values._memories[TAG]
    assert not any(memory.by_class.values())
    assert set(values._keys) == {"k"}
