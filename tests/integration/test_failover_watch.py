"""A real cluster whose servers are killed, paused, stopped and switched: noticed, replaced, brought back.

The conductor runs as in the supervisor; the workers are played by the test. What clients see of all this is
another file's.
"""

import asyncio
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from seawall.app.build import in_front_of, promoting
from seawall.app.embedded_hooks import EmbeddedHooks
from seawall.proxy.failover.conductor import Conductor
from seawall.proxy.failover.desk import Desk
from seawall.proxy.failover.hooks import HookFailed
from seawall.proxy.settings import Failover, ProxySettings
from seawall.proxy.shared import Block
from seawall.proxy.topology import NodeRole, Phase, Topology

pytestmark = pytest.mark.timeout(60)

WAIT_S = 20


class FakeCrew:
    """Workers that have nothing open and nothing to replay."""

    count = 2

    def __init__(self):
        self.told = []

    async def tell(self, number, order, timeout_s=1.0):
        self.told.append(order)
        return {"done": True, "busy": 0, "replayed": 0, "refused": 0}

    async def tell_all(self, order, timeout_s=1.0):
        return [await self.tell(number, order) for number in range(self.count)]

    async def kick(self):
        await self.tell_all({"do": "topology"})


class Conducted:
    """A conductor at work on a cluster, in a loop of its own."""

    def __init__(self, cluster, **changes):
        self.cluster = cluster
        settings = in_front_of(ProxySettings(backends=()), cluster.nodes, cluster.primary)
        settings = replace(settings, failover=Failover(**changes))
        if len(cluster.nodes) > 1:
            settings = promoting(settings)
        self.settings = settings
        self.lines = []
        self.block, self.crew = Block(), FakeCrew()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.call(self._start())
        self.until(lambda topology: topology.phase is Phase.SERVING)
        return self

    async def _start(self):
        hooks = EmbeddedHooks(self.cluster)
        self.conductor = Conductor(self.settings, self.block, self.crew, self.lines.append, hooks)
        self.desk = Desk(self.conductor)
        self.conductor.start()

    def __exit__(self, *failure):
        self.call(self.conductor.stop())
        self.call(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WAIT_S)
        self.loop.close()
        if failure[0] is not None:
            print("\n".join(self.lines))

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WAIT_S)

    def obey(self, **order):
        return self.call(self.desk.obey(order))

    @property
    def topology(self):
        """As a worker reads it."""
        generation, text = self.block.topology()
        return Topology.from_json(text) if generation else None

    def until(self, condition):
        """Wait for a topology; returns it and the moment."""
        give_up = time.monotonic() + WAIT_S
        while time.monotonic() < give_up:
            found = self.topology
            if found is not None and condition(found):
                return found, time.monotonic()
            threading.Event().wait(0.002)
        pytest.fail(f"not in time; last: {self.topology}; {self.lines}")

    def until_all_follow(self, primary):
        """Wait until all others are replicas of a primary and stream from it."""
        names = {node.name for node in self.cluster.nodes} - {primary}

        def following(topology):
            replicas = {one.name for one in topology.nodes if one.role is NodeRole.REPLICA}
            return topology.primary == primary and replicas == names

        self.until(following)
        node = self.cluster.node(primary)
        rows = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'"
        give_up = time.monotonic() + WAIT_S
        while {name for (name,) in node.execute(rows)} != names:
            assert time.monotonic() < give_up, self.lines
            threading.Event().wait(0.02)

    def row(self, table, index=0):
        return self.obey(show=table)["rows"][index]


def kill_one(node, kind):
    """End one process of a server, of which the postmaster makes a crash."""
    ((pid,),) = node.execute(f"SELECT pid FROM pg_stat_activity WHERE backend_type = '{kind}'")
    os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("synchronous", [False, True], ids=["asynchronous", "synchronous"])
