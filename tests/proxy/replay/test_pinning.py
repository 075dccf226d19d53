"""What a client has seen of sequences is read from the answer, and pinned only where it looks drawn."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy.replay import pinning
from seawall.proxy.replay.pinning import (
    Drawn,
    Pin,
    Seen,
    State,
    as_seen,
    literal_sequence,
    lookup_sql,
    named_sql,
    pin_sql,
    pins,
    restore_sql,
    result_formats,
    seen,
    states,
)
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.messages import Column, ProtocolViolation

INT2, INT4, INT8, TEXT_OID = 21, 23, 20, 25
TABLE = 16384
INSERT = b"INSERT INTO t (a) VALUES (1) RETURNING id"
SIZES = {INT2: 2, INT4: 4, INT8: 8}
READY = messages.ready_for_query(b"T")
ID = Column("id", TABLE, 1, INT8, 8, -1, 0)


def description(*columns):
    body = struct.pack(">H", len(columns))
    for column in columns:
        body += column.name.encode() + b"\0" + struct.pack(">IhIhih", *column[1:])
    return b"T" + struct.pack(">I", len(body) + 4) + body


def parameters():
    return b"t" + struct.pack(">IH", 6, 0)


def rows(*values, column=ID):
    return b"".join(messages.data_row([encoded(value, column)]) for value in values)


def encoded(value, column):
    if value is None or isinstance(value, bytes):
        return value
    if column.format == pinning.BINARY:
        return value.to_bytes(SIZES[column.type_oid], "big", signed=True)
    return b"%d" % value


def simple(*values, column=ID, tag="INSERT 0 1"):
    return description(column) + rows(*values, column=column) + messages.command_complete(tag) + READY


# --- what is seen -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_oid", [INT2, INT4, INT8])
@pytest.mark.parametrize("form", [pinning.TEXT, pinning.BINARY])
def test_values_are_read_in_every_format(type_oid, form):
    column = Column("id", TABLE, 3, type_oid, SIZES[type_oid], -1, form)
    assert seen(simple(6, 7, -8, column=column), INSERT) == Seen((Drawn(TABLE, 3, (6, 7, -8)),))


def test_only_integers_of_tables_are_looked_at():
    columns = [
        ID,
        Column("id_again", TABLE, 1, INT8, 8, -1, 0),
        Column("name", TABLE, 2, TEXT_OID, -1, -1, 0),
        Column("computed", 0, 0, INT8, 8, -1, 0),
        Column("ctid", TABLE, -1, INT4, 4, -1, 0),
        Column("small", TABLE, 4, INT2, 2, -1, 0),
        Column("absent", TABLE, 5, INT4, 4, -1, 0),
    ]
    row = messages.data_row([b"6", b"6", b"7", b"8", b"9", b"10", None])
    reply = description(*columns) + row + messages.command_complete("INSERT 0 1") + READY
    assert seen(reply, INSERT) == Seen((Drawn(TABLE, 1, (6,)), Drawn(TABLE, 4, (10,))))


def test_columns_are_bounded():
    columns = [Column("c", TABLE, at, INT4, 4, -1, 0) for at in range(1, 100)]
    row = messages.data_row([b"1"] * 99)
    found = seen(description(*columns) + row + messages.command_complete("INSERT 0 1"), INSERT)
    assert found is not None
    assert len(found.columns) == pinning.COLUMNS_MAX


def test_rows_are_bounded():
    most = range(1, pinning.ROWS_MAX + 1)
    assert seen(simple(*most), INSERT) == Seen((Drawn(TABLE, 1, tuple(most)),))
    assert seen(simple(*most, 1), INSERT) is None


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        READY,
        messages.command_complete("INSERT 0 1") + READY,
        simple(),
        simple(None),
        simple(6, None),
        simple(b"six"),
        simple(6, tag="SELECT 1"),
        simple(6, tag="UPDATE 1"),
        simple(6, tag="DELETE 1"),
        description(ID) + rows(6),
        description(ID) + rows(6) + messages.error_response("40001", "no"),
        description(ID) + rows(6) + b"s\0\0\0\4",
        rows(6) + messages.command_complete("INSERT 0 1"),
        simple(6) + simple(7),
        simple(6) + messages.command_complete("INSERT 0 1"),
        messages.command_complete("INSERT 0 1") + simple(6),
        description(ID) + messages.data_row([b"6", b"7"]) + messages.command_complete("INSERT 0 1"),
        description(Column("a", 0, 0, INT8, 8, -1, 0)) + rows(6) + messages.command_complete("INSERT 0 1"),
        b"T\0\0\0\5\1" + rows(6),
        b"\0\0\0\0\0",
    ],
)
def test_all_else_shows_nothing(reply):
    assert seen(reply, INSERT) is None


def test_what_draws_nothing_may_stand_beside_it():
    begun = messages.PARSE_COMPLETE + messages.BIND_COMPLETE + messages.command_complete("BEGIN")
    notice = messages.notice_response("00000", "hello")
    found = seen(notice + begun + messages.PARSE_COMPLETE + messages.BIND_COMPLETE + simple(6), INSERT)
    assert found == Seen((Drawn(TABLE, 1, (6,)),))
    assert seen(simple(6) + messages.command_complete("RELEASE"), INSERT) == found


# --- formats ------------------------------------------------------------------------------------------------

BINARY_ID = ID._replace(format=1)
EXECUTED = messages.BIND_COMPLETE + rows(6, 7, column=BINARY_ID) + messages.command_complete("INSERT 0 2")


def test_the_description_of_a_statement_leaves_formats_open():
    reply = parameters() + description(ID) + EXECUTED
    assert seen(reply, INSERT) == Seen((Drawn(TABLE, 1, (6, 7)),))
    assert seen(reply, INSERT, formats=[1]) == Seen((Drawn(TABLE, 1, (6, 7)),))
    assert seen(reply, INSERT, formats=[0]) is None


def test_what_was_described_before_has_to_be_given():
    assert seen(EXECUTED, INSERT) is None
    assert seen(EXECUTED, INSERT, columns=[ID]) == Seen((Drawn(TABLE, 1, (6, 7)),))
    assert seen(EXECUTED, INSERT, columns=[ID], formats=(1,)) == Seen((Drawn(TABLE, 1, (6, 7)),))
    assert seen(EXECUTED, INSERT, columns=[ID], formats=()) is None


def test_digits_that_could_be_a_number_s_bytes_are_left_alone():
    ambiguous = rows(b"12345678") + messages.command_complete("INSERT 0 1")
    assert seen(ambiguous, INSERT, columns=[ID]) is None
    assert seen(ambiguous, INSERT, columns=[ID], formats=[]) == Seen((Drawn(TABLE, 1, (12345678,)),))
    as_bytes = int.from_bytes(b"12345678", "big")
    assert seen(ambiguous, INSERT, columns=[ID], formats=[1]) == Seen((Drawn(TABLE, 1, (as_bytes,)),))
    assert seen(description(ID) + ambiguous, INSERT) == Seen((Drawn(TABLE, 1, (12345678,)),))


def test_each_column_has_its_format():
    second = Column("n", TABLE, 2, INT4, 4, -1, 0)
    row = messages.data_row([b"6", (7).to_bytes(4, "big")]) + messages.command_complete("INSERT 0 1")
    found = seen(row, INSERT, columns=[ID, second], formats=[0, 1])
    assert found == Seen((Drawn(TABLE, 1, (6,)), Drawn(TABLE, 2, (7,))))


def bind(values, formats):
    body = messages.bind("portal", "statement", values)[5:-2]
    return body + struct.pack(f">H{len(formats)}H", len(formats), *formats)


@pytest.mark.parametrize("formats", [(), (1,), (0, 1, 0)])
def test_formats_are_read_from_a_bind(formats):
    assert result_formats(bind([b"a", None, b""], formats)) == formats
    with_types = (
        b"\0\0" + struct.pack(">HHHH", 2, 1, 1, 0) + struct.pack(f">H{len(formats)}H", len(formats), *formats)
    )
    assert result_formats(with_types) == formats


@given(st.binary(max_size=60))
def test_a_bind_that_is_none_is_refused(body):
    with contextlib.suppress(ProtocolViolation):
        assert all(0 <= item <= 0xFFFF for item in result_formats(body))


@pytest.mark.parametrize("cut", range(len(bind([b"a"], (1, 0)))))
def test_a_bind_that_is_cut_is_refused(cut):
    with pytest.raises(ProtocolViolation):
        result_formats(bind([b"a"], (1, 0))[:cut])


# --- a sequence by its name ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        (b"SELECT nextval('s')", b"s"),
        (b"select nextval ('public.s');", b"public.s"),
        (b"  SELECT\n pg_catalog . NEXTVAL( 's'::regclass ) AS id ; ", b"s"),
        (b"select nextval('s'::pg_catalog.regclass)", b"s"),
        (b"select nextval('s') nextval", b"s"),
        (b'SELECT nextval(\'"My Seq"\') AS "n"', b'"My Seq"'),
        (b"/* app */ select nextval('it''s') /* b */", b"it's"),
        (b"SELECT nextval($1)", None),
        (b"SELECT nextval('s'), 1", None),
        (b"SELECT nextval('s') + 1", None),
        (b"SELECT nextval('s') FROM generate_series(1, 3)", None),
        (b"SELECT nextval('s' || 't')", None),
        (b"SELECT nextval('a\\b')", None),
        (b"SELECT nextval('\xc3\xa9')", None),
        (b"SELECT nextval('a\0b')", None),
        (b"SELECT other.nextval('s')", None),
        (b"SELECT 1; SELECT nextval('s')", None),
        (b"SELECT nextval('s'); SELECT 1", None),
        (b"", None),
    ],
)
def test_a_name_is_read_where_it_is_literal(sql, name):
    assert literal_sequence(sql) == name


COMPUTED = Column("nextval", 0, 0, INT8, 8, -1, 0)


def test_a_literal_call_shows_its_sequence():
    found = seen(simple(6, column=COMPUTED, tag="SELECT 1"), b"SELECT nextval('s')")
    assert found == Seen((Drawn(0, 0, (6,)),), b"s")
    assert found.lookup_sql() == named_sql(b"s")


@pytest.mark.parametrize(
    ("reply", "sql"),
    [
        (simple(6, column=COMPUTED, tag="SELECT 1"), b"SELECT nextval($1)"),
        (simple(6, column=COMPUTED._replace(type_oid=INT4), tag="SELECT 1"), b"SELECT nextval('s')"),
        (simple(None, column=COMPUTED, tag="SELECT 1"), b"SELECT nextval('s')"),
        (simple(6, 7, column=COMPUTED, tag="SELECT 2"), b"SELECT nextval('s')"),
    ],
)
def test_other_calls_do_not(reply, sql):
    assert seen(reply, sql) is None


# --- what is pinned -----------------------------------------------------------------------------------------


def state(**changes):
    fields = {"table_oid": TABLE, "column": 1, "oid": 500, "last_value": 38, "increment": 1, "cache": 1}
    return State(**{**fields, "start": 1, "minimum": 1, "maximum": 100, **changes})


OBSERVED = Seen((Drawn(TABLE, 1, (6, 7)), Drawn(TABLE, 2, (3, 5))))


def test_consecutive_values_are_pinned():
    (pin,) = pins(OBSERVED, [state()])
    assert pin == Pin(state(), 6, 7)
    assert pin.sql() == pin_sql(500, 6)
    assert pin.restoring_sql() == restore_sql(500, 38, 1, 7, 1)
    assert as_seen(pin, b"7")
    assert as_seen(pin, None)
    assert not as_seen(pin, b"8")
    assert pins(OBSERVED, [state(column=2, increment=2)]) == [Pin(state(column=2, increment=2), 3, 5)]


@pytest.mark.parametrize(
    "found",
    [
        [],
        [state(table_oid=1)],
        [state(column=2)],  # 3 and 5 aren't consecutive
        [state(increment=-1)],
        [state(cache=20)],
        [state(minimum=7)],
        [state(maximum=6)],
        [state(last_value=5)],  # 6 comes anyway
        [state(last_value=None, start=6)],
        [state(), state(oid=501)],  # two sequences behind a column
        [state(), state(column=2)],  # two columns with a sequence
    ],
)
def test_all_else_is_not(found):
    assert pins(OBSERVED, found) == []


@given(
    st.integers(-(2**62), 2**62),
    st.integers(-1000, 1000).filter(bool),
    st.integers(1, 20),
    st.integers(-(2**62), 2**62),
)
def test_what_a_sequence_gives_is_consecutive(first, increment, count, other):
    values = tuple(first + at * increment for at in range(count))
    assert Drawn(TABLE, 1, values).consecutive(increment)
    if count > 1:
        assert not Drawn(TABLE, 1, values).consecutive(-increment)
        assert not Drawn(TABLE, 1, values).consecutive(increment + 1)
    if other != values[-1] + increment:
        assert not Drawn(TABLE, 1, (*values, other)).consecutive(increment)


def test_rows_of_the_look_up_are_read():
    row = [b"16384", b"1", b"500", b"38", b"t", b"1", b"1", b"1", b"1", b"100"]
    uncalled = [*row[:3], None, b"f", *row[5:]]
    assert states([row, uncalled]) == [state(), state(last_value=None)]
    assert [item.next_value for item in states([row, uncalled])] == [39, 1]
    for broken in ([], row[:-1], [*row[:-1], None], [b"x", *row[1:]], [None, *row[1:]]):
        with pytest.raises(ProtocolViolation):
            states([broken])


def test_the_texts_name_what_they_should():
    assert pin_sql(500, -6) == (
        b"SELECT pg_catalog.setval('500'::pg_catalog.oid::pg_catalog.regclass, -6, false)"
    )
    assert b"GREATEST(n.last, '7'::pg_catalog.int8, '38'::pg_catalog.int8)" in restore_sql(500, 38, 1, 7, 1)
    assert b"LEAST(n.last, '-7'::pg_catalog.int8, NULL" in restore_sql(500, None, -1, -7, -1)
    text = lookup_sql(iter([(1, 3), (2, 4)]))
    assert b"'{1,2}'::pg_catalog.oid[]" in text
    assert b"'{3,4}'::pg_catalog.int4[]" in text
    assert OBSERVED.lookup_sql() == lookup_sql([(TABLE, 1), (TABLE, 2)])
    assert b"to_regclass('it''s')" in named_sql(b"it's")


# --- properties ---------------------------------------------------------------------------------------------


@given(
    st.binary(max_size=100),
    st.lists(st.sampled_from([description(ID), rows(6), READY, EXECUTED]), max_size=5),
)
def test_any_answer_is_taken(garbage, parts):
    for reply in (garbage, b"".join(parts) + garbage, b"".join(parts)):
        for formats in (None, (), (1,)):
            found = seen(reply, INSERT, columns=[ID], formats=formats)
            assert found is None or all(item.values for item in found.columns)


@given(st.integers(0, 200))
def test_an_answer_that_is_cut_shows_all_or_nothing(cut):
    whole = simple(6, 7, 8)
    found = seen(whole[:cut], INSERT)
    assert found in {None, seen(whole, INSERT)}


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=20), st.sampled_from([0, 1]))
def test_whatever_was_sent_is_seen(values, form):
    column = Column("id", TABLE, 1, INT4, 4, -1, form)
    assert seen(simple(*values, column=column), INSERT) == Seen((Drawn(TABLE, 1, tuple(values)),))
    # Without knowing the format it is read rightly or not at all.
    opened = rows(*values, column=column) + messages.command_complete("INSERT 0 1")
    assert seen(opened, INSERT, columns=[column]) in {None, Seen((Drawn(TABLE, 1, tuple(values)),))}
