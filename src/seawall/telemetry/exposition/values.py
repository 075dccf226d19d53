"""Numbers and strings as both text formats write them.

Facts from Prometheus' text format 0.0.4 and OpenMetrics 1.0: a number is what Go's ``ParseFloat`` reads;
infinity and "not a number" are ``+Inf``, ``-Inf`` and ``NaN``; in the value of a label the backslash, the
quote and the line feed are escaped. OpenMetrics escapes the quote in a help text too, the older format does
not.

Nothing here raises for any value that a program can have set: a scrape doesn't fail for one number.
"""

from __future__ import annotations

from math import inf, isfinite, nan
from typing import Final

__all__ = ["bound", "help_text", "label_value", "number", "quoted_help", "real"]

_EXACT: Final = 2**63
"""Integers below are written digit by digit; no counter gets there, and beyond a float says as much."""


def number(value: float) -> str:
    """The number as text."""
    if type(value) is int and -_EXACT < value < _EXACT:
        return str(value)
    value = real(value)
    if isfinite(value):
        return repr(value)
    return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"  # noqa: PLR0124 -- what NaN is


def real(value: float) -> float:
    """The number as a plain float; too large an integer is infinite, what is no number is NaN."""
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf
    except (TypeError, ValueError):
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


def quoted_help(value: str) -> str:
    """A help text for OpenMetrics."""
    return help_text(value).replace('"', '\\"')
