"""What of a query travels between processes, and that nothing else does."""

import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.app.observation.records import (
    CONTEXT_MAX,
    DATAGRAM_BYTES,
    MESSAGES_MAX,
    NAME_MAX,
    TEXT_BYTES,
    Record,
    digest,
    pack,
    record_of,
    text_of,
    unpack,
)
from seawall.proxy.owed import SAMPLE, SAMPLE_AGAIN, SAMPLE_BATCH, SAMPLE_NAME, SAMPLE_QUERY
from seawall.proxy.watching import Fact
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import COPY_DATA, HEADER
from tests.app.observation.told import batch, commented, error_body, fact, record, traceparent

COPY_DONE_MESSAGE = b"c\0\0\0\4"
SECRET = "s3cr3tvalue"
TIMES = st.floats(0.0, 1e9)
NAMES = st.text(max_size=80)
RECORDS = st.builds(
    Record,
    *[st.integers(0, 63), *[TIMES] * 6, st.booleans(), st.integers(0, 1 << 31)],
    *[*[NAMES] * 4, st.binary(max_size=200)],
)


def copied(data):
    return HEADER.pack(COPY_DATA, 4 + len(data)) + data


# --- datagrams ----------------------------------------------------------------------------------------------


@given(st.lists(RECORDS, max_size=20))
def test_what_is_packed_comes_out_again(records):
    found = [unpack(datagram) for datagram, _ in pack(records)]
    assert [one for rows in found for one in rows] == records
    assert [len(rows) for rows in found] == [count for _, count in pack(records)]


SMALL = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats() | NAMES | st.binary()


@given(st.binary(max_size=200) | st.recursive(SMALL, st.lists).map(msgspec.msgpack.encode))
def test_whatever_comes_is_records_or_a_value_error(datagram):
    try:
        found = unpack(datagram)
    except ValueError:
        return
    assert all(isinstance(one, Record) for one in found)


@pytest.mark.parametrize(
    "datagram",
    [b"", b"{}", b"\xff", b"\x91" * 200_000, b"\x91\x01", b"\x91\x90", b"\x90\x90"],
    ids=lambda datagram: repr(datagram[:6]),
)
def test_what_is_no_datagram_of_ours_is_a_value_error(datagram):
    with pytest.raises(ValueError):
        unpack(datagram)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("took_s", math.inf),
        ("took_s", -math.inf),
        ("took_s", math.nan),
        ("ended_at", 1e13),
        ("took_s", True),
        ("took_s", "1"),
        ("worker", 1.5),
        ("worker", -1),
        ("client_pid", None),
        ("traced", 1),
        ("user", 1),
        ("sqlstate", None),
        ("text", "SELECT 1"),
    ],
)
def test_a_field_that_is_none_of_ours_is_a_value_error(name, value):
    row = list(record())
    assert unpack(msgspec.msgpack.encode([row])) == [record()]
    row[Record._fields.index(name)] = value
    with pytest.raises(ValueError):
        unpack(msgspec.msgpack.encode([row]))


@given(st.lists(st.text(max_size=30_000), min_size=1, max_size=4), st.integers(1, 40))
def test_datagrams_are_bounded_however_long_names_are(names, count):
    facts = [
        fact(
            user=name,
            database=name * 2,
            backend=name,
            traced=True,
            said=messages.query(commented("SELECT 1")),
        )
        for name in itertools.islice(itertools.cycle(names), count)
    ]
    packed = list(pack(record_of(one, 3) for one in facts))
    assert sum(number for _, number in packed) == count
    assert all(len(datagram) <= DATAGRAM_BYTES for datagram, _ in packed)


def test_what_does_not_fit_into_a_datagram_goes_into_the_next():
    long = "\udce9" * NAME_MAX  # six bytes each, as JSON
    told = [record_of(fact(user=long, database=long, backend=long), number) for number in range(32)]
    packed = list(pack(told))
    assert len(packed) > 1
    assert all(len(datagram) <= DATAGRAM_BYTES for datagram, _ in packed)
    assert [one for datagram, _ in packed for one in unpack(datagram)] == told


def test_a_record_is_bounded_whatever_its_comment_says():
    long = "\U0001f512" * 2_000
    said = messages.query(f"SELECT 1 /*traceparent='{long}',tracestate='{long}'*/")
    found = record_of(fact(traced=True, said=said, user="\udce9" * 9_000), 0)
    shown = digest(found)
    assert (shown.traceparent, shown.tracestate, found.user) == ("", "", "?" * NAME_MAX)
    assert len(found.text) <= TEXT_BYTES
    state = "a=" + "b" * (CONTEXT_MAX - 2)
    kept = record_of(
        fact(traced=True, said=messages.query(f"SELECT 1 /*tracestate='{state}'*/ -- traceparent='")), 0
    )
    assert digest(kept).tracestate == state
    (datagram,) = pack([found])
    assert len(datagram[0]) < DATAGRAM_BYTES
    assert unpack(datagram[0]) == [found]


