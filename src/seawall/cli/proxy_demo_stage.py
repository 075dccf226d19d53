"""The proxy demo's play: load; a worker and the primary are killed; a switchover, a graceful end, the audit.

It runs in real time against a real cluster, which its caller started, and a proxy of its own. It draws
nothing: an :class:`Audience` is shown the stage several times a second.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from seawall.app.build import in_front_of, promoting
from seawall.app.embedded_hooks import EmbeddedHooks
from seawall.cli import proxy_demo_report as reports
from seawall.cli import proxy_demo_shop as shop
from seawall.cli.proxy_demo_client import SessionLost
from seawall.cli.proxy_demo_console import Console
from seawall.cli.proxy_demo_load import Load
from seawall.embedded.cluster import Cluster
from seawall.embedded.errors import StatementFailed
from seawall.proxy.settings import Auth, Listen, Pooling, ProxySettings, Replay, ReplayMode, Timeouts
from seawall.proxy.supervisor import Supervisor

__all__ = ["FAST", "FULL", "Audience", "Look", "Moment", "Script", "Stage"]

FRAME_S: Final = 0.125
SERVERS_S: Final = 0.25
"""How often the console is asked about the servers, for the audience."""
LOOK_S: Final = 0.01
"""How often it is looked whether the new worker is there."""
BACK_TIMEOUT_S: Final = 15.0
FAILOVER_TIMEOUT_S: Final = 15.0
DRAIN_S: Final = 5.0
GONE_S: Final = 10.0
ROWS_MAX: Final = 16
"""Looks at the workers' counters that are kept: two seconds of frames."""
LINES_MAX: Final = 200
"""Moments kept; a play has two dozen, and more only if something keeps dying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What happens when, in seconds since the start of the load, and how large it is.

    Attributes:
        name: For the report.
        kill_at_s: One worker gets a SIGKILL.
        lose_at_s: The primary gets one.
        switch_at_s: Another server is made the primary.
        drain_at_s: The proxy is asked to end.
        clients: How many connect.
        workers: The proxy's processes.
        pool_size: Server connections, over all workers.
    """

    name: str
    kill_at_s: float
    lose_at_s: float
    switch_at_s: float
    drain_at_s: float
    clients: int = 32
    workers: int = 2
    pool_size: int = 16


FULL: Final = Script(name="full", kill_at_s=6.0, lose_at_s=13.0, switch_at_s=25.0, drain_at_s=32.0)
FAST: Final = Script(name="fast", kill_at_s=2.0, lose_at_s=5.0, switch_at_s=11.0, drain_at_s=14.0)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, ``at_s`` seconds after the start of the load."""

    at_s: float
    what: str


@dataclass(frozen=True, slots=True)
class Look:
    """The workers' own counters at a moment."""

    at_s: float
    rows: list[dict[str, int]]


class Audience(Protocol):
    """Who watches."""

    def see(self, stage: Stage) -> None:
        """Look at the stage."""
        ...


