"""What is seen in one go is what would have been seen message by message."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seawall.proxy.owed import (
    ENTRIES,
    HIDDEN,
    SAMPLE_BATCH_TAIL,
    SAMPLE_BOUND,
    SAMPLE_CLOSED,
    SAMPLE_COLUMNS,
    SAMPLE_EXECUTED,
    SAMPLE_TAIL,
    SAMPLED,
    SIMPLE,
    UNNAMED,
    Note,
)
from seawall.proxy.replay.journal import Journal
from seawall.proxy.server import OPEN, Server
from seawall.wire.pgwire import exchange, messages
from seawall.wire.pgwire.exchange import BATCH, DESCRIBED_BATCH, EXECUTED_BATCH, PLAIN_BATCH, QUERY_ALONE
from seawall.wire.pgwire.framing import HEADER
from tests.proxy.model import ModelServer, summary
from tests.proxy.test_client_relay import World, names, step, texts
from tests.proxy.test_server import Listener, Wire

pytestmark = [
    pytest.mark.interpreted,
    pytest.mark.timeout(60),
]  # a compiled Sink has no interpreted subclasses

REST = messages.describe_portal("") + messages.execute("") + messages.sync()
COLUMNS = HEADER.pack(ord("T"), 12) + b"\0\1a\0\0\0\0\0"
NO_DATA = HEADER.pack(ord("n"), 4)
ANSWERS = (
    messages.PARSE_COMPLETE,
    messages.BIND_COMPLETE,
    messages.CLOSE_COMPLETE,
    COLUMNS,
    NO_DATA,
    messages.data_row([b"x", None]),
    messages.data_row([b"Z\0\0\0\5I"]),
    messages.data_row([b"x" * 70_000]),
    messages.command_complete("SELECT 1"),
    messages.command_complete("SET"),
    messages.command_complete("DISCARD ALL"),
    messages.error_response("42601", "no"),
    HEADER.pack(ord("I"), 4),
    HEADER.pack(ord("s"), 4),
    HEADER.pack(ord("N"), 5) + b"\0",
    HEADER.pack(ord("D"), 3),
    HEADER.pack(ord("d"), 6) + b"xy",
    messages.ready_for_query(b"I"),
    messages.ready_for_query(b"T"),
    messages.ready_for_query(b"E"),
)
ORDINARY = {
    QUERY_ALONE: COLUMNS + messages.data_row([b"x"]) + messages.command_complete("SELECT 1"),
    EXECUTED_BATCH: messages.BIND_COMPLETE
    + messages.data_row([b"x"])
    + messages.command_complete("SELECT 1"),
    DESCRIBED_BATCH: messages.BIND_COMPLETE + NO_DATA + messages.command_complete("UPDATE 1"),
    BATCH: messages.PARSE_COMPLETE + messages.BIND_COMPLETE + COLUMNS + messages.command_complete("SELECT 0"),
    PLAIN_BATCH: messages.PARSE_COMPLETE
    + messages.BIND_COMPLETE
    + NO_DATA
    + messages.command_complete("BEGIN"),
}
READY = messages.ready_for_query(b"I")
kinds = st.sampled_from(sorted(ENTRIES))


def entered(what, at_once):
    listener = Listener()
    server = Server(Wire(), listener, 10)
    if at_once:
        server.whole = what
        server.before = (b"mine", b"held", b"new")
    else:
        server.entered.extend(ENTRIES[what])
        if what == BATCH:
            server.notes.append(Note(UNNAMED, None, b"", b"mine", b"held", b"new"))
    server.unnamed = server.before[2]
    return server, listener


def hear(server, chunks):
    for chunk in chunks:
        if chunk and server.state == OPEN:
            server.data_received(chunk)


def seen(server, listener):
    return (
        listener.data,
        listener.calls,
        list(server.pending),
        [(note.owed, note.mine, note.held, note.new) for note in server.notes],
        server.status,
        server.state,
        server.free,
        server.suspect,
        server.transport.ended,
    )


BATCHED = (SAMPLE_BOUND, SAMPLE_EXECUTED, SAMPLE_CLOSED)
SAMPLE_ROWS = (
    messages.data_row([b"777", b"0/171A440", None]),
    messages.data_row([None, b"0/171A440", b"0/1"]),
    messages.data_row([b"7" * 300, b"0/171A440", None]),
)


@given(
    owes=st.sampled_from(
        [
            (SAMPLED,),
            (SAMPLED, SIMPLE),
            (SIMPLE, SAMPLED, SIMPLE),
            (*BATCHED, SIMPLE),
            (*BATCHED, SIMPLE, SIMPLE),
            (SIMPLE, *BATCHED, SIMPLE),
        ]
    ),
    parts=st.lists(
        st.sampled_from(
            (
                ORDINARY[QUERY_ALONE] + messages.ready_for_query(b"T"),
                messages.command_complete("UPDATE 1") + messages.ready_for_query(b"T"),
                *(SAMPLE_COLUMNS + row + SAMPLE_TAIL for row in SAMPLE_ROWS),
                *(messages.BIND_COMPLETE + row + SAMPLE_BATCH_TAIL for row in SAMPLE_ROWS),
                *ANSWERS,
            )
        ),
        min_size=1,
        max_size=4,
    ),
    cut=st.integers(0, 400),
)
@settings(max_examples=300, deadline=None)
def test_our_question_ahead_of_a_query_is_answered_in_one_go_as_bit_by_bit(owes, parts, cut):
    one, two = Server(Wire(), Listener(), 10), Server(Wire(), Listener(), 10)
    for server in (one, two):
        server.entered.extend(owes)
        server.sampling = sum(1 for one in owes if one in HIDDEN)
        server.journal = Journal(1000, 100)
    whole = b"".join(parts)
    hear(one, [whole[:cut], whole[cut:]])
    hear(two, [whole[at : at + 3] for at in range(0, len(whole), 3)])  # no chunk has a whole header
    assert two.state != OPEN or one.state == OPEN
    if two.state != OPEN:
        return  # how much was passed on before that depends on the chunks
    for server in (one, two):
        # Within a transaction that means no more than what time it is; that it is said depends on the chunks.
        server.sink.calls = [call for call in server.sink.calls if call != "settled"]
    assert seen(one, one.sink) == seen(two, two.sink)
    assert (one.sampling, one.journal.sample) == (two.sampling, two.journal.sample)


@pytest.mark.parametrize("what", sorted(ENTRIES))
def test_ordinary_answers_are_recognised(what):
    assert exchange.answers(ORDINARY[what] + READY, what)
    server, listener = entered(what, at_once=True)
    server.data_received(ORDINARY[what] + READY)
    assert listener.data == ORDINARY[what] + READY
    assert listener.calls == ["settled"]
    assert server.free


@settings(max_examples=500)
@given(
    what=kinds,
    head=st.sampled_from([b"", *ORDINARY.values()]),
    tail=st.lists(st.sampled_from(ANSWERS), max_size=6).map(b"".join),
    cut=st.integers(0, 12),
)
@example(what=QUERY_ALONE, head=ORDINARY[QUERY_ALONE], tail=READY, cut=0)
@example(what=BATCH, head=ORDINARY[BATCH], tail=READY, cut=0)
@example(what=BATCH, head=ORDINARY[BATCH], tail=READY, cut=1)
def test_a_chunk_does_what_it_does_message_by_message(what, head, tail, cut):
    data = head + tail
    data = data[: len(data) - cut]
    ways = []
    for at_once in (True, False):
        server, listener = entered(what, at_once)
        server.data_received(data)
        first = seen(server, listener)
        server.data_received(READY)
        ways.append((first, seen(server, listener)))
    assert ways[0] == ways[1]


batch = st.builds(lambda text: messages.parse("", text) + messages.bind("", "", []) + REST, texts)
bound = st.builds(lambda name: messages.bind("", name, []) + REST, names)
executed = st.builds(lambda name: messages.bind("", name, []) + messages.execute("") + messages.sync(), names)
query = st.builds(messages.query, texts)
piece = st.one_of(batch, bound, executed, query, step, st.builds(messages.parse, names, texts))


@settings(max_examples=300)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 2), piece, st.booleans()), min_size=1, max_size=20),
    chunk=st.sampled_from([1, 9, 40, 1 << 20]),
    max_statements=st.sampled_from([1, 2, 200]),
)
def test_batches_said_at_once_are_answered_as_by_a_server_of_their_own(pieces, chunk, max_statements):
    world = World(servers=3, clients=3, chunk=chunk, max_statements=max_statements)
    own = [ModelServer() for _ in world.clients]
    expected = [b"" for _ in world.clients]
    last = [(number, messages.sync() + messages.query("rollback"), True) for number in range(3)]
    for number, data, waits in pieces + last:
        world.clients[number].data_received(data)
        expected[number] += own[number].feed(data)
        if waits:
            world.pump()
    for number in range(3):
        assert world.heard(number) == summary(expected[number])
    assert all(end.server.free for end in world.ends)
    assert len(world.pool.idle) == 3
