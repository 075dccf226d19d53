"""Clients whose server is lost go on as if nothing had been, or are told what is certain."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.proxy.ledger import Pin
from seawall.proxy.naming import CLOSED
from seawall.proxy.rescue import ATTEMPTS_MAX
from seawall.proxy.settings import Replay, ReplayMode
from seawall.proxy.topology import NodeRole, NodeView, Phase, Topology
from seawall.wire.pgwire import messages
from tests.proxy.losing import LosingWorld
from tests.proxy.model import ModelServer, summary

Q = messages.query
TOPOLOGY = Topology(1, Phase.SERVING, "model", False, 7, 1, (NodeView("model", NodeRole.PRIMARY, 1, 7, 5.0),))
SAMPLE = messages.data_row([b"700", b"0/500", None])[5:]
SYNCHRONOUS = Replay(mode=ReplayMode.ON, require_sync=True)


def batch(sql):
    return messages.parse("", sql) + messages.bind("", "", []) + messages.execute() + messages.sync()


def last(world, count, number=0):
    return world.heard(number)[-count:]


def test_an_idle_client_does_not_notice():
    world = LosingWorld()
    world.say(0, Q("rows 1"))
    server = world.worker.pool_for("u", "d").idle[-1]
    server.connection_lost(None)
    world.ends = [end for end in world.ends if end.server is not server]
    world.say(0, Q("rows 1"))
    assert [letter for letter, _ in world.heard(0)] == list("TDCZ") * 2


def test_an_open_transaction_is_said_again():
    world = LosingWorld()
    world.say(0, Q("begin"))
    world.say(0, Q("rows 3"))
    world.lose(0)
    assert world.counts == {"replay:done": 1}
    before = len(world.heard(0))
    world.say(0, Q("commit"))
    assert world.heard(0)[before:] == [("C", b"COMMIT\0"), ("Z", b"I")]
    (end,) = world.ends
    said = [body for kind, body in end.model.seen if kind == "Q" and not body.startswith(b"SELECT")]
    assert said == [b"begin\0", b"rows 3\0", b"commit\0"]
    assert end.model.terminated == 1


def changed(**more):
    """A client whose transaction has changed something, and says how far it is; and its first answers."""
    world = LosingWorld(clients=1, **more)
    world.worker.topology = TOPOLOGY
    world.say(0, Q("begin"))
    world.say(0, Q("insert"))
    assert world.clients[0].journal.sample == SAMPLE
    return world, [("C", b"BEGIN\0"), ("Z", b"T"), ("C", b"INSERT 0 1\0"), ("Z", b"T")]


def test_what_was_said_again_is_asked_how_far_it_is():
    world, heard = changed()
    world.lose(0)
    assert (world.counts, world.heard(0)) == ({"replay:done": 1}, heard)
    journal = world.clients[0].journal
    assert (journal.sample, journal.numbered, journal.topology) == (SAMPLE, True, TOPOLOGY)
    (end,) = world.ends
    world.say(0, Q("commit"))
    assert end.model.seen[-1] == ("Q", b"commit\0")
    assert end.model.seen[-2][0] == "S"  # of our question, which left nothing behind
    assert b"seawall_again" not in end.model.statements
    assert world.heard(0) == [*heard, ("C", b"COMMIT\0"), ("Z", b"I")]


def test_a_server_that_is_lost_while_it_is_asked_is_another_loss():
    world, heard = changed(servers=3)
    first = world.clients[0].server
    for end in world.ends:
        if end.server is not first:
            silent_after(end.model, b"seawall_again")
    world.lose(0)
    assert world.clients[0].server not in (None, first)
    world.lose(0)
    assert world.counts == {"replay:done": 2}
    (end,) = world.ends
    assert b"insert\0" in [body for _, body in end.model.seen]
    world.clients[0].connection_lost(None)
    world.lose_server(end.server)
    assert world.heard(0) == heard
    assert not world.pool.servers


def silent_after(model, mark):
    """Have a server answer nothing from a message on."""
    feed = model.feed
    deaf = []

    def silent(data):
        deaf.extend([True] if mark in data else [])
        return b"" if deaf else feed(data)

    model.feed = silent


turn = st.sampled_from(["rows 1", "rows 3", "fail", "bad", "nothing", "begin"]).flatmap(
    lambda sql: st.sampled_from([Q(sql), batch(sql)])
)


@settings(max_examples=150, deadline=None)
@given(
    before=st.lists(turn, max_size=5),
    after=st.lists(turn, max_size=3),
    end=st.sampled_from(["commit", "rollback"]),
    chunk=st.integers(1, 40),
    losses=st.integers(1, 2),
)
@pytest.mark.timeout(60)
def test_a_client_sees_what_a_server_that_is_not_lost_would_say(before, after, end, chunk, losses):
    world = LosingWorld(servers=3, clients=1, chunk=chunk)
    own, expected = ModelServer(), b""
    for said in (Q("begin"), *before):
        world.say(0, said)
        expected += own.feed(said)
    for _ in range(losses):
        world.lose(0)
    for said in (*after, Q(end), Q("rows 1")):
        world.say(0, said)
        expected += own.feed(said)
    assert world.heard(0) == summary(expected)
    assert world.counts == {"replay:done": losses}


def differing(world):
    """Have all other servers answer otherwise."""
    for end in world.ends:
        if end.server is not world.clients[0].server:
            run = end.model.run
            end.model.run = lambda sql, *, simple, run=run: run(
                "rows 2" if sql == "rows 3" else sql, simple=simple
            )


def test_another_result_ends_in_40001_and_the_session_goes_on():
    world = LosingWorld()
    world.say(0, Q("begin"))
    world.say(0, Q("rows 3"))
    differing(world)
    world.lose(0)
    assert world.counts == {"replay:lost": 1}
    before = len(world.heard(0))
    world.say(0, Q("rows 1") + Q("rows 1") + Q("rollback"))
    told = world.heard(0)[before:]
    assert told == [
        ("E", "40001"),
        ("Z", b"E"),
        ("E", "25P02"),
        ("Z", b"E"),
        ("C", b"ROLLBACK\0"),
        ("Z", b"I"),
    ]
    (row,) = world.worker.rescue.rows()
    assert row["reason"] == "statement 2 gave another result when it was run again: rows 3"


@pytest.mark.parametrize(
    ("changes", "against", "why"),
    [
        ({"mode": ReplayMode.OFF}, None, "replaying is off"),
        ({"mode": ReplayMode.SHADOW}, None, "shadow mode"),
        ({}, (b"t", b"f", b"t"), "foreign tables"),
        ({}, (b"f", b"t", b"t"), "untrusted language"),
        (
            {"replay": Replay(mode=ReplayMode.ON, require_sync=True)},
            (b"f", b"f", b"f"),
            "synchronous standby",
        ),
    ],
)
def test_what_is_not_said_again_is_told(changes, against, why):
    world = LosingWorld(**changes)
    for end in world.ends:
        end.model.against = against or end.model.against
    world.say(0, Q("begin"))
    world.lose(0)
    world.say(0, Q("rows 1"))
    assert last(world, 2) == [("E", "40001"), ("Z", b"E")]
    assert why in world.worker.rescue.rows()[-1]["reason"]


def test_a_batch_of_which_all_was_kept_back_is_told_ahead_of_its_ready_for_query():
    world = LosingWorld(mode=ReplayMode.OFF)
    client = world.clients[0]
    batch = messages.parse("", "begin") + messages.bind("", "", []) + messages.execute()
    client.data_received(batch)
    answers = messages.PARSE_COMPLETE + messages.BIND_COMPLETE + messages.command_complete("BEGIN")
    ended = messages.error_response("57P01", "terminating connection", severity="FATAL")
    client.server.data_received(answers + ended)
    client.data_received(messages.sync())
    world.pump()
    assert last(world, 2) == [("E", "40001"), ("Z", b"E")]


def test_foreign_tables_may_be_allowed():
    world = LosingWorld(replay=Replay(mode=ReplayMode.ON, allow_foreign=True))
    for end in world.ends:
        end.model.against = (b"t", b"t", b"f")
    world.say(0, Q("begin"))
    world.lose(0)
    assert world.counts == {"replay:done": 1}


def test_a_session_that_is_held_ends_with_the_reason():
    world = LosingWorld()
    world.say(0, Q("begin"))
    world.clients[0].ledger.pins |= {Pin.TEMPORARY}
    world.lose(0)
    assert world.clients[0].state == CLOSED
    assert last(world, 1) == [("E", "57P01")]


def test_whoever_goes_while_its_case_waits_is_forgotten():
    world = LosingWorld(servers=1)
    world.say(0, Q("begin"))
    world.lose(0)
    world.clients[0].connection_lost(None)
    assert world.clients[0].rescue is None
    assert not world.worker.rescue.turns.waiting


def test_a_case_that_finds_no_server_in_time_is_told():
    world = LosingWorld(servers=1)
    world.say(0, Q("begin"))
    world.lose(0)
    client = world.clients[0]
    client.pool.leave(client)
    world.worker.rescue.expire(client)
    world.say(0, Q("rows 1"))
    assert last(world, 2) == [("E", "40001"), ("Z", b"E")]
    assert world.counts == {"replay:lost": 1}


def test_servers_that_are_lost_one_after_another_are_given_up():
    world = LosingWorld(servers=ATTEMPTS_MAX + 1, clients=1)
    world.say(0, Q("begin"))
    for end in world.ends:
        if end.server is not world.clients[0].server:
            end.model.feed = lambda data: b""
    for _ in range(ATTEMPTS_MAX + 1):
        if world.clients[0].server is not None:
            world.lose(0)
    assert world.counts == {"replay:lost": 1}
    assert "5 servers were lost" in world.worker.rescue.rows()[-1]["reason"]


def test_what_would_happen_is_explained():
    world = LosingWorld()
    world.say(0, Q("begin"))
    world.say(1, Q("rows 1"))
    assert [row["would"] for row in world.worker.rescue.explain()] == ["replay", "migrate"]
