"""The proxy's own worker between model clients and a model cluster, on virtual time and without sockets.

Everything of ``seawall.proxy`` is real but its transports and clock. What is late, lost or cut is a
schedule's business (:class:`Fault`); the same schedule runs the same way again.
"""

from __future__ import annotations

import contextlib
import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from benchmarks.failing.model import SYSTEM, Cluster, Node, Xact
from benchmarks.failing.model_backend import Backend as Session
from seawall.proxy import client as client_module
from seawall.proxy import naming as naming_module
from seawall.proxy import speech as speech_module
from seawall.proxy import worker as worker_module
from seawall.proxy.client import Client
from seawall.proxy.election import Memory, Policy, elect
from seawall.proxy.ledger import Ledger
from seawall.proxy.pool import Pool
from seawall.proxy.reported import Reported, reported_of
from seawall.proxy.server import Server
from seawall.proxy.session_settings import EMPTY
from seawall.proxy.settings import Backend, Pooling, ProxySettings, Replay, ReplayMode
from seawall.proxy.shared import Block
from seawall.proxy.sweep import Sweeper
from seawall.proxy.topology import Observation
from seawall.proxy.worker import Worker

TICK_S = 0.1
"""Between two looks of the watch, and two sweeps."""
WIRE_S = 0.0003
EVENTS_LIMIT = 200_000
DRAIN_S = 30.0
"""What is still under way when all clients have left may take so long."""
REPORTED: Reported = reported_of({"server_version": "16.1"})


@dataclass(frozen=True)
class Fault:
    """Something that happens.

    Attributes:
        kind: ``said`` and ``heard`` cut a connection at a byte of what it carries to the server or from it;
            ``stall``, ``fatal``, ``crash``, ``clean`` and ``promote`` happen at a time.
        at: seconds, or a byte's number.
        which: of the connections that were opened.
        lasts_s: of a stall, or until the server is back; of a cut, until the backend finds out.
        back: of a promotion: the old primary comes up once more.
    """

    kind: str
    at: float
    which: int = 0
    lasts_s: float = 0.0
    back: bool = False


class Clock:
    """Virtual time."""

    def __init__(self) -> None:
        self.now = 100.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def __call__(self) -> float:
        """Monotonic seconds; it goes on with every look, as a clock does."""
        self.now += 1e-9
        return self.now

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something then."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + max(0.0, seconds), self._count, what))

    def step(self) -> bool:
        """Do the next thing; false if there is none."""
        if not self._heap:
            return False
        at, _, what = heapq.heappop(self._heap)
        self.now = max(self.now, at)
        what()
        return True

    def call_later(self, seconds: float, what: Callable[..., None], *given: object) -> None:
        """As an event loop does."""
        self.later(seconds, lambda: what(*given))

    def get_running_loop(self) -> Clock:
        """Stand in for ``asyncio`` where the worker asks for a loop."""
        return self


class End:
    """A transport of the proxy's.

    Args:
        said: takes what the proxy writes.
        closed: called once when the proxy closes it.
    """

    def __init__(self, said: Callable[[bytes], None], closed: Callable[[], None]) -> None:
        self._said = said
        self._closed = closed
        self.closing = False
        self.deaf = False
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        if not self.closing:
            self._said(data)

    def get_write_buffer_size(self) -> int:
        return 1  # so that nobody writes to its descriptor

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> None:
        del name

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self._closed()

    abort = close

    def pause_reading(self) -> None:
        self.deaf = True

    def resume_reading(self) -> None:
        self.deaf = False


