"""The conductor on virtual time: what workers read, who is told what, and what is kept of it."""

import asyncio
from dataclasses import replace

import pytest

from seawall.kernel.errors import DatabaseUnavailable, ServiceUnavailable
from seawall.proxy.failover import conductor as module
from seawall.proxy.failover.conductor import fitting, lasting
from seawall.proxy.failover.patroni import parse
from seawall.proxy.replay.pinning import fencing_sql
from seawall.proxy.settings import Authority
from seawall.proxy.topology import NodeRole, NodeView, Phase, Topology, untracked
from tests.proxy.failover.conducting import PROMOTION_S, conducted, now, settings
from tests.proxy.failover.test_patroni import led_by

PIN = {
    "do": "pinned",
    "database": "shop",
    "sequence": 7,
    "restore": "SELECT 7",
    "backend": "two",
    "pid": 70,
}

DOWN_AFTER_S = 0.5


def test_the_first_survey_is_published_and_workers_are_told(monkeypatch):
    async def scenario(it):
        assert now() == pytest.approx(1000.0, abs=0.01)
        assert [one.role for one in it.topology.nodes] == [
            NodeRole.PRIMARY,
            NodeRole.REPLICA,
            NodeRole.REPLICA,
        ]
        await asyncio.sleep(0.01)
        assert it.crew.orders("topology") == [{"do": "topology"}] * it.crew.count
        assert it.lines == [], "that all is well is no news"
        generation = it.block.generation
        await asyncio.sleep(5)
        assert it.block.generation == generation, "nothing has changed"
        assert repr(it.conductor) == "Conductor(serving, one, watching)"

    conducted(monkeypatch, scenario)


def test_positions_are_published_now_and_then_and_wake_nobody(monkeypatch):
    async def scenario(it):
        await asyncio.sleep(0.01)
        generation, told = it.block.generation, len(it.crew.told)
        for step in range(100):
            it.servers.seen["one"] = replace(it.servers.seen["one"], write_lsn=2000 + step)
            await asyncio.sleep(0.05)
        assert 3 <= (it.block.generation - generation) / 2 <= 5
        assert len(it.crew.told) == told

    conducted(monkeypatch, scenario)


def test_reasons_are_published_after_a_while_and_told_once(monkeypatch):
    async def scenario(it):
        for name in ("two", "three", "one"):
            it.servers.kill(name)
        await it.until(lambda one: one.phase is Phase.HOLDING and "Connection refused" in one.reason)
        await it.until(lambda one: "no replica" in one.reason, limit_s=2.5)
        await asyncio.sleep(20)
        assert len([line for line in it.lines if "no replica" in line]) == 1
        assert len([done for done in it.hooks.done if done[0] == "fence"]) > 3

    conducted(monkeypatch, scenario)


def test_a_lost_primary_is_replaced_in_its_time(monkeypatch):
    async def scenario(it):
        began = now()
        it.servers.kill("one")
        await it.until(lambda one: one.phase is Phase.HOLDING)
        assert now() - began < 0.01
        topology = await it.serving("two")
        assert now() - began == pytest.approx(DOWN_AFTER_S + PROMOTION_S, abs=0.08)
        assert topology.timeline == 2
        (recovery,) = [one for one in topology.recoveries if one.node == "two"]
        assert (recovery.end_lsn, recovery.parent, recovery.watched) == (999, 1, True)
        assert it.hooks.done[:2] == [("fence", "one", False), ("promote", "two")]
        assert ("repoint", "two", ("three",)) in it.hooks.done
        assert {"do": "cut", "backend": "one"} in it.crew.orders("cut")
        await it.until(lambda one: one.node("one").role is NodeRole.REPLICA)
        assert ("rejoin", "one", "two") in it.hooks.done
        (entry,) = it.conductor.history.entries
        assert (entry.kind, entry.old_primary, entry.new_primary) == ("unplanned", "one", "two")
        assert (entry.outcome, entry.end_lsn, entry.timeline, entry.replays) == ("done", 999, 2, 4)
        assert entry.began == began
        assert began <= entry.held < entry.promoted < entry.resumed < began + 0.7
        assert any(line.startswith("holding: one") for line in it.lines)

    conducted(monkeypatch, scenario)


def test_replays_have_the_new_primary_to_themselves_one_worker_after_another(monkeypatch):
    async def scenario(it):
        it.crew.replays = {0: 0.3, 1: 0.2}
        it.servers.kill("one")
        await it.until(lambda one: one.phase is Phase.REPLAYING)
        began = now()
        await it.serving("two")
        assert now() - began == pytest.approx(0.5, abs=0.05)
        turns = [(number, order) for number, order in it.crew.told if order["do"] == "replay"]
        assert turns == [(0, {"do": "replay", "pin": False}), (1, {"do": "replay", "pin": False})]

    conducted(monkeypatch, scenario)


def test_replays_that_take_too_long_hold_nobody_up(monkeypatch):
    async def scenario(it):
        it.crew.replays = {0: 100.0}
        it.servers.kill("one")
        await it.until(lambda one: one.phase is Phase.REPLAYING)
        began = now()
        await it.serving("two")
        assert now() - began == pytest.approx(2.0, abs=0.1)

    conducted(monkeypatch, scenario)


