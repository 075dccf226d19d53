"""Whatever is logged gives exactly one line of the schema, and nothing that was not declared is in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.logs.intake import Intake
from seawall.telemetry.logs.schema import JsonLines, Limits
from seawall.telemetry.redaction.failures import Failures
from seawall.telemetry.redaction.masking import Masks
from seawall.telemetry.redaction.withholding import Redaction
from tests.telemetry.logs.lines import PLANTED, check

DECLARED = frozenset({"n", "state", "items", "a.b"})
LIMITS = Limits(message_chars=200, value_chars=100, line_bytes=4_096)


class Opaque:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text

    __str__ = __repr__


def built(*, secrets=(PLANTED,), argument_loggers=()):
    records = []
    intake = Intake(
        lambda record, size: records.append((record, size)) is None,
        redaction=Redaction(DECLARED, value_chars=LIMITS.value_chars, keys_max=64),
        failures=Failures(frozenset({"ArithmeticError"}), LIMITS.message_chars),
        processors=(),
        argument_loggers=argument_loggers,
        message_chars=LIMITS.message_chars,
    )
    return intake, records, JsonLines("orders", Masks(secrets), LIMITS)


def line_of(event, args=(), context=None, exc_info=None, level=20, logger="a.b", **rules):
    intake, records, render = built(**rules)
    intake.take(level, logger, event, args, dict(context or {}), exc_info)
    assert intake.errors.value == 0
    ((record, size),) = records
    data = render(record)
    assert len(data) <= LIMITS.line_bytes
    assert size <= 70_000
    return check(data)


def wrapped(secret):
    """Values of all kinds that hold a secret somewhere."""
    return st.sampled_from(
        [
            secret,
            secret.encode(),
            [secret],
            (secret,),
            {secret: 1},
            {"k": secret},
            {secret},
            Opaque(secret),
            ValueError(secret),
            bytearray(secret.encode()),
            [{"k": [secret, Opaque(secret)]}],
            lambda: secret,
            {"n": {"password": secret, "State": secret}},
        ]
    )


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates()
SURROGATES = st.text(st.characters(categories=["Cs", "Cc", "Ll"]), max_size=20)
PLAIN = st.recursive(
    SCALARS | SURROGATES | st.builds(Opaque, st.just(PLANTED)),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=5), each, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["n", "state", "items", "a.b", "user", "password", "sql", "x" * 70, PLANTED]
) | st.text(max_size=8)
CONTEXTS = st.dictionaries(KEYS, PLAIN | wrapped(PLANTED), max_size=8)
EVENTS = st.one_of(
    st.text(),
    SURROGATES,
    st.text(max_size=30).map(lambda text: f"{text} postgres://u:{PLANTED}@h/db"),
    st.integers(0, 300).map(lambda width: "x" * width + f" Bearer {PLANTED}"),
    st.sampled_from(["%s", "%d items", "%(n)s %(k)s", "100%", "%-5.2f %*d %", "%c%r%a"]),
    wrapped(PLANTED),
)
ARGUMENTS = st.lists(PLAIN | wrapped(PLANTED), max_size=3).map(tuple) | CONTEXTS


@given(EVENTS, ARGUMENTS, CONTEXTS, st.booleans(), st.integers(0, 60))
def test_any_event_gives_one_line_without_what_was_planted(event, args, context, failing, level):
    error = ValueError(PLANTED) if failing else None
    line = line_of(event, args, context, error, level)
    assert PLANTED not in json.dumps(line, ensure_ascii=False)
    assert ("exception" in line) == (failing or isinstance(event, BaseException))


@given(st.sampled_from(["user", "password", "sql", "k"]), wrapped(PLANTED))
def test_the_allow_list_alone_keeps_undeclared_values_out(key, value):
    line = line_of("said", (), {key: value}, secrets=())
    assert PLANTED not in json.dumps(line)
    assert set(line["context"]) == {"logger", key}


@given(wrapped(PLANTED), st.sampled_from(["%s", "%r", "%(k)s", "a %s b %s", "%5s"]))
def test_arguments_are_no_part_of_a_message(value, template):
    args = {"k": value} if "(" in template else (value, value)
    line = line_of(template, args, secrets=())
    assert PLANTED not in line["message"]


@given(st.integers(-(1 << 63), 1 << 63) | st.text(max_size=60), st.integers(1, 9))  # a message is not cut
def test_parameter_values_in_sql_are_masked(value, column):
    text = str(value).replace("'", "''")
    line = line_of(f"SELECT c{column} FROM t WHERE a = '{PLANTED}{text}'", secrets=())
    assert line["message"] == f"SELECT c{column} FROM t WHERE a = ***" or "\\" in text


def test_the_planted_value_shows_where_it_is_declared():
    assert line_of("said", (), {"state": PLANTED}, secrets=())["context"]["state"] == PLANTED
    assert line_of(PLANTED, secrets=())["message"] == PLANTED
    assert line_of("by %s", (PLANTED,), secrets=(), argument_loggers=["a"])["message"] == f"by {PLANTED}"


def test_the_line_is_as_documented():
    intake, records, render = built()
    intake.take(40, "shop", "Payment failed.", (), {"n": 150.0, "state": "stripe"}, None)
    ((record, _),) = records
    record = (1_782_000_964_128_999_999, *record[1:6], 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0xF067AA0BA902B7)
    assert render(record) == (
        b'{"timestamp":"2026-06-21T00:16:04.128Z","level":"ERROR","service":"orders",'
        b'"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7",'
        b'"message":"Payment failed.","context":{"logger":"shop","n":150.0,"state":"stripe"}}\n'
    )


@pytest.mark.parametrize("size", [10, 10_000, 1_000_000])
def test_huge_values_are_cut_and_counted(size):
    intake, records, render = built()
    text = "\x00" * size
    intake.take(20, "a", text, (), {"state": text, "items": [text] * 60, "user": text}, ValueError(text))
    ((record, queued),) = records
    data = render(record)
    line = check(data)
    assert len(data) <= LIMITS.line_bytes
    assert queued < 100_000
    assert render.truncated == 1
    assert line["context"]["logger"] == "a"
    assert line["message"].startswith("\x00")


def test_a_small_line_is_not_counted_as_cut():
    intake, records, render = built()
    intake.take(20, "a", "x", (), {"state": "y"}, None)
    render(records[0][0])
    assert render.truncated == 0


def test_lone_surrogates_are_mended():
    intake, records, render = built()
    intake.take(20, "a", "f\udc80", (), {"state": "\ud800", "items": ["\ud800"]}, None)
    line = check(render(records[0][0]))
    assert (line["message"], line["context"]["state"], line["context"]["items"]) == ("f?", "?", ["?"])


@pytest.mark.parametrize(
    "character", ["\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u202e", "\u2066", "\u061c"]
)
def test_nothing_in_a_line_drives_a_terminal_or_ends_the_line(character):
    intake, records, render = built()
    intake.take(20, f"a{character}", f"é{character}b", (), {"state": character}, None)
    data = render(records[0][0])
    assert character not in data.decode()
    line = check(data)
    assert (line["message"], line["context"]) == (
        f"é{character}b",
        {"logger": f"a{character}", "state": character},
    )


def test_a_line_that_is_too_long_keeps_what_the_exception_is():
    wide = "\U0001d4b3"  # a letter that has four bytes, and stands in identifiers
    intake, records, render = built()
    kind = type(wide * 64, (FileNotFoundError,), {"__module__": wide * 200})
    context = {"state": "\x00" * 200, "items": ["\x00" * 100] * 60}
    intake.take(20, wide * 100, "\x00" * 1_000, (), context, kind(2, "no"))
    line = check(render(records[0][0]))
    assert len(json.dumps(line, ensure_ascii=False).encode()) < LIMITS.line_bytes
    assert line["exception"]["code"] == "ENOENT"
    assert line["exception"]["type"].startswith(wide)
    assert line["context"]["omitted"] == 2


def test_a_cut_inside_of_a_list_is_counted():
    intake, records, render = built()
    intake.take(20, "a", "x", (), {"items": ["y" * 400]}, None)
    render(records[0][0])
    assert render.truncated == 1


def test_a_key_called_logger_does_not_replace_the_loggers_name():
    assert line_of("x", (), {"logger": PLANTED})["context"] == {"logger": "a.b"}
