"""Cuts messages apart, independently of the code under test."""

import struct


def cut(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type byte and body of each message; fails when lengths don't add up."""
    found = []
    while data:
        (length,) = struct.unpack_from(">i", data, 1)
        assert 4 <= length <= len(data) - 1, data
        found.append((data[:1], data[5 : 1 + length]))
        data = data[1 + length :]
    return found


def body(message: bytes) -> bytes:
    """The body of the only message in there."""
    ((_, found),) = cut(message)
    return found
