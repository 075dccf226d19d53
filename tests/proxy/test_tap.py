"""A recording tells the same whatever the chunks, and tells different results apart."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy import tap as module
from seawall.proxy.tap import DIGEST_BYTES, Outcome, Recording
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import HEADER
from seawall.wire.pgwire.messages import ProtocolViolation

LIMIT = 1 << 20


def column(name, *, table=0, number=0, type_oid=25):
    """A RowDescription of one column, of a table."""
    body = b"\0\1" + name.encode() + b"\0" + table.to_bytes(4, "big") + number.to_bytes(2, "big")
    body += type_oid.to_bytes(4, "big") + b"\xff\xff\xff\xff\xff\xff\0\0"
    return HEADER.pack(ord("T"), 4 + len(body)) + body


def outcomes(data, chunk=LIMIT):
    recording = Recording(LIMIT)
    for start in range(0, len(data), chunk):
        recording.heard(data[start : start + chunk])
    return recording.outcomes


def result(*rows, tag="SELECT 1", head=None):
    data = (column("a") if head is None else head) + b"".join(messages.data_row(list(row)) for row in rows)
    return data + messages.command_complete(tag)


def test_a_statement_is_its_tag_its_rows_and_their_hash():
    (one,) = outcomes(result((b"1",), (b"2",), tag="SELECT 2"))
    assert (one.tag, one.rows, one.sqlstate, len(one.digest)) == ("SELECT 2", 2, "", DIGEST_BYTES)


def test_other_endings_have_no_tag():
    data = messages.empty_query_response() + HEADER.pack(ord("s"), 4)
    data += messages.error_response("22012", "division by zero") + messages.ready_for_query(b"I")
    assert [(one.tag, one.rows, one.sqlstate) for one in outcomes(data)] == [
        ("", 0, ""),
        ("", 0, ""),
        ("", 0, "22012"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        result((b"2",)),
        result((None,)),
        result((b"",)),
        result((b"1",), (b"1",)),
        result((b"1", b"1")),
        result((b"1",), head=column("b")),
        result((b"1",), head=column("a", type_oid=23)),
    ],
)
def test_what_differs_has_another_hash(other):
    assert outcomes(other)[0].digest != outcomes(result((b"1",)))[0].digest


def test_rows_cut_in_another_place_have_another_hash():
    assert outcomes(result((b"ab", b"c")))[0].digest != outcomes(result((b"a", b"bc")))[0].digest


def test_where_a_column_comes_from_is_not_in_the_hash():
    """Servers that hold the same number their tables differently."""
    here, there = column("a", table=16384, number=1), column("a", table=24576, number=2)
    assert outcomes(result((b"1",), head=here)) == outcomes(result((b"1",), head=there))


def test_a_hash_is_over_one_statement_alone():
    data = result((b"1",))
    assert outcomes(data + data) == outcomes(data) * 2


values = st.none() | st.binary(max_size=30)
statement = st.one_of(
    st.lists(st.lists(values, max_size=3).map(tuple), max_size=4).map(lambda rows: result(*rows)),
    st.sampled_from(["22012", "40001"]).map(lambda code: messages.error_response(code, "no")),
    st.just(messages.empty_query_response()),
    st.just(messages.notice_response("00000", "hello") + messages.parameter_status("a", "b")),
    st.just(messages.ready_for_query(b"T")),
    st.just(messages.PARSE_COMPLETE + messages.BIND_COMPLETE + messages.NO_DATA),
)


@given(
    parts=st.lists(statement, max_size=6),
    cuts=st.lists(st.integers(0, 600), max_size=12),
)
def test_any_chunks_tell_the_same(parts, cuts):
    data = b"".join(parts)
    recording = Recording(LIMIT)
    places = sorted({0, len(data), *(place for place in cuts if place < len(data))})
    for start, end in pairwise(places):
        recording.heard(data[start:end])
    assert recording.outcomes == outcomes(data) == outcomes(data, 1)
    assert recording.outcomes == [one for part in parts for one in outcomes(part)]


def test_a_row_is_hashed_as_it_passes_and_never_kept():
    recording = Recording(LIMIT)
    size = 1 << 20
    data = result((b"x" * size,))
    for start in range(0, len(data), 4096):
        recording.heard(data[start : start + 4096])
        assert len(recording._carry) < 64
    assert recording.outcomes == outcomes(data)


def test_a_message_that_is_too_long_to_be_kept_is_passed_over(monkeypatch):
    monkeypatch.setattr(module, "WHOLE_LIMIT", 100)
    notice = messages.notice_response("00000", "x" * 300)
    data = notice + result((b"1",))
    recording = Recording(LIMIT)
    for start in range(0, len(data), 7):
        recording.heard(data[start : start + 7])
        assert len(recording._carry) < 120
    assert recording.outcomes == outcomes(result((b"1",)))


def test_a_server_that_says_nonsense_is_found_out():
    with pytest.raises(ProtocolViolation):
        Recording(LIMIT).heard(HEADER.pack(ord("T"), 5) + b"\1")


# --- what was said ------------------------------------------------------------------------------------------


@given(
    said=st.lists(
        st.sampled_from([messages.query("SELECT 1"), messages.sync(), messages.parse("", "SELECT 1")]),
        max_size=6,
    ),
    chunk=st.integers(1, 30),
)
def test_what_was_said_is_kept_message_by_message(said, chunk):
    recording = Recording(LIMIT)
    data = b"".join(said)
    for start in range(0, len(data), chunk):
        recording.said(data[start : start + chunk])
    assert [HEADER.pack(kind, 4 + len(body)) + body for kind, body in recording.messages] == said
    assert not recording.overflowed


def test_beyond_its_limit_nothing_is_kept_and_results_still_are():
    data = messages.query("SELECT 1")
    recording = Recording(len(data) * 2)
    for _ in range(2):
        recording.said(data)
    assert len(recording.messages) == 2
    recording.said(data)
    assert recording.overflowed
    assert recording.messages == []
    recording.said(data)
    assert recording.messages == []
    recording.heard(result((b"1",)))
    assert recording.outcomes == outcomes(result((b"1",)))


def test_a_message_above_the_limit_of_one_overflows(monkeypatch):
    monkeypatch.setattr(module, "WHOLE_LIMIT", 100)
    recording = Recording(LIMIT)
    recording.said(messages.query("x" * 200))
    assert recording.overflowed


def test_an_outcome_is_a_plain_value():
    assert Outcome("SELECT 1", 1, b"12345678") == Outcome("SELECT 1", 1, b"12345678", "")
