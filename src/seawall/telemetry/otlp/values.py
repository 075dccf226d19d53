"""Attribute values as OTLP's ``AnyValue``, in Protocol Buffers; bounded, so that no single span holds a loop.

Who writes attributes is not asked to write good ones, and light spans don't look at them. Whatever the
protocol can't carry is left out and counted: keys that are no text, integers beyond 64 bits, foreign
objects, values that are nested too deep (or contain themselves) and all that a span has beyond its share of
work.

Pure. Field numbers: opentelemetry/proto/common/v1/common.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, final

from seawall.telemetry.otlp.shapes import Unencodable
from seawall.telemetry.otlp.varint import LENGTHS, length, varint

__all__ = ["DEPTH_LIMIT", "KEYS_LIMIT", "PAIRS_LIMIT", "VALUES_LIMIT", "Values", "utf8"]

VALUES_LIMIT: Final = 1_000
"""Most attributes, elements, events and links of one span; about 0.3 ms of work."""

DEPTH_LIMIT: Final = 16
"""Most levels of lists and mappings; readers give up at a hundred messages, and a level takes three."""

KEYS_LIMIT: Final = 1_024
"""Encoded names that are kept. A full memory is emptied, not searched for its oldest."""

PAIRS_LIMIT: Final = 4_096
"""Encoded pairs of name and value that are kept, per place and type; those of a catalogue are fewer."""

KEPT_BYTES: Final = 256
"""What is longer is no constant, and isn't kept."""

_KEPT: Final = len(LENGTHS)
_double: Final = struct.Struct("<d").pack
_INT64: Final = 1 << 63
_TRUE, _FALSE = b"\x10\x01", b"\x10\x00"


def utf8(text: str) -> bytes:
    """The text's bytes; half a surrogate pair, which no reader accepts, becomes a question mark."""
    return text.encode("utf-8", "replace")


@final
class _Memory:
    """What was encoded for one tag.

    By exact type, because 1, 1.0 and True are one key of a dictionary. Of numbers with a fraction only the
    name is kept: 0.0 and -0.0 are one key too, and they seldom come twice.
    """

    __slots__ = ("by_class", "doubles")

    def __init__(self) -> None:
        self.by_class: dict[type, dict[Any, bytes]] = {str: {}, int: {}, bool: {}}
        self.doubles: dict[Any, bytes] = {}


