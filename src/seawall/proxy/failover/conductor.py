"""Joins the watch, the election, the plan and the hooks, in the supervisor's loop, and tells the workers.

After every piece of news, and often while something is going on: look, elect, take the plan a step further,
carry out what it orders, publish. All of that is quick and waits for nothing; what takes time is a task that
comes back as an event. Who gives orders from outside, and asks what is known, talks to ``desk``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final

from seawall.kernel.errors import SeawallError, ValidationError
from seawall.kernel.signals import Hub
from seawall.proxy.control import Order
from seawall.proxy.election import Memory, Policy, elect
from seawall.proxy.failover import news, orders, promotion
from seawall.proxy.failover.crew import Crew
from seawall.proxy.failover.deeds import WAITING, Deeds
from seawall.proxy.failover.history import Failover, History
from seawall.proxy.failover.hooks import CommandHooks, Hooks
from seawall.proxy.failover.patroni import Patroni, backend_of
from seawall.proxy.failover.pins import Pins
from seawall.proxy.failover.promotion import Step
from seawall.proxy.failover.watch import Watch
from seawall.proxy.settings import ProxySettings
from seawall.proxy.shared import Block
from seawall.proxy.topology import NodeView, Observation, Ordered, Phase, Topology, untracked

__all__ = ["Conductor"]

TICK_S: Final = 0.05
IDLE_TICK_S: Final = 1.0
"""While nothing is going on; news don't wait for it."""
REFRESH_S: Final = 1.0
"""Positions in the log are published as often as that; whatever else changes, at once."""
STATEMENT_TIMEOUT_S: Final = 5.0
PATRONI_POLL_S: Final = 1.0
PATRONI_HURRY_S: Final = 0.2
"""While there is no primary."""
PATRONI_FRESH_S: Final = 10.0
"""An older answer is none; as long as Patroni's own ``loop_wait``."""
AFTER_FAULT_S: Final = 1.0
TOPOLOGIES: Final[Mapping[str, bool]] = {"multi-primary": True, "single-primary": False}


