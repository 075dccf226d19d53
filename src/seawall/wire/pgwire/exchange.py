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
    HEADER_BYTES,
    NO_DATA,
    PARSE,
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
SHORTEST_BATCH: Final = 8 + 13 + REST_BYTES


def parse_end(data: bytes) -> int:
    """Where the Parse ends, if a chunk is one batch of the unnamed statement and portal; 0 if it isn't.

    The chunk begins with a Parse.
    """
    rest = len(data) - REST_BYTES
    if rest + REST_BYTES < SHORTEST_BATCH or data[HEADER_BYTES] or data[1] or data[2]:
        return 0
    end = data[3] * 256 + data[4] + 1
    if end < 9 or end + 13 > rest or data[end] != BIND or data[end + 5] or data[end + 6]:
        return 0
    if data[end + 1] or data[end + 2] or end + 1 + data[end + 3] * 256 + data[end + 4] != rest:
        return 0
    return end if data[rest:] == REST_OF_BATCH else 0


def bind_end(data: bytes) -> int:
    """Where the Bind ends, if a chunk is one batch of a statement that is there and the unnamed portal; or 0.

    The chunk begins with a Bind.
    """
    if data[HEADER_BYTES]:
        return 0
    end = data[3] * 256 + data[4] + 1
    if end < 13 or data[1] or data[2]:
        return 0
    left = len(data) - end
    if left == REST_BYTES:
        return end if data[end:] == REST_OF_BATCH else 0
    return end if left == EXECUTE_BYTES and data[end:] == EXECUTE_AND_SYNC else 0


def answers(data: bytes, what: int) -> bool:
    """Whether a chunk is the ordinary answer to what was said in one go, all of it, and nothing else.

    Messages of 64 KiB and more, errors, notices, copies: nothing of that is ordinary. Headers are read byte
    by byte, not by ``HEADER``, which takes twenty times as long where this is compiled and no less elsewhere.
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
    kind = PARSE
    while position < last:
        if what != QUERY_ALONE and kind == COMMAND_COMPLETE:
            return False
        kind = data[position]
        if position + HEADER_BYTES > last or data[position + 1] or data[position + 2]:
            return False
        length = data[position + 3] * 256 + data[position + 4]
        if length < 4:
            return False
        if kind == COMMAND_COMPLETE:
            if data[position + 5 : position + 8] not in ORDINARY_TAGS:
                return False
        elif kind != DATA_ROW and kind != ROW_DESCRIPTION and kind != NO_DATA:  # noqa: PLR1714 -- twice as fast
            return False
        position += 1 + length
    return position == last and kind == COMMAND_COMPLETE
