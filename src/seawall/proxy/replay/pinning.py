"""Sequence values that a client has seen, and how a replayed statement is made to draw them again.

After a promotion sequences have jumped (by up to 32), so the replayed ``INSERT … RETURNING id`` gives another
id and the replay would end there. But a RowDescription names table and column of what it returns, a column
has its sequence, and the value is free: the transaction that drew it has died. So the sequence is set to that
value, the statement said, and the sequence set forward again, to whichever is furthest: where it was, or what
was drawn.

That is safe only while nobody else draws from the sequence: whoever uses this sees to that, and says pin,
statement and restoring in one breath, because a sequence that is left behind gives its values twice. Nothing
here decides that a replay is right; comparing the answers does. Pinned is only what looks drawn in one go:
consecutive values of one INSERT, or ``SELECT nextval('name')``. After the statement the sequence has to be
where the client's last value says (:func:`as_seen`): what was drawn beyond that, in a trigger, may be
somebody's by now.

Bytes in, bytes out; ``rescue`` calls it. Sources: PostgreSQL documentation, chapters "Message Formats",
"Sequence Manipulation Functions" and "pg_depend".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.messages import Column, ProtocolViolation

ROWS_MAX: Final = 1000
"""Rows of one statement that are looked at; one with more is not pinned."""

COLUMNS_MAX: Final = 32
"""Integer columns of one statement that are looked at, from the left."""

TEXT: Final = 0
BINARY: Final = 1
"""Formats, as a Bind and a RowDescription give them."""

_SIZES: Final = {21: 2, 23: 4, 20: 8}  # int2, int4, int8
_INT8: Final = 20
_DIGITS: Final = re.compile(rb"-?[0-9]{1,19}")
_ASIDE: Final = frozenset({b"BEGIN", b"START TRANSACTION", b"SET", b"SAVEPOINT", b"RELEASE"})

_COMMENT: Final = rb"(?>(?:\s|/\*[^*/]*\*/)*)"
_NEXTVAL: Final = re.compile(
    _COMMENT + rb"select\s+(?:pg_catalog\s*\.\s*)?nextval\s*\(\s*'((?:[^'\\]|'')+)'\s*"
    rb"(?:::\s*(?:pg_catalog\s*\.\s*)?regclass\s*)?\)"
    rb'\s*(?:(?:as\s+)?(?:[a-z_][\w$]*|"[^"]+"))?' + _COMMENT + rb";?" + _COMMENT,
    re.IGNORECASE,
)

# Whoever may not set a sequence, or not read where it is, gets no row instead of an error.
_STATE: Final = (
    b"s.seqrelid, pg_catalog.pg_sequence_last_value(s.seqrelid),"
    b" pg_catalog.pg_sequence_last_value(s.seqrelid) IS NOT NULL,"
    b" s.seqincrement, s.seqcache, s.seqstart, s.seqmin, s.seqmax"
)
_ALLOWED: Final = (
    b"NOT s.seqcycle AND pg_catalog.has_sequence_privilege(s.seqrelid, 'UPDATE')"
    b" AND pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')"
)
_NAMED: Final = (
    b"SELECT 0, 0, " + _STATE + b" FROM pg_catalog.pg_sequence AS s"
    b" WHERE s.seqrelid = pg_catalog.to_regclass('%b') AND " + _ALLOWED
)
_LOOKUP: Final = (
    b"SELECT w.t, w.a, " + _STATE + b" FROM ROWS FROM (pg_catalog.unnest('{%b}'::pg_catalog.oid[]),"
    b" pg_catalog.unnest('{%b}'::pg_catalog.int4[])) AS w(t, a) JOIN LATERAL ("
    b"SELECT d.objid FROM pg_catalog.pg_depend AS d"
    b" WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
    b" AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
    b" AND d.refobjid = w.t AND d.refobjsubid = w.a AND d.deptype IN ('a', 'i')"
    b" UNION SELECT d.refobjid FROM pg_catalog.pg_attrdef AS f JOIN pg_catalog.pg_depend AS d"
    b" ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = f.oid"
    b" AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
    b" WHERE f.adrelid = w.t AND f.adnum = w.a) AS o(id) ON true"
    b" JOIN pg_catalog.pg_sequence AS s ON s.seqrelid = o.id WHERE " + _ALLOWED
)
_FENCING: Final = (
    b"DO $$ BEGIN PERFORM pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity AS a"
    b" WHERE a.pid = %(pid)d AND a.datname = pg_catalog.current_database();"
    b" FOR n IN 1 .. 200 LOOP"
    b" PERFORM pg_catalog.pg_stat_clear_snapshot();"
    b" IF NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = %(pid)d"
    b" AND a.datname = pg_catalog.current_database()) THEN RETURN; END IF;"
    b" PERFORM pg_catalog.pg_sleep(0.005);"
    b" END LOOP; RAISE EXCEPTION 'process %(pid)d is still there'; END $$;"
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """The values of one column, in the order in which they came.

    Attributes:
        table_oid: whose column it is; 0 for a sequence that the statement names itself.
        column: its attribute number, or 0.
        values: at least one.
    """

    table_oid: int
    column: int
    values: tuple[int, ...]

    def consecutive(self, increment: int) -> bool:
        """Whether a sequence with this increment gives these values one after another."""
        first = self.values[0]
        return all(value == first + at * increment for at, value in enumerate(self.values))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client has seen of one statement that may have been drawn from sequences.

    Attributes:
        columns: what was returned of tables' integer columns, or the one value of ``sequence``.
        sequence: the name in ``SELECT nextval('name')``; empty for an INSERT.
    """

    columns: tuple[Drawn, ...]
    sequence: bytes = b""

    def lookup_sql(self) -> bytes:
        """The query for the sequences behind it; its rows are read by :func:`states`."""
        if self.sequence:
            return named_sql(self.sequence)
        return lookup_sql((drawn.table_oid, drawn.column) for drawn in self.columns)