class Wire:
    """One connection from the proxy to a backend: bytes take a while, and may not arrive.

    Args:
        world: whose clock and chance.
        node: where the backend is.
        number: of the connections that were opened.
    """

    def __init__(self, world: World, node: Node, number: int) -> None:
        self.world = world
        self.end = End(self._send, self._closed)
        self.session = Session(node, self._told, self._hung_up)
        self.carried = {"said": 0, "heard": 0}
        self.cuts = {
            one.kind: one for one in world.faults if one.which == number and one.kind in self.carried
        }
        self.dead = False

    def _room(self, way: str, data: bytes) -> bytes:
        """What of it arrives."""
        fault = self.cuts.get(way)
        before = self.carried[way]
        self.carried[way] += len(data)
        if fault is None or before + len(data) < fault.at:
            return data
        self.world.clock.later(WIRE_S, lambda: self.cut(fault))
        return data[: max(0, int(fault.at) - before)]

    def cut(self, fault: Fault) -> None:
        """The connection is gone, for both ends."""
        if not self.dead:
            self.dead = True
            self.world.clock.later(fault.lasts_s, self.session.cut)
            self.world.clock.later(WIRE_S, self._lost)

    def _lost(self) -> None:
        self.world.note_split(self.end.protocol)
        self.end.closing = True
        self.end.protocol.connection_lost(None)

    def _send(self, data: bytes) -> None:
        data = self._room("said", data)
        if data and not self.dead:
            self.world.clock.later(WIRE_S, lambda: self.session.hear(data))

    def _told(self, data: bytes, commits: list[Xact]) -> None:
        if self.dead:
            return
        whole = len(data)
        data = self._room("heard", data)
        self.world.clock.later(WIRE_S, lambda: self._deliver(data, commits if len(data) == whole else []))

    def _deliver(self, data: bytes, commits: list[Xact]) -> None:
        self.world.cluster.delivered.update(id(one) for one in commits)
        while data and not self.end.closing:
            size = self.world.rng.choice((1, 3, 7, 40, 4096)) if self.world.chopped else 1 << 16
            part, data = data[:size], data[size:]
            self.end.protocol.data_received(part)

    def _hung_up(self) -> None:
        if not self.dead:
            self.world.clock.later(WIRE_S, self._ended)

    def _ended(self) -> None:
        if not self.dead:
            self.dead = True
            self._lost()

    def _closed(self) -> None:
        if not self.dead:
            self.dead = True
            self.world.clock.later(WIRE_S, self.session.cut)


class SimulatedWorker(Worker):
    """A worker whose connections are the world's."""

    world: World

    def start(self, work: Any) -> None:  # noqa: ANN401 -- a coroutine that never waits
        """Run it to its end."""
        with contextlib.suppress(StopIteration):
            work.send(None)

    async def _linger(self, transport: Any) -> None:  # noqa: ANN401
        self.world.clock.later(5.0, transport.abort)

    async def _open(self, pool: Pool, backend: Backend) -> None:
        self.world.clock.later(0.002, lambda: self.opened(pool, backend))

    def opened(self, pool: Pool, backend: Backend) -> None:
        """A login has ended."""
        node = self.world.cluster.nodes[backend.name]
        if not node.up or node.recovering:
            self._not_opened(pool, backend, "08006", "connection refused", final=False)
            return
        self.backends.connected(backend)
        pool.retry_at = 0.0
        wire = Wire(self.world, node, len(self.world.wires))
        self.world.wires.append(wire)
        server = Server(wire.end, pool.idle_sink, self.settings.pooling.max_prepared_statements)
        wire.end.protocol = server
        server.pool = pool
        server.backend = backend
        server.pid = wire.session.pid
        server.born_at = self.clock()
        server.applied = EMPTY
        server.parameters = REPORTED
        self.sampling.equip(server)
        pool.opened(server)
        self.want(pool)


async def _cancelled(*given: object) -> None:
    del given