@final
class Values:
    """Encodes attributes; keeps what comes again and again.

    Attributes:
        room: What the current span may still cost; whoever begins a span sets it to :data:`VALUES_LIMIT`.
        emptied: Times that a full memory was emptied.
    """

    __slots__ = ("_keys", "_memories", "emptied", "room")

    def __init__(self) -> None:
        self._keys: dict[str, bytes] = {}
        self._memories: dict[bytes, _Memory] = {}
        self.room = VALUES_LIMIT
        self.emptied = 0

    def add(self, parts: list[bytes], tag: bytes, attributes: Mapping[str, Any]) -> int:
        """Append ``KeyValue`` fields to ``parts``.

        Args:
            parts: The message so far.
            tag: Number and wire type of the field, which differ from place to place.
            attributes: Names and values.

        Returns:
            How many attributes were left out.
        """
        memory = self._memories.get(tag)
        if memory is None:
            memory = self._memories.setdefault(tag, _Memory())
        by_class, doubles = memory.by_class, memory.doubles
        left_out = 0
        if len(attributes) > self.room:
            left_out = len(attributes) - self.room
            attributes = dict(islice(attributes.items(), self.room))
        self.room -= len(attributes)
        for pair in attributes.items():
            key, value = pair
            kind = value.__class__
            pairs = by_class.get(kind)
            try:
                if pairs is not None:
                    known = pairs.get(pair)
                    if known is None:
                        known = tag + self._pair(key, value)
                        self._keep(pairs, pair, known, PAIRS_LIMIT)
                elif kind is float:
                    head = doubles.get(key)
                    if head is None:
                        head = self._keys.get(key) or self._key(key)
                        head = tag + length(len(head) + 10) + head + b"\x09\x21"
                        self._keep(doubles, key, head, KEYS_LIMIT)
                    known = head + _double(value)
                else:
                    known = tag + self._pair(key, value)
            except Exception:  # noqa: BLE001 -- values are objects of strangers; the span goes on without it
                left_out += 1
                continue
            parts.append(known)
        return left_out

    def _keep(self, memory: dict[Any, bytes], key: object, encoded: bytes, limit: int) -> None:
        if len(encoded) > KEPT_BYTES:
            return
        if len(memory) >= limit:
            memory.clear()
            self.emptied += 1
        memory[key] = encoded

    def afford(self, members: Iterable[Any]) -> tuple[Sequence[Any], int]:
        """As many events or links as there is room for.

        Returns:
            Those that are encoded, and how many are left out.
        """
        row = members if isinstance(members, list | tuple) else tuple(members)
        left_out = max(len(row) - self.room, 0)
        if left_out:
            row = row[: self.room]
        self.room -= len(row)
        return row, left_out

    def _pair(self, key: str, value: object) -> bytes:
        head = self._keys.get(key) or self._key(key)
        if value.__class__ is str:
            raw = str.encode(value, "utf-8", "replace")
            size = len(raw)
            body = b"\x0a" + (LENGTHS[size] if size < _KEPT else varint(size)) + raw
        else:
            body = self.any_value(value, DEPTH_LIMIT)
        size = len(body)
        tail = head + (LENGTHS[size] if size < _KEPT else varint(size)) + body
        size = len(tail)
        return (LENGTHS[size] if size < _KEPT else varint(size)) + tail

    def _key(self, key: object) -> bytes:
        """The key's field, with the tag of the value that follows it."""
        if not isinstance(key, str) or not key:
            raise Unencodable("a key is a text, and not empty")
        raw = utf8(key)
        head = b"\x0a" + length(len(raw)) + raw + b"\x12"
        self._keep(self._keys, key, head, KEYS_LIMIT)
        return head

    def any_value(self, value: object, depth: int) -> bytes:
        """The fields of an ``AnyValue``.

        Args:
            value: What an attribute, or an element of one, is.
            depth: Levels of nesting that are left.

        Raises:
            Unencodable: The protocol can't carry it, or it is too large.
        """
        if value is None:
            return b""
        kind = value.__class__
        if kind is bool:
            return _TRUE if value else _FALSE
        if isinstance(value, str):
            raw = str.encode(value, "utf-8", "replace")
            return b"\x0a" + length(len(raw)) + raw
        if isinstance(value, int):
            if not -_INT64 <= value < _INT64:
                raise Unencodable("more than 64 bits")
            return b"\x18" + length(int(value) & 0xFFFF_FFFF_FFFF_FFFF)
        if isinstance(value, float):
            return b"\x21" + _double(value)
        if isinstance(value, bytes | bytearray | memoryview):
            raw = bytes(value)
            return b"\x3a" + length(len(raw)) + raw
        if depth <= 0:
            raise Unencodable("nested too deep")
        if isinstance(value, Mapping):
            return b"\x32" + self._mapping(value, depth - 1)
        if isinstance(value, list | tuple | Sequence):
            return b"\x2a" + self._sequence(value, depth - 1)
        raise Unencodable("of a type that the protocol doesn't know")

    def _sequence(self, values: Sequence[object], depth: int) -> bytes:
        self._spend(len(values))
        parts: list[bytes] = []
        for value in values:
            body = self.any_value(value, depth)
            parts += (b"\x0a", length(len(body)), body)
        message = b"".join(parts)
        return length(len(message)) + message

    def _mapping(self, values: Mapping[Any, object], depth: int) -> bytes:
        self._spend(len(values))
        parts: list[bytes] = []
        for key, value in values.items():
            raw = utf8(str(key))
            body = self.any_value(value, depth)
            pair = b"\x0a" + length(len(raw)) + raw + b"\x12" + length(len(body)) + body
            parts += (b"\x0a", length(len(pair)), pair)
        message = b"".join(parts)
        return length(len(message)) + message

    def _spend(self, count: int) -> None:
        if count > self.room:
            raise Unencodable("more elements than one span may have")
        self.room -= count
