"""A query that is worth a span, on its way from a worker to the supervisor.

The worker makes a :class:`Record` of each fact: nothing of the query's text leaves it but the command, the
name of a table, and the trace context that a comment in it gave. Records travel as datagrams of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from seawall.kernel.errors import ValidationError
from seawall.proxy.owed import SAMPLE_NAME
from seawall.proxy.watching import Fact
from seawall.proxy.worth import TRACE
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES
from seawall.wire.pgwire.sqlstate import INTERNAL_ERROR
from seawall.wire.pgwire.summary import OTHER, summary
from seawall.wire.tracecontext.sql_comment import read_comment

__all__ = ["DATAGRAM_BYTES", "Record", "pack", "record_of", "text_of", "unpack"]

DATAGRAM_BYTES: Final = 32_768
"""Records of one sweep come to less, unless names are very long; what does not fit goes into the next one."""
MESSAGES_MAX: Final = 64
"""Messages of a chunk that are looked at for one with a text: a dozen batches."""
OWN: Final = SAMPLE_NAME.encode() + b"\0"
"""What our own question's statement is called; it may stand in front of the client's."""
OWN_TEXT: Final = b"pg_current_xact_id_if_assigned"
CONTEXT_MAX: Final = 512
"""Characters of ``traceparent`` and ``tracestate``; of longer ones nothing is passed on."""
NAME_MAX: Final = 255
"""Characters of a name; of longer ones the rest is left out. Servers know 63 bytes of them."""
NUMBER_MAX: Final = 1e12
"""Seconds and process numbers are less."""


class Record(NamedTuple):
    """One query, or one batch; times as in :class:`~seawall.proxy.watching.Fact`.

    Attributes:
        worker: the worker's number.
        command: what the statement does, such as ``SELECT``.
        lead_s: how much of the two times before came right before it was said.
        table: the first table it names; empty if that isn't certain.
        traceparent: the context of its parent span; empty if there is none.
        tracestate: what belongs to it.
        sqlstate: of the error that it was answered with; empty if there was none.
    """

    worker: int
    ended_at: float
    waited_s: float
    fitted_s: float
    lead_s: float
    took_s: float
    idle_s: float
    user: str
    database: str
    backend: str
    command: str
    table: str
    traceparent: str
    tracestate: str
    sqlstate: str
    client_pid: int


def text_of(said: bytes, among: bytes = b"") -> bytes:
    """The text of a client's first query or Parse in a chunk.

    Args:
        said: the chunk; what is no whole message of a client ends the search, since it may be a piece of one.
        among: what has to be in the text.

    Returns:
        The text; nothing if there is none.
    """
    position = 0
    for _ in range(MESSAGES_MAX):
        if position + HEADER_BYTES > len(said):
            break
        kind, length = HEADER.unpack_from(said, position)
        after = position + 1 + length
        if not 4 <= length <= framing.LONGEST.get(kind, 0) or after > len(said):
            break
        if kind in {framing.QUERY, framing.PARSE}:
            begin = position + HEADER_BYTES
            ours = kind == framing.PARSE and said.startswith(OWN, begin)
            if kind == framing.PARSE:
                begin = said.find(b"\0", begin, after) + 1
            end = said.find(b"\0", begin, after)
            if not begin or end < 0 or (kind == framing.QUERY and end != after - 1):
                break
            text = said[begin:end]
            if not ours and OWN_TEXT not in text and among in text:
                return text
        position = after
    return b""


def record_of(fact: Fact, worker: int) -> Record:
    """What of a fact is passed on."""
    text = fact.text[: max(fact.text.find(b"\0"), 0)] or text_of(fact.said, TRACE if fact.traced else b"")
    command, table = summary(text) if text else (OTHER, "")
    comment = read_comment(text) if fact.traced else {}
    return Record(
        worker,
        fact.ended_at,
        fact.waited_s,
        fact.fitted_s,
        fact.lead_s,
        fact.took_s,
        fact.idle_s,
        fact.user[:NAME_MAX],
        fact.database[:NAME_MAX],
        fact.backend[:NAME_MAX],
        command,
        table,
        _short(comment.get("traceparent", "")),
        _short(comment.get("tracestate", "")),
        _sqlstate(fact.error),
        fact.client_pid,
    )


def _short(context: str) -> str:
    return context if len(context) <= CONTEXT_MAX else ""


def _sqlstate(error: bytes) -> str:
    if not error:
        return ""
    try:
        return messages.parse_fields(error)["C"]
    except ValidationError:  # that it is none is known, and no more
        return INTERNAL_ERROR


def pack(records: Iterable[Record]) -> Iterator[tuple[bytes, int]]:
    """Records as datagrams, each with the number of records in it."""
    parts: list[str] = []
    size = 0
    for record in records:
        part = json.dumps(record)
        if parts and size + len(part) + 2 > DATAGRAM_BYTES:
            yield f"[{','.join(parts)}]".encode(), len(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield f"[{','.join(parts)}]".encode(), len(parts)


def unpack(datagram: bytes) -> list[Record]:
    """The records of a datagram.

    Raises:
        ValueError: it is none of ours.
    """
    try:
        rows = json.loads(datagram)
    except RecursionError as error:
        raise ValueError("lists in lists") from error
    if not isinstance(rows, list):
        raise ValueError("no list of records")  # noqa: TRY004 -- whatever is wrong with it, it is one error
    return [_record(row) for row in rows]


_TEXTS: Final = frozenset(
    {"user", "database", "backend", "command", "table", "traceparent", "tracestate", "sqlstate"}
)
_WHOLE: Final = frozenset({"worker", "client_pid"})


def _record(row: object) -> Record:
    if not isinstance(row, list) or len(row) != len(Record._fields):
        raise ValueError("no record")
    for value, name in zip(row, Record._fields, strict=True):
        fits = isinstance(value, str) if name in _TEXTS else _is_number(value, whole=name in _WHOLE)
        if not fits:
            raise ValueError("no record")
    return Record(*row)


def _is_number(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    return abs(value) <= NUMBER_MAX  # which is no number that is none
