"""The declarations behind the policies: ranges, messages, and tables that are read as a whole."""

import dataclasses
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from seawall.kernel.errors import PolicyError, Problem
from seawall.resilience import settings


@settings.checked
@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = settings.count(1, low=1, high=9)


@settings.checked
@dataclasses.dataclass(frozen=True, kw_only=True)
class Everything:
    share: Any = settings.ratio("5%", high=0.99)
    floor: Any = settings.ratio("50%", low=0.1)
    loose: Any = settings.ratio(0, open_low=False)
    pause: Any = settings.duration("1s", high=60.0)
    short: Any = settings.duration("1s", low=0.001, optional=True)
    zero: Any = settings.duration(0, open_low=False, high=60.0)
    pace: Any = settings.rate("100/s")
    number: Any = settings.number(1.0, low=1.0, high=8.0)
    maybe: Any = settings.optional_number(None, low=1.0, high=8.0)
    many: Any = settings.count("auto", low=1, high=10, optional=True, words=("auto",))
    word: Any = settings.choice("one", "one", "two", "three")
    flag: Any = settings.truth(default=True)
    hook: Any = settings.function()
    kinds: Any = settings.exceptions()
    inner: Any = settings.part(Inner)  # noqa: RUF009 -- returns a field
    other: Any = settings.part(Inner, given=False, optional=True)  # noqa: RUF009 -- returns a field
    free: str = "anything"

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[Problem]:
        return [Problem("pause", 13.0, "not 13s")] if values.get("pause") == 13.0 else []


@pytest.mark.parametrize(
    ("key", "written", "means"),
    [
        ("share", "5%", 0.05),
        ("share", 0.99, 0.99),
        ("floor", 0.1, 0.1),
        ("loose", "0%", 0.0),
        ("pause", "500ms", 0.5),
        ("pause", timedelta(seconds=2), 2.0),
        ("pause", 60, 60.0),
        ("short", "1ms", 0.001),
        ("short", None, None),
        ("zero", 0, 0.0),
        ("pace", "60/m", 1.0),
        ("number", 8, 8.0),
        ("maybe", None, None),
        ("maybe", 2, 2.0),
        ("many", "auto", "auto"),
        ("many", None, None),
        ("many", 10, 10),
        ("word", "three", "three"),
        ("flag", False, False),
        ("hook", print, print),
        ("hook", None, None),
        ("kinds", OSError, (OSError,)),
        ("kinds", [OSError, ValueError], (OSError, ValueError)),
        ("inner", Inner(size=3), Inner(size=3)),
        ("other", None, None),
    ],
)
def test_what_is_allowed_is_read(key: str, written: object, means: object) -> None:
    values = settings.values_of(Everything(**{key: written}))
    assert values[key] == means
    assert type(values[key]) is type(means)


