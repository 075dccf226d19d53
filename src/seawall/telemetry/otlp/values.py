"""Attribute values as OTLP's ``AnyValue``; bounded, so that no single span is a long piece of work.

Who writes attributes is not asked to write good ones, and light spans don't look at them. Whatever the
protocol can't carry is left out and counted: keys that are no text, integers beyond 64 bits, foreign
objects, values that are nested too deep (or contain themselves) and all that a span has beyond its share of
work.

Pure. Field numbers: opentelemetry/proto/common/v1/common.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar, final

from seawall.telemetry.otlp.protobuf import LENGTHS, LENGTHS_KEPT, length, text, utf8, varint

__all__ = ["DEPTH_LIMIT", "KEYS_LIMIT", "VALUES_LIMIT", "Values"]

T = TypeVar("T")

VALUES_LIMIT: Final = 1_000
"""Most attributes, elements, events and links of one span; about 0.5 ms of work."""

DEPTH_LIMIT: Final = 16
"""Most levels of lists and mappings; readers give up at a hundred messages, and a level takes three."""

KEYS_LIMIT: Final = 1_024
"""Encoded keys that are kept; those of a program are fewer. A full memory is emptied."""

_KEY_CHARACTERS: Final = 256
"""A longer key is no constant, and isn't kept."""

_double: Final = struct.Struct("<d").pack
_INT64: Final = 1 << 63
_TRUE, _FALSE = b"\x10\x01", b"\x10\x00"


class _Unencodable(ValueError):
    """A value that the protocol can't carry, or one that is too much work."""


@final
class Values:
    """Encodes attributes.

    Attributes:
        room: What the current span may still cost; whoever begins a span sets it to :data:`VALUES_LIMIT`.
    """

    __slots__ = ("_keys", "room")

    def __init__(self) -> None:
        self._keys: dict[str, bytes] = {}
        self.room = VALUES_LIMIT

    def add(self, parts: list[bytes], tag: bytes, attributes: Mapping[str, Any]) -> int:
        """Append ``KeyValue`` fields to ``parts``.

        Args:
            parts: The message so far.
            tag: Number and wire type of the field, which differ from place to place.
            attributes: Names and values.

        Returns:
            How many attributes were left out.
        """
        left_out = max(len(attributes) - self.room, 0)
        self.room -= len(attributes) - left_out
        keys = self._keys
        # Here most of an export's time is spent, and a call costs as much as the rest of a line.
        for key, value in islice(attributes.items(), len(attributes) - left_out):
            try:
                head = keys.get(key) or self._key(key)
                kind = value.__class__
                if kind is str:
                    raw = value.encode("utf-8", "replace")
                    size = len(raw)
                    body = b"\x0a" + (LENGTHS[size] if size < LENGTHS_KEPT else varint(size)) + raw
                elif kind is int and 0 <= value < LENGTHS_KEPT:
                    body = b"\x18" + LENGTHS[value]
                else:
                    body = self._any_value(value, DEPTH_LIMIT)
            except Exception:  # noqa: BLE001 -- values are objects of strangers; the span goes on without it
                left_out += 1
                continue
            size = len(body)
            pair = head + (LENGTHS[size] if size < LENGTHS_KEPT else varint(size)) + body
            size = len(pair)
            parts += (tag, LENGTHS[size] if size < LENGTHS_KEPT else varint(size), pair)
        return left_out

    def afford(self, members: Sequence[T]) -> tuple[Sequence[T], int]:
        """As many events or links as there is room for.

        Returns:
            Those that are encoded, and how many are left out.
        """
        left_out = max(len(members) - self.room, 0)
        if left_out:
            members = list(islice(members, self.room))
        self.room -= len(members)
        return members, left_out

    def _key(self, key: object) -> bytes:
        """The key's field, with the tag of the value that follows it."""
        if not isinstance(key, str) or not key:
            raise _Unencodable("a key is a text, and not empty")
        head = text(b"\x0a", key) + b"\x12"
        if len(key) <= _KEY_CHARACTERS:
            if len(self._keys) >= KEYS_LIMIT:
                self._keys.clear()
            self._keys[key] = head
        return head

    def _any_value(self, value: object, depth: int) -> bytes:
        """The fields of an ``AnyValue``; ``depth`` is how many levels of nesting are left."""
        if value is None:
            return b""
        if isinstance(value, bool):
            return _TRUE if value else _FALSE
        if isinstance(value, str):
            return text(b"\x0a", value)
        if isinstance(value, int):
            if not -_INT64 <= value < _INT64:
                raise _Unencodable("more than 64 bits")
            return b"\x18" + length(int(value) & 0xFFFF_FFFF_FFFF_FFFF)
        if isinstance(value, float):
            return b"\x21" + _double(value)
        if isinstance(value, bytes | bytearray | memoryview):
            raw = bytes(value)
            return b"\x3a" + length(len(raw)) + raw
        if depth <= 0:
            raise _Unencodable("nested too deep")
        if isinstance(value, Mapping):
            return b"\x32" + self._mapping(value, depth - 1)
        if isinstance(value, Sequence):
            return b"\x2a" + self._sequence(value, depth - 1)
        raise _Unencodable("of a type that the protocol doesn't know")

    def _sequence(self, values: Sequence[object], depth: int) -> bytes:
        self._spend(len(values))
        parts: list[bytes] = []
        for value in values:
            body = self._any_value(value, depth)
            parts += (b"\x0a", length(len(body)), body)
        message = b"".join(parts)
        return length(len(message)) + message

    def _mapping(self, values: Mapping[Any, object], depth: int) -> bytes:
        self._spend(len(values))
        parts: list[bytes] = []
        for key, value in values.items():
            raw = utf8(str(key))
            body = self._any_value(value, depth)
            pair = b"\x0a" + length(len(raw)) + raw + b"\x12" + length(len(body)) + body
            parts += (b"\x0a", length(len(pair)), pair)
        message = b"".join(parts)
        return length(len(message)) + message

    def _spend(self, count: int) -> None:
        if count > self.room:
            raise _Unencodable("more elements than one span may have")
        self.room -= count
