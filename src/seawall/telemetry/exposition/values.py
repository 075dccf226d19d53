"""Numbers, strings and exemplars as the formats write them.

Facts from Prometheus' text format 0.0.4 and OpenMetrics 1.0: a number is what Go's ``ParseFloat`` reads;
infinity and "not a number" are ``+Inf``, ``-Inf`` and ``NaN``; in the value of a label the backslash, the
quote and the line feed are escaped. OpenMetrics escapes the quote in a help text too, the older format does
not. Names and values of an exemplar's labels have together at most 128 characters, and a scraper drops a
longer one with an error, so it is left out here and counted.

Nothing here raises for any value that a program can have set: a scrape doesn't fail for one number.
"""

from __future__ import annotations

import re
from math import inf, isfinite, nan
from typing import Final, final

from seawall.telemetry.metrics.cells import Exemplar

__all__ = [
    "Losses",
    "bound",
    "exemplar_text",
    "help_text",
    "label_value",
    "number",
    "real",
    "writable",
]

EXEMPLAR_CHARACTERS_MAX: Final = 128

_EXACT: Final = 2**63
"""Integers below are written digit by digit; no counter gets there, and beyond a float says as much."""
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@final
class Losses:
    """Counters of what an exposition had to leave out; the writer owns one, the formats count in it.

    Attributes:
        exemplars: Exemplars that are longer than the formats allow, or have no readable labels or number.
        families: Families that could not be read to their end.
        clashes: Families whose name another one had in the same scrape.
        sources: Times that a source failed.
        refreshes: Times that the registry could not be brought up to date.
    """

    __slots__ = ("clashes", "exemplars", "families", "refreshes", "sources")

    def __init__(self) -> None:
        self.exemplars = 0
        self.families = 0
        self.clashes = 0
        self.sources = 0
        self.refreshes = 0

    def __repr__(self) -> str:
        return (
            f"<Losses exemplars={self.exemplars} families={self.families} clashes={self.clashes}"
            f" sources={self.sources} refreshes={self.refreshes}>"
        )


def number(value: float) -> str:
    """The number as text."""
    if type(value) is int and -_EXACT < value < _EXACT:
        return str(value)
    value = real(value)
    if isfinite(value):
        return repr(value)
    return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"  # noqa: PLR0124  # what NaN is


def real(value: float) -> float:
    """The number as a plain float; too large an integer is infinite, what is no number is NaN."""
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf
    except Exception:  # noqa: BLE001  # what was set is a user's
        return nan


def bound(value: float) -> str:
    """An upper bound as the label ``le`` has it, ``"1.0"`` also for 1, the same in every format."""
    return number(real(value))


def label_value(value: str) -> str:
    """The value of a label, escaped; a lone surrogate, which UTF-8 cannot hold, becomes a question mark."""
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode("utf-8")
    if "\\" in value or '"' in value or "\n" in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value


def help_text(value: str) -> str:
    """A help text for the format 0.0.4; the white space around it is nobody's."""
    return value.strip().replace("\\", "\\\\").replace("\n", "\\n")


def writable(exemplar: Exemplar, losses: Losses) -> bool:
    """Whether the exemplar may be written; if not, it is counted."""
    try:
        length = sum(len(name) + len(value) for name, value in exemplar.labels)
        plain = all(_LABEL.fullmatch(name) for name, _ in exemplar.labels)
    except Exception:  # noqa: BLE001  # what was given as labels is a user's
        plain, length = False, 0
    if plain and length <= EXEMPLAR_CHARACTERS_MAX and isfinite(real(exemplar.value)):
        return True
    losses.exemplars += 1
    return False


def exemplar_text(exemplar: Exemplar | None, losses: Losses) -> str:
    """What OpenMetrics has behind a sample's value; empty if there is no exemplar that may be written."""
    if exemplar is None or not writable(exemplar, losses):
        return ""
    labels = ",".join([f'{name}="{label_value(value)}"' for name, value in exemplar.labels])
    text, at = f" # {{{labels}}} {number(exemplar.value)}", real(exemplar.at)
    return f"{text} {at:.3f}" if isfinite(at) else text
