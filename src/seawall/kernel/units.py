"""Durations, ratios, rates and sizes as people write them: ``"500ms"``, ``"5%"``, ``"100/s"``, ``"4MiB"``.

Every parser obeys one law: the value is accepted, or :class:`UnitError` is raised, whatever was given. A
formatter's text parses back to the very same number. It is not a general quantity library and it knows no
locale. Policies and their TOML reader call it, and so does everything that shows a figure to a person.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final

from seawall.kernel.errors import UnitError

__all__ = [
    "MAX_DURATION_S",
    "MAX_RATE_PER_S",
    "MAX_SIZE_BYTES",
    "MAX_TEXT_CHARACTERS",
    "MIN_RATE_PER_S",
    "UnitError",
    "format_duration",
    "format_ratio",
    "parse_duration",
    "parse_rate",
    "parse_ratio",
    "parse_size",
]

MAX_DURATION_S: Final = 36_500 * 86_400.0
"""A hundred years: longer than any policy means, and far from where floats lose the microsecond."""
MAX_RATE_PER_S: Final = 1e9
MIN_RATE_PER_S: Final = 1.0 / MAX_DURATION_S
MAX_SIZE_BYTES: Final = 2**60
MAX_TEXT_CHARACTERS: Final = 64
"""Longer texts are refused unread, which also bounds the work that a hostile text can cause."""

_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)(?:[eE]([+-]?[0-9]+))?"
_DURATION: Final = re.compile(_NUMBER + r" ?(us|µs|ms|s|m|min|h|d)")
_RATIO: Final = re.compile(_NUMBER + r" ?(%?)")
_RATE: Final = re.compile(_NUMBER + r" ?/ ?(s|m|min|h|d)")
_SIZE: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))? ?(B|[kKMGT]B|[KMGT]iB)")

# A unit is a multiplier and a power of ten. The power is applied to the text, before it becomes a float, so
# that "99.9%" is the float nearest to 0.999, which no arithmetic on the float 99.9 gives.
_SECONDS: Final[dict[str, tuple[float, int]]] = {
    "us": (1.0, -6),
    "µs": (1.0, -6),
    "ms": (1.0, -3),
    "s": (1.0, 0),
    "m": (60.0, 0),
    "min": (60.0, 0),
    "h": (3_600.0, 0),
    "d": (86_400.0, 0),
}
_LARGEST_FIRST: Final = (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 0.0))
_BYTES: Final[dict[str, int]] = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}

_DURATION_ALLOWED: Final = "a duration from 0s to 36500d"
_DURATION_FIX: Final = "write a number and a unit (us, ms, s, m, h, d), such as '500ms'"
_RATIO_ALLOWED: Final = "a ratio from 0% to 100%"
_RATIO_FIX: Final = "write a percentage such as '5%', or a number from 0 to 1 such as 0.05"
_RATE_ALLOWED: Final = "a rate above one per 36500d and up to 1000000000/s"
_RATE_FIX: Final = "write a number per unit of time (s, m, h, d), such as '100/s'"
_SIZE_ALLOWED: Final = "a whole number of bytes from 0B to 1048576TiB"
_SIZE_FIX: Final = "write a number and a unit (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB), such as '4MiB'"


def parse_duration(value: str | float | timedelta) -> float:
    """Read a duration.

    Args:
        value: ``"500ms"``, ``"1.5s"``, ``"2m"``, ``"1h"``, ``"1d"``, ``"250us"``; a ``timedelta``; or a
            number, which is seconds already.

    Returns:
        Seconds, from 0 to :data:`MAX_DURATION_S`.

    Raises:
        UnitError: If the value is anything else; ``"30"`` too, since it may mean anything.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str):
        match = _matched(_DURATION, value)
        if match is None:
            raise UnitError(value, _DURATION_ALLOWED, _DURATION_FIX)
        multiplier, power = _SECONDS[match[3]]
        seconds = _decimal(match, power) * multiplier
    else:
        seconds = _number(value)
    # NaN fails every comparison, so it is refused here as well.
    if not 0.0 <= seconds <= MAX_DURATION_S:
        raise UnitError(value, _DURATION_ALLOWED, _DURATION_FIX)
    return seconds


def parse_ratio(value: str | float) -> float:
    """Read a ratio.

    Args:
        value: ``"5%"``, ``"0.05"`` or ``0.05``. A bare ``5`` is refused: most likely it is a percentage
            that lost its sign.

    Returns:
        A number from 0 to 1.

    Raises:
        UnitError: If the value is anything else.
    """
    if isinstance(value, str):
        match = _matched(_RATIO, value)
        if match is None:
            raise UnitError(value, _RATIO_ALLOWED, _RATIO_FIX)
        ratio = _decimal(match, -2 if match[3] else 0)
    else:
        ratio = _number(value)
    if not 0.0 <= ratio <= 1.0:
        raise UnitError(value, _RATIO_ALLOWED, _RATIO_FIX)
    return ratio


