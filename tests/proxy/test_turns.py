"""While a new primary is there for replays alone, nobody draws from a sequence that another has set back."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from seawall.proxy.naming import ATTACHED, CLOSED, WAITING
from seawall.proxy.pinner import Open
from seawall.proxy.settings import Failover, Replay, ReplayMode
from seawall.proxy.topology import NodeRole, NodeView, Phase, Topology
from seawall.wire.pgwire import messages
from tests.proxy.losing import LosingWorld

Q = messages.query
SERVING = Topology(1, Phase.SERVING, "model", False, 7, 1, (NodeView("model", NodeRole.PRIMARY, 1, 7, 5.0),))
PAUSED = replace(SERVING, phase=Phase.PAUSED)
REPLAYING = replace(SERVING, phase=Phase.REPLAYING)


class TurnsWorld(LosingWorld):
    """One whose clients may have sequences set back."""

    def __init__(self, *, pin=True, sole=True, **more):
        replay = Replay(mode=ReplayMode.ON, pin_sequences=pin)
        super().__init__(replay=replay, failover=Failover(sole_proxy=sole), **more)
        self.follow(SERVING)

    @property
    def turns(self):
        return self.worker.rescue.turns

    def follow(self, topology):
        self.worker.following.follow(topology)
        self.pump()

    def lose_all(self):
        """The primary is lost, and there is another, for replays alone."""
        self.follow(PAUSED)
        for number, client in enumerate(self.clients):
            if client.server is not None:
                self.lose(number)
        self.follow(REPLAYING)

    def set_back(self):
        """Leave a sequence set back; the pinner, and a list of what is started from now on."""
        pinner, started = self.worker.rescue.pinner, []
        pinner.open[self.pool, 7] = Open(b"SELECT 7", "model", 70)
        self.worker.start = started.append
        return pinner, started

    def replay(self):
        """Let all have their turns; whether they have, and what is said of that."""
        done = []
        self.turns.take(lambda: done.append(True))
        self.pump()
        return bool(done)

    def in_transactions(self, *numbers):
        for number in numbers:
            self.say(number, Q("begin"))
            self.say(number, Q("rows 3"))


def heard_since(world, number, before):
    return world.heard(number)[before:]


def test_who_has_had_its_turn_waits_until_the_primary_serves():
    world = TurnsWorld(servers=4)
    world.in_transactions(0, 1)
    before = len(world.heard(0))
    world.lose_all()
    world.say(0, Q("rows 1"))
    assert world.replay()
    assert world.counts == {"replay:done": 2}
    world.say(0, Q("commit"))
    assert heard_since(world, 0, before) == []
    assert [client.state for client in world.clients] == [WAITING, WAITING]
    world.follow(SERVING)
    assert [letter for letter, _ in heard_since(world, 0, before)] == list("TDCZCZ")
    assert world.clients[1].state == ATTACHED
    world.say(1, Q("rollback"))
    assert world.heard(1)[-2:] == [("C", b"ROLLBACK\0"), ("Z", b"I")]


@pytest.mark.parametrize("changes", [{"pin": False}, {"sole": False}])
def test_where_no_sequence_is_ever_set_back_nobody_waits(changes):
    world = TurnsWorld(servers=4, **changes)
    world.in_transactions(0)
    before = len(world.heard(0))
    world.lose_all()
    assert world.replay()
    world.say(0, Q("commit"))
    assert heard_since(world, 0, before) == [("C", b"COMMIT\0"), ("Z", b"I")]


def half_heard(world, number):
    """Have a client hear part of an answer before its server is lost; returns all of it."""
    client = world.clients[number]
    client.data_received(Q("rows 3"))
    (end,) = [one for one in world.ends if one.server is client.server]
    out, end.answers = end.answers, b""
    client.server.data_received(out[:60])
    return out


def one_chunk(world):
    """Have one server say a few bytes."""
    for end in world.ends:
        if end.answers:
            part, end.answers = end.answers[: end.chunk], end.answers[end.chunk :]
            end.server.data_received(part)
            return
    raise AssertionError("nobody has anything to say")


def test_a_turn_lasts_until_all_of_its_answer_is_there():
    world = TurnsWorld(servers=4)
    world.say(0, Q("begin"))
    start = len(world.clients[0].transport.written)
    whole = half_heard(world, 0)
    world.in_transactions(1)
    before = len(world.clients[0].transport.written)
    assert start < before < start + len(whole)
    world.lose_all()
    done = []
    world.turns.take(lambda: done.append(True))
    while len(world.clients[0].transport.written) == before:
        one_chunk(world)
    assert (world.counts, done) == ({"replay:done": 1}, [])
    assert world.clients[1].rescue is not None
    assert world.clients[1].server is None
    world.pump()
    assert (world.counts, done) == ({"replay:done": 2}, [True])
    assert world.clients[0].transport.written[start:] == whole
    assert world.clients[0].state == WAITING
    world.follow(SERVING)
    world.say(0, Q("commit"))
    assert world.heard(0)[-2:] == [("C", b"COMMIT\0"), ("Z", b"I")]


def test_a_copy_in_the_middle_lets_others_go_on_but_nothing_is_pinned_then():
    world = TurnsWorld(servers=4)
    world.say(0, Q("begin"))
    world.say(0, Q("copyin"))
    world.in_transactions(1)
    world.lose_all()
    assert not world.worker.rescue.pinner.disturbed
    assert world.replay()
    assert world.worker.rescue.pinner.disturbed
    assert not world.worker.rescue.pinner.allowed
    assert world.counts == {"replay:done": 2}
    world.say(0, b"c\0\0\0\4")
    world.follow(SERVING)
    assert not world.worker.rescue.pinner.disturbed
    world.say(0, Q("commit"))
    assert [letter for letter, _ in world.heard(0)][-4:] == list("CZCZ")


def test_whoever_goes_while_it_is_parked_leaves_its_server_clean():
    world = TurnsWorld(servers=4)
    world.in_transactions(0)
    world.lose_all()
    assert world.replay()
    server = world.clients[0].server
    world.clients[0].connection_lost(None)
    world.pump()
    assert world.clients[0].state == CLOSED
    assert server.sink is not world.clients[0]
    (end,) = [one for one in world.ends if one.server is server]
    assert [body for kind, body in end.model.seen if kind == "Q"][-2:] == [b"ROLLBACK\0", b"DISCARD ALL\0"]
    world.follow(SERVING)


def test_a_server_that_is_lost_under_a_parked_client_is_another_case():
    world = TurnsWorld(servers=6)
    world.in_transactions(0)
    world.say(0, Q("rows 1"))
    before = len(world.heard(0))
    world.lose_all()
    assert world.replay()
    world.say(0, Q("commit"))
    world.lose(0)
    assert list(world.turns.waiting) == [world.clients[0]]
    assert world.replay()
    world.follow(SERVING)
    assert heard_since(world, 0, before) == [("C", b"COMMIT\0"), ("Z", b"I")]
    assert world.counts == {"replay:done": 2}


def test_nobody_has_a_turn_before_what_the_last_one_left_set_back_is_set_forward():
    world = TurnsWorld(servers=4)
    world.in_transactions(0)
    world.lose_all()
    _, mending = world.set_back()
    assert not world.replay()
    assert not world.counts
    (work,) = mending
    told = []

    async def supervisor(order):
        told.append(order)
        return {"done": True}

    async def main():
        with pytest.MonkeyPatch.context() as patch:
            ran = []

            async def run_sql(addresses, backend, login, timeout_s, sql):
                ran.append((backend.name, sql))
                if len(ran) == 1:
                    raise OSError

            patch.setattr("seawall.proxy.pinner.run_sql", run_sql)
            world.worker.siblings = SimpleNamespace(ask_supervisor=supervisor)
            await work
            return ran

    ran = asyncio.run(main())
    world.pump()
    assert [name for name, _ in ran] == ["model", "model"]
    assert ran[0][1].endswith(b"SELECT 7")
    assert b"pg_terminate_backend" in ran[0][1]
    assert told == [{"do": "unpinned", "database": "d", "sequence": 7}]
    assert world.counts == {"replay:done": 1}


def test_a_turn_that_lost_its_server_goes_on_only_when_what_it_set_back_is_set_forward():
    world = TurnsWorld(servers=6)
    world.in_transactions(0, 1)
    world.lose_all()
    world.turns.take(lambda: None)
    first, second = world.clients
    pinner, mending = world.set_back()
    world.lose(0)
    assert first.server is None
    assert list(world.turns.waiting) == [first, second]
    pinner.open.clear()
    asyncio.run(mending[0])
    assert first.server is not None, "the turn is still its own"
    world.pump()
    assert world.counts == {"replay:done": 2}


def test_what_is_left_set_back_is_the_supervisors_business_once_the_primary_serves():
    world = TurnsWorld(servers=4)
    world.in_transactions(0)
    world.lose_all()
    pinner, mending = world.set_back()
    assert not world.replay()
    world.follow(SERVING)
    assert not pinner.open
    asyncio.run(mending[0])
    world.pump()
    assert world.counts == {"replay:done": 1}
    world.say(0, Q("commit"))
    assert world.heard(0)[-1] == ("Z", b"I")
