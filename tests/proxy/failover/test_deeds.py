"""How orders are carried out: what comes back, and what prevents it."""

import asyncio

import pytest

from seawall.kernel.errors import DatabaseUnavailable
from seawall.proxy.connect import LoginFailed
from seawall.proxy.failover import orders
from seawall.proxy.failover.deeds import Deeds
from seawall.proxy.failover.pins import Pin, Pins
from seawall.testing import VirtualClock, run
from tests.proxy.failover.conducting import PlayedCrew, PlayedHooks, PlayedServers, now, settings


class Doing:
    def __init__(self, **changes):
        given = settings("one", "two", "three", **changes)
        self.servers = PlayedServers(given, lambda: None)
        self.hooks, self.crew = PlayedHooks(), PlayedCrew()
        self.hooks.servers = self.servers
        self.pins = Pins(self.servers.run, lambda line: None)
        self.deeds = Deeds(given, self.servers, self.hooks, self.crew, self.pins)


def doing(scenario, **changes):
    async def main():
        await scenario(Doing(**changes))

    run(main(), VirtualClock(1000.0))


@pytest.mark.parametrize(
    ("order", "done"),
    [
        (orders.Fence(1, "one", clean=True), ("fence", "one", True)),
        (orders.Promote(1, "two"), ("promote", "two")),
        (orders.Repoint(1, "two", ("three",)), ("repoint", "two", ("three",))),
        (orders.Rejoin(1, "one", "two"), ("rejoin", "one", "two")),
    ],
)
def test_hooks_are_called_and_their_failures_told(order, done):
    async def scenario(it):
        assert await it.deeds.carry_out(order) == orders.Done(order)
        assert it.hooks.done == [done]
        it.hooks.fails.add(done[0])
        failed = await it.deeds.carry_out(order)
        assert (failed.action, failed.ok) == (order, False)
        assert "did not work" in failed.detail

    doing(scenario)


def test_where_nobody_can_fence_that_is_said():
    async def scenario(it):
        it.hooks.can_fence = False
        done = await it.deeds.carry_out(orders.Fence(1, "one", clean=False))
        assert done.ok
        assert "nothing could be done" in done.detail

    doing(scenario)


def test_a_checkpoint_is_welcome_and_not_needed():
    async def scenario(it):
        order = orders.Checkpoint(1, "one")
        assert await it.deeds.carry_out(order) == orders.Done(order)
        assert it.servers.statements == [("one", "", "CHECKPOINT")]
        it.servers.refuses_statements = DatabaseUnavailable("one", "permission denied")
        it.servers.refuses_statements.__cause__ = LoginFailed("permission denied", "42501")
        done = await it.deeds.carry_out(order)
        assert done.ok
        assert "permission denied" in done.detail
        it.servers.refuses_statements = DatabaseUnavailable("one", "no answer within 60 s")
        assert not (await it.deeds.carry_out(order)).ok

    doing(scenario)


def test_a_replica_is_waited_for():
    async def scenario(it):
        it.servers.kill("one")
        order = orders.WaitReplayed(1, "two", 999)
        assert (await it.deeds.carry_out(order)).ok
        waiting = asyncio.create_task(it.deeds.carry_out(orders.WaitReplayed(2, "two", 1000)))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        it.servers.change("two", replay_lsn=1000)
        assert (await waiting).ok

    doing(scenario)


def test_a_server_is_looked_at_for_as_long_as_that_is_wanted():
    async def scenario(it):
        await it.deeds.look_until_writable("two", lambda: now() < 1000.5)
        assert now() == pytest.approx(1000.5, abs=0.01)
        assert len(it.servers.looks) > 50

    doing(scenario)


def test_replays_are_counted():
    async def scenario(it):
        done = await it.deeds.carry_out(orders.ReplayTurns(1, "two"))
        assert done.detail == "4 replayed, 2 refused"
        it.crew.silent.add(0)
        done = await it.deeds.carry_out(orders.ReplayTurns(2, "two"))
        assert done.detail == "2 replayed, 1 refused"
        assert it.deeds.replayed == 6
        assert it.crew.told[0][1] == {"do": "topology"}

    doing(scenario)


@pytest.mark.parametrize("pin", [True, False])
def test_one_worker_after_another_replays_and_sequences_are_set_forward_in_between(pin):
    async def scenario(it):
        it.crew.disturbed = set() if pin else {0}
        assert it.pins.add("shop", 7, Pin("SELECT 7", "one", 70))
        await it.deeds.carry_out(orders.ReplayTurns(1, "two"))
        assert it.crew.orders("replay") == [{"do": "replay", "pin": True}, {"do": "replay", "pin": pin}]
        assert it.servers.statements == [("two", "shop", "SELECT 7")]
        assert len(it.pins) == 0

    doing(scenario, pin_sequences=True)


def test_witnesses_are_asked_and_none_of_them_is_there():
    async def scenario(it):
        order = orders.AskWitnesses(1, "one")
        found = await it.deeds.carry_out(order)
        assert isinstance(found, orders.Witnessed)
        assert (found.action, found.unreachable) == (order, 0)
        assert "127.0.0.1:1: " in found.detail

    async def main():
        await scenario(Doing(witnesses=("127.0.0.1:1",), sole_proxy=False))

    asyncio.run(main())
