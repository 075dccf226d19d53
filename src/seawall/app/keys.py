"""How a section of the configuration declares its keys: unit, range and meaning, once.

A key is written as ``size: Annotated[int, whole(1, 10_000, "Server connections of one pool.")] = 20``. The
same declaration checks the value, words the error and fills the reference page. Pydantic walks the tables;
what a value may be is said here, in the words of :mod:`seawall.resilience.settings`. It reads no file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from seawall.app.environment import FromEnvironment
from seawall.app.secrets import SECRET_MAX_BYTES, Secret
from seawall.kernel.errors import Problem
from seawall.kernel.units import format_duration, parse_duration, parse_ratio
from seawall.resilience.settings import Setting, problem_with

__all__ = [
    "KEY_ERROR",
    "Key",
    "choice",
    "command",
    "file_path",
    "identifier",
    "identifiers",
    "milliseconds",
    "number",
    "percent",
    "reader",
    "secret",
    "share",
    "span",
    "text",
    "truth",
    "whole",
    "words",
]

KEY_ERROR: Final = "seawall_key"
"""The type of the errors that a key raises inside pydantic."""
DAY_S: Final = 86_400.0
YEAR_S: Final = 365.0 * DAY_S
ITEMS_MAX: Final = 1_000
"""Of a list of words; no such list is filled by anything but people."""
TEXT_MAX_BYTES: Final = 10_000
NAME_MAX_BYTES: Final = 63
"""PostgreSQL's NAMEDATALEN less its zero byte: a longer name is another one on the server."""
ARGUMENTS_MAX: Final = 100
"""Of a command; whoever needs more writes a script."""
NEIGHBOUR_MAX_CHARACTERS: Final = 64

_DIGITS: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section.

    Attributes:
        setting: what it accepts.
        meaning: what it does, for the reference page.
        hidden: its value is a secret.
        acts: whether anything acts on it in this release.
    """

    setting: Setting
    meaning: str
    hidden: bool = False
    acts: bool = True

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic check with :meth:`read`, and with nothing of its own."""
        return core_schema.no_info_plain_validator_function(self.read)

    def read(self, value: object) -> Any:  # noqa: ANN401 -- what the setting makes of it
        """The value as the program wants it.

        Raises:
            PydanticCustomError: it is out of range or of another kind; without the value in it.
        """
        try:
            made = self.setting.read(value)
        except (TypeError, ValueError, OverflowError):
            # A long text is no typing error, and looking for its neighbours would take long as well.
            short = not isinstance(value, str) or len(value) <= NEIGHBOUR_MAX_CHARACTERS
            problem = problem_with("", value if short else None, self.setting)
            fix = "" if problem is None else problem.fix
            raise PydanticCustomError(KEY_ERROR, "not allowed", {"fix": fix}) from None
        return str(made) if isinstance(made, FromEnvironment) else made

    def problem(self, path: str, value: object, fix: str = "") -> Problem:
        """What to say about a wrong value of this key."""
        return Problem(path, value, self.setting.allowed(), fix)

    def written(self, value: object) -> str:
        """A value as it would be written in a file; ``none`` for what is not set."""
        if value is None:
            return "none"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int | float):
            shown = self.setting.show(value)
            return f'"{shown}"' if self.setting.show is format_duration else shown
        if isinstance(value, tuple | list | frozenset):
            return "[" + ", ".join(self.written(item) for item in sorted(value, key=str)) + "]"
        return f'"{value}"'


def span(low: float, high: float, meaning: str, *, acts: bool = True) -> Key:
    """A duration, written ``"30s"`` or as seconds; read as seconds."""
    return Key(
        Setting("duration", parse_duration, low, high, show=format_duration, example='"30s"'),
        meaning,
        acts=acts,
    )


def milliseconds(low: float, high: float, meaning: str, *, acts: bool = True) -> Key:
    """A duration, written as a number of milliseconds or ``"500ms"``; read as milliseconds."""
    setting = Setting("milliseconds", _milliseconds, low, high, show=_plain, example='500 or "500ms"')
    return Key(setting, meaning, acts=acts)


def percent(low: float, high: float, meaning: str, *, open_low: bool = False, acts: bool = True) -> Key:
    """A percentage, written ``5.0`` or ``"5%"``; read as a number from 0 to 100."""
    setting = Setting(
        "percentage", _percent, low, high, open_low, show=_plain, example='5.0 or "5%", which are the same'
    )
    return Key(setting, meaning, acts=acts)


def share(low: float, high: float, meaning: str, *, open_low: bool = False, acts: bool = True) -> Key:
    """A share, written ``0.95`` or ``"95%"``; read as a number from 0 to 1."""
    setting = Setting("share", parse_ratio, low, high, open_low, show=_plain, example='0.95 or "95%"')
    return Key(setting, meaning, acts=acts)


def whole(low: int, high: int, meaning: str, *, acts: bool = True) -> Key:
    """A whole number."""
    setting = Setting("whole number", _whole, low, high, show=_plain, example=str(low))
    return Key(setting, meaning, acts=acts)


def number(low: float, high: float, meaning: str, *, open_low: bool = False, acts: bool = True) -> Key:
    """A number."""
    setting = Setting("number", _number, low, high, open_low, show=_plain, example=_plain(high))
    return Key(setting, meaning, acts=acts)