def test_a_primary_that_comes_back_in_time_is_not_replaced(monkeypatch):
    async def scenario(it):
        it.servers.kill("one")
        await it.until(lambda one: one.phase is Phase.HOLDING)
        await asyncio.sleep(0.3)
        it.servers.start_again("one", end_of_recovery=1000, stats_reset="later")
        topology = await it.serving("one")
        await asyncio.sleep(2)
        assert it.hooks.done == []
        assert topology.recoveries[-1].end_lsn == 1000
        (entry,) = it.conductor.history.entries
        assert (entry.kind, entry.outcome) == ("restart", "done")

    conducted(monkeypatch, scenario)


def test_another_authority_is_only_followed(monkeypatch):
    async def scenario(it):
        it.servers.kill("one")
        await asyncio.sleep(5)
        assert it.topology.phase is Phase.HOLDING
        assert it.hooks.done == []
        it.servers.promoted("three")
        await it.serving("three")
        (entry,) = it.conductor.history.entries
        assert (entry.kind, entry.new_primary) == ("observed", "three")

    conducted(monkeypatch, scenario, settings("one", "two", "three", authority=Authority.EXTERNAL))


@pytest.mark.parametrize("fails", ["fence", "promote"])
def test_what_cannot_be_done_is_told_and_holds(monkeypatch, fails):
    async def scenario(it):
        it.hooks.fails.add(fails)
        it.servers.kill("one")
        await asyncio.sleep(3)
        assert it.topology.phase is Phase.HOLDING
        assert any(f"{fails} did not work" in line for line in it.lines)
        promoted = [done for done in it.hooks.done if done[0] == "promote"]
        assert {name for _, name in promoted} == ({"two", "three"} if fails == "promote" else set())
        it.hooks.fails.clear()
        await it.serving("two")

    conducted(monkeypatch, scenario)


def test_a_rejoin_that_fails_is_tried_again_and_holds_nobody_up(monkeypatch):
    async def scenario(it):
        it.hooks.fails.add("rejoin")
        it.servers.kill("one")
        await it.serving("two", limit_s=1.0)
        await asyncio.sleep(8)
        it.hooks.fails.clear()
        await it.until(lambda one: one.node("one").role is NodeRole.REPLICA)
        assert len([done for done in it.hooks.done if done[0] == "rejoin"]) >= 2

    conducted(monkeypatch, scenario)


def test_a_bug_leaves_clients_to_the_configuration(monkeypatch):
    async def scenario(it):
        good = it.servers.observations
        it.servers.observations = lambda: 1 / 0
        it.servers.changed()
        await it.until(lambda one: not one.tracked)
        assert any("ZeroDivisionError" in line for line in it.lines)
        it.lines.clear()
        it.servers.observations = good
        await it.serving("one")

    conducted(monkeypatch, scenario)


def test_a_bug_in_a_task_is_told(monkeypatch):
    async def scenario(it):
        async def bad(*_, **__):
            raise ZeroDivisionError

        it.hooks.fence = bad
        it.servers.kill("one")
        await asyncio.sleep(1)
        assert any("bug" in line and "ZeroDivisionError" in line for line in it.lines)
        it.lines.clear()

    conducted(monkeypatch, scenario)


# --- sequences that are set back ----------------------------------------------------------------------------


def test_nobody_is_served_while_a_sequence_is_set_back(monkeypatch):
    async def scenario(it):
        it.crew.replays = {0: 0.5}
        it.servers.kill("one")
        await it.until(lambda one: one.phase is Phase.REPLAYING)
        assert await it.desk.obey(PIN) == {"done": True}
        assert await it.desk.obey({**PIN, "sequence": 8, "restore": "SELECT 8"}) == {"done": True}
        assert await it.desk.obey({"do": "unpinned", "database": "shop", "sequence": 7}) == {"done": True}
        it.servers.refuses_statements = DatabaseUnavailable("two", "not now")
        await asyncio.sleep(3)  # longer than replays have
        assert it.topology.phase is Phase.REPLAYING
        assert it.conductor.plan.step.value == "watching"
        it.servers.refuses_statements = None
        await it.serving("two", limit_s=0.5)
        assert ("two", "shop", fencing_sql(70).decode() + "SELECT 8") in it.servers.statements
        assert not any("SELECT 7" in sql for _, _, sql in it.servers.statements)
        refused = await it.desk.obey(PIN)
        assert "clients are served" in refused["error"]

    conducted(monkeypatch, scenario)


def test_a_sequence_is_set_forward_on_whoever_is_primary_by_then(monkeypatch):
    async def scenario(it):
        it.crew.replays = {0: 0.5}
        it.hooks.fails.add("rejoin")
        it.servers.kill("one")
        await it.until(lambda one: one.phase is Phase.REPLAYING)
        assert (await it.desk.obey(PIN))["done"]
        it.servers.refuses_statements = DatabaseUnavailable("two", "not now")
        await asyncio.sleep(0.7)
        it.servers.kill("two")
        await it.until(lambda one: one.phase is Phase.HOLDING)
        it.servers.refuses_statements = None
        it.servers.statements.clear()
        await it.serving("three")
        assert it.servers.statements == [("three", "shop", "SELECT 7")]

    conducted(monkeypatch, scenario)