@dataclass(frozen=True, slots=True)
class State:
    """A sequence as the server has it: one row of what :func:`lookup_sql` asks for.

    Attributes:
        table_oid: see :class:`Drawn`, as is ``column``.
        oid: the sequence's own.
        last_value: what was drawn last; ``None`` if nothing was yet.
        cache: how many values a session takes at once.
    """

    table_oid: int
    column: int
    oid: int
    last_value: int | None
    increment: int
    cache: int
    start: int
    minimum: int
    maximum: int

    @property
    def next_value(self) -> int:
        """What would be drawn next, unless it was restarted and not used since."""
        return self.start if self.last_value is None else self.last_value + self.increment


@dataclass(frozen=True, slots=True)
class Pin:
    """A sequence to be set before a statement and restored after it.

    Attributes:
        state: where the sequence was.
        value: what has to be drawn first.
        drawn: what has to be drawn last.
    """

    state: State
    value: int
    drawn: int

    def sql(self) -> bytes:
        """Say this right before the statement."""
        return pin_sql(self.state.oid, self.value)

    def restoring_sql(self) -> bytes:
        """Say this right after it, whatever has become of it; the row is for :func:`as_seen`."""
        state = self.state
        return restore_sql(state.oid, state.last_value, state.start, self.drawn, state.increment)


# --- what was seen ------------------------------------------------------------------------------------------


def seen(
    reply: bytes,
    sql: bytes,
    *,
    columns: Sequence[Column] | None = None,
    formats: Sequence[int] | None = None,
) -> Seen | None:
    """What one turn's answer shows of sequences; ``None`` if nothing, or nothing that could be pinned.

    Args:
        reply: the answer as the client got it, whole: one statement with rows, and beside it at most what
            draws nothing (BEGIN, SET, SAVEPOINT).
        sql: the text of that statement.
        columns: its description, where the answer has none because it was described in an earlier turn.
        formats: its result formats as in Bind (:func:`result_formats`), where the extended protocol was used.
            Without them the description of a statement, unlike that of a portal, leaves them open.
    """
    try:
        result = _result(reply, columns)
    except ProtocolViolation:
        return None
    if result is None:
        return None
    tag, described, settled, rows = result
    if any(len(row) != len(described) for row in rows):
        return None
    if formats is not None:
        wanted: list[int | None] = [*_spread(formats, len(described))]
    else:
        wanted = [column.format if settled else None for column in described]
    if tag.startswith(b"INSERT "):
        drawn = _of_tables(described, wanted, rows)
        return Seen(drawn) if drawn else None
    name = literal_sequence(sql) if tag == b"SELECT 1" and len(described) == 1 else None
    if name is None or described[0].type_oid != _INT8:
        return None
    values = _numbers(rows, 0, _INT8, wanted[0])
    return Seen((Drawn(0, 0, values),), name) if values else None


