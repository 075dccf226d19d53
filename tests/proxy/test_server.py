"""What a server connection passes on, holds back, takes off and cuts."""

import pytest

from seawall.proxy import owed
from seawall.proxy.owed import Note
from seawall.proxy.server import CARRY_LIMIT, Server
from seawall.proxy.sink import Sink
from seawall.proxy.statements import StatementCache
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER

pytestmark = pytest.mark.interpreted  # a compiled Sink has no interpreted subclasses


class Listener(Sink):
    """A sink that remembers."""

    def __init__(self):
        self.data = b""
        self.calls = []

    def deliver(self, data):
        self.data += data

    def settled(self, server):
        self.calls.append("settled")

    def parameter(self, server, body):
        self.calls.append(("parameter", body))

    def refused(self, server, body):
        self.calls.append("refused")

    def undone(self, note, *, failed):
        self.calls.append(("undone", note.owed, failed))

    def resume(self):
        self.calls.append("resume")

    def forgotten(self):
        self.calls.append("forgotten")

    def lost(self, server):
        self.calls.append("lost")

    def throttle(self, *, stop):
        self.calls.append(("throttle", stop))


class Wire:
    """A transport that remembers."""

    def __init__(self):
        self.data = b""
        self.ended = ""

    def write(self, data):
        self.data += data

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return bool(self.ended)

    def get_extra_info(self, name):
        return None

    def close(self):
        self.ended = "closed"

    def abort(self):
        self.ended = "aborted"


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def server(listener):
    return Server(Wire(), listener, 2)


ROW = messages.data_row([b"x" * 100])
DONE = messages.command_complete("SELECT 1")
READY = messages.ready_for_query(b"I")


@pytest.mark.parametrize("chunk", [1, 3, 7, 1000])
def test_everything_is_passed_on_and_the_end_is_told_once(server, listener, chunk):
    data = messages.row_description([("a", 25)]) + ROW * 3 + DONE + READY
    server.pending.append(owed.SIMPLE)
    for start in range(0, len(data), chunk):
        server.data_received(data[start : start + chunk])
    assert listener.data == data
    assert listener.calls == ["settled"]
    assert server.free


def test_rows_are_not_held_but_the_end_is(server, listener):
    server.pending.append(owed.SIMPLE)
    server.data_received(ROW[:50])
    assert listener.data == ROW[:50]
    assert server.mid_message
    assert server.busy
    server.data_received(ROW[50:] + READY[:-1])
    assert listener.data == ROW
    server.data_received(READY[-1:])
    assert listener.data == ROW + READY


def test_a_long_error_is_streamed_unread(server, listener):
    server.pending.append(owed.SIMPLE)
    error = messages.error_response("XX000", "x" * (CARRY_LIMIT + 1))
    server.data_received(error[:1000])
    assert listener.data == error[:1000]
    server.data_received(error[1000:] + READY)
    assert listener.data == error + READY


@pytest.mark.parametrize("kind", [b"D", b"C", b"Z", b"T"])
def test_a_stream_that_makes_no_sense_is_cut(server, kind):
    server.data_received(kind + b"\0\0\0\3")
    assert server.transport.ended == "aborted"


@pytest.mark.parametrize("tag", ["UPDATE 3", "SET", "CREATE TABLE"])
def test_tags_leave_suspicion_to_the_text(server, listener, tag):
    server.pending.append(owed.SIMPLE)
    server.data_received(messages.command_complete(tag) + READY)
    assert server.suspect == 0


@pytest.mark.parametrize(("tag", "discarded"), [("DISCARD ALL", True), ("DEALLOCATE ALL", False)])
def test_statements_are_forgotten_with_the_server(server, listener, tag, discarded):
    server.statements[b"s"] = True
    server.pending.append(owed.SIMPLE)
    server.data_received(messages.command_complete(tag) + READY)
    assert not server.statements
    assert "forgotten" in listener.calls
    assert server.discarded is discarded
    assert server.suspect