class Stage:
    """A play with its actors.

    Args:
        script: What happens.
        cluster: Running servers without a database called ``shop``: a primary and replicas.
        seed: Start of the random numbers.

    Attributes:
        moments: What has happened.
        load: The clients, once they are there.
        phase: What happens now, in words.
        killed: The worker that was killed, once it was.
        down: Whether it has not been replaced yet.
        draining: Whether the end has begun.
        drain_at_s: When it began, since the start of the load.
        looks: The workers' counters as they were of late, oldest first.
        console: What the proxy says of its servers, once it is there.
        failover: What became of the primary that was killed.
        switchover: What became of the one that was replaced on purpose.
    """

    def __init__(self, script: Script, cluster: Cluster, *, seed: int) -> None:
        self.script: Final = script
        self.cluster: Final = cluster
        self.moments: list[Moment] = []
        self.load: Load | None = None
        self.phase = "starting"
        self.killed: int | None = None
        self.down = False
        self.draining = False
        self._seed = seed
        self.looks: deque[Look] = deque(maxlen=ROWS_MAX)
        self._supervisor: Supervisor | None = None
        self._pids: tuple[int, ...] = ()
        self._clients_hit = 0
        self._killed_at_s: float | None = None
        self._ready_s: float | None = None
        self._drain_s: float | None = None
        self.drain_at_s: float | None = None
        self._drained = False
        self._audit: shop.Audit | None = None
        self.console: Console | None = None
        self.failover = reports.Replacement()
        self.switchover = reports.Replacement()

    # --- what an audience looks at ------------------------------------------------------------------------

    def elapsed_s(self) -> float:
        """Since the start of the load; 0 before it."""
        return 0.0 if self.load is None else self.load.elapsed_s()

    def report(self) -> reports.Report:
        """The judgement; of a play that was cut short, too."""
        return reports.report(
            self.script.name,
            reports.Facts(
                load=self.load,
                workers=self.script.workers,
                killed=self.killed,
                clients_hit=self._clients_hit,
                killed_at_s=self._killed_at_s,
                ready_s=self._ready_s,
                failover=self.failover,
                switchover=self.switchover,
                replays=() if self.console is None else tuple(self.console.replays),
                drain_at_s=self.drain_at_s,
                drain_s=self._drain_s,
                drained=self._drained,
                audit=self._audit,
            ),
        )

    # --- the play -----------------------------------------------------------------------------------------

    async def play(self, audience: Audience) -> None:
        """From the tables to the audit.

        Raises:
            SeawallError: The servers or the proxy don't do what they have to.
        """
        frames = [asyncio.create_task(self._frames(audience)), asyncio.create_task(self._looks())]
        try:
            await self._prepare()
            await self._perform()
            await self._check()
        finally:
            # Whatever happens, and however often it is cancelled: nothing is left running.
            await asyncio.shield(self._clear(frames))
            audience.see(self)

    async def _frames(self, audience: Audience) -> None:
        while True:
            if self._supervisor is not None:
                self.looks.append(Look(self.elapsed_s(), self._supervisor.rows()))
            audience.see(self)
            await asyncio.sleep(FRAME_S)

    async def _looks(self) -> None:
        while True:
            if self.console is not None and not self.draining:
                await self.console.look()
            await asyncio.sleep(SERVERS_S)

    async def _prepare(self) -> None:
        self._tell("making the shop's tables, and filling carts")
        primary, script = self.cluster.primary, self.script
        await asyncio.to_thread(primary.execute, f"CREATE DATABASE {shop.DATABASE}")
        await asyncio.to_thread(primary.execute, shop.tables(script.clients), database=shop.DATABASE)
        self._tell(
            f"starting the proxy: {script.workers} workers, transaction pooling, pool of {script.pool_size}"
        )
        settings = ProxySettings(
            backends=(),
            listen=(Listen(port=0),),
            workers=script.workers,
            pooling=Pooling(size=script.pool_size),
            timeouts=Timeouts(drain_s=DRAIN_S),
            auth=Auth(trust_loopback=True),
            replay=Replay(mode=ReplayMode.ON, pin_sequences=True),
        )
        settings = promoting(in_front_of(settings, self.cluster.nodes, primary))
        self._supervisor = Supervisor(settings, self._tell, EmbeddedHooks(self.cluster))
        with undisturbed():
            running = await self._supervisor.start()
        self._pids = running.worker_pids
        address = running.addresses[0]
        self.console = Console(address.host, address.port)
        self.load = Load(
            address.host, address.port, clients=script.clients, workers=script.workers, seed=self._seed
        )

    async def _perform(self) -> None:
        load, supervisor = self._actors()
        load.start()
        self._begin("load", f"{self.script.clients} clients check out through port {self._port()}")
        await self._until(self.script.kill_at_s)
        await self._kill(load, supervisor)
        await self._until(self.script.lose_at_s)
        await self._lose_primary(load)
        await self._until(self.script.switch_at_s)
        await self._switch_over(load)
        await self._until(self.script.drain_at_s)
        await self._drain(load, supervisor)

    async def _kill(self, load: Load, supervisor: Supervisor) -> None:
        victim = max(range(self.script.workers), key=load.clients_of)
        self.killed, self.down = victim, True
        self._clients_hit = load.clients_of(victim)
        self._killed_at_s = load.elapsed_s()
        load.watch(victim)
        with undisturbed():
            os.kill(self._pids[victim], signal.SIGKILL)
            self._begin("kill", f"worker {victim} killed (SIGKILL), with {self._clients_hit} clients")
            give_up_s = self._killed_at_s + BACK_TIMEOUT_S
            replaced = await self._see(
                lambda: supervisor.rows()[victim]["pid"] != self._pids[victim], give_up_s
            )
        if not replaced:
            self._tell(f"worker {victim} is not back after {BACK_TIMEOUT_S:.0f} s")
            return
        self._ready_s = load.elapsed_s() - self._killed_at_s
        self.down = False
        if await self._see(lambda: load.back_s is not None, give_up_s):
            self._begin("load", f"worker {victim} is back: a checkout through it after {load.back_s:.2f} s")

    async def _drain(self, load: Load, supervisor: Supervisor) -> None:
        await self._console().look()
        self.drain_at_s = load.elapsed_s()
        load.ending, self.draining = True, True
        self._begin("drain", "the proxy drains: transactions end, none begins")
        await supervisor.stop()
        self._drained = await load.gone(GONE_S)
        self._drain_s = load.elapsed_s() - self.drain_at_s
        self._supervisor = None
        self.looks.clear()
        self._tell(f"all clients were sent away, after {self._drain_s:.2f} s")

    async def _lose_primary(self, load: Load) -> None:
        """Kill the primary, and wait until it is back as a replica."""
        primary = self.cluster.primary
        seen = self.failover
        seen.old, seen.killed_at_s = primary.name, load.elapsed_s()
        killed = await asyncio.to_thread(primary.kill)
        self._begin("failover", f"{primary.name}, the primary, killed (SIGKILL to {killed} processes)")
        console = self._console()
        if not await console.until(lambda: console.replaced(primary.name), FAILOVER_TIMEOUT_S):
            self._tell(f"nobody has replaced {primary.name} after {FAILOVER_TIMEOUT_S:.0f} s")
            return
        seen.replaced = True
        self._tell(f"{console.primary} has taken over, {console.last_failover()}; {console.replays_told()}")
        if await console.until(lambda: console.follows(primary.name), FAILOVER_TIMEOUT_S):
            seen.rejoined_s = load.elapsed_s() - seen.killed_at_s
            self._tell(f"{primary.name} is back as a replica after {seen.rejoined_s:.1f} s")
        self.phase = "load"

    async def _switch_over(self, load: Load) -> None:
        """Make another server the primary, on purpose."""
        seen, console = self.switchover, self._console()
        seen.old, seen.killed_at_s = console.primary, load.elapsed_s()
        self._begin("switchover", f"SWITCHOVER, as an operator says it to the console: away from {seen.old}")
        try:
            told = await console.order("SWITCHOVER")
        except (SessionLost, StatementFailed) as error:
            self._tell(f"the switchover failed: {error}")
            return
        seen.replaced = await console.until(lambda: console.replaced(seen.old), FAILOVER_TIMEOUT_S)
        if await console.until(lambda: console.follows(seen.old), FAILOVER_TIMEOUT_S):
            seen.rejoined_s = load.elapsed_s() - seen.killed_at_s
        self._begin(
            "load", f"{console.primary} has taken over; clients were held for {told.get('pause_s')} s"
        )

    async def _check(self) -> None:
        load = self._actors_load()
        self._begin("audit", "comparing the books of clients, primary and replicas")
        await asyncio.to_thread(self.cluster.wait_caught_up)
        primary = self.cluster.primary
        orders = await asyncio.to_thread(primary.execute, shop.ORDERS, database=shop.DATABASE)
        (sums,) = await asyncio.to_thread(primary.execute, shop.SUMS, database=shop.DATABASE)
        copies = []
        for node in self.cluster.nodes:
            if node.name != primary.name:
                copies += await asyncio.to_thread(node.execute, shop.SUMS, database=shop.DATABASE)
        self._audit = shop.audit(load.books, orders, sums, copies)
        self._begin("end", "done")

    async def _clear(self, frames: list[asyncio.Task[None]]) -> None:
        if self.load is not None:
            await self.load.stop()
        if self._supervisor is not None:
            await self._supervisor.stop(now=True)
            self._supervisor = None
        for task in frames:
            task.cancel()
        await asyncio.gather(*frames, return_exceptions=True)

    # --- underneath ---------------------------------------------------------------------------------------

    def _actors(self) -> tuple[Load, Supervisor]:
        assert self._supervisor is not None
        return self._actors_load(), self._supervisor

    def _actors_load(self) -> Load:
        assert self.load is not None
        return self.load

    def _console(self) -> Console:
        assert self.console is not None
        return self.console

    def _port(self) -> int:
        assert self._supervisor is not None
        return self._supervisor.addresses[0].port

    async def _see(self, happened: Callable[[], bool], give_up_s: float) -> bool:
        """Look again and again, as nobody tells; whether it happened in time."""
        while not happened():
            if self.elapsed_s() > give_up_s:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def _until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self.elapsed_s()))

    def _begin(self, phase: str, what: str) -> None:
        self.phase = phase
        self._tell(what)

    def _tell(self, what: str) -> None:
        if len(self.moments) < LINES_MAX:
            self.moments.append(Moment(self.elapsed_s(), what))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C waits until the block is over, in this process and in those that are started meanwhile.

    A terminal sends it to the workers as well, and one that is just being started would die of it and print
    where. Workers that run don't heed it: their supervisor tells them what to do. To be called in the main
    thread. The mask is for what is started; another thread of this process may take the signal all the same.
    """
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)
