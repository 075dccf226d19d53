"""A worker does as the topology says: whom it holds, what it closes, what it reads."""

import asyncio
from dataclasses import replace

import pytest

from seawall.proxy.following import Following
from seawall.proxy.topology import NodeRole, NodeView, Phase, Topology
from seawall.wire.pgwire import messages
from tests.proxy.losing import LosingWorld

Q = messages.query
TOPOLOGY = Topology(1, Phase.SERVING, "model", False, 7, 1, (NodeView("model", NodeRole.PRIMARY, 1, 7, 5.0),))


def told(phase, **more):
    primary = None if phase in (Phase.HOLDING, Phase.OBSERVING) else "model"
    return replace(TOPOLOGY, phase=phase, primary=primary, **more)


@pytest.fixture
def world():
    return LosingWorld()


@pytest.mark.parametrize("phase", list(Phase))
def test_new_transactions_wait_in_every_phase_but_one(world, phase):
    following = world.worker.following
    following.follow(told(phase))
    assert following.held is (phase is not Phase.SERVING)
    assert following.without_primary is (phase in (Phase.HOLDING, Phase.OBSERVING))
    world.say(0, Q("rows 1"))
    assert bool(world.heard(0)) is (phase is Phase.SERVING)


def test_they_go_on_when_the_primary_serves(world):
    world.worker.following.follow(told(Phase.PAUSED))
    world.say(0, Q("rows 1"))
    world.say(1, Q("rows 3"))
    assert not world.heard(0)
    world.worker.following.follow(told(Phase.SERVING))
    world.pump()
    assert [letter for letter, _ in world.heard(0)] == list("TDCZ")
    assert [letter for letter, _ in world.heard(1)] == list("TDDDCZ")


def test_an_open_transaction_is_not_held(world):
    world.say(0, Q("begin"))
    world.worker.following.follow(told(Phase.PAUSED))
    world.say(0, Q("rows 1") + Q("rollback"))
    assert [letter for letter, _ in world.heard(0)] == list("CZTDCZCZ")


def test_an_order_holds_beside_the_topology(world):
    following: Following = world.worker.following
    following.pause()
    world.say(0, Q("rows 1"))
    assert (following.held, following.without_primary) == (True, False)
    assert not world.heard(0)
    following.resume()
    world.pump()
    assert world.heard(0)


def test_what_is_published_is_read_once(world):
    following = world.worker.following
    following.read(2, told(Phase.HOLDING).to_json())
    assert world.worker.topology.phase is Phase.HOLDING
    following.read(2, told(Phase.SERVING).to_json())
    assert world.worker.topology.phase is Phase.HOLDING
    following.read(4, told(Phase.SERVING).to_json())
    assert world.worker.topology.phase is Phase.SERVING
    following.read(6, b"nonsense")
    assert world.worker.topology.phase is Phase.SERVING
    assert "makes no sense" in world.worker.notes[-1]


def test_connections_to_a_server_are_cut_and_their_clients_rescued(world):
    world.say(0, Q("begin"))
    following = world.worker.following
    assert following.busy() == 1
    following.follow(told(Phase.HOLDING))
    assert following.cut("other") == 0
    cut = following.cut("model")
    assert cut >= 1
    assert following.busy() == 0
    assert list(world.worker.rescue.turns.waiting) == [world.clients[0]]


def test_cases_have_their_turns_before_anybody_else(world):
    world.say(0, Q("begin"))
    world.worker.following.follow(told(Phase.PAUSED))
    world.lose(0)
    world.say(1, Q("rows 1"))
    assert list(world.worker.rescue.turns.waiting) == [world.clients[0]]

    async def replayed():
        world.worker.following.follow(told(Phase.REPLAYING))
        replaying = asyncio.ensure_future(world.worker.following.replay())
        await asyncio.sleep(0)
        world.pump()
        return await asyncio.wait_for(replaying, 5)

    assert asyncio.run(replayed()) == {"done": True, "replayed": 1, "refused": 0, "pin": True}
    assert not world.heard(1)
    world.say(0, Q("commit"))
    world.worker.following.follow(told(Phase.SERVING))
    world.pump()
    assert world.heard(1)
