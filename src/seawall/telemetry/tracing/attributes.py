"""Attributes of spans, events and links: taken over from the caller, frozen, bounded.

The rules are those of OpenTelemetry: a key is a text that isn't empty; a value is a scalar, bytes, a sequence
or a mapping of values; anything else becomes its text. A mapping that is full loses its oldest entry. Nothing
here raises for what a user passes, and nothing is logged: what can't be kept is counted.

Pure. Spans and events call it; most attributes are scalars under text keys and pay one look each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from opentelemetry.util.types import AnyValue

__all__ = ["PLAIN", "Attributes", "Trimmed", "dropped_of", "freeze", "put", "take_over"]

PLAIN: Final[frozenset[type]] = frozenset({int, float, bool, type(None)})
"""What can't change under us and has no length, by its exact type; subclasses take the long way."""

DEPTH_MAX: Final = 16
"""How deep the sequences and mappings of one value may nest. One that contains itself would never end."""
ITEMS_MAX: Final = 1_024
"""How many items they may have in all: they are copied while the caller waits."""

Attributes = dict[str, AnyValue]


class Trimmed(dict[str, AnyValue]):
    """Attributes of which some could not be kept.

    Attributes:
        dropped: How many.
    """

    __slots__ = ("dropped",)

    dropped: int


class _Unkept(Exception):
    """A value nests too deep, has too many items, or can't say what it is."""


def dropped_of(attributes: Mapping[str, AnyValue] | None) -> int:
    """How many attributes were dropped when these were taken over."""
    return attributes.dropped if attributes.__class__ is Trimmed else 0


def freeze(value: object, length: int) -> AnyValue:
    """A copy of ``value`` that its owner can't change any more.

    Args:
        value: Anything.
        length: Most characters of a text, and most bytes of bytes.

    Returns:
        Scalars as they are, sequences as tuples, mappings as new dicts, anything else as its text, or
        ``None`` if all its text would say is an address.

    Raises:
        Exception: The value nests too deep or is too large, or its own methods raise.
    """
    return _frozen(value, length, DEPTH_MAX, [ITEMS_MAX])


def _frozen(value: object, length: int, depth: int, room: list[int]) -> AnyValue:
    if isinstance(value, (str, bytes)):
        return value if len(value) <= length else value[:length]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (Sequence, Mapping)):
        room[0] -= len(value)
        if depth == 0 or room[0] < 0:
            raise _Unkept
        if isinstance(value, Sequence):
            return tuple(_frozen(item, length, depth - 1, room) for item in value)
        kept: Attributes = {}
        for key, item in value.items():
            name = _name(key)
            if name:
                kept[name] = _frozen(item, length, depth - 1, room)
        return kept
    return str(value)[:length] if _speaks(value) else None


def _speaks(value: object) -> bool:
    kind = type(value)
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__


def _name(key: object) -> str:
    """The key as text; empty if it is none and has none."""
    if isinstance(key, str):
        return key
    return str(key) if key and _speaks(key) else ""


def take_over(given: Mapping[str, AnyValue], limit: int, length: int) -> Attributes:
    """A dict of our own with what ``given`` holds.

    Args:
        given: The caller's attributes.
        limit: Most entries; the oldest go.
        length: Most characters of a text value, and most bytes of bytes.

    Returns:
        A plain dict if all could be kept, else a :class:`Trimmed` one.
    """
    kept = Trimmed()
    for key, value in given.items():
        # a value's own methods may raise anything, and telemetry raises nothing
        with suppress(Exception):
            frozen = freeze(value, length)
            if name := _name(key):
                kept[name] = frozen
    while len(kept) > limit:
        del kept[next(iter(kept))]
    kept.dropped = len(given) - len(kept)
    return kept if kept.dropped else dict(kept)


def put(attributes: Attributes, key: object, value: object, limit: int, length: int) -> int:
    """Set one attribute.

    Args:
        attributes: Where.
        key: Its name.
        value: Its value.
        limit: Most entries; the oldest goes.
        length: Most characters of a text value, and most bytes of bytes.

    Returns:
        How many attributes were lost by it: this one, an older one, or none.
    """
    if limit == 0 or not isinstance(key, str) or not key:
        return 1
    try:
        frozen = freeze(value, length)
    except Exception:  # noqa: BLE001  # a value's own __str__ may raise anything, and telemetry raises nothing
        return 1
    lost = 0
    if key in attributes:
        del attributes[key]  # what was set last is the youngest
    elif len(attributes) >= limit:
        del attributes[next(iter(attributes))]
        lost = 1
    attributes[key] = frozen
    return lost