def parse_rate(value: str | float) -> float:
    """Read a rate.

    Args:
        value: ``"100/s"``, ``"10/m"``, ``"1/h"``, ``"5/d"``; or a number, which is per second already.

    Returns:
        Events per second, from :data:`MIN_RATE_PER_S` to :data:`MAX_RATE_PER_S`; 0 would be a ban.

    Raises:
        UnitError: If the value is anything else.
    """
    if isinstance(value, str):
        match = _matched(_RATE, value)
        if match is None:
            raise UnitError(value, _RATE_ALLOWED, _RATE_FIX)
        rate = _decimal(match, 0) / _SECONDS[match[3]][0]
    else:
        rate = _number(value)
    if not MIN_RATE_PER_S <= rate <= MAX_RATE_PER_S:
        raise UnitError(value, _RATE_ALLOWED, _RATE_FIX)
    return rate


def parse_size(value: str | int) -> int:
    """Read a size in bytes.

    Args:
        value: ``"4MiB"``, ``"1.5kB"``, ``"512B"``; or an integer, which is bytes already. ``kB``, ``MB``, …
            are powers of 1000, ``KiB``, ``MiB``, … powers of 1024 (IEC 80000-13).

    Returns:
        Bytes, from 0 to :data:`MAX_SIZE_BYTES`.

    Raises:
        UnitError: If the value is anything else, or no whole number of bytes.
    """
    if isinstance(value, str):
        match = _matched(_SIZE, value)
        if match is None:
            raise UnitError(value, _SIZE_ALLOWED, _SIZE_FIX)
        whole, fraction, unit = match[1], match[2] or "", match[3]
        # Integers throughout: a float would lose bytes above 2**53.
        scale: int = 10 ** len(fraction)
        size, rest = divmod(int(whole + fraction) * _BYTES[unit], scale)
        if rest:
            raise UnitError(value, _SIZE_ALLOWED, _SIZE_FIX)
    else:
        size = _integer(value)
    if not 0 <= size <= MAX_SIZE_BYTES:
        raise UnitError(value, _SIZE_ALLOWED, _SIZE_FIX)
    return size


def format_duration(seconds: float, digits: int | None = None) -> str:
    """Write a duration in the unit that reads best.

    Args:
        seconds: A duration that :func:`parse_duration` accepts.
        digits: Significant digits for a reader in a hurry; without it the text parses back to the same
            number.

    Returns:
        ``"500ms"``, ``"1.5s"``, ``"2m"``, …

    Raises:
        UnitError: If ``seconds`` is no duration.
    """
    exact = parse_duration(seconds)
    if exact == 0.0:
        return "0s"
    if digits is not None:
        return _rounded_duration(exact, max(digits, 1))
    for unit, smallest in _LARGEST_FIRST:
        multiplier, power = _SECONDS[unit]
        # "90s" reads better than "1.5m": above a second only whole numbers of a unit are used.
        if exact < smallest or (multiplier > 1.0 and exact % multiplier):
            continue
        text = _plain(exact * 10.0**-power / multiplier) + unit
        if parse_duration(text) == exact:
            return text
    return f"{exact!r}s"


def format_ratio(ratio: float) -> str:
    """Write a ratio as a percentage that parses back to the same number.

    Args:
        ratio: A number from 0 to 1.

    Returns:
        ``"5%"``; where no short percentage gives the very number, the number itself.

    Raises:
        UnitError: If ``ratio`` is no ratio.
    """
    exact = parse_ratio(ratio)
    text = _plain(exact * 100.0) + "%"
    return text if parse_ratio(text) == exact else repr(exact)


def _matched(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    if len(text) > MAX_TEXT_CHARACTERS:
        return None
    return pattern.fullmatch(text.strip())


def _decimal(match: re.Match[str], power: int) -> float:
    return float(f"{match[1]}e{int(match[2] or 0) + power}")


def _number(value: object) -> float:
    """A plain number as a float; NaN, which no range contains, for whatever is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _integer(value: object) -> int:
    """A whole number of bytes; -1, which no range contains, for whatever is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _rounded_duration(seconds: float, digits: int) -> str:
    # Rounding first, so that 999.6 ms becomes "1s" and not "1000ms".
    rounded = float(f"{seconds:.{digits}g}")
    unit = next(name for name, smallest in _LARGEST_FIRST if rounded >= smallest)
    multiplier, power = _SECONDS[unit]
    return _plain(float(f"{rounded * 10.0**-power / multiplier:.{digits}g}")) + unit


def _plain(number: float) -> str:
    # Fifteen significant digits hide the last bit's noise of a multiplication (0.07 * 100).
    return f"{number:.15g}"