class Conductor:
    """Follows the primary, and makes one when it is allowed to.

    Args:
        settings: of the proxy.
        block: where the topology is published.
        crew: the workers.
        log: takes a line about what happened.
        hooks: do something to the servers; ``None``: the configured commands.
        hub: where it publishes what happens.
    """

    def __init__(
        self,
        settings: ProxySettings,
        block: Block,
        crew: Crew,
        log: Callable[[str], None],
        hooks: Hooks | None = None,
        hub: Hub | None = None,
    ) -> None:
        failover = settings.failover
        self.settings = settings
        self.history = History()
        self.topology = replace(untracked("nobody has looked yet"), phase=Phase.OBSERVING)
        self.observations: tuple[Observation, ...] = ()
        self._block = block
        self._crew = crew
        self._log = log
        self._hub = Hub() if hub is None else hub
        self._news = asyncio.Event()
        self.watch = Watch(settings, self._news.set)
        self.pins = Pins(self.watch.run, log)
        hooks = hooks or CommandHooks(failover, settings.backends, self._run_sql)
        priorities = {one.name: one.priority for one in settings.backends}
        self.plan = promotion.begin(failover, priorities, can_fence=hooks.can_fence)
        self._deeds = Deeds(settings, self.watch, hooks, crew, self.pins)
        self._policy = Policy(multi_primary=TOPOLOGIES.get(failover.topology))
        self._memory = Memory()
        self._patroni = Patroni(failover.patroni) if failover.patroni else None
        self._leader = ""
        self._leader_at: float | None = None
        self._heard = asyncio.Event()
        """There is no other authority, or it has been asked once."""
        self._published, self._published_at = self.topology, 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._waits: dict[orders.Action, asyncio.Task[None]] = {}
        """Tasks that only wait, and are given up when the plan goes on without them."""
        self._told: list[str] = []
        self._said = ""
        self._hopes: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        """Bounded by the connections to the desk."""
        self._restoring: tuple[str, asyncio.Task[None]] | None = None

    def __repr__(self) -> str:
        return f"Conductor({self.topology.phase.value}, {self.topology.primary}, {self.plan.step.value})"

    # --- running ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, in the loop that is running."""
        self.watch.start()
        self._start(self._run())
        if self._patroni is None:
            self._heard.set()
        else:
            self._start(self._ask_patroni(self._patroni))

    async def stop(self) -> None:
        """End; what has been begun on a server goes on there."""
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self.watch.stop()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._log(f"{task} failed, which is a bug: {error!r}")

    async def _run(self) -> None:
        await self._heard.wait()
        while True:
            try:
                self.turn()
            except Exception:  # noqa: BLE001 -- whatever is wrong here, clients are served without it
                self._log(f"following the primary failed, which is a bug:\n{traceback.format_exc()}")
                self._publish(untracked("following the primary failed"))
                await asyncio.sleep(AFTER_FAULT_S)
            idle = self.plan.step is Step.WATCHING
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_TICK_S if idle else TICK_S):
                    await self._news.wait()
            self._news.clear()

    def turn(self) -> None:
        """Look at what is known of the servers, and draw the consequences."""
        self.observations = self.watch.observations()
        self._elect()
        self._feed(orders.Looked(self.topology, self.observations))

    def ask(self, event: orders.Event) -> str:
        """Give the plan an operator's order; returns what it says to that."""
        self._told.clear()
        self._feed(event)
        return "; ".join(self._told)

    def switch_over(self, target: str) -> tuple[str, Failover | None]:
        """Begin a switchover, to the best server if none is named; what is said to that, and the entry."""
        old = self.topology.primary
        said = self.ask(orders.SwitchoverAsked(target))
        if self.plan.step is not Step.CHECKPOINTING or old is None:
            return said or "not now", None
        now = self._now()
        return said, self.history.begin(at=time.time(), began=now, old_primary=old, planned=True)

    @property
    def generation(self) -> int:
        """Of the topology that workers read."""
        return self._block.generation

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for something that the plan, or a new topology, may bring; false if it doesn't in time."""
        if condition():
            return True
        hope = (condition, asyncio.get_running_loop().create_future())
        self._hopes.append(hope)
        try:
            async with asyncio.timeout(timeout_s):
                await hope[1]
        except TimeoutError:
            return False
        finally:
            self._hopes.remove(hope)
        return True

    # --- electing and publishing --------------------------------------------------------------------------

    def _elect(self) -> None:
        topology, memory = self._election(self.plan.published)
        primary = topology.primary
        if topology.phase is Phase.SERVING and primary is not None and len(self.pins):
            reason = "sequences that were set back for replays are set forward"
            topology, memory = self._election(Ordered(Phase.REPLAYING, primary, reason))
            if self._restoring is None:
                self._restoring = primary, self._start(self._restore(primary))
        if self._restoring is not None and self._restoring[0] != primary:
            self._restoring[1].cancel()
        self._memory = memory
        self._publish(topology)

    def _election(self, ordered: Ordered | None) -> tuple[Topology, Memory]:
        return elect(
            self.observations,
            self._memory,
            policy=self._policy,
            leader_said=self._leader_said(),
            ordered=ordered,
        )

    async def _restore(self, primary: str) -> None:
        try:
            await self.pins.restore(primary)
        finally:
            self._restoring = None
            self._news.set()

    def _publish(self, topology: Topology) -> None:
        self.topology = topology
        before, now = self._published, self._now()
        fresh = lasting(before) != lasting(topology)
        if not fresh and (before == topology or now - self._published_at < REFRESH_S):
            return
        self._published, self._published_at = topology, now
        self._block.publish(fitting(topology))
        if not fresh:
            return
        self._start(self._crew.kick())
        if _headline(before) != _headline(topology):
            began = self.watch.trouble_at(before.primary) if before.primary else None
            self.history.note(before, topology, at=time.time(), now=now, began=began or now)
            self._hub.publish(news.changed(before, topology, now))
            if Phase.OBSERVING not in {before.phase, topology.phase} or not topology.tracked:
                self._log(f"{topology.phase.value}: {topology.reason}")
        self._settle()

    def _settle(self) -> None:
        """Tell whoever has hoped for what has come, and whoever listens how a failover has ended."""
        for entry in self.history.ended():
            self._hub.publish(news.ended(entry))
        for condition, future in self._hopes:
            if not future.done() and condition():
                future.set_result(None)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # --- the plan -----------------------------------------------------------------------------------------

    def _feed(self, event: orders.Event) -> None:
        """Take the plan a step further."""
        self.plan, actions = promotion.step(self.plan, event, self._now())
        for action in actions:
            self._carry_out(action)
        for action, task in list(self._waits.items()):
            if action != self.plan.awaited:
                task.cancel()
                del self._waits[action]
        if self.plan.step is Step.WATCHING:
            self.history.settle(self.topology, self._now())
        self._settle()

    def _carry_out(self, action: orders.Action) -> None:
        if isinstance(action, orders.Publish):
            self._elect()
        elif isinstance(action, orders.Tell):
            self._told.append(action.text)
            if action.text != self._said:  # what is tried again and again is told once
                self._log(action.text)
            self._said = action.text
        elif isinstance(action, orders.CutConnections):
            self._start(self._tell_all({"do": "cut", "backend": action.node}))
        elif isinstance(action, orders.ResumeWorkers):
            self._start(self._tell_all({"do": "resume"}))
        elif isinstance(action, orders.Rank):
            for backend in self.settings.backends:
                self._start(self._look(backend.name))
        elif isinstance(action, orders.WaitWritable):
            self._start(self._deeds.look_until_writable(action.node, lambda: self._awaits(action.node)))
        else:
            task = self._start(self._answered(action))
            if isinstance(action, WAITING):
                self._waits[action] = task

    async def _answered(self, action: orders.Numbered) -> None:
        present = self.history.present
        if isinstance(action, orders.Promote) and present is not None:
            present.ours = True
        before = self._deeds.replayed
        event = await self._deeds.carry_out(action)
        if isinstance(action, orders.ReplayTurns) and present is not None:
            present.replays += self._deeds.replayed - before
        self._feed(event)

    def _awaits(self, node: str) -> bool:
        return self.plan.step in {Step.PROMOTING, Step.WAITING} and self.plan.target == node

    async def _look(self, name: str) -> None:
        await self.watch.look(name)
        self._news.set()

    async def _tell_all(self, order: Order) -> None:
        await self._crew.tell_all(order)

    async def _run_sql(self, node: str, sql: str) -> None:
        await self.watch.run(node, sql, STATEMENT_TIMEOUT_S)

    # --- another authority --------------------------------------------------------------------------------

    def _leader_said(self) -> str | None:
        """Whom Patroni names; empty if nobody, ``None`` if there is no Patroni or it doesn't answer."""
        if self._leader_at is None or self._now() - self._leader_at > PATRONI_FRESH_S:
            return None
        return self._leader

    async def _ask_patroni(self, patroni: Patroni) -> None:
        silent = False
        while True:
            try:
                found = await patroni.ask()
            except SeawallError as error:
                if not silent:
                    self._log(str(error))
                silent = True
            else:
                silent = False
                member = found.leader
                backend = backend_of(member, self.settings.backends) if member is not None else None
                leader = backend.name if backend is not None else member.name if member is not None else ""
                if leader != self._leader or self._leader_at is None:
                    self._news.set()
                self._leader, self._leader_at = leader, self._now()
            self._heard.set()
            serving = self.topology.phase is Phase.SERVING
            await asyncio.sleep(PATRONI_POLL_S if serving else PATRONI_HURRY_S)


def lasting(topology: Topology) -> Topology:
    """All but what changes with every transaction, and what is for people."""
    nodes = [replace(one, write_lsn=None, replay_lsn=None, lag_bytes=None) for one in topology.nodes]
    return replace(topology, nodes=tuple(nodes), reason="")


def fitting(topology: Topology) -> bytes:
    """The topology as the workers read it; of very many servers, less of those that aren't the primary."""
    nodes = topology.nodes
    plain = tuple(one if one.name == topology.primary else NodeView(one.name, one.role) for one in nodes)
    for shorter in (nodes, lasting(topology).nodes, plain):
        with contextlib.suppress(ValidationError):
            return replace(topology, nodes=shorter).to_json()
    return untracked(f"{len(nodes)} servers are too many to follow").to_json()


def _headline(topology: Topology) -> tuple[Phase, str | None, bool]:
    return topology.phase, topology.primary, topology.tracked
