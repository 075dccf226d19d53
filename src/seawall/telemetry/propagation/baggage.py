"""Baggage between its field and OpenTelemetry's, which is a dict of names and values.

The dict has no place for the properties of a value, so a value that has some is a text that carries them
along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self, final

from seawall.wire.tracecontext.baggage import Entry, Property


@final
class BaggageValue(str):
    """A value of baggage that has properties; apart from them a text like any other.

    Args:
        value: The text.
        properties: What is said about it.
    """

    __slots__ = ("properties",)

    properties: tuple[Property, ...]

    def __new__(cls, value: str, properties: Iterable[Property] = ()) -> Self:
        """Make a text with properties."""
        made = super().__new__(cls, value)
        made.properties = tuple(properties)
        return made


def to_mapping(entries: Iterable[Entry]) -> dict[str, object]:
    """What OpenTelemetry's API shows; of a name that comes twice, the last value."""
    return {
        name: BaggageValue(value, properties) if properties else value for name, value, properties in entries
    }


def to_entries(mapping: Mapping[str, object]) -> list[Entry]:
    """What is sent; values that are no text are sent as what ``str`` makes of them."""
    return [
        Entry(str(name), str(value), value.properties if isinstance(value, BaggageValue) else ())
        for name, value in mapping.items()
    ]
