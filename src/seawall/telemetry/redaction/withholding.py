"""What of a caller's values may leave the caller: an allow-list, by key.

A key that was declared passes with its value, if that is plain data; any other value becomes its type and
length before anything is queued, so that what is not declared exists in no queue, no thread and no rendering.
The same holds for the keys of mappings inside a declared value, and a key in another spelling is another key.
Declared texts and messages still go through ``masking``, which knows what secrets look like; this module does
not look at what a text says.

No method of a value is called, not even ``len`` or ``str``: a lazy query would run, a hostile object could
raise or wait. Only exact built-in types, a few of the standard library and enumerations are read.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import islice
from typing import Final
from uuid import UUID

__all__ = ["KEY_CHARS", "MARGIN", "NESTED_ITEMS", "NESTING", "Cut", "Redaction", "Withheld", "withheld"]

KEY_CHARS: Final = 64
"""A longer key, or one that is no dotted identifier, is data that somebody unpacked: it is not shown."""

MARGIN: Final = 256
"""Characters that a cut text keeps behind what is shown of it. Longer known values are known in pieces of at
most so many, so that whatever the cut left of one ends within the margin."""

NESTING: Final = 3
"""Levels of lists and mappings inside a declared value."""

NESTED_ITEMS: Final = 64
"""Items of all lists and mappings inside one declared value."""

OMITTED: Final = "omitted"
"""The key that counts what is not even shown by name."""

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}", re.ASCII)

_CONTAINERS: Final = frozenset({dict, list, tuple})
_SIZED: Final = frozenset({str, bytes, bytearray, list, tuple, dict, set, frozenset, deque})
_WRITTEN: Final[Mapping[type, str]] = {
    datetime: "isoformat",
    date: "isoformat",
    time: "isoformat",
    timedelta: "__str__",
    Decimal: "__str__",
    UUID: "__str__",
}
_INT_MIN: Final = -(1 << 63)
_INT_MAX: Final = (1 << 64) - 1

REMEMBERED: Final = 1_024
"""Keys and lengths whose judgement is remembered; the least recently used is forgotten."""

VALUE_COST: Final = 32
"""Bytes that a value without a length counts for in the queue's bound."""


class Withheld(str):
    """Stands for a value that was not declared: its type and length."""

    __slots__ = ()


class Cut(str):
    """The beginning of a longer text, with a margin behind what will be shown of it."""

    __slots__ = ()


def type_name(kind: type) -> str:
    """The name of a type as its definition gave it, whatever a metaclass says."""
    name = type.__dict__["__name__"].__get__(kind)
    return str(name) if len(name) <= KEY_CHARS and name.isidentifier() else "object"


@lru_cache(maxsize=REMEMBERED)
def _sized(name: str, length: int) -> Withheld:
    return Withheld(f"<{name} {length}>")


@lru_cache(maxsize=REMEMBERED)
def _named(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


def withheld(value: object) -> Withheld:
    """What is shown of a value that was not declared."""
    kind = type(value)
    if kind in _SIZED:
        return _sized(kind.__name__, len(value))  # type: ignore[arg-type]  # those have one
    return Withheld("<None>" if value is None else f"<{type_name(kind)}>")


def cut(value: str, chars: int) -> str:
    """A text of at most so many characters and the margin; marked if that is not all of it."""
    return value if len(value) <= chars else Cut(value[: chars + MARGIN])


class Redaction:
    """The allow-list of one configuration.

    Args:
        declared: keys whose values pass, inside of mappings too.
        value_chars: characters of one text that are shown.
        keys_max: keys of one line.
    """

    __slots__ = ("_declared", "_keys_max", "_value_chars")

    def __init__(self, declared: frozenset[str], *, value_chars: int, keys_max: int) -> None:
        self._declared = declared
        self._value_chars = value_chars
        self._keys_max = keys_max

    def admit(self, context: Mapping[str, object]) -> tuple[dict[str, object], int]:
        """What the queue may hold of a caller's context, and roughly how many bytes that is."""
        admitted: dict[str, object] = {}
        size = omitted = 0
        declared = self._declared
        for key, value in context.items():
            if len(admitted) >= self._keys_max or type(key) is not str:
                omitted += 1
            elif key in declared:
                admitted[key], cost = self._value(value)
                size += cost
            elif len(key) <= KEY_CHARS and _named(key):
                admitted[key] = withheld(value)
                size += VALUE_COST
            else:
                omitted += 1
        if omitted:
            admitted[OMITTED] = omitted
        return admitted, size

    def _value(self, value: object) -> tuple[object, int]:
        kind = type(value)
        if kind is str:
            text = cut(value, self._value_chars)  # type: ignore[arg-type]  # it is one
            return text, VALUE_COST + len(text)
        if kind in _CONTAINERS:
            budget = [NESTED_ITEMS, 0]
            return self._container(value, NESTING - 1, budget), VALUE_COST * NESTED_ITEMS + budget[1]
        return _scalar(value), VALUE_COST

    def _nested(self, value: object, depth: int, budget: list[int]) -> object:
        kind = type(value)
        if kind is str:
            text = cut(value, self._value_chars)  # type: ignore[arg-type]  # it is one
            budget[1] += len(text)
            return text
        if kind in _CONTAINERS:
            return self._container(value, depth - 1, budget) if depth else withheld(value)
        return _scalar(value)

    def _container(self, value: object, depth: int, budget: list[int]) -> object:
        # One C call, and no more than is shown: another thread may be changing the original.
        if isinstance(value, dict):
            items = list(islice(value.items(), NESTED_ITEMS))
        else:
            items = list(value[:NESTED_ITEMS])  # type: ignore[index]  # a list or tuple
        mapping: dict[str, object] = {}
        sequence: list[object] = []
        left_out = len(value) - len(items)  # type: ignore[arg-type]  # a list, tuple or dict
        for item in items:
            if budget[0] <= 0:
                left_out += 1
                continue
            budget[0] -= 1
            if not isinstance(value, dict):
                sequence.append(self._nested(item, depth, budget))
            elif type(item[0]) is not str or _KEY.fullmatch(item[0]) is None:
                left_out += 1
            else:
                # That a mapping was declared says nothing about what others put into it.
                declared = item[0] in self._declared
                mapping[item[0]] = self._nested(item[1], depth, budget) if declared else withheld(item[1])
        if isinstance(value, dict):
            return {**mapping, OMITTED: left_out} if left_out else mapping
        return [*sequence, Withheld(f"<{left_out} more>")] if left_out else sequence


def _scalar(value: object) -> object:
    kind = type(value)
    if kind is bool or kind is float or value is None:
        return value
    if kind is int:
        # Beyond 64 bits a reader of JSON would round it.
        return value if _INT_MIN <= value <= _INT_MAX else withheld(value)  # type: ignore[operator]
    if kind in _WRITTEN:
        try:
            return str(getattr(value, _WRITTEN[kind])())
        except Exception:  # noqa: BLE001 -- a time zone is code of somebody's
            return withheld(value)
    if issubclass(kind, Enum):
        return value._name_  # type: ignore[attr-defined]  # a slot of the member; ``name`` can be overridden
    return withheld(value)
