import enum
import math

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from seawall.telemetry.otlp.values import DEPTH_LIMIT, KEYS_LIMIT, VALUES_LIMIT, Values
from tests.telemetry.otlp.reading import plain

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
        *("", "text", "ä€𝄞", "x" * 5_000, True, False, 0, 1, -1, 2_047, 2_048, 2**63 - 1, -(2**63)),
        *(0.0, -0.0, 1.5, math.inf, b"", b"\x00\xff", bytearray(b"x"), None),
        *([], [1, 2], ("a", None), [[1], []], {}, {"a": {"b": [True]}}),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_every_kind_of_value(value):
    found, left_out = encoded({"key": value})
    wanted = (
        bytes(value) if isinstance(value, bytearray) else list(value) if isinstance(value, tuple) else value
    )
    assert left_out == 0
    assert repr(plain(found["key"])) == repr(wanted)  # which tells 1, 1.0, True and -0.0 apart


def test_not_a_number():
    assert math.isnan(encoded({"key": math.nan})[0]["key"].double_value)


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
    found, left_out = encoded({"good": 1, "bad": value, "last": "x"})
    assert (set(found), left_out) == ({"good", "last"}, 1)


@pytest.mark.parametrize("key", [1, None, "", b"bytes", ("a",)])
def test_a_key_that_is_no_text_is_left_out_and_counted(key):
    for value in ("text", 1, 1.5, [1]):
        found, left_out = encoded({key: value, "good": 1})
        assert (list(found), left_out) == (["good"], 1)


def test_a_value_that_contains_itself_is_left_out():
    loop = []
    loop.append(loop)
    assert encoded({"loop": loop}) == ({}, 1)


def test_nesting_up_to_the_limit_is_read_by_the_library():
    found, left_out = encoded({"deep": nested(DEPTH_LIMIT)})
    assert (plain(found["deep"]), left_out) == (nested(DEPTH_LIMIT), 0)


def test_subclasses_are_what_they_inherit_from():
    found, left_out = encoded({"colour": Colour.RED, Word("word"): Word("w")})
    assert (found["colour"].int_value, found["word"].string_value, left_out) == (3, "w", 0)


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
    assert values.afford((3, 4)) == ([3], 1)
    assert values.afford([5]) == ([], 1)


def test_the_memory_of_keys_is_bounded():
    values = Values()
    for number in range(KEYS_LIMIT + 1):
        values.room = VALUES_LIMIT
        assert encoded({f"key {number}": number}, values)[1] == 0
    encoded({"x" * 257: 1}, values)
    assert list(values._keys) == [f"key {KEYS_LIMIT}"]
