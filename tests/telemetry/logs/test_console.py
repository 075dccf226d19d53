"""Lines for people: columns, colours, and no data that could drive a terminal."""

import re

import pytest

from seawall.telemetry.logs.console import ConsoleLines, wants_colour
from seawall.telemetry.logs.schema import Limits
from seawall.telemetry.redaction.masking import Masks
from seawall.telemetry.redaction.withholding import Withheld, cut
from tests.telemetry.logs.lines import PLANTED

ANSI = re.compile(r"\x1b\[[0-9;]*m")
LIMITS = Limits(message_chars=200, value_chars=100, line_bytes=4_096)


def record(message="nobody is left", level=30, logger="proxy.pool", context=None, failure=None, trace=0):
    return (1_782_000_964_128_000_000, level, logger, message, context or {}, failure, trace, trace)


def shown(*, colour=False, **what):
    return ConsoleLines(Masks([PLANTED]), LIMITS, colour=colour)(record(**what)).decode()


def test_the_columns_stand_below_each_other():
    lines = [
        shown(context={"backend": "eu-1"}, trace=0x4BF92F3577B34DA6A3CE929D0E0E4736),
        shown(level=20, logger="a.very.long.name.of.a.logger.somewhere", message="ok", context={"n": 1}),
        shown(level=50, message="数据库不可用", context={"n": 1}),
    ]
    assert [line.index("backend=") if "backend=" in line else line.index("n=") for line in lines][:2] == [
        94,
        94,
    ]
    assert lines[1].split()[2] == "…of.a.logger.somewhere"
    # Six wide characters take twelve cells.
    assert lines[2].index("n=1") == 94 - 6
    assert lines[0].endswith("backend=eu-1 trace=4bf92f35\n")
    assert re.match(r"\d\d:\d\d:\d\d\.128  WARNING   proxy.pool  ", lines[0])


def test_a_line_without_context_ends_with_its_message():
    assert shown().endswith("nobody is left\n")


@pytest.mark.parametrize("level", [10, 20, 30, 40, 50])
def test_colours_change_nothing_but_colours(level):
    what = {"level": level, "context": {"n": 1, "user": Withheld("<str 3>")}, "trace": 5}
    coloured = shown(colour=True, **what)
    assert ANSI.sub("", coloured) == shown(**what)
    assert coloured.count("\x1b[") == 2 * coloured.count("\x1b[0m")


def test_each_level_has_a_colour_of_its_own():
    assert len({ANSI.findall(shown(colour=True, level=level))[2] for level in (10, 20, 30, 40, 50)}) == 5


def test_control_characters_are_spelt_out():
    line = shown(message="a\x1b[2Jb\nc\u202e\x9b", context={"n": "x\x1b]0;t\x07"}, logger="l\r\n")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", line)
    assert line.count("\n") == 1
    assert "a\\x1b[2Jb\\nc\\u202e\\x9b" in line


def test_secrets_are_masked_here_too():
    failure = {"type": "E", "message": PLANTED, "stackTrace": f"at {PLANTED}"}
    line = shown(message=f"by {PLANTED}", context={"n": PLANTED, PLANTED: 1}, failure=failure, logger=PLANTED)
    assert PLANTED not in line


def test_an_exception_is_indented_below_its_line():
    failure = {
        "type": "ExceptionGroup",
        "message": "<str 3>",
        "stackTrace": "at f in x.py:line 3\nat g in x.py:line 9",
        "cause": {"type": "OSError", "message": "No space", "code": "ENOSPC", "stackTrace": ""},
        "exceptions": [{"type": "KeyError", "message": "<str 1>", "stackTrace": ""}],
    }
    assert shown(failure=failure).splitlines()[1:] == [
        "    ExceptionGroup: <str 3>",
        "      at f in x.py:line 3",
        "      at g in x.py:line 9",
        "    because of OSError [ENOSPC]: No space",
        "        - KeyError: <str 1>",
    ]


def test_values_that_need_quotes_have_them():
    line = shown(context={"a": "two words", "b": "", "c": [1, "x"], "d": 2.5, "e": None})
    assert line.endswith("a='two words' b='' c=[1, 'x'] d=2.5 e=None\n")


def test_a_long_line_is_cut_and_counted():
    render = ConsoleLines(Masks(), LIMITS, colour=True)
    data = render(record(context={f"k{number}": "é" * 90 for number in range(60)}))
    assert len(data) <= LIMITS.line_bytes
    assert data.endswith("…\n".encode())
    data.decode()
    render(record(message=cut("x" * 1_000, 200)))
    assert render.truncated == 2


@pytest.mark.parametrize(
    ("environment", "terminal", "colour"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_who_decides_about_colours(environment, terminal, colour):
    assert wants_colour(environment, terminal=terminal) is colour