def truth(meaning: str, *, acts: bool = True) -> Key:
    """True or false."""
    return Key(Setting("true or false", _truth, example="true"), meaning, acts=acts)


def choice(meaning: str, *allowed: str, acts: bool = True) -> Key:
    """One of a few words."""
    return Key(Setting("choice", _no_word, words=allowed, example=repr(allowed[0])), meaning, acts=acts)


def text(
    unit: str,
    meaning: str,
    *,
    pattern: str = r"(?=\s*[^\s\0])[^\0]+",
    longest: int = TEXT_MAX_BYTES,
    example: str = "",
    acts: bool = True,
) -> Key:
    """A text that fits a pattern; by default any with something in it."""
    compiled = re.compile(pattern, re.DOTALL)

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise TypeError("not a text")
        if len(value.encode("utf-8", "surrogatepass")) > longest or not compiled.fullmatch(value):
            raise ValueError("does not fit")
        return value

    return Key(Setting(unit, read, example=example), meaning, acts=acts)


def secret(meaning: str, *, pattern: str = r"[^\0]+", unit: str = "a text", acts: bool = True) -> Key:
    """A text that nobody may see."""
    compiled = re.compile(pattern)

    def read(value: object) -> Secret:
        if not isinstance(value, str):
            raise TypeError("not a text")
        if len(value.encode("utf-8", "surrogatepass")) > SECRET_MAX_BYTES or not compiled.fullmatch(value):
            raise ValueError("does not fit")
        return Secret(str(value))

    unit = f"{unit} of at most {SECRET_MAX_BYTES} bytes"
    return Key(
        Setting(unit, read, example='"${NAME}", from the environment'), meaning, hidden=True, acts=acts
    )


def words(
    unit: str, item: Key, meaning: str, *, example: str = "", hidden: bool = False, acts: bool = True
) -> Key:
    """A list of texts, each of which ``item`` accepts; read as a tuple without repetitions."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError("not a list")
        if len(value) > ITEMS_MAX:
            raise ValueError("too long")
        return tuple(dict.fromkeys(str(item.setting.read(entry)) for entry in value))

    return Key(Setting(unit, read, example=example), meaning, hidden=hidden, acts=acts)


def identifier(meaning: str, *, acts: bool = True) -> Key:
    """A name of something on the server."""
    unit = f"a name of at most {NAME_MAX_BYTES} bytes"
    return text(
        unit, meaning, pattern=r"[^\0-\x1f\x7f]+", longest=NAME_MAX_BYTES, example='"orders"', acts=acts
    )


def identifiers(meaning: str) -> Key:
    """A list of such names."""
    return words(
        f"a list of names of at most {NAME_MAX_BYTES} bytes", identifier(""), meaning, example='["admin"]'
    )


def file_path(meaning: str, *, example: str = '"/run/secrets/NAME"') -> Key:
    """Where a file is."""
    return text("a path", meaning, pattern=r"[^\0]+", longest=4_096, example=example)


def command(meaning: str, *, example: str, acts: bool = True) -> Key:
    """A program with its arguments, of which none is lost or joined: no shell reads them."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError("not a list")
        if len(value) > ARGUMENTS_MAX:
            raise ValueError("too long")
        for item in value:
            if not isinstance(item, str):
                raise TypeError("not a text")
            if "\0" in item or len(item.encode("utf-8", "surrogatepass")) > TEXT_MAX_BYTES:
                raise ValueError("does not fit")
        if value and not value[0].strip():
            raise ValueError("no program")
        return tuple(str(item) for item in value)

    unit = "a list of texts: the program, then its arguments"
    return Key(Setting(unit, read, example=example), meaning, acts=acts)


def reader(
    unit: str, read: Callable[[Any], object], meaning: str, *, example: str = "", acts: bool = True
) -> Key:
    """Whatever a function makes of a value; it raises ``TypeError`` or ``ValueError``."""
    return Key(Setting(unit, read, example=example), meaning, acts=acts)


def _plain(value: float) -> str:
    return f"{value:.15g}"


def _number(value: object) -> float:
    if isinstance(value, FromEnvironment) and _DECIMAL.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    made = float(value)
    if not math.isfinite(made):
        raise ValueError("not finite")
    return made


def _whole(value: object) -> int:
    if isinstance(value, FromEnvironment) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("not a whole number")
    return value


def _truth(value: object) -> bool:
    if isinstance(value, FromEnvironment) and value in {"true", "false"}:
        return value == "true"
    if not isinstance(value, bool):
        raise TypeError("not true or false")
    return value


def _milliseconds(value: object) -> float:
    if isinstance(value, str) and not (isinstance(value, FromEnvironment) and _DECIMAL.fullmatch(value)):
        # Rounded, because 1000 times the float nearest to 0.1 would be noise in its last digit.
        return round(parse_duration(value) * 1000.0, 6)
    return _number(value)


def _percent(value: object) -> float:
    if isinstance(value, str) and value.strip().endswith("%"):
        return round(parse_ratio(value) * 100.0, 12)
    return _number(value)


def _no_word(_value: object) -> object:
    raise ValueError("not one of the words")
