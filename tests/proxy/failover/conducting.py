"""A conductor on virtual time, with servers, workers and hooks that are played."""

import asyncio
from dataclasses import replace

from seawall.kernel.errors import DatabaseUnavailable
from seawall.proxy.failover import conductor as module
from seawall.proxy.failover.conductor import Conductor
from seawall.proxy.failover.desk import Desk
from seawall.proxy.failover.hooks import HookFailed
from seawall.proxy.settings import Authority, Backend, Failover, ProxySettings, Replay
from seawall.proxy.shared import Block
from seawall.proxy.topology import Observation, Phase, Topology
from seawall.testing import VirtualClock, run

SYSTEM = 7712584816948751715
PROMOTION_S = 0.04


def now():
    return asyncio.get_running_loop().time()


class PlayedServers:
    """Stands for the watch: servers that are what a test says, and answer at once."""

    def __init__(self, settings, changed):
        self.changed = changed
        self.seen = {}
        self.statements = []
        self.refuses_statements = None
        self.troubles = {}
        self.looks = []
        self.begun = False
        for index, backend in enumerate(settings.backends):
            self.seen[backend.name] = Observation(
                name=backend.name,
                reachable=True,
                in_recovery=index > 0,
                timeline=1,
                system_identifier=SYSTEM,
                write_lsn=1000 if index == 0 else None,
                receive_lsn=1000 - index if index else None,
                replay_lsn=1000 - index if index else None,
                connected_since=now(),
                answered_at=now(),
            )

    def start(self):
        self.begun = True
        self.changed()

    async def stop(self):
        self.begun = False

    def observations(self):
        return tuple(self.seen.values())

    def observation(self, name):
        return self.seen[name]

    def trouble_at(self, name):
        return self.troubles.get(name)

    async def look(self, name):
        self.looks.append(name)
        one = self.seen[name]
        if one.reachable:
            written = [other.write_lsn for other in self.seen.values() if other.reachable and other.write_lsn]
            if one.in_recovery and written:
                one = replace(one, receive_lsn=max(written), replay_lsn=max(written))
            self.seen[name] = replace(one, answered_at=now())
        await asyncio.sleep(0.001)

    async def run(self, name, sql, timeout_s, database=""):
        self.statements.append((name, database, sql))
        if self.refuses_statements is not None:
            raise self.refuses_statements
        if not self.seen[name].reachable:
            raise DatabaseUnavailable(name, "Connection refused")
        return []

    # --- what a test does to them -------------------------------------------------------------------------

    def change(self, name, **changes):
        self.seen[name] = replace(self.seen[name], **changes)
        self.changed()

    def kill(self, name):
        self.troubles[name] = now()
        self.change(
            name, reachable=False, refused=True, misses=3, connected_since=0.0, text="Connection refused"
        )

    def start_again(self, name, **changes):
        self.troubles.pop(name, None)
        options = {"reachable": True, "refused": False, "misses": 0, "text": "", "answered_at": now()}
        self.change(name, connected_since=now(), **{**options, **changes})

    def promoted(self, name):
        timeline = 1 + max(one.timeline for one in self.seen.values())
        end = self.seen[name].replay_lsn
        self.change(
            name, in_recovery=False, timeline=timeline, write_lsn=end, end_of_recovery=end, answered_at=now()
        )


class PlayedHooks:
    """Does to the servers what it is told, in a moment."""

    can_fence = can_rejoin = True

    def __init__(self):
        self.done = []
        self.fails = set()

    async def act(self, what, *about):
        self.done.append((what, *about))
        await asyncio.sleep(0.001)
        if what in self.fails:
            raise HookFailed(str(about[0]), f"{what} did not work")

    async def fence(self, node, *, clean):
        await self.act("fence", node, clean)
        self.servers.kill(node)

    async def promote(self, node):
        await self.act("promote", node)
        asyncio.get_running_loop().call_later(PROMOTION_S, self.servers.promoted, node)

    async def repoint(self, primary, replicas):
        await self.act("repoint", primary, tuple(replicas))
        for name in replicas:
            self.servers.change(name, timeline=self.servers.seen[primary].timeline)

    async def rejoin(self, node, primary):
        await self.act("rejoin", node, primary)
        timeline = self.servers.seen[primary].timeline
        self.servers.start_again(node, in_recovery=True, timeline=timeline, end_of_recovery=None)


class PlayedCrew:
    """Workers that do as they are told; ``busy`` of them have a transaction open."""

    count = 2

    def __init__(self):
        self.told = []
        self.busy = 0
        self.replays = {}
        self.silent = set()
        self.disturbed = set()

    async def tell(self, number, order, timeout_s=1.0):
        self.told.append((number, order))
        await asyncio.sleep(0.001)
        if number in self.silent:
            return None
        if order["do"] == "busy":
            return {"busy": self.busy}
        if order["do"] == "replay":
            await asyncio.sleep(self.replays.get(number, 0.0))
            return {"done": True, "replayed": 2, "refused": 1, "pin": number not in self.disturbed}
        return {"done": True}

    async def tell_all(self, order, timeout_s=1.0):
        return list(await asyncio.gather(*(self.tell(number, order) for number in range(self.count))))

    async def kick(self):
        await self.tell_all({"do": "topology"})

    def orders(self, verb):
        return [order for _, order in self.told if order["do"] == verb]


class Conducting:
    """A conductor and all that it deals with."""

    def __init__(self, settings):
        self.lines = []
        self.read = (0, Topology(0, Phase.OBSERVING, None, False, 0, 0, ()))
        self.block, self.crew, self.hooks = Block(), PlayedCrew(), PlayedHooks()
        self.conductor = Conductor(settings, self.block, self.crew, self.lines.append, self.hooks)
        self.servers = self.hooks.servers = self.conductor.watch
        self.desk = Desk(self.conductor)

    async def until(self, condition, limit_s=30.0):
        """Wait until a topology that workers read is as it should be."""
        give_up = now() + limit_s
        while not condition(self.topology):
            assert now() < give_up, (self.topology, self.conductor, self.lines)
            await asyncio.sleep(0.001)
        return self.topology

    async def serving(self, primary, **options):
        return await self.until(lambda one: one.phase is Phase.SERVING and one.primary == primary, **options)

    @property
    def topology(self):
        if self.block.generation != self.read[0]:
            generation, text = self.block.topology()
            self.read = generation, Topology.from_json(text)
        return self.read[1]


def settings(*names, authority=Authority.SELF, sole_proxy=True, pin_sequences=False, **changes):
    backends = tuple(Backend(name=name, host=f"10.0.0.{index}") for index, name in enumerate(names, 1))
    return ProxySettings(
        backends=backends,
        failover=Failover(authority=authority, sole_proxy=sole_proxy, **changes),
        replay=Replay(pin_sequences=pin_sequences),
    )


def conducted(monkeypatch, scenario, given=None):
    """Run a scenario with a conductor that serves from ``one``, with ``two`` and ``three`` behind it."""
    monkeypatch.setattr(module, "Watch", PlayedServers)

    async def main():
        conducting = Conducting(given or settings("one", "two", "three"))
        conducting.conductor.start()
        try:
            await conducting.serving("one", limit_s=1.0)
            await scenario(conducting)
        finally:
            await conducting.conductor.stop()
        assert not conducting.servers.begun
        assert not [line for line in conducting.lines if "bug" in line]

    run(main(), VirtualClock(1000.0))