def test_a_killed_primary_is_replaced_and_rejoined(cluster, synchronous):
    made = cluster(replicas=2, synchronous=synchronous)
    made.primary.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    made.wait_caught_up()
    with Conducted(made) as conducted:
        before = conducted.topology
        assert before.primary == "pg1"
        assert [one.role for one in before.nodes] == [NodeRole.PRIMARY, NodeRole.REPLICA, NodeRole.REPLICA]
        made.node("pg1").kill()
        killed = time.monotonic()
        topology, served = conducted.until(lambda one: one.phase is Phase.SERVING and one.primary != "pg1")
        new = topology.primary
        print(f"\nserved by {new} {served - killed:.3f} s after the kill")
        assert topology.timeline == 2
        (recovery,) = [one for one in topology.recoveries if one.node == new]
        assert recovery.watched
        assert (recovery.timeline, recovery.parent) == (2, 1)
        assert recovery.end_lsn == topology.node(new).end_of_recovery
        assert made.node(new).execute("SELECT answer FROM kept") == [("42",)]
        made.node(new).execute("CREATE TABLE more AS SELECT 43 AS answer")
        conducted.until_all_follow(new)
        made.wait_caught_up()
        for node in made.nodes:
            assert node.execute("SELECT answer FROM more") == [("43",)]
        row = conducted.row("failovers")
        print(row)
        assert (row["kind"], row["old_primary"], row["new_primary"]) == ("unplanned", "pg1", new)
        assert row["outcome"] == "done"
        assert row["detected_ms"] <= row["promoted_ms"] <= row["resumed_ms"] == row["took_ms"]
        assert {"do": "cut", "backend": "pg1"} in conducted.crew.told
        roles = {one["name"]: (one["role"], one["state"]) for one in conducted.obey(show="backends")["rows"]}
        assert roles[new] == ("primary", "reachable")
        assert roles["pg1"] == ("replica", "reachable")


def test_the_new_primary_is_replaced_as_well(cluster):
    made = cluster(replicas=2)
    with Conducted(made) as conducted:
        timeline = 1
        for _ in range(3):
            old = conducted.topology.primary
            timeline += 1
            made.node(old).kill()
            topology, _ = conducted.until(
                lambda one, timeline=timeline: one.phase is Phase.SERVING and one.timeline == timeline
            )
            assert topology.primary != old
            conducted.until_all_follow(topology.primary)
        assert len(conducted.obey(show="failovers")["rows"]) == 3


def test_a_replica_that_has_crashed_is_on_the_timeline_that_it_was_on(cluster):
    made = cluster(replicas=2, synchronous=True)
    noted = (
        "SELECT GREATEST(r.min_recovery_end_timeline, c.timeline_id)"
        " FROM pg_control_recovery() r, pg_control_checkpoint() c"
    )
    with Conducted(made) as conducted:
        made.node("pg1").kill()
        topology, _ = conducted.until(lambda one: one.phase is Phase.SERVING and one.primary != "pg1")
        second = topology.primary
        conducted.until_all_follow(second)
        (third,) = {"pg2", "pg3"} - {second}
        made.node("pg1").stop("immediate")
        made.node(second).execute("CREATE TABLE kept AS SELECT 42 AS answer")
        made.node(third).stop("immediate")
        made.node(second).kill()
        for name in ("pg1", third):
            made.node(name).start()
        assert made.node(third).execute(noted) == [("1",)]
        topology, _ = conducted.until(lambda one: one.phase is Phase.SERVING and one.primary != second)
        assert (topology.primary, topology.timeline) == (third, 3)
        assert made.node(third).execute("SELECT answer FROM kept") == [("42",)]
        conducted.until_all_follow(third)


def test_a_paused_primary_is_noticed_fenced_and_replaced(cluster):
    made = cluster(replicas=2)
    with Conducted(made) as conducted:
        paused = time.monotonic()
        made.node("pg1").pause()
        _, held = conducted.until(lambda one: one.phase is Phase.HOLDING)
        topology, served = conducted.until(lambda one: one.phase is Phase.SERVING)
        print(f"\nheld after {held - paused:.3f} s, served after {served - paused:.3f} s")
        assert topology.primary != "pg1"
        assert not made.node("pg1").is_paused
        conducted.until_all_follow(topology.primary)


def test_a_paused_replica_is_noticed_and_back_without_a_restart(cluster):
    made = cluster(replicas=1)
    with Conducted(made) as conducted:
        since = conducted.topology.node("pg2").connected_since
        assert since > 0
        made.node("pg2").pause()
        topology, _ = conducted.until(lambda one: one.node("pg2").role is NodeRole.DOWN)
        assert topology.phase is Phase.SERVING
        made.node("pg2").resume()
        topology, _ = conducted.until(lambda one: one.node("pg2").role is NodeRole.REPLICA)
        assert topology.node("pg2").connected_since == since