class World:
    """A worker, a cluster, a watch.

    Args:
        rng: chance.
        faults: what happens.
        size: of the pool.
        synchronous: a COMMIT waits for the replica.
        lazy: or not even for its own log.
        lag_s: how late the worker hears about servers.
        chopped: what servers say comes in pieces.
        replay: whether transactions are said again.
    """

    def __init__(
        self,
        rng: random.Random,
        faults: tuple[Fault, ...],
        *,
        size: int,
        synchronous: bool,
        lazy: bool,
        lag_s: float,
        chopped: bool,
        replay: bool = True,
        max_statements: int = 200,
    ) -> None:
        self.rng = rng
        self.faults = faults
        self.lag_s = lag_s
        self.chopped = chopped
        self.clock = Clock()
        self.wires: list[Wire] = []
        self.split: set[Client] = set()
        self.cluster = Cluster(
            self.clock, self.clock.later, synchronous=synchronous, lazy=lazy, flush_s=0.02, ship_s=0.004
        )
        told = ProxySettings(
            backends=tuple(Backend(name=name, host=name) for name in self.cluster.nodes),
            pooling=Pooling(size=size, max_prepared_statements=max_statements),
            replay=Replay(mode=ReplayMode.ON if replay else ReplayMode.OFF),
        )
        block = Block()
        self.worker = SimulatedWorker(told, 0, 1, block.row(0), b"key")
        self.worker.world = self
        self.worker.clock = self.clock
        self.worker.signals.now = self.clock.now
        self.sweeper = Sweeper(self.worker)
        self.pool = self.worker.pool_for("u", "d")
        self.memory = Memory()
        self._published: Any = None
        self._since: dict[str, float] = {}
        self._reached: dict[str, float] = {}
        self._over = False

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Take the place of clocks and loops."""
        with contextlib.ExitStack() as stack:
            for module in (client_module, naming_module, speech_module, worker_module):
                for name in ("monotonic", "CLOCK"):
                    if hasattr(module, name):
                        stack.enter_context(mock.patch.object(module, name, self.clock))
            stack.enter_context(mock.patch.object(worker_module, "asyncio", self.clock))
            stack.enter_context(mock.patch.object(worker_module, "cancel", _cancelled))
            yield

    def client(self, said: Callable[[bytes], None], closed: Callable[[], None]) -> Client:
        """Let a client in."""
        end = End(said, closed)
        client = Client(end, self.worker, self.pool, Ledger("u"))
        client.user = "u"
        client.parameters = REPORTED
        client.ledger.adopt(REPORTED)
        end.protocol = client
        self.worker.enrol(client, long_key=False)
        return client

    def note_split(self, server: Server) -> None:
        """A connection is about to be lost: remember whether its client has half a message."""
        sink = server.sink
        holder = getattr(sink, "client", sink)
        if isinstance(holder, Client) and (server.mid_message or holder.mid_message):
            self.split.add(holder)

    def run(self, over: Callable[[], bool], limit_s: float) -> bool:
        """Let it all happen; whether everybody was done in time."""
        self._tick()
        for fault in self.faults:
            if fault.kind not in ("said", "heard"):
                self.clock.later(fault.at, lambda one=fault: self._befall(one))  # type: ignore[misc]
        end = self.clock.now + limit_s
        for _ in range(EVENTS_LIMIT):
            if over():
                break
            if self.clock.now > end or not self.clock.step():
                return False
        self._over = True
        end = self.clock.now + DRAIN_S
        while self.clock.now < end and self.clock.step():
            continue
        return over()

    # --- the watch ------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._over:
            return
        topology, self.memory = elect(
            [self._look(node) for node in self.cluster.nodes.values()],
            self.memory,
            policy=Policy(multi_primary=False),
        )
        if topology != self._published:
            self._published = topology
            self.clock.later(self.lag_s, lambda: self.worker.following.follow(topology))
        self.sweeper.sweep(self.clock())
        self.clock.later(TICK_S, self._tick)

    def _look(self, node: Node) -> Observation:
        if not node.up:
            self._since.pop(node.name, None)
            return Observation(name=node.name, refused=True, misses=3, unwatched_s=TICK_S)
        if self._reached.get(node.name) != node.born_at:
            self._since.pop(node.name, None)
            self._reached[node.name] = node.born_at
        since = self._since.setdefault(node.name, self.clock())
        return Observation(
            name=node.name,
            reachable=True,
            answered_at=self.clock(),
            in_recovery=node.recovering,
            timeline=node.timeline,
            system_identifier=SYSTEM,
            write_lsn=None,
            end_of_recovery=None if node.recovering else node.end_of_recovery,
            connected_since=since,
            unwatched_s=TICK_S,
            stats_reset=str(node.reset),
        )

    # --- faults ---------------------------------------------------------------------------------------------

    def _befall(self, fault: Fault) -> None:
        node = self.cluster.primary
        if fault.kind == "stall":
            for session in list(node.backends.values()):
                session.stall(fault.lasts_s)
        elif fault.kind == "fatal":
            for session in list(node.backends.values()):
                session.end("terminating connection due to administrator command")
        elif not node.up:
            return
        elif fault.kind in ("crash", "clean"):
            clean = fault.kind == "clean"
            node.stop(clean=clean)
            self.clock.later(fault.lasts_s, lambda: self._start(node, clean=clean))
        elif fault.kind == "promote" and self.cluster.nodes["b"].recovering:
            node.stop(clean=False)
            self.clock.later(fault.lasts_s, self.cluster.promote)
            if fault.back:
                self.clock.later(fault.lasts_s + 1.0, lambda: self._start(node, clean=False))

    def _start(self, node: Node, *, clean: bool) -> None:
        if not node.up:
            node.start(clean=clean)


__all__ = ["Fault", "World"]