def test_a_sequence_that_cannot_be_set_forward_holds_nobody_up_for_ever(monkeypatch):
    async def scenario(it):
        it.crew.replays = {0: 0.5}
        it.servers.kill("one")
        await it.until(lambda one: one.phase is Phase.REPLAYING)
        assert (await it.desk.obey(PIN))["done"]
        it.servers.refuses_statements = DatabaseUnavailable("two", "permission denied")
        began = now()
        await it.serving("two")
        assert 10.0 < now() - began < 13.0
        assert any("sequence 7 of shop could not be set forward" in line for line in it.lines)

    conducted(monkeypatch, scenario)


# --- Patroni ------------------------------------------------------------------------------------------------


class PlayedPatroni:
    """Answers with what a test says; ``None``: doesn't."""

    answers = [led_by("one")]
    asked = 0

    def __init__(self, urls):
        assert urls == ("http://p",)

    async def ask(self):
        PlayedPatroni.asked += 1
        await asyncio.sleep(0.05)
        if PlayedPatroni.answers[0] is None:
            raise ServiceUnavailable("Patroni", "Connection refused")
        return parse(PlayedPatroni.answers[0])


def with_patroni(monkeypatch, scenario):
    monkeypatch.setattr(module, "Patroni", PlayedPatroni)
    monkeypatch.setattr(PlayedPatroni, "answers", [led_by("one")])
    given = settings("one", "two", "three", authority=Authority.EXTERNAL, patroni=("http://p",))
    conducted(monkeypatch, scenario, given)


def test_patroni_is_asked_first_and_then_once_a_second(monkeypatch):
    async def scenario(it):
        assert now() == pytest.approx(1000.05, abs=0.01)
        assert "authority" in it.topology.reason
        PlayedPatroni.asked = 0
        await asyncio.sleep(10.5)
        assert 9 <= PlayedPatroni.asked <= 11

    with_patroni(monkeypatch, scenario)


def test_only_the_leader_that_patroni_names_is_written_to(monkeypatch):
    async def scenario(it):
        it.servers.promoted("two")
        await asyncio.sleep(0.5)
        assert it.topology.primary != "two"
        PlayedPatroni.answers[0] = led_by("two")
        await it.serving("two")
        assert it.topology.node("one").role is NodeRole.ZOMBIE
        PlayedPatroni.answers[0] = led_by()
        await it.until(lambda one: one.phase is Phase.HOLDING)
        assert "no leader" in it.topology.reason

    with_patroni(monkeypatch, scenario)


def test_without_patroni_the_servers_own_word_counts_after_a_while(monkeypatch):
    async def scenario(it):
        PlayedPatroni.answers[0] = None
        it.servers.kill("one")
        it.servers.promoted("three")
        await asyncio.sleep(5)
        assert it.topology.phase is Phase.HOLDING
        await it.serving("three", limit_s=8.0)
        assert it.lines.count("Patroni: Connection refused") == 1

    with_patroni(monkeypatch, scenario)


# --- what is published --------------------------------------------------------------------------------------


def topology_of(count):
    nodes = [
        NodeView(f"backend-{index}", NodeRole.REPLICA, 1, 2**62, 1234.5, None, None, 10**9, 10**6, "2026")
        for index in range(count)
    ]
    return Topology(1, Phase.SERVING, "backend-0", False, 2**62, 1, tuple(nodes), reason="because")


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        (3, {"timeline": 1, "stats_reset": "2026", "replay_lsn": 10**9}),
        (750, {"timeline": 1, "stats_reset": "2026", "replay_lsn": None}),
        (1000, {"timeline": 0, "stats_reset": "", "replay_lsn": None}),
    ],
)
def test_of_very_many_servers_less_is_told(count, kept):
    topology = topology_of(count)
    told = Topology.from_json(fitting(topology))
    assert [(one.name, one.role) for one in told.nodes] == [(one.name, one.role) for one in topology.nodes]
    assert {name: getattr(told.nodes[1], name) for name in kept} == kept
    assert told.nodes[0].timeline == 1, "all about the primary"
    assert (told.reason, told.tracked) == ("because", True)


def test_more_servers_than_that_are_not_followed():
    nodes = tuple(replace(one, name=one.name * 20) for one in topology_of(1000).nodes)
    told = Topology.from_json(fitting(replace(topology_of(0), nodes=nodes)))
    assert not told.tracked
    assert "1000 servers" in told.reason


def test_what_lasts_is_all_but_positions_and_reasons():
    one = topology_of(1)
    grown = replace(one, nodes=(replace(one.nodes[0], replay_lsn=10**10, lag_bytes=0),), reason="other")
    assert lasting(one) == lasting(grown)
    assert lasting(one) != lasting(replace(one, epoch=2))
    assert lasting(untracked("a")) == lasting(untracked("b"))