# --- texts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ahead",
    [
        b"",
        SAMPLE_QUERY,
        SAMPLE_BATCH,
        messages.parse(SAMPLE_NAME, SAMPLE) + SAMPLE_BATCH,
        SAMPLE_AGAIN,
        messages.sync() * (MESSAGES_MAX - 1),
    ],
    ids=["nothing", "query", "batch", "batch with its Parse", "again", "many"],
)
@pytest.mark.parametrize("name", ["", "mine", "seawall_3"])
def test_our_own_question_in_front_is_not_the_text(ahead, name):
    assert text_of(ahead + messages.query("SELECT a")) == b"SELECT a"
    assert text_of(ahead + batch("SELECT b", "x", name=name)) == b"SELECT b"


def test_of_several_texts_it_is_the_first_or_the_one_with_the_trace():
    said = batch("SELECT a") + batch(commented("SELECT b")) + batch("SELECT c")
    assert text_of(said) == b"SELECT a"
    assert text_of(said, b"traceparent='").startswith(b"SELECT b")
    found = record_of(fact(traced=True, said=said.replace(b"SELECT b", b"DELETE b")), 0)
    assert (digest(found).traceparent, digest(found).command) == (traceparent(), "DELETE")


@given(st.integers(0, 200))
def test_a_chunk_that_is_cut_has_a_text_only_if_that_is_whole(cut):
    said = messages.query("SELECT 1 FROM orders") + batch("SELECT 2 FROM orders", "x" * 90)
    assert text_of(said[:cut]) in (b"", b"SELECT 1 FROM orders")
    assert bool(text_of(said[:cut])) is (cut >= len(messages.query("SELECT 1 FROM orders")))


def test_a_parse_that_is_cut_behind_its_text_is_none():
    said = messages.parse("", "SELECT 1", [25])
    assert text_of(said) == b"SELECT 1"
    assert text_of(said[:-1]) == b""


def test_beyond_so_many_messages_nobody_looks():
    assert text_of(messages.sync() * MESSAGES_MAX + messages.query("SELECT 1")) == b""


@pytest.mark.parametrize(
    "piece",
    [
        b"Query SELECT * FROM s3cr3tvalue\n" + copied(b"x\n"),
        b"Paid: SELECT * FROM s3cr3tvalue\n" + copied(b"x\n"),
        b"Q\0\0\0\x03SELECT * FROM s3cr3tvalue\0",
        b"Q\x7f\xff\xff\xffSELECT * FROM s3cr3tvalue\0",
        b"Q\0\0\0\x30SELECT * FROM s3cr3tvalue\0 and the rest of some value or other",
        b"P\0\0\0\x06SELECT * FROM s3cr3tvalue\0",
        b"\0\0\0\0\0Q\0\0\0\x1dSELECT * FROM s3cr3tvalue\0",
    ],
)
def test_the_middle_of_a_message_is_no_text(piece):
    assert SECRET.encode() not in text_of(piece)
    assert SECRET not in repr(digest(record_of(fact(said=piece, error=error_body("22P02", "no")), 0)))


@given(st.binary(max_size=300))
def test_any_bytes_have_a_text_or_none(said):
    assert isinstance(text_of(said), bytes)
    found = record_of(fact(said=said, text=said, error=said, traced=True), 0)
    assert isinstance(found, Record)
    assert all(isinstance(text, str) for text in digest(found))


# --- records ------------------------------------------------------------------------------------------------


def test_a_record_has_the_facts_and_what_the_text_does():
    said = messages.query(commented("SELECT n FROM orders WHERE n = 'x'"))
    told = fact(traced=True, said=said, waited_s=1.0, fitted_s=2.0, lead_s=3.0, idle_s=4.0)
    found = record_of(told, 1)
    times = {"waited_s": 1.0, "fitted_s": 2.0, "lead_s": 3.0, "idle_s": 4.0}
    assert found == record(**times)._replace(traced=True, text=said[5:-1])
    assert digest(found) == ("SELECT", "orders", traceparent(), "")


def test_a_prepared_statements_text_comes_before_what_was_said():
    tail = commented("INSERT INTO audit VALUES ($1)").encode() + b"\0\0\0"
    found = record_of(fact(traced=True, text=tail, said=messages.query("SELECT 1 FROM other")), 0)
    assert digest(found) == ("INSERT", "audit", traceparent(), "")


