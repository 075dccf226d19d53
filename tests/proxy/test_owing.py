"""The question that a COMMIT is resolved by: asked, answered, and seen by nobody else."""

import pytest

from seawall.proxy import owed
from seawall.proxy.owed import SAMPLE_BATCH_TAIL, SAMPLE_COLUMNS, SAMPLE_TAIL
from seawall.proxy.replay.journal import Journal
from seawall.proxy.server import Server
from seawall.proxy.statements import Statement
from seawall.wire.pgwire import messages
from tests.proxy.test_server import Listener, Wire

pytestmark = pytest.mark.interpreted  # its fakes are no subclasses of compiled classes

ROW = messages.data_row([b"777", b"0/16ED4D0", None])
QUERY_ANSWER = SAMPLE_COLUMNS + ROW + SAMPLE_TAIL
BATCH_ANSWER = messages.BIND_COMPLETE + ROW + SAMPLE_BATCH_TAIL
UPDATED = messages.command_complete("UPDATE 1") + messages.ready_for_query(b"T")


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def server(listener):
    made = Server(Wire(), listener, 10)
    made.journal = Journal(1000, 10)
    return made


def chunks(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 16])
def test_a_query_of_ours_behind_another_is_answered_to_us_alone(server, listener, size):
    server.pending.append(owed.SIMPLE)
    server.ask_simple(5.0, early=True)
    for part in chunks(UPDATED + QUERY_ANSWER, size):
        server.data_received(part)
    assert listener.data == UPDATED
    assert server.journal.sample == ROW[5:]
    assert (server.journal.sampled_at, server.journal.numbered) == (5.0, True)
    assert (list(server.pending), server.sampling) == ([], 0)


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 16])
def test_within_a_batch_as_well(server, listener, size):
    statement = Statement(b"SELECT 1\0\0\0", b"seawall_sample")
    server.pending.extend((owed.BOUND, owed.EXECUTED))
    said = server.ask_extended(statement, 5.0)
    server.pending.append(owed.SYNCED)
    assert said.startswith(statement.parse)
    theirs = messages.BIND_COMPLETE + messages.command_complete("UPDATE 1")
    for part in chunks(
        theirs + messages.PARSE_COMPLETE + BATCH_ANSWER + messages.ready_for_query(b"T"), size
    ):
        server.data_received(part)
    assert listener.data == theirs + messages.ready_for_query(b"T")
    assert server.journal.sample == ROW[5:]
    assert (list(server.pending), server.sampling) == ([], 0)


def test_no_number_means_nothing_where_it_was_asked_early(server):
    server.pending.append(owed.SIMPLE)
    server.ask_simple(5.0, early=True)
    unknown = messages.data_row([None, b"0/16ED4D0", None])
    server.data_received(UPDATED + SAMPLE_COLUMNS + unknown + SAMPLE_TAIL)
    assert not server.journal.numbered


def test_our_own_failure_is_not_told(server, listener):
    server.ask_simple(5.0)
    server.pending.append(owed.SIMPLE)
    failed = messages.error_response("57014", "canceling statement") + messages.ready_for_query(b"E")
    theirs = messages.command_complete("ROLLBACK") + messages.ready_for_query(b"I")
    server.data_received(failed + theirs)
    assert listener.data == theirs
    assert server.journal.sample == b""