def result_formats(bind: bytes) -> tuple[int, ...]:
    """The result formats in a Bind message's body: none stands for text, one for all columns.

    Raises:
        ProtocolViolation: The message is malformed.
    """
    _, offset = messages.cstring(bind, 0)
    _, offset = messages.cstring(bind, offset)
    offset += 2 + 2 * _count(bind, offset)
    values = _count(bind, offset)
    offset += 2
    for _ in range(values):
        length = int.from_bytes(bind[offset : offset + 4], "big", signed=True)
        offset += 4 + max(length, 0)
    count = _count(bind, offset)
    return tuple(_count(bind, offset + 2 + 2 * at) for at in range(count))


def literal_sequence(sql: bytes) -> bytes | None:
    """The name in ``SELECT nextval('name')``, for the server's regclass to read; ``None`` for other texts."""
    match = _NEXTVAL.fullmatch(sql)
    if match is None:
        return None
    name = match.group(1).replace(b"''", b"'")
    return name if name.isascii() and b"\0" not in name else None


def _result(
    reply: bytes, columns: Sequence[Column] | None
) -> tuple[bytes, Sequence[Column], bool, list[list[bytes | None]]] | None:
    """Tag, description, whether it settles the formats, and rows of the only statement with rows."""
    described, settled, of_statement = columns, False, False
    rows: list[list[bytes | None]] = []
    tag = b""
    for kind, body in framing.MessageReader(len(reply) + framing.HEADER_BYTES).feed(reply):
        if kind == framing.PARAMETER_DESCRIPTION:
            of_statement = True
        elif kind == framing.ROW_DESCRIPTION:
            described = messages.parse_row_description(body)
            settled, of_statement = not of_statement, False
        elif kind == framing.DATA_ROW:
            rows.append(messages.parse_data_row(body))
            if tag or len(rows) > ROWS_MAX:
                return None
        elif kind == framing.COMMAND_COMPLETE:
            complete = body.rstrip(b"\0")
            if rows and not tag:
                tag = complete
            elif complete not in _ASIDE:
                return None
        elif kind in {framing.ERROR, framing.PORTAL_SUSPENDED, framing.COPY_IN, framing.COPY_OUT}:
            return None
    return (tag, described, settled, rows) if tag and described is not None else None


def _of_tables(
    described: Sequence[Column], wanted: Sequence[int | None], rows: Sequence[Sequence[bytes | None]]
) -> tuple[Drawn, ...]:
    found: dict[tuple[int, int], Drawn] = {}
    for at, column in enumerate(described):
        place = (column.table_oid, column.column)
        if column.table_oid == 0 or column.column <= 0 or column.type_oid not in _SIZES or place in found:
            continue
        values = _numbers(rows, at, column.type_oid, wanted[at])
        if values:
            found[place] = Drawn(*place, values)
            if len(found) == COLUMNS_MAX:
                break
    return tuple(found.values())


def _numbers(
    rows: Sequence[Sequence[bytes | None]], at: int, type_oid: int, wanted: int | None
) -> tuple[int, ...]:
    """One column's values; none if one of them is NULL or can't be read for certain."""
    size = _SIZES[type_oid]
    values: list[int] = []
    for row in rows:
        raw = row[at]
        if raw is None:
            return ()
        is_text = _DIGITS.fullmatch(raw) is not None
        is_binary = len(raw) == size
        if wanted is None and is_text and is_binary:  # four digits, or four bytes of a larger number
            return ()
        if is_text and wanted != BINARY:
            values.append(int(raw))
        elif is_binary and wanted != TEXT:
            values.append(int.from_bytes(raw, "big", signed=True))
        else:
            return ()
    return tuple(values)


def _spread(formats: Sequence[int], count: int) -> Sequence[int]:
    """One format for each column."""
    if len(formats) == count:
        return formats
    return [formats[0] if formats else TEXT] * count


def _count(body: bytes, offset: int) -> int:
    raw = body[offset : offset + 2]
    if len(raw) < 2:
        raise ProtocolViolation("insufficient data left in message")
    return int.from_bytes(raw, "big")


# --- what is asked and said ---------------------------------------------------------------------------------


def lookup_sql(columns: Iterable[tuple[int, int]]) -> bytes:
    """A query for the sequences behind columns, given as table and attribute number.

    Behind a column is the sequence that it owns (serial, identity) or that its default draws from. The rows
    are table, attribute number, and of the sequence: object number, last value (NULL if nothing was drawn
    yet), whether anything was, increment, cache, start, minimum, maximum. There is none of a sequence that
    cycles or that the user may not set.
    """
    pairs = list(columns)
    tables = b",".join(b"%d" % table for table, _ in pairs)
    numbers = b",".join(b"%d" % number for _, number in pairs)
    return _LOOKUP % (tables, numbers)


