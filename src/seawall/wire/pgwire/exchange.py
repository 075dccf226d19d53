"""One question and its whole answer: the ordinary case, seen in one go.

Nearly all that clients say is a single Query, one batch of the unnamed statement as libpq sends it (Parse,
Bind, Describe, Execute, Sync), or one of a named statement (without the Parse, in some libraries without the
Describe), and nearly every answer comes in one piece. What is recognised here
needs not be entered message by message. All else goes the ordinary way, so whatever isn't certain is none.

Source: PostgreSQL documentation, chapters "Message Flow" and "Message Formats".
"""

from __future__ import annotations

from typing import Final

from seawall.wire.pgwire.framing import (
    BIND,
    COMMAND_COMPLETE,
    DATA_ROW,
    HEADER,
    HEADER_BYTES,
    NO_DATA,
    ROW_DESCRIPTION,
)

# What was said in one go.
QUERY_ALONE: Final = 1
EXECUTED_BATCH: Final = 2
"""Bind, Execute and Sync."""
DESCRIBED_BATCH: Final = 3
"""Bind, Describe, Execute and Sync."""
BATCH: Final = 4
"""The same with a Parse ahead."""
PLAIN_BATCH: Final = 5
"""The same on a server that is not shared."""

ORDINARY_TAGS: Final = frozenset(
    {b"SEL", b"INS", b"UPD", b"DEL", b"BEG", b"COM", b"ROL", b"COP", b"FET", b"SAV", b"MER", b"STA"}
)
"""First three letters of tags that never change session state."""
REST_OF_BATCH: Final = b"D\0\0\0\6P\0E\0\0\0\11\0\0\0\0\0S\0\0\0\4"
"""Describe and Execute the unnamed portal, Sync: how libpq ends every batch of one statement."""
REST_BYTES: Final = 22
EXECUTE_BYTES: Final = 15
"""Of these, Execute and Sync."""
BEGUN: Final = b"1\0\0\0\0042\0\0\0\4"
"""ParseComplete and BindComplete."""
BIND_COMPLETE_MESSAGE: Final = b"2\0\0\0\4"
READY_HEAD: Final = b"Z\0\0\0\5"
READY_BYTES: Final = 6
EXECUTE_AND_SYNC: Final = REST_OF_BATCH[REST_BYTES - EXECUTE_BYTES :]
COMPILED: Final = not __file__.endswith(".py")
"""Then bytes are read one by one in a twentieth of the time of ``UNPACK``, which is faster otherwise."""
UNPACK: Final = HEADER.unpack_from
LONGEST: Final = 0xFFFF
SHORTEST_PARSE: Final = 9
SHORTEST_BIND: Final = 13
SHORTEST: Final = SHORTEST_PARSE + SHORTEST_BIND


def parse_end(data: bytes) -> int:
    """Where the Parse ends, if a chunk is one batch of the unnamed statement and portal; 0 if it isn't.

    The chunk begins with a Parse.
    """
    rest = len(data) - REST_BYTES
    if rest < SHORTEST or data[HEADER_BYTES] or data[rest:] != REST_OF_BATCH:
        return 0
    kind: int
    length: int
    kind, length = UNPACK(data, 0)
    end: int = length + 1
    if end < SHORTEST_PARSE or end + SHORTEST_BIND > rest:
        return 0
    kind, length = UNPACK(data, end)
    if kind != BIND or end + 1 + length != rest or data[end + 5] or data[end + 6]:
        return 0
    return end


def bind_end(data: bytes) -> int:
    """Where the Bind ends, if a chunk is one batch of a statement that is there and the unnamed portal; or 0.

    The chunk begins with a Bind.
    """
    if data[HEADER_BYTES]:
        return 0
    end = data[3] * 256 + data[4] + 1
    if end < SHORTEST_BIND or data[1] or data[2]:
        return 0
    left = len(data) - end
    if left == REST_BYTES:
        return end if data[end:] == REST_OF_BATCH else 0
    return end if left == EXECUTE_BYTES and data[end:] == EXECUTE_AND_SYNC else 0


def answers(data: bytes, what: int) -> bool:
    """Whether a chunk is the ordinary answer to what was said in one go, all of it, and nothing else.

    Messages of 64 KiB and more, several commands, errors, notices, copies: nothing of that is ordinary.
    """
    last = len(data) - READY_BYTES
    if last < HEADER_BYTES or data[last : last + HEADER_BYTES] != READY_HEAD:
        return False
    position = 0
    if what != QUERY_ALONE:
        begun = BEGUN if what >= BATCH else BIND_COMPLETE_MESSAGE
        position = len(begun)
        if data[:position] != begun:
            return False
        if (data[position] == ROW_DESCRIPTION or data[position] == NO_DATA) is not (what != EXECUTED_BATCH):
            return False
    kind: int
    length: int
    if COMPILED:
        kind = data[position]
        while kind == DATA_ROW or kind == ROW_DESCRIPTION or kind == NO_DATA:  # noqa: PLR1714, SIM109 -- twice as fast
            length = data[position + 3] * 256 + data[position + 4]
            position += 1 + length
            if length < 4 or position >= last or data[position - length] or data[position - length + 1]:
                return False
            kind = data[position]
        length = data[position + 3] * 256 + data[position + 4]
    else:
        kind, length = UNPACK(data, position)
        while kind == DATA_ROW or kind == ROW_DESCRIPTION or kind == NO_DATA:  # noqa: PLR1714, SIM109 -- twice as fast
            position += 1 + length
            if not 4 <= length <= LONGEST or position >= last:
                return False
            kind, length = UNPACK(data, position)
    return (
        kind == COMMAND_COMPLETE
        and position + 1 + length == last
        and data[position + HEADER_BYTES : position + 8] in ORDINARY_TAGS
    )
