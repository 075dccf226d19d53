"""A client's life beside what it says: waiting, being served, reading slowly, leaving."""

import pytest

from seawall.proxy.client import HELD_LIMIT
from seawall.proxy.reported import reported_of
from seawall.proxy.settings import PoolMode
from seawall.wire.pgwire import messages
from tests.proxy.test_client_relay import World


class Valve:
    """Counts pauses of a transport's reading."""

    def __init__(self, end):
        self.open = True
        end.pause_reading = lambda: setattr(self, "open", False)
        end.resume_reading = lambda: setattr(self, "open", True)


@pytest.fixture
def world():
    return World(servers=1, clients=2, chunk=1 << 16)


def test_who_finds_no_server_waits_its_turn(world):
    world.say(0, messages.query("begin"))
    world.say(1, messages.query("rows 1"))
    assert list(world.pool.waiting) == [world.clients[1]]
    assert world.heard(1) == []
    world.say(0, messages.query("commit"))
    assert [letter for letter, _ in world.heard(1)] == ["T", "D", "C", "Z"]
    assert not world.pool.waiting
    assert world.pool.waited_s >= 0


def test_who_leaves_while_it_waits_is_forgotten(world):
    world.say(0, messages.query("begin"))
    world.say(1, messages.query("rows 1"))
    world.clients[1].connection_lost(None)
    world.say(0, messages.query("commit"))
    assert world.pool.idle
    assert list(world.worker.clients.values()) == [world.clients[0]]


def test_who_waits_is_read_no_further_than_a_bound(world):
    valve = Valve(world.clients[1].transport)
    world.say(0, messages.query("begin"))
    world.say(1, messages.query("x" * HELD_LIMIT)[:-10])
    assert valve.open
    world.say(1, b"y" * 1000)
    assert not valve.open
    world.say(0, messages.query("commit"))
    assert valve.open


def test_who_reads_slowly_stops_its_server(world):
    valve = Valve(world.ends[0])
    world.say(0, messages.query("begin"))
    world.clients[0].pause_writing()
    assert not valve.open
    world.clients[0].resume_writing()
    assert valve.open
    world.clients[0].pause_writing()
    world.say(0, messages.query("commit"))
    assert valve.open  # the server is the next client's now
    world.say(0, messages.query("begin"))
    assert not valve.open  # and stopped again while this one has it
    world.clients[0].resume_writing()
    assert valve.open


def test_a_server_that_takes_no_more_stops_its_client(world):
    valve = Valve(world.clients[0].transport)
    world.say(0, messages.query("begin"))
    world.ends[0].server.pause_writing()
    assert not valve.open
    world.ends[0].server.resume_writing()
    assert valve.open


def test_what_a_client_leaves_behind_is_cleaned_up(world):
    world.say(0, messages.query("begin"))
    world.ends[0].model.run = lambda sql, *, simple: (messages.command_complete("ROLLBACK"), "")
    world.ends[0].model.status = b"I"
    world.clients[0].connection_lost(None)
    world.pump()
    assert [body for letter, body in world.ends[0].model.seen if letter == "Q"][1:] == [
        b"ROLLBACK\0",
        b"DISCARD ALL\0",
    ]
    assert world.pool.idle == [world.ends[0].server]


def test_a_server_that_is_lost_in_a_query_leaves_its_client_the_connection(world):
    client = world.clients[0]
    client.data_received(messages.query("rows 1"))
    world.ends[0].answers = b""
    world.ends[0].server.connection_lost(None)
    assert world.heard(0) == [("E", "08007"), ("Z", b"I")]
    assert not client.transport.closed
    assert not world.pool.servers


