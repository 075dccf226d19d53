"""A batch keeps its answers from the client behind it, and tells once how it went."""

import pytest

from seawall.proxy import owed
from seawall.proxy.errands import Batch
from seawall.proxy.server import Server
from seawall.wire.pgwire import messages
from tests.proxy.test_server import Listener, Wire

pytestmark = pytest.mark.interpreted  # a compiled Sink has no interpreted subclasses

READY = messages.ready_for_query(b"I")


class Ended(list):
    """Takes what is done."""

    def __call__(self, batch):
        self.append(batch)


@pytest.fixture
def server():
    return Server(Wire(), Listener(), 10)


@pytest.fixture
def ended():
    return Ended()


def begin(server, ended, answers=1, listener=None):
    return Batch(server, messages.query("SELECT 1") * answers, answers, ended, listener)


def test_what_is_asked_is_sent_and_owed(server, ended):
    batch = begin(server, ended, answers=2)
    assert server.transport.data == messages.query("SELECT 1") * 2
    assert list(server.pending) == [owed.SIMPLE, owed.SIMPLE]
    assert server.sink is batch
    assert not ended


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_rows_are_collected_in_any_chunks(server, ended, chunk):
    begin(server, ended, answers=2)
    data = messages.data_row([b"a", None]) + messages.command_complete("SELECT 1") + READY
    data += messages.data_row([b"b"]) + messages.command_complete("SELECT 1") + READY
    for start in range(0, len(data), chunk):
        server.data_received(data[start : start + chunk])
    (batch,) = ended
    assert batch.rows == [[b"a", None], [b"b"]]
    assert batch.error is None
    assert not batch.gone


def test_the_first_error_is_kept(server, ended):
    begin(server, ended, answers=2)
    for sqlstate in ("42601", "22012"):
        server.data_received(messages.error_response(sqlstate, "no") + READY)
    assert messages.parse_fields(ended[0].error)["C"] == "42601"


def test_a_connection_that_is_lost_ends_it_once(server, ended):
    begin(server, ended)
    server.connection_lost(None)
    server.connection_lost(None)
    assert [batch.gone for batch in ended] == [True]


def test_notifications_go_to_who_listens(server, ended):
    listener = Wire()
    begin(server, ended, listener=listener)
    news = b"A\0\0\0\x0f\0\0\0\1news\0x\0"
    server.data_received(messages.notice_response("00000", "psst") + news + READY)
    assert listener.data == news
    assert len(ended) == 1


def test_rows_that_make_no_sense_cut_the_server(server, ended):
    begin(server, ended)
    server.data_received(b"D\0\0\0\x05x" + READY)
    assert server.transport.ended == "aborted"
    assert [batch.gone for batch in ended] == [True]
