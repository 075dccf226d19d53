"""What is a whole batch and what is its whole answer, to the byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.pgwire import exchange, messages
from seawall.wire.pgwire.exchange import BATCH, DESCRIBED_BATCH, EXECUTED_BATCH, PLAIN_BATCH, QUERY_ALONE

KINDS = (QUERY_ALONE, EXECUTED_BATCH, DESCRIBED_BATCH, BATCH, PLAIN_BATCH)
REST = messages.describe_portal("") + messages.execute("") + messages.sync()
READY = messages.ready_for_query(b"I")
DONE = messages.command_complete("SELECT 1")
ROW = messages.data_row([b"x"])
NO_DATA = b"n\0\0\0\4"
ORDINARY = {
    QUERY_ALONE: ROW + DONE,
    EXECUTED_BATCH: messages.BIND_COMPLETE + ROW + DONE,
    DESCRIBED_BATCH: messages.BIND_COMPLETE + NO_DATA + DONE,
    BATCH: messages.PARSE_COMPLETE + messages.BIND_COMPLETE + NO_DATA + DONE,
    PLAIN_BATCH: messages.PARSE_COMPLETE + messages.BIND_COMPLETE + NO_DATA + DONE,
}


@pytest.mark.parametrize("what", KINDS)
def test_ordinary_answers_are_recognised(what):
    whole = ORDINARY[what] + READY
    assert exchange.answers(whole, what)
    assert all(not exchange.answers(whole[:end], what) for end in range(len(whole)))
    assert not exchange.answers(whole + READY, what)
    assert not exchange.answers(READY, what)
    error = messages.error_response("42601", "no")
    assert not exchange.answers(ORDINARY[what] + error + READY, what)
    assert not exchange.answers(ORDINARY[what].replace(b"SELECT 1", b"DISCARD\0") + READY, what)


def test_several_commands_are_not_ordinary():
    for what in KINDS:
        assert not exchange.answers(ORDINARY[what] + DONE + READY, what)


def test_descriptions_are_where_they_were_asked_for():
    begun = messages.BIND_COMPLETE
    assert not exchange.answers(begun + DONE + READY, DESCRIBED_BATCH)
    assert not exchange.answers(begun + NO_DATA + DONE + READY, EXECUTED_BATCH)


@pytest.mark.parametrize("length", [0, 3, 65_536])
def test_odd_lengths_are_not_ordinary(length):
    row = b"D" + length.to_bytes(4, "big") + b"x" * max(0, length - 4)
    assert not exchange.answers(row + DONE + READY, QUERY_ALONE)


@given(what=st.sampled_from(KINDS), data=st.binary(max_size=60), rest=st.sampled_from([b"", REST, READY]))
def test_any_bytes_will_do(what, data, rest):
    assert exchange.answers(data + rest, what) in {True, False}
    if len(data) > 5:
        assert 0 <= exchange.parse_end(b"P" + data[1:] + rest) <= len(data)
        assert 0 <= exchange.bind_end(b"B" + data[1:] + rest) <= len(data + rest)


def test_what_begins_or_ends_otherwise_is_no_batch():
    parse, bind = messages.parse("", "rows 1"), messages.bind("", "", [])
    assert exchange.parse_end(parse + bind + REST) == len(parse)
    assert exchange.bind_end(bind + REST) == len(bind)
    assert exchange.bind_end(bind + messages.execute("") + messages.sync()) == len(bind)
    for other in (
        messages.parse("a", "rows 1") + bind + REST,
        parse + messages.bind("p", "", []) + REST,
        parse + messages.bind("", "a", []) + REST,
        parse + bind + bind + REST,
        parse + bind + REST + b"H",
        parse + bind + messages.execute("") + messages.sync(),
        parse + REST,
    ):
        assert exchange.parse_end(other) == 0
    for other in (
        messages.bind("p", "", []) + REST,
        bind + messages.flush() + REST,
        bind + messages.sync(),
        bind + REST + b"H",
    ):
        assert exchange.bind_end(other) == 0