def named_sql(name: bytes) -> bytes:
    """The same for one sequence by its name, where the client's search path holds; table and column are 0."""
    return _NAMED % name.replace(b"'", b"''")


def states(rows: Iterable[Sequence[bytes | None]]) -> list[State]:
    """What the rows of a look-up say, given as text.

    Raises:
        ProtocolViolation: They aren't such rows.
    """
    return [_state(row) for row in rows]


def _state(row: Sequence[bytes | None]) -> State:
    try:
        table, column, oid, last, _, *others = row
        increment, cache, start, minimum, maximum = (int(item or b"") for item in others)
        last_value = None if last is None else int(last)
        place = int(table or b""), int(column or b""), int(oid or b"")
    except ValueError:
        raise ProtocolViolation("the server's answer about its sequences has another shape") from None
    return State(*place, last_value, increment, cache, start, minimum, maximum)


def pins(observed: Seen, found: Iterable[State]) -> list[Pin]:
    """The sequences that have to be set before the statement is said again.

    Left out is what can't be pinned (values that aren't consecutive, two sequences behind a column or two
    columns with one, sequences of which sessions take several values at once, values out of bounds) and what
    would be drawn anyway.
    """
    drawn = {(item.table_oid, item.column): item for item in observed.columns}
    known = [state for state in found if (state.table_oid, state.column) in drawn]
    places = [(state.table_oid, state.column) for state in known]
    oids = [state.oid for state in known]
    chosen = []
    for state in known:
        place = (state.table_oid, state.column)
        values = drawn[place].values
        if (
            places.count(place) == oids.count(state.oid) == 1
            and state.cache == 1
            and drawn[place].consecutive(state.increment)
            and all(state.minimum <= value <= state.maximum for value in (values[0], values[-1]))
            and values[0] != state.next_value
        ):
            chosen.append(Pin(state, values[0], values[-1]))
    return chosen


def pin_sql(seq_oid: int, value: int) -> bytes:
    """Makes a sequence give ``value`` next."""
    return b"SELECT pg_catalog.setval(%b, %d, false)" % (_sequence(seq_oid), value)


def restore_sql(seq_oid: int, before: int | None, start: int, drawn: int, increment: int) -> bytes:
    """Sets a pinned sequence forward: nothing that was ever drawn from it is given again.

    If nothing was drawn since it was pinned (the statement brought its own value, or never ran), it goes back
    to where it was. The one row is what was drawn last since then, NULL for nothing, and where it is now.

    Args:
        seq_oid: the sequence.
        before: its last value before it was pinned; ``None`` if nothing had been drawn.
        start: its first value.
        drawn: the last value that the statement should have drawn.
        increment: its sign says which way is forward.
    """
    sequence = _sequence(seq_oid)
    furthest = b"GREATEST" if increment > 0 else b"LEAST"
    if before is None:
        was = b"NULL::pg_catalog.int8"
        back = b"pg_catalog.setval(%b, '%d'::pg_catalog.int8, false)" % (sequence, start)
    else:
        was = b"'%d'::pg_catalog.int8" % before
        back = b"pg_catalog.setval(%b, %b, true)" % (sequence, was)
    return (
        b"WITH n(last) AS MATERIALIZED (SELECT pg_catalog.pg_sequence_last_value(%b))"
        b" SELECT n.last, CASE WHEN n.last IS NULL THEN %b"
        b" WHEN %b(n.last, '%d'::pg_catalog.int8, %b) = n.last THEN n.last"
        b" ELSE pg_catalog.setval(%b, %b('%d'::pg_catalog.int8, %b), true) END FROM n"
    ) % (sequence, back, furthest, drawn, was, sequence, furthest, drawn, was)


def fencing_sql(pid: int) -> bytes:
    """Ends a connection and waits until it is gone: what it was told may be on its way still.

    Goes ahead of another statement in one Query, which does not run if the connection is still there.

    Args:
        pid: its process, on the server and in the database where this is said.
    """
    return _FENCING % {b"pid": pid}


def _sequence(oid: int) -> bytes:
    return b"'%d'::pg_catalog.oid::pg_catalog.regclass" % oid


def as_seen(pin: Pin, last: bytes | None) -> bool:
    """Whether a statement drew what it should have, by the first value of the restoring query's row.

    If it didn't, what it drew beyond may belong to somebody: the transaction has to be rolled back.
    """
    return last is None or last == b"%d" % pin.drawn