def test_a_server_that_is_lost_in_a_transaction_fails_the_transaction_and_keeps_the_client(world):
    world.say(0, messages.query("begin"))
    told = len(world.heard(0))
    world.ends[0].server.connection_lost(None)
    assert len(world.heard(0)) == told
    world.say(0, messages.query("rows 1"))
    world.say(0, messages.query("rows 1"))
    world.say(0, messages.query("rollback"))
    assert world.heard(0)[told:] == [
        ("E", "40001"),
        ("Z", b"E"),
        ("E", "25P02"),
        ("Z", b"E"),
        ("C", b"ROLLBACK\0"),
        ("Z", b"I"),
    ]
    world.say(0, messages.query("rows 1"))
    assert world.heard(0)[-1] == ("Z", b"I")
    assert not world.clients[0].transport.closed


def test_a_server_that_is_lost_when_nobody_uses_it_is_forgotten(world):
    world.ends[0].server.connection_lost(None)
    assert not world.pool.idle
    assert not world.pool.servers


def test_transactions_are_refused_in_statement_mode():
    world = World(servers=1, clients=1, mode=PoolMode.STATEMENT)
    world.say(0, messages.query("rows 1"))
    world.say(0, messages.query("begin"))
    assert world.heard(0)[-1] == ("E", "25001")
    assert world.clients[0].transport.closed


def test_a_drain_lets_transactions_end(world):
    world.say(0, messages.query("begin"))
    world.worker.drain()
    assert world.heard(1) == [("E", "57P01")]
    assert not world.clients[0].transport.closed
    world.say(0, messages.query("commit"))
    assert world.heard(0)[-1] == ("E", "57P01")


def test_what_a_replica_refuses_is_said_again_elsewhere():
    world = World(servers=2, clients=1)
    refusing, other = world.ends[1], world.ends[0]
    refusing.server.parameters = world.clients[0].parameters = reported_of({"in_hot_standby": "on"})
    world.clients[0].data_received(messages.query("insert into t values (1)"))
    refusing.answers = b""
    refusing.server.data_received(
        messages.error_response("25006", "cannot execute INSERT in a read-only transaction")
    )
    world.pump()
    assert refusing.closed
    assert [body for letter, body in other.model.seen if letter == "Q"][-1] == b"insert into t values (1)\0"
    assert ("E", "25006") not in world.heard(0)


def test_a_client_that_wants_to_read_only_is_told_so():
    world = World(servers=1, clients=1)
    world.clients[0].data_received(messages.query("insert into t values (1)"))
    world.ends[0].answers = b""
    error = messages.error_response("25006", "cannot execute INSERT in a read-only transaction")
    world.ends[0].server.data_received(error + messages.ready_for_query(b"I"))
    assert world.heard(0) == [("E", "25006"), ("Z", b"I")]


def test_a_replica_that_is_the_only_server_is_believed():
    world = World(servers=2, clients=1)
    error = messages.error_response("25006", "cannot execute INSERT in a read-only transaction")
    for end in world.ends:
        end.server.parameters = world.clients[0].parameters = reported_of({"in_hot_standby": "on"})
    world.clients[0].data_received(messages.query("insert into t values (1)"))
    for end in reversed(world.ends):
        end.answers = b""
        end.server.data_received(error)
    assert world.heard(0) == [("E", "25006"), ("Z", b"I")]
    assert not world.clients[0].transport.closed


def test_the_commit_of_a_failed_transaction_rolls_it_back_wherever_it_is_answered(world):
    world.say(0, messages.query("begin"))
    world.say(0, messages.query("fail"))
    told = len(world.heard(0))
    world.clients[0].data_received(messages.query("commit"))
    end = next(one for one in world.ends if one.server.pending)
    end.answers = b""
    end.server.connection_lost(None)
    assert world.heard(0)[told:] == [("C", b"ROLLBACK\0"), ("Z", b"I")]


def test_nothing_is_told_to_who_has_said_goodbye(world):
    end = world.clients[0].transport
    world.clients[0].data_received(messages.query("rows 1") + messages.terminate())
    written, end.written = end.written, b""
    assert end.closed
    world.pump()
    assert (written, end.written) == (b"", b"")
