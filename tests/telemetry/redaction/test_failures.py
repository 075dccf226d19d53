"""Exceptions: types and frames, no locals, no text that may hold data."""

import ssl
import sys

import pytest

from seawall.kernel.errors import BreakerOpen
from seawall.telemetry.redaction.failures import FRAMES_MAX, LINKS_MAX, MEMBERS_MAX, Failures, exception_of
from seawall.telemetry.redaction.withholding import Cut
from tests.telemetry.logs.lines import PLANTED, check_exception

RULES = Failures(frozenset({"seawall.kernel.errors.CallRejected", "ArithmeticError"}), 64)


class Lying(Exception):
    """Everything that Python code can replace raises."""

    def _never(self, *_):
        raise AssertionError("a method of the exception was called")

    args = __cause__ = __context__ = __traceback__ = sqlstate = property(_never)
    __str__ = __repr__ = _never


class Database(Exception):
    sqlstate = "23505"


def raised(error):
    local = PLANTED  # noqa: F841 -- that no frame's locals are shown is what the tests are about
    try:
        raise error
    except BaseException as caught:
        return caught


def described(error):
    told = RULES.describe(error)
    check_exception(told)
    assert PLANTED not in repr(told)
    return told


def test_the_text_becomes_its_length():
    told = described(raised(ValueError(PLANTED)))
    assert told["type"] == "ValueError"
    assert told["message"] == f"<str {len(PLANTED)}>"
    assert described(KeyError(PLANTED, 2))["message"] == "<tuple 2>"


def test_frames_are_functions_and_lines_innermost_first():
    told = described(raised(ValueError()))
    assert told["stackTrace"].startswith("at raised in ")
    assert ":line " in told["stackTrace"]
    assert described(ValueError())["stackTrace"] == ""


def test_declared_classes_show_their_text():
    assert described(BreakerOpen("db", "open"))["message"] == "db: open"
    assert described(ZeroDivisionError("by zero"))["message"] == "by zero"
    assert type(described(ZeroDivisionError("x" * 400))["message"]) is Cut


def test_a_declared_class_whose_text_cannot_be_had():
    class Broken(ArithmeticError):
        def __str__(self):
            raise RuntimeError

    assert described(Broken())["message"] == "<unreadable>"


def test_what_never_holds_data_is_told():
    told = described(FileNotFoundError(2, PLANTED, f"/{PLANTED}"))
    assert (told["code"], told["message"]) == ("ENOENT", "No such file or directory")
    assert "code" not in described(OSError(PLANTED))
    told = described(ssl.SSLError(1, PLANTED))  # a number of another list
    assert "code" not in told
    assert told["message"] == "<tuple 2>"
    assert described(Database(PLANTED))["code"] == "23505"
    Database.sqlstate = PLANTED[:5]
    try:
        assert "code" not in described(Database())
    finally:
        Database.sqlstate = "23505"


def test_no_code_of_an_exception_runs():
    told = described(raised(Lying(PLANTED)))
    assert told["type"].endswith("Lying")
    assert told["message"] == f"<str {len(PLANTED)}>"
    assert "raised" in told["stackTrace"]


def test_causes_and_contexts_follow():
    try:
        try:
            raise KeyError(PLANTED)
        except KeyError as error:
            raise ValueError(PLANTED) from error
    except ValueError:
        try:
            raise TypeError(PLANTED)
        except TypeError as error:
            told = described(error)
    assert told["type"] == "TypeError"
    assert told["during"]["type"] == "ValueError"
    assert told["during"]["cause"]["type"] == "KeyError"
    assert "during" not in told["during"]


def test_from_none_is_respected():
    try:
        try:
            raise KeyError(PLANTED)
        except KeyError:
            raise ValueError from None
    except ValueError as error:
        told = described(error)
    assert not {"cause", "during"} & set(told)


def test_groups_show_their_members():
    group = ExceptionGroup(
        PLANTED, [ValueError(PLANTED), ExceptionGroup("b", [raised(OSError(32, PLANTED))])]
    )
    told = described(group)
    assert [member["type"] for member in told["exceptions"]] == ["ValueError", "ExceptionGroup"]
    assert told["exceptions"][1]["exceptions"][0]["code"] == "EPIPE"


def test_a_wide_group_is_cut_and_counted():
    told = described(ExceptionGroup("g", [ValueError(number) for number in range(50)]))
    assert len(told["exceptions"]) == MEMBERS_MAX
    assert told["omitted"] == 50 - MEMBERS_MAX


def test_a_long_chain_and_a_circle_end():
    error = ValueError(0)
    for number in range(1, 100):
        error, former = ValueError(number), error
        error.__cause__ = former
    depth, told = 1, described(error)
    while "cause" in told:
        depth, told = depth + 1, told["cause"]
    assert depth == LINKS_MAX + 1
    one, two = ValueError(), TypeError()
    one.__cause__, two.__cause__ = two, one
    assert described(one)["cause"]["cause"] == {"type": "ValueError"}


def test_a_deep_traceback_shows_its_innermost_frames():
    def dive(left):
        return 1 / left if left == 0 else dive(left - 1)

    try:
        dive(300)
    except ZeroDivisionError as error:
        lines = described(error)["stackTrace"].split("\n")
    assert len(lines) == FRAMES_MAX + 1
    assert lines[0].startswith("at test_a_deep_traceback_shows_its_innermost_frames.<locals>.dive in ")
    assert lines[-1] == f"… {302 - FRAMES_MAX} more"


@pytest.mark.parametrize("given", [None, False, 0, "yes", (1, 2), (None, None, None), (1, 1, 1)])
def test_what_is_no_exception_is_none(given):
    assert exception_of(given) is None


def test_the_three_ways_to_name_an_exception():
    error = ValueError()
    assert exception_of(error) is error
    assert exception_of((ValueError, error, None)) is error
    try:
        raise error
    except ValueError:
        assert exception_of(True) is error
        assert exception_of(1) is error
        assert exception_of(sys.exc_info()) is error