@pytest.mark.parametrize("synchronous", [False, True], ids=["asynchronous", "synchronous"])
def test_a_switchover_loses_nothing(cluster, synchronous):
    made = cluster(replicas=2, synchronous=synchronous)
    made.primary.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with Conducted(made) as conducted:
        answer = conducted.obey(do="switchover", to="pg3")
        print(f"\n{answer}")
        assert answer["done"], answer
        assert answer["primary"] == "pg3"
        assert conducted.topology.primary == "pg3"
        assert made.node("pg3").execute("SELECT answer FROM kept") == [("42",)]
        made.node("pg3").execute("CREATE TABLE more AS SELECT 43 AS answer")
        conducted.until_all_follow("pg3")
        row = conducted.row("failovers")
        assert (row["kind"], row["old_primary"], row["new_primary"]) == ("planned", "pg1", "pg3")
        assert {"do": "pause"} in conducted.crew.told
        assert {"do": "resume"} in conducted.crew.told
        assert "rejoined" not in conducted.lines
        answer = conducted.obey(do="switchover", to=None)
        assert answer["done"], answer
        assert answer["primary"] in {"pg1", "pg2"}


def test_a_switchover_that_cannot_be_is_refused_with_a_reason(cluster):
    with Conducted(cluster(replicas=1)) as conducted:
        assert "pg2" in conducted.obey(do="switchover", to="pg9")["error"]
        assert "pg1" in conducted.obey(do="switchover", to="pg1")["error"]
        assert conducted.topology.phase is Phase.SERVING


async def out_of_order(node, primary):
    raise HookFailed(node, "out of order")


def test_a_zombie_is_never_elected(cluster):
    made = cluster(replicas=1)
    old = made.node("pg1")
    with Conducted(made) as conducted:
        conducted.conductor._deeds._hooks.rejoin = out_of_order
        old.kill()
        conducted.until(lambda one: one.phase is Phase.SERVING and one.primary == "pg2")
        old.start()
        topology, _ = conducted.until(lambda one: one.node("pg1").role is NodeRole.ZOMBIE)
        assert old.execute("SELECT pg_is_in_recovery()") == [("f",)], "it takes writes"
        assert (topology.phase, topology.primary) == (Phase.SERVING, "pg2")
        made.node("pg2").kill()
        conducted.until(lambda one: one.phase is Phase.HOLDING and "no replica" in one.reason)
        assert conducted.topology.primary is None
        assert conducted.topology.node("pg1").role is NodeRole.ZOMBIE


def test_a_crash_of_one_process_is_a_recovery_with_an_end(cluster):
    made = cluster()
    with Conducted(made) as conducted:
        made.primary.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        kill_one(made.primary, "walwriter")
        topology, _ = conducted.until(lambda one: len(one.recoveries) == 2 and one.phase is Phase.SERVING)
        last = topology.recoveries[-1]
        assert last.watched
        assert not last.clean
        assert last.end_lsn == topology.node("pg1").end_of_recovery > 0
        assert conducted.row("failovers")["kind"] == "restart"


def test_a_clean_restart_is_a_clean_recovery(cluster):
    made = cluster()
    with Conducted(made) as conducted:
        before = conducted.topology.node("pg1")
        made.primary.restart("fast")
        topology, _ = conducted.until(lambda one: len(one.recoveries) == 2 and one.phase is Phase.SERVING)
        assert topology.recoveries[-1].clean
        assert topology.recoveries[-1].end_lsn is None
        assert topology.node("pg1").connected_since > before.connected_since
        assert topology.node("pg1").stats_reset == before.stats_reset


def test_a_lost_connection_is_no_recovery(cluster):
    made = cluster()
    with Conducted(made) as conducted:
        before = conducted.topology
        made.primary.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'seawall watch'"
        )
        assert conducted.obey(do="suspect", backend="pg1")["done"]
        after = conducted.topology
        assert after.phase is Phase.SERVING
        assert after.recoveries == before.recoveries
        assert after.node("pg1").connected_since == before.node("pg1").connected_since


def test_a_suspicion_is_answered_with_the_truth(cluster):
    made = cluster(replicas=1)
    with Conducted(made, down_after_s=60.0) as conducted:
        made.node("pg1").kill()
        answer = conducted.obey(do="suspect", backend="pg1")
        assert answer["done"]
        generation, text = conducted.block.topology()
        assert generation >= answer["generation"]
        assert Topology.from_json(text).node("pg1").role is NodeRole.DOWN
        assert "error" in conducted.obey(do="suspect", backend="pg9")


def test_a_pause_holds_and_a_resume_lets_go(cluster):
    with Conducted(cluster()) as conducted:
        assert conducted.obey(do="pause") == {"done": True, "drained": True}
        assert conducted.topology.phase is Phase.PAUSED
        assert conducted.obey(do="resume") == {"done": True}
        conducted.until(lambda one: one.phase is Phase.SERVING)
        assert "error" in conducted.obey(do="resume")