def test_without_a_trace_no_comment_is_read():
    assert digest(record_of(fact(said=messages.query(commented("SELECT 1"))), 0)).traceparent == ""


def test_what_has_no_text_is_something_else():
    found = record_of(fact(said=copied(b"rows") + COPY_DONE_MESSAGE), 0)
    assert (found.text, digest(found)) == (b"", ("OTHER", "", "", ""))


@pytest.mark.parametrize("traced", [False, True])
def test_of_a_long_text_what_may_be_a_value_stays_in_the_worker(traced):
    many = f"SELECT {'a' * TEXT_BYTES} FROM orders WHERE token = '{SECRET}'"
    few = f"SELECT a FROM orders WHERE token = '{SECRET}' AND x = '{'b' * TEXT_BYTES}'"
    for text in (many, few):
        said = messages.query(commented(text) if traced else text)
        found = record_of(fact(said=said, traced=traced), 0)
        assert SECRET.encode() not in found.text
        assert digest(found).traceparent == (traceparent() if traced else "")
        assert digest(found).command == "SELECT"
    assert digest(found).table == "orders"


@pytest.mark.parametrize(
    ("body", "sqlstate"),
    [
        (error_body("23505", "duplicate"), "23505"),
        (b"", ""),
        (b"CTOOLONG\0\0", "XX000"),
        (b"C23505", "XX000"),
        (b"\0garbage", "XX000"),
    ],
)
def test_of_an_error_only_its_code_is_told(body, sqlstate):
    assert record_of(fact(error=body), 0).sqlstate == sqlstate


LITERALS = st.sampled_from(
    [
        f"'{SECRET}'",
        f"E'it\\'s {SECRET}'",
        f"$${SECRET}$$",
        f"$q$'{SECRET}$q$",
        f"U&'{SECRET}'",
        f"B'{SECRET}'",
    ]
)
TEMPLATES = st.sampled_from(
    [
        "SELECT * FROM orders WHERE token = {0}",
        "SELECT {0}",
        "SELECT {0} FROM orders",
        "INSERT INTO orders (a, b) VALUES ({0}, {0})",
        "UPDATE orders SET a = {0} WHERE b = {0}",
        "WITH x AS (SELECT {0}) DELETE FROM orders USING x",
        "DO {0}",
        "SET my.token TO {0}",
        "ALTER ROLE ada PASSWORD {0}",
        "CREATE USER MAPPING FOR ada SERVER s OPTIONS (password {0})",
        "COPY orders FROM PROGRAM {0}",
        "COPY orders FROM {0}",
        "{0}",
        "SELECT 1; SELECT {0} FROM orders",
        "SELECT /* {0} */ 1",
        "SELECT 1 -- {0}\n FROM orders",
        "EXECUTE prepared ({0})",
        "NOTIFY channel, {0}",
    ]
)


@st.composite
def secretive(draw):
    """A fact about something that was said with a secret in it, wherever one can be."""
    text = draw(TEMPLATES).format(draw(LITERALS))
    pairs = draw(
        st.sampled_from(
            ["", f" /*token='{SECRET}'*/", f" /*route='{SECRET}',traceparent='{traceparent()}'*/"]
        )
    )
    text += pairs
    said = draw(
        st.sampled_from(
            [
                messages.query(text),
                batch(text, SECRET),
                batch("SELECT $1 FROM orders", SECRET),
                messages.query("COPY orders FROM STDIN") + copied(SECRET.encode() + b"\n"),
                messages.bind("", "", [SECRET.encode()]) + messages.execute() + messages.sync(),
                copied(SECRET.encode()) + COPY_DONE_MESSAGE,
            ]
        )
    )
    return fact(
        traced="traceparent" in pairs,
        text=draw(st.sampled_from([b"", text.encode() + b"\0\0\0"])),
        said=said[draw(st.integers(0, 3)) :][: draw(st.integers(1, 600))],
        error=draw(st.sampled_from([b"", error_body("23505", f"twice: {SECRET}", f"Key (x)=({SECRET})")])),
    )


@given(secretive())
def test_no_value_of_a_query_is_in_what_is_shown_of_it(told):
    # Literals, parameters, rows, comments, and the server's message.
    assert isinstance(told, Fact)
    found = record_of(told, 0)
    assert SECRET not in repr((digest(found), found._replace(text=b"")))


def test_no_parameter_and_no_row_leaves_the_worker():
    for said in (
        batch("SELECT $1 FROM orders", SECRET),
        messages.query("COPY a FROM STDIN") + copied(SECRET.encode()),
    ):
        assert SECRET in said.decode("latin-1")
        assert SECRET not in repr(record_of(fact(said=said), 0))
