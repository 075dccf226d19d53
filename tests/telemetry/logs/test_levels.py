"""Names and numbers of levels, and which logger obeys which."""

import pytest

from seawall.telemetry.logs.levels import OFF, level_for, name_of, parse_level


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0, "DEBUG"),
        (5, "DEBUG"),
        (10, "DEBUG"),
        (20, "INFO"),
        (25, "INFO"),
        (30, "WARNING"),
        (40, "ERROR"),
        (50, "CRITICAL"),
        (90, "CRITICAL"),
    ],
)
def test_a_step_between_two_names_has_the_lower_one(number, name):
    assert name_of(number) == name


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("info", 20),
        ("WARN", 30),
        ("Fatal", 50),
        ("off", OFF),
        (15, 15),
        ("loud", None),
        (True, None),
        (None, None),
        (-1, None),
        (2.5, None),
    ],
)
def test_levels_are_names_or_numbers(value, number):
    assert parse_level(value) == number


def test_the_nearest_logger_above_decides():
    levels = {"a": 10, "a.b.c": 40}
    names = {"a.b.c.d": 40, "a.b.c": 40, "a.b": 10, "a": 10, "ab": 30, "": 30}
    assert {name: level_for(name, 30, levels) for name in names} == names
