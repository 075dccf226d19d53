"""Protocol Buffers' wire format, as little of it as OTLP needs: lengths out, fields in.

The format is described at protobuf.dev ("Encoding"): a message is a row of fields, each a number and a wire
type in one varint, then the value. Pure; ``values``, ``spans`` and ``encode`` write with it, ``replies``
reads what a collector answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["LENGTHS", "LENGTHS_KEPT", "Malformed", "fields", "length", "text", "utf8", "varint"]

LENGTHS_KEPT: Final = 2_048
"""Spans and attributes are shorter than this, nearly all of them; the table takes 75 kB."""

_VARINT_BYTES: Final = 10
"""64 bits in groups of seven."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Malformed(ValueError):
    """Bytes that are no Protocol Buffers message."""


def varint(number: int) -> bytes:
    """Write a number of 64 bits, unsigned.

    Args:
        number: 0 or more; a negative one goes as its two's complement, which is the caller's to make.
    """
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


LENGTHS: Final = tuple(varint(number) for number in range(LENGTHS_KEPT))
"""The first varints, ready made: the hottest path looks here before it calls anything."""


def length(number: int) -> bytes:
    """The same as :func:`varint`, quick for what is short."""
    return LENGTHS[number] if number < LENGTHS_KEPT else varint(number)


def utf8(string: str) -> bytes:
    """The text's bytes; half a surrogate pair, which no reader accepts, becomes a question mark."""
    return str.encode(string, "utf-8", "replace")


def text(tag: bytes, string: str) -> bytes:
    """A whole field that holds a text."""
    raw = utf8(string)
    return tag + length(len(raw)) + raw


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Take a message apart.

    Args:
        message: What came from outside; nothing about it is believed.

    Yields:
        The number of each field and its value: an unsigned integer, or bytes.

    Raises:
        Malformed: It ends too early, or holds what proto3 doesn't know.
    """
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise Malformed("field number 0")
        if wire_type == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, at = _read_varint(message, at)
        elif wire_type == _FIXED64:
            size = 8
        elif wire_type == _FIXED32:
            size = 4
        else:
            raise Malformed(f"wire type {wire_type}")
        if size > len(message) - at:
            raise Malformed("ends inside a field")
        chunk = message[at : at + size]
        at += size
        yield number, chunk if wire_type == _BYTES else int.from_bytes(chunk, "little")


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place in range(_VARINT_BYTES):
        if at >= len(message):
            raise Malformed("ends inside a number")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at
    raise Malformed("a number of more than 64 bits")
