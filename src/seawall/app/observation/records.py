"""A query that is worth a span, on its way from a worker to the supervisor.

The worker makes a :class:`Record` of each fact: nothing of the query's text leaves it but the command, the
name of a table, and the trace context that a comment in it gave. Records travel as datagrams of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from seawall.proxy.watching import Fact
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES
from seawall.wire.pgwire.summary import OTHER, summary
from seawall.wire.tracecontext.sql_comment import read_comment

__all__ = ["DATAGRAM_BYTES", "Record", "pack", "record_of", "text_of", "unpack"]

DATAGRAM_BYTES: Final = 32_768
"""Records of one sweep come to less, unless names are very long; what does not fit goes into the next one."""
MESSAGES_MAX: Final = 16
"""Messages of a chunk that are looked at for one with a text."""
OWN: Final = b"seawall_"
"""What our own questions' statements are called; they may stand in front of the client's."""
OWN_TEXT: Final = b"pg_current_xact_id_if_assigned"
TRACESTATE_MAX: Final = 512
"""Characters of ``tracestate`` that are passed on."""


class Record(NamedTuple):
    """One query, or one batch; times as in :class:`~seawall.proxy.watching.Fact`.

    Attributes:
        worker: the worker's number.
        command: what the statement does, such as ``SELECT``.
        table: the first table it names; empty if that isn't certain.
        traceparent: the context of its parent span; empty if there is none.
        tracestate: what belongs to it.
        sqlstate: of the error that it was answered with; empty if there was none.
    """

    worker: int
    ended_at: float
    waited_s: float
    fitted_s: float
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


def text_of(said: bytes) -> bytes:
    """The text of a client's first query or Parse in a chunk; nothing if there is none that is whole."""
    position = 0
    for _ in range(MESSAGES_MAX):
        if position + HEADER_BYTES > len(said):
            break
        kind, length = HEADER.unpack_from(said, position)
        after = position + 1 + length
        if kind in {framing.QUERY, framing.PARSE}:
            begin = position + HEADER_BYTES
            ours = said.startswith(OWN, begin)
            if kind == framing.PARSE:
                begin = said.find(b"\0", begin) + 1
            end = said.find(b"\0", begin, after)
            if not begin or end < 0:
                return b""
            text = said[begin:end]
            if not ours and OWN_TEXT not in text:
                return text
        position = after
    return b""


def record_of(fact: Fact, worker: int) -> Record:
    """What of a fact is passed on."""
    text = fact.text[: max(fact.text.find(b"\0"), 0)] or text_of(fact.said)
    command, table = summary(text) if text else (OTHER, "")
    comment = read_comment(text) if fact.traced else {}
    state = comment.get("tracestate", "")
    return Record(
        worker,
        fact.ended_at,
        fact.waited_s,
        fact.fitted_s,
        fact.took_s,
        fact.idle_s,
        fact.user,
        fact.database,
        fact.backend,
        command,
        table,
        comment.get("traceparent", ""),
        state if len(state) <= TRACESTATE_MAX else "",
        messages.parse_fields(fact.error).get("C", "") if fact.error else "",
        fact.client_pid,
    )


def pack(records: Iterable[Record]) -> Iterator[tuple[bytes, int]]:
    """Records as datagrams, each with the number of records in it."""
    parts: list[str] = []
    size = 0
    for record in records:
        part = json.dumps(record)
        if parts and size + len(part) > DATAGRAM_BYTES:
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
    rows = json.loads(datagram)
    if not isinstance(rows, list):
        raise ValueError("no list of records")  # noqa: TRY004 -- whatever is wrong with it, it is one error
    return [_record(row) for row in rows]


_TEXTS: Final = frozenset(
    {"user", "database", "backend", "command", "table", "traceparent", "tracestate", "sqlstate"}
)


def _record(row: object) -> Record:
    if not isinstance(row, list) or len(row) != len(Record._fields):
        raise ValueError("no record")
    for value, name in zip(row, Record._fields, strict=True):
        fits = isinstance(value, str if name in _TEXTS else int | float)
        if not fits or isinstance(value, bool):
            raise ValueError("no record")
    return Record(*row)