@pytest.mark.parametrize(
    ("key", "value", "allowed", "fix"),
    [
        ("share", 0.0, "share above 0% to 99%", 'for example "5%"'),
        ("share", "five", "share above 0% to 99%", 'for example "5%"'),
        ("floor", 0.09, "share from 10% to 100%", 'for example "5%"'),
        ("loose", 1.1, "share from 0% to 100%", 'for example "5%"'),
        ("pause", 0, "duration above 0s to 1m", 'for example "500ms"'),
        ("pause", "61s", "duration above 0s to 1m", 'for example "500ms"'),
        ("short", 0.0009, "duration from 1ms to 365d or none (off)", 'for example "500ms"'),
        ("zero", -1, "duration from 0s to 1m", 'for example "500ms"'),
        ("pace", "0/s", "rate from 1e-06/s to 1e+09/s", 'for example "100/s"'),
        ("number", 0.5, "number from 1 to 8", "for example 1"),
        ("number", True, "number from 1 to 8", "for example 1"),
        ("number", math.nan, "number from 1 to 8", "for example 1"),
        ("number", 10**400, "number from 1 to 8", "for example 1"),
        ("maybe", "2", "number from 1 to 8 or none (off)", "for example 1"),
        ("many", 0, "whole number from 1 to 10 or 'auto' or none (off)", "for example 1"),
        ("many", 2.0, "whole number from 1 to 10 or 'auto' or none (off)", "for example 1"),
        ("many", True, "whole number from 1 to 10 or 'auto' or none (off)", "for example 1"),
        ("many", "auot", "whole number from 1 to 10 or 'auto' or none (off)", "did you mean 'auto'?"),
        ("many", "7", "whole number from 1 to 10 or 'auto' or none (off)", "for example 1"),
        ("word", "tow", "one of 'one', 'two', 'three'", "did you mean 'two'?"),
        ("word", "xyz", "one of 'one', 'two', 'three'", "for example 'one'"),
        ("word", 1, "one of 'one', 'two', 'three'", "for example 'one'"),
        ("flag", 1, "true or false", "for example true"),
        ("hook", 5, "a callable or None", ""),
        ("kinds", "OSError", "exception types", ""),
        ("kinds", (OSError, "x"), "exception types", ""),
        ("kinds", int, "exception types", ""),
        ("inner", 5, "a Inner", "for example Inner()"),
        ("inner", None, "a Inner", "for example Inner()"),
        ("other", {"size": 1}, "a Inner or None", "for example Inner()"),
    ],
)
def test_what_is_not_allowed_is_named_with_its_range_and_a_fix(
    key: str, value: object, allowed: str, fix: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        Everything(**{key: value})
    [problem] = caught.value.problems
    assert (problem.key, problem.allowed, problem.fix) == (key, allowed, fix)
    assert problem.value is value
    assert caught.value.source == "Everything"


def test_an_open_end_is_said_as_one() -> None:
    assert settings.Setting("number", float, low=1.0).allowed() == "number from 1.0 up"
    assert settings.Setting("number", float, low=0.0, open_low=True).allowed() == "number above 0.0 up"


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        Everything(share=7, word="xyz", flag="no", pause=13)
    assert [problem.key for problem in caught.value.problems] == ["share", "word", "flag", "pause"]


def test_values_are_looked_at_together_whatever_else_is_wrong() -> None:
    with pytest.raises(PolicyError, match="not 13s") as caught:
        Everything(pause=13, flag=7, shar=1)  # type: ignore[call-arg]  # that is the test
    assert [problem.key for problem in caught.value.problems] == ["shar", "flag", "pause"]


def test_problems_carry_the_path_they_are_asked_for() -> None:
    problems = settings.find_problems(Everything, {"flag": 3, "flga": 3, "pause": 13}, "guards.a.")
    assert [problem.key for problem in problems] == ["guards.a.flga", "guards.a.flag", "guards.a.pause"]


def test_only_declared_keys_are_settings() -> None:
    assert "free" not in settings.settings_of(Everything)
    assert list(settings.settings_of(Everything))[:2] == ["share", "floor"]


def test_parts_are_made_anew_unless_left_out() -> None:
    assert Everything().inner == Inner()
    assert Everything().other is None


def test_an_unknown_key_is_named_with_the_nearest_known_one() -> None:
    problem = settings.unknown_key("wrd", 5, ["word", "flag"], "a.")
    assert (problem.key, problem.fix) == ("a.wrd", "did you mean 'word'?")
    assert problem.allowed == "no such key; known are flag, word"
    assert settings.unknown_key("zzz", 5, ["word", "flag"]).fix == "remove it"


def test_a_table_is_read_with_none_for_off() -> None:
    policy, problems = settings.from_table(
        Everything, {"share": "7%", "many": "none", "short": "none"}, "x.", {"inner": Inner(size=4)}
    )
    assert problems == []
    assert policy == Everything(share="7%", many=None, short=None, inner=Inner(size=4))


def test_none_is_a_word_only_where_off_is_allowed() -> None:
    policy, problems = settings.from_table(Everything, {"share": "none", "word": "none"}, "x.")
    assert policy is None
    assert [problem.key for problem in problems] == ["x.share", "x.word"]


def test_a_table_names_unknown_keys_beside_wrong_values() -> None:
    policy, problems = settings.from_table(Everything, {"shar": 1, "flag": 5, "hook": 1, "inner": 2}, "x.")
    assert policy is None
    assert [(problem.key, problem.fix) for problem in problems] == [
        ("x.hook", "remove it"),
        ("x.inner", "remove it"),
        ("x.shar", "did you mean 'share'?"),
        ("x.flag", "for example true"),
    ]


def test_contradictions_in_a_table_carry_the_path_too() -> None:
    policy, problems = settings.from_table(Everything, {"pause": "13s"}, "x.")
    assert policy is None
    assert [str(problem) for problem in problems] == ["x.pause = 13.0: allowed is not 13s"]
