"""Numbers and texts on the wire that no golden text has."""

import math

from seawall.telemetry.exposition.values import (
    Losses,
    bound,
    exemplar_text,
    help_text,
    label_value,
    number,
    real,
)
from seawall.telemetry.metrics import Exemplar


class Broken:
    def __float__(self) -> float:
        raise ZeroDivisionError


def test_whatever_was_set_is_some_number() -> None:
    assert [number(value) for value in (1, True, 1.0, 2**63, -(2**63), 10**5000, -(10**5000))] == [
        "1",
        "1.0",
        "1.0",
        repr(2.0**63),
        repr(-(2.0**63)),
        "+Inf",
        "-Inf",
    ]
    assert [number(value) for value in ("x", None, Broken(), math.nan)] == ["NaN"] * 4
    assert math.isnan(real(Broken()))


def test_a_bound_is_written_alike_whether_it_was_an_integer_or_not() -> None:
    assert bound(1) == bound(1.0) == "1.0"
    assert bound(0.005) == "0.005"


def test_what_is_escaped() -> None:
    assert label_value('a"b\\c\nd') == r"a\"b\\c\nd"
    assert label_value("ü\ud800") == "ü?"
    assert help_text(' say "a\\b"\nor not ') == r'say "a\\b"\nor not'


def test_an_exemplar_whose_time_nobody_knows_is_written_without() -> None:
    losses = Losses()
    for at in (math.nan, math.inf, None):
        exemplar = Exemplar((("a", 'b"'),), 2, at)
        assert exemplar_text(exemplar, losses) == r' # {a="b\""} 2'
    assert exemplar_text(None, losses) == ""
    assert losses.exemplars == 0
    assert repr(losses) == "<Losses exemplars=0 families=0 clashes=0 sources=0 refreshes=0>"