def test_what_was_not_sent_is_answered_in_its_place(server, listener):
    statement = StatementCache().get(b"SELECT 1\0\0\0")
    server.pending.append(owed.BOUND)
    server.already(Note(owed.PARSED_ALREADY, statement, b"a"))
    server.already(Note(owed.CLOSED_ALREADY, statement, b"a"))
    assert not listener.data
    server.pending.append(owed.SYNCED)
    server.data_received(b"2\0\0\0\4" + READY)
    assert listener.data == b"2\0\0\0\4" + b"1\0\0\0\4" + b"3\0\0\0\4" + READY
    server.already(Note(owed.PARSED_ALREADY, statement, b"a"))
    assert listener.data.endswith(READY + b"1\0\0\0\4")
    assert not server.notes


def test_what_the_client_did_not_ask_for_is_not_shown(server, listener):
    cache = StatementCache()
    sent = b""
    for text in (b"SELECT 1\0\0\0", b"SELECT 2\0\0\0", b"SELECT 3\0\0\0"):
        sent += server.prepare(cache.get(text), owed.PARSED_UNSEEN, b"")
    assert sent.count(b"C\0\0\0") == 1  # room for two: the oldest has to go
    assert list(server.statements) == [b"seawall_2", b"seawall_3"]
    server.pending.append(owed.SYNCED)
    server.data_received(b"1\0\0\0\4" + b"1\0\0\0\4" + b"3\0\0\0\4" + b"1\0\0\0\4" + READY)
    assert listener.data == READY


def test_an_error_takes_back_everything_up_to_sync(server, listener):
    statement = StatementCache().get(b"SELECT 1\0\0\0")
    server.pending.append(owed.BOUND)
    server.prepare(statement, owed.PARSED, b"a")
    server.pending.extend([owed.EXECUTED, owed.SYNCED, owed.BOUND])
    server.data_received(messages.error_response("42601", "no"))
    assert list(server.pending) == [owed.SYNCED, owed.BOUND]
    assert statement.name not in server.statements
    assert listener.calls == [("undone", owed.PARSED, False), "refused"]


@pytest.mark.parametrize("ahead", [True, False])
def test_a_server_that_copies_ignores_sync(server, listener, ahead):
    server.pending.extend([owed.EXECUTED, owed.SYNCED])
    if ahead:
        server.copy_ended()
        server.pending.append(owed.SYNCED)
    server.data_received(b"G\0\0\0\7\0\0\0")
    assert server.copying is not ahead
    if not ahead:
        assert server.unsynced
        server.copy_ended()
        server.pending.append(owed.SYNCED)
        server.unsynced = False
    server.data_received(messages.command_complete("COPY 1") + READY)
    assert not server.pending
    assert listener.calls == ["settled"]


def test_a_wait_for_an_answer_ends_with_it(server, listener):
    server.pending.extend([owed.SYNCED, owed.BOUND])
    server.unsynced = server.stalled = True
    server.data_received(READY)
    assert listener.calls == ["resume"]


def test_parameters_and_loss_are_told(server, listener):
    server.data_received(messages.parameter_status("a", "b"))
    assert listener.calls == [("parameter", b"a\0b\0")]
    server.pause_writing()
    server.resume_writing()
    server.connection_lost(None)
    server.connection_lost(None)
    assert listener.calls[1:] == [("throttle", True), ("throttle", False), "lost"]


def test_goodbyes(listener):
    polite, rude = Server(Wire(), listener, 2), Server(Wire(), listener, 2)
    polite.close()
    rude.abort()
    assert (polite.transport.data, polite.transport.ended) == (b"X\0\0\0\4", "closed")
    assert (rude.transport.data, rude.transport.ended) == (b"", "aborted")
    polite.connection_lost(None)
    assert listener.calls == []


def test_a_tap_hears_both_sides(server, listener):
    class Tap:
        said_data = heard_data = b""

        def said(self, data):
            self.said_data += data

        def heard(self, data):
            self.heard_data += data

    server.tap = Tap()
    server.pending.append(owed.SIMPLE)
    server.send(messages.query("SELECT 1"))
    server.data_received(DONE + READY)
    assert server.tap.said_data == server.transport.data == messages.query("SELECT 1")
    assert server.tap.heard_data == listener.data


def test_odd_messages_do_no_harm(server, listener):
    server.pending.append(owed.SIMPLE)
    server.data_received(HEADER.pack(framing.COPY_BOTH, 4) + HEADER.pack(ord("?"), 4) + READY)
    assert listener.calls == ["settled"]
