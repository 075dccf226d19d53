"""What was not declared never leaves the caller, and no method of a value is called."""

import math
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from uuid import UUID

import pytest

from seawall.telemetry.redaction.withholding import MARGIN, Cut, Redaction, Withheld, cut, type_name, withheld
from tests.telemetry.logs.lines import PLANTED

RULES = Redaction(frozenset({"shown"}), value_chars=16, keys_max=4)


class Hostile:
    def _never(self, *_, **__):
        raise AssertionError("a method of a value was called")

    __len__ = __str__ = __repr__ = __iter__ = __eq__ = __bool__ = _never
    __hash__ = None


class Colour(Enum):
    RED = PLANTED


class Number(IntEnum):
    ONE = 1


class Lost(tzinfo):
    def utcoffset(self, _):
        raise RuntimeError("where?")


class SecretText(str):
    __slots__ = ()


def shown(value):
    return RULES.admit({"shown": value})[0]["shown"]


@pytest.mark.parametrize(
    ("value", "stands"),
    [
        (PLANTED, f"<str {len(PLANTED)}>"),
        (b"abc", "<bytes 3>"),
        ([1, 2], "<list 2>"),
        ({}, "<dict 0>"),
        (4711, "<int>"),
        (1.5, "<float>"),
        (True, "<bool>"),
        (None, "<None>"),
        (Hostile(), "<Hostile>"),
    ],
)
def test_an_undeclared_value_is_its_type_and_length(value, stands):
    admitted, _ = RULES.admit({"hidden": value})
    assert admitted == {"hidden": stands}
    assert type(admitted["hidden"]) is Withheld


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("open", "open"),
        (3, 3),
        (2.5, 2.5),
        (False, False),
        (None, None),
        (Number.ONE, "ONE"),
        (Colour.RED, "RED"),
        (date(2026, 6, 20), "2026-06-20"),
        (Decimal("1.50"), "1.50"),
        (datetime(2026, 6, 20, 2, 16, tzinfo=UTC), "2026-06-20T02:16:00+00:00"),
        (timedelta(seconds=90), "0:01:30"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_declared_value_passes_if_it_is_plain(value, data):
    assert shown(value) == data


@pytest.mark.parametrize(
    "value", [Hostile(), SecretText(PLANTED), PLANTED.encode(), {PLANTED}, 1 << 64, -(1 << 63) - 1]
)
def test_a_declared_value_that_is_not_plain_is_withheld(value):
    assert shown(value) == withheld(value)
    assert PLANTED not in shown(value)


def test_a_broken_time_zone_costs_its_value_only():
    assert shown(datetime(2026, 1, 1, tzinfo=Lost())) == "<datetime>"
    assert shown(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))).endswith("+01:00")


def test_containers_are_copied_within_bounds():
    value = {"shown": [1, {"shown": (2, {"shown": [3]})}], PLANTED + " !": 1, 5: 6}
    assert shown(value) == {"shown": [1, {"shown": "<tuple 2>"}], "omitted": 2}
    assert shown([True, 2.5, None, "x"]) == [True, 2.5, None, "x"]
    assert shown(list(range(70))) == [*range(64), "<6 more>"]
    wide = shown([[1] * 40, [2] * 40])
    assert sum(len(each) for each in wide) <= 64 + 2


@pytest.mark.parametrize("key", ["password", "Shown", "SHOWN", "shown.", "Shown.shown"])
def test_keys_inside_of_a_declared_mapping_have_to_be_declared_too(key):
    assert shown({key: PLANTED, "shown": 1}) == {key: f"<str {len(PLANTED)}>", "shown": 1}
    assert shown([[{key: {"shown": PLANTED}}]]) == [[{key: "<dict 1>"}]]
    assert RULES.admit({key: PLANTED})[0] == {key: f"<str {len(PLANTED)}>"}


def test_a_list_that_contains_itself_ends():
    knot = []
    knot.append(knot)
    assert shown(knot) == [[["<list 1>"]]]


def test_what_the_caller_changes_later_changes_nothing():
    items = [1]
    admitted, _ = RULES.admit({"shown": items})
    items.append(PLANTED)
    assert admitted == {"shown": [1]}


def test_keys_that_are_data_are_counted():
    admitted, _ = RULES.admit({PLANTED + "!": 1, "x" * 65: 1, "": 1, 7: 1, "a.b-c": 1})
    assert admitted == {"a.b-c": "<int>", "omitted": 4}


def test_more_keys_than_allowed_are_counted():
    admitted, _ = RULES.admit({f"k{number}": 1 for number in range(9)})
    assert len(admitted) == 5
    assert admitted["omitted"] == 5


def test_a_long_text_is_cut_and_keeps_a_margin():
    text = shown("x" * 10_000)
    assert type(text) is Cut
    assert len(text) == 16 + MARGIN
    assert cut("short", 5) == "short"
    assert type(cut("short", 5)) is str


def test_the_size_follows_the_texts():
    small = RULES.admit({"shown": "x"})[1]
    assert RULES.admit({"shown": "x" * 100})[1] == small + 99
    assert RULES.admit({"hidden": "x" * 10_000})[1] == small - 1


def test_names_of_types_are_not_data():
    class Meta(type):
        @property
        def __name__(cls):
            raise AssertionError("never asked")

    class Fine(metaclass=Meta):
        pass

    assert type_name(Fine) == "Fine"
    assert type_name(type(PLANTED + " !", (), {})) == "object"
    assert type_name(type("x" * 65, (), {})) == "object"


def test_numbers_that_json_has_no_word_for_pass():
    assert math.isnan(shown(math.nan))
