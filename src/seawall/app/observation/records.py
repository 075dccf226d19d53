"""A query that is worth a span, on its way from a worker to the supervisor.

The worker makes a :class:`Record` of each fact and sends it through a socket that only the two of them have,
as datagrams of MessagePack. That is all it does about it: what is made of the text (a command, a table, the
trace context in a comment, see :func:`digest`) is worked out in the supervisor, and no more of it goes
anywhere. Values of parameters stay in the worker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, NamedTuple

import msgspec

from seawall.kernel.errors import ValidationError
from seawall.proxy.owed import SAMPLE_NAME
from seawall.proxy.watching import Fact
from seawall.proxy.worth import TRACE
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER, HEADER_BYTES
from seawall.wire.pgwire.sqlstate import INTERNAL_ERROR
from seawall.wire.pgwire.summary import OTHER, summary
from seawall.wire.tracecontext.sql_comment import read_comment

__all__ = [
    "DATAGRAM_BYTES",
    "TEXT_BYTES",
    "Digest",
    "Record",
    "digest",
    "pack",
    "record_of",
    "text_of",
    "unpack",
]

DATAGRAM_BYTES: Final = 32_768
"""Records of one sweep come to less, unless names are very long; what does not fit goes into the next one."""
MESSAGES_MAX: Final = 64
"""Messages of a chunk that are looked at for one with a text: a dozen batches."""
OWN: Final = SAMPLE_NAME.encode() + b"\0"
"""What our own question's statement is called; it may stand in front of the client's."""
OWN_TEXT: Final = b"pg_current_xact_id_if_assigned"
TEXT_BYTES: Final = 4_096
"""Of a longer text the worker passes on the beginning, and the trace context if it has one."""
_PLAIN: Final = re.compile(rb"(?:[^'$/-]|/(?!\*)|-(?!-))*").match
"""What has no literal and no comment in it."""
CONTEXT_MAX: Final = 512
"""Characters of ``traceparent`` and ``tracestate``; of longer ones nothing is passed on."""
NAME_MAX: Final = 255
"""Characters of a name; of longer ones the rest is left out. Servers know 63 bytes of them."""
NUMBER_MAX: Final = 1e12
"""Seconds and process numbers are less."""


Number = Annotated[float, msgspec.Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=int(NUMBER_MAX))]


class Record(NamedTuple):
    """One query, or one batch; times as in :class:`~seawall.proxy.watching.Fact`.

    Attributes:
        worker: the worker's number.
        lead_s: how much of the two times before came right before it was said.
        sqlstate: of the error that it was answered with; empty if there was none.
        text: what the client said; not to be shown to anybody.
    """

    worker: Whole
    ended_at: Number
    waited_s: Number
    fitted_s: Number
    lead_s: Number
    took_s: Number
    idle_s: Number
    traced: bool
    client_pid: Whole
    user: str
    database: str
    backend: str
    sqlstate: str
    text: bytes


class Digest(NamedTuple):
    """What may be shown of a query's text.

    Attributes:
        command: what the statement does, such as ``SELECT``.
        table: the first table it names; empty if that isn't certain.
        traceparent: the context of its parent span; empty if there is none.
        tracestate: what belongs to it.
    """

    command: str
    table: str
    traceparent: str
    tracestate: str


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
    if len(text) > TEXT_BYTES:
        text = _shortened(text, traced=fact.traced)
    return Record(
        worker,
        fact.ended_at,
        fact.waited_s,
        fact.fitted_s,
        fact.lead_s,
        fact.took_s,
        fact.idle_s,
        fact.traced,
        fact.client_pid,
        _name(fact.user),
        _name(fact.database),
        _name(fact.backend),
        _sqlstate(fact.error),
        text,
    )


def _shortened(text: bytes, *, traced: bool) -> bytes:
    """The beginning of a long text, up to where a literal may begin, and its trace context."""
    comment = read_comment(text) if traced else {}
    pairs = ",".join(
        f"{name}='{value}'"
        for name in ("traceparent", "tracestate")
        if (value := _short(comment.get(name, ""))) and "'" not in value and value.isascii()
    )
    beginning = _PLAIN(text[:TEXT_BYTES])
    plain = beginning[0] if beginning is not None else b""
    return plain + (f" /*{pairs}*/".encode() if pairs else b"")


def digest(record: Record) -> Digest:
    """What may be shown of a record's text."""
    text = record.text
    command, table = summary(text) if text else (OTHER, "")
    comment = read_comment(text) if record.traced else {}
    return Digest(
        command, table, _short(comment.get("traceparent", "")), _short(comment.get("tracestate", ""))
    )


def _name(name: str) -> str:
    """A name as it can be sent: what is no character becomes a question mark."""
    return name[:NAME_MAX] if name.isascii() else name[:NAME_MAX].encode("utf-8", "replace").decode()


def _short(context: str) -> str:
    return context if len(context) <= CONTEXT_MAX else ""


def _sqlstate(error: bytes) -> str:
    if not error:
        return ""
    try:
        return messages.parse_fields(error)["C"]
    except ValidationError:  # that it is none is known, and no more
        return INTERNAL_ERROR


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Record]).decode
BESIDES: Final = 256
"""Bytes of a record beside its text and its names, at the most."""


def pack(records: Iterable[Record]) -> Iterator[tuple[bytes, int]]:
    """Records as datagrams, each with the number of records in it."""
    rows: list[Record] = []
    size = 0
    for record in records:
        # A character takes four bytes at most.
        room = (
            BESIDES + len(record.text) + 4 * (len(record.user) + len(record.database) + len(record.backend))
        )
        if rows and size + room > DATAGRAM_BYTES:
            yield _encode(rows), len(rows)
            rows, size = [], 0
        rows.append(record)
        size += room
    if rows:
        yield _encode(rows), len(rows)


def unpack(datagram: bytes) -> list[Record]:
    """The records of a datagram.

    Raises:
        ValueError: it is none of ours.
    """
    try:
        return _decode(datagram)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("no records") from error
