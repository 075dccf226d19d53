"""How a policy declares its keys, and the one check that reads those declarations.

A policy is a frozen dataclass whose fields are made by :func:`ratio`, :func:`duration`, :func:`count`, … Each
carries its unit and its allowed range, so that code, TOML, error messages and the documentation all speak of
the same range.

Nothing is raised for the first mistake: :func:`problems_of` lists all of them, and :func:`from_table` adds
unknown keys, with the nearest valid name.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeAlias, TypeVar

from seawall.kernel.errors import PolicyError, Problem
from seawall.kernel.units import format_duration, parse_duration, parse_rate, parse_ratio

Duration: TypeAlias = float | int | str | timedelta
"""Seconds as a number, or a text such as ``"500ms"``."""
Ratio: TypeAlias = float | int | str
"""A share from 0 to 1 as a number, or a text such as ``"5%"``."""
Rate: TypeAlias = float | int | str
"""Calls per second as a number, or a text such as ``"100/s"``."""

P = TypeVar("P")
C = TypeVar("C")
_META: Final = "seawall"
_YEAR_S: Final = 31_536_000.0


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """What a key accepts.

    Attributes:
        unit: the kind of value, as said in error messages.
        parse: turns what was written into a number (or the value itself); raises ``TypeError`` or
            ``ValueError``.
        low: smallest number allowed.
        high: largest number allowed.
        open_low: ``low`` itself is not allowed.
        optional: ``None`` switches the key off.
        words: texts accepted besides numbers.
        show: writes a number for a message.
        example: a value that would do.
        in_toml: whether the key can be written in a file (functions and exception types can't).
    """

    unit: str
    parse: Callable[[Any], Any]
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    optional: bool = False
    words: tuple[str, ...] = ()
    show: Callable[[float], str] = str
    example: str = ""
    in_toml: bool = True

    def allowed(self) -> str:
        """The range in words."""
        parts: list[str] = []
        if self.unit == "choice":
            parts.append("one of " + ", ".join(repr(word) for word in self.words))
        else:
            parts.append(self._range())
            parts.extend(repr(word) for word in self.words)
        if self.optional:
            parts.append("none (off)" if self.in_toml else "None")
        return " or ".join(parts)

    def _range(self) -> str:
        if self.low == -math.inf:
            return self.unit
        border = "above " if self.open_low else "from "
        if self.high == math.inf:
            return f"{self.unit} {border}{self.show(self.low)} up"
        return f"{self.unit} {border}{self.show(self.low)} to {self.show(self.high)}"

    def read(self, value: object) -> Any:  # noqa: ANN401 -- a number, a word or an object, as ``unit`` says
        """The value as the engine wants it.

        Raises:
            TypeError: it is not of this unit.
            ValueError: it is not in this range.
            OverflowError: it is a number far beyond every range.
        """
        if value is None and self.optional:
            return None
        if isinstance(value, str) and value in self.words:
            return value
        number = self.parse(value)
        if isinstance(number, int | float) and not isinstance(number, bool):
            below = number <= self.low if self.open_low else number < self.low
            if below or number > self.high:
                raise ValueError(f"{value!r} is outside")
        return number


def _percent(value: float) -> str:
    return f"{value * 100:g}%"


def _plain(value: float) -> str:
    return f"{value:g}"


def _per_second(value: float) -> str:
    return f"{value:g}/s"


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("not a whole number")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not true or false")
    return value


def _never(value: object) -> object:
    raise ValueError(f"{value!r} is not one of the words")


def _callable(value: object) -> object:
    if not callable(value):
        raise TypeError("not callable")
    return value


def _exceptions(value: object) -> object:
    if isinstance(value, type) and issubclass(value, BaseException):
        return (value,)
    if isinstance(value, tuple | list) and all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in value
    ):
        return tuple(value)
    raise TypeError("not exception types")


# The following return Any because dataclass fields are declared by assignment, as with ``dataclasses.field``.


def _field(default: object, setting: Setting) -> Any:  # noqa: ANN401
    return dataclasses.field(default=default, metadata={_META: setting})


def _opens(low: float, asked: bool | None) -> bool:  # noqa: FBT001 -- what the functions below were given
    return low == 0.0 if asked is None else asked


def ratio(
    default: Ratio | None,
    *,
    low: float = 0.0,
    high: float = 1.0,
    open_low: bool | None = None,
    optional: bool = False,
) -> Any:  # noqa: ANN401
    """A share, written ``"5%"`` or ``0.05``; ``open_low`` as for :func:`duration`."""
    setting = Setting("share", parse_ratio, low, high, _opens(low, open_low), optional, (), _percent, '"5%"')
    return _field(default, setting)


def duration(
    default: Duration | None,
    *,
    low: float = 0.0,
    high: float = _YEAR_S,
    open_low: bool | None = None,
    optional: bool = False,
) -> Any:  # noqa: ANN401
    """A time, written ``"500ms"`` or ``0.5`` (seconds).

    Whether ``low`` itself is allowed says ``open_low``; if that is not given, every border but 0 is.
    """
    opens = _opens(low, open_low)
    return _field(
        default,
        Setting("duration", parse_duration, low, high, opens, optional, (), format_duration, '"500ms"'),
    )


def rate(default: Rate | None, *, low: float = 1e-6, high: float = 1e9, optional: bool = False) -> Any:  # noqa: ANN401
    """Calls per time, written ``"100/s"`` or ``100`` (per second)."""
    return _field(
        default, Setting("rate", parse_rate, low, high, False, optional, (), _per_second, '"100/s"')
    )


def count(
    default: int | str | None, *, low: int, high: int, optional: bool = False, words: tuple[str, ...] = ()
) -> Any:  # noqa: ANN401
    """A whole number."""
    return _field(
        default, Setting("whole number", _whole, low, high, False, optional, words, _plain, str(low))
    )


def number(default: float, *, low: float, high: float) -> Any:  # noqa: ANN401
    """A plain number."""
    return _field(default, Setting("number", _number, low, high, False, False, (), _plain, _plain(low)))


def optional_number(default: float | None, *, low: float, high: float) -> Any:  # noqa: ANN401
    """A plain number, or None."""
    return _field(default, Setting("number", _number, low, high, False, True, (), _plain, _plain(low)))


def choice(default: str, *words: str) -> Any:  # noqa: ANN401
    """One of a few words."""
    return _field(default, Setting("choice", _never, words=words, example=repr(words[0])))


def truth(*, default: bool) -> Any:  # noqa: ANN401
    """True or false."""
    return _field(default, Setting("true or false", _truth, example="true"))


def function(default: object = None) -> Any:  # noqa: ANN401
    """A callable, or None."""
    return _field(default, Setting("a callable", _callable, optional=True, in_toml=False))


def exceptions(default: tuple[type[BaseException], ...] = ()) -> Any:  # noqa: ANN401
    """Exception types."""
    return _field(default, Setting("exception types", _exceptions, in_toml=False))


def part(kind: type, *, given: bool = True, optional: bool = False) -> Any:  # noqa: ANN401
    """Another policy inside this one: ``kind``'s default if ``given``, else None."""

    def read(value: object) -> object:
        if not isinstance(value, kind):
            raise TypeError(f"not a {kind.__name__}")
        return value

    setting = Setting(
        f"a {kind.__name__}", read, optional=optional, example=f"{kind.__name__}()", in_toml=False
    )
    if given:
        return dataclasses.field(default_factory=kind, metadata={_META: setting})
    return _field(None, setting)


def setting_of(field: Any) -> Setting:  # noqa: ANN401 -- a dataclass field, which the makers above call Any
    """The setting that one of the makers above put into a field."""
    setting: Setting = field.metadata[_META]
    return setting


def settings_of(policy: type) -> dict[str, Setting]:
    """The declared keys of a policy class, in order."""
    return {f.name: f.metadata[_META] for f in dataclasses.fields(policy) if _META in f.metadata}


def problem_with(key: str, value: object, setting: Setting) -> Problem | None:
    """The problem with one value, if there is one."""
    try:
        setting.read(value)
    except (TypeError, ValueError, OverflowError):
        near = difflib.get_close_matches(value, setting.words, n=1) if isinstance(value, str) else []
        fix = f"for example {setting.example}" if setting.example else ""
        if near:
            fix = f"did you mean {near[0]!r}?"
        return Problem(key, value, setting.allowed(), fix)
    return None


def values_of(policy: object) -> dict[str, Any]:
    """All values of ``policy`` as the engine wants them (seconds, shares, counts)."""
    return {name: setting.read(getattr(policy, name)) for name, setting in settings_of(type(policy)).items()}


Contradictions: TypeAlias = Callable[[Mapping[str, Any]], list[Problem]]
"""Looks at values together; those that are wrong by themselves are missing."""


def find_problems(policy: type, given: Mapping[str, Any], path: str = "") -> list[Problem]:
    """Everything that is wrong with what was written for ``policy``: unknown keys, values, contradictions.

    Args:
        policy: a policy class; its ``contradictions``, if it has that, looks at the values together.
        given: keys and values; what is missing has its default.
        path: prefix for the keys in messages.
    """
    settings = settings_of(policy)
    known = [field.name for field in dataclasses.fields(policy)]
    found = [unknown_key(key, value, known, path) for key, value in given.items() if key not in known]
    good: dict[str, Any] = {}
    for field in dataclasses.fields(policy):
        setting = settings.get(field.name)
        if setting is None:
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        value = given.get(field.name, default)
        problem = problem_with(f"{path}{field.name}", value, setting)
        if problem is None:
            good[field.name] = setting.read(value)
        else:
            found.append(problem)
    together: Contradictions | None = getattr(policy, "contradictions", None)
    if together is not None:
        found.extend(Problem(f"{path}{p.key}", p.value, p.allowed, p.fix) for p in together(good))
    return found


def checked(policy: type[C]) -> type[C]:
    """Let a policy class raise one ``PolicyError`` for everything wrong with it, unknown keys included."""
    made: Callable[..., None] = policy.__init__

    @functools.wraps(made)
    def init(self: C, **given: Any) -> None:  # noqa: ANN401 -- wrong values too
        found = find_problems(policy, given)
        if found:
            raise PolicyError(found, policy.__name__)
        made(self, **given)

    policy.__init__ = init  # type: ignore[assignment]  # of the same signature, with more to say
    return policy


def unknown_key(key: str, value: object, known: list[str], path: str = "") -> Problem:
    """The problem with a key that does not exist."""
    near = difflib.get_close_matches(key, known, n=1)
    fix = f"did you mean {near[0]!r}?" if near else "remove it"
    return Problem(f"{path}{key}", value, "no such key; known are " + ", ".join(sorted(known)), fix)


def from_table(
    policy: Callable[..., P],
    table: Mapping[str, Any],
    path: str,
    parts: Mapping[str, Any] | None = None,
) -> tuple[P | None, list[Problem]]:
    """Read a policy from a TOML table.

    Args:
        policy: the policy class.
        table: keys and values as TOML gives them; the text ``"none"`` switches an optional key off.
        path: prefix for the keys in messages, such as ``guards.orders.breaker.``.
        parts: values that are policies themselves and were read before.

    Returns:
        The policy, or ``None`` and every problem.
    """
    assert isinstance(policy, type)
    settings = settings_of(policy)
    given: dict[str, Any] = dict(parts or {})
    found: list[Problem] = []
    for key, raw in table.items():
        setting = settings.get(key)
        if setting is not None and not setting.in_toml:
            found.append(
                Problem(f"{path}{key}", raw, f"{setting.unit}, which only code can give", "remove it")
            )
        else:
            given[key] = None if setting is not None and setting.optional and raw == "none" else raw
    found.extend(find_problems(policy, given, path))
    return (None, found) if found else (policy(**given), [])
