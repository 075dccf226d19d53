"""A worker's console over a real socket, beside a supervisor that says what a test wants."""

import asyncio
import json
import threading

from seawall.proxy.control import ControlServer, Siblings, socket_path, supervisor_path
from seawall.proxy.greeter import Door, Greeter
from seawall.proxy.settings import Auth, AuthMethod, Backend, Failover, ProxySettings, User
from seawall.proxy.shared import Block
from seawall.proxy.worker import Worker

WAIT_S = 15

BACKENDS = [
    {
        "name": name,
        "host": "db",
        "port": 5432,
        "role": role,
        "state": "reachable",
        "timeline": 3,
        "system_identifier": 71,
        "lag_bytes": lag,
        "connected_s": 5.5,
        "reason": None,
        "sync_state": "sync" if role == "replica" else None,
    }
    for name, role, lag in (("one", "primary", None), ("two", "replica", 0))
]
TOPOLOGY = {
    "epoch": 4,
    "phase": "serving",
    "primary": "one",
    "multi_primary": False,
    "timeline": 3,
    "system_identifier": 71,
    "tracked": True,
    "reason": "",
    "plan": "watching",
}
FAILOVER = {
    "at": "2026-03-01T12:00:00+00:00",
    "kind": "unplanned",
    "old_primary": "two",
    "new_primary": "one",
    "timeline": 3,
    "took_ms": 870,
    "outcome": "done",
    "reason": "one is primary",
    "end_lsn": "0/3000148",
    "detected_ms": 12,
    "promoted_ms": 820,
    "resumed_ms": 870,
    "replays": 4,
}


class FakeSupervisor:
    """Speaks the protocol of ``supervisor.sock``: a line in, a line out.

    ``orders`` are those that came, ``answers`` is what to say to an order's verb, ``gate`` is passed before a
    switchover is answered.
    """

    def __init__(self):
        self.orders = []
        self.topologies = [TOPOLOGY]
        """Shown one after another; the last one from then on."""
        self.answers = {"pause": {"done": True, "drained": True}, "resume": {"done": True}}
        self.answers["switchover"] = {"done": True, "pause_s": 0.2104, "primary": "two"}
        self.rows = {"backends": BACKENDS, "failovers": [FAILOVER]}
        self.gate = threading.Event()
        self.gate.set()

    def answer(self, order):
        """What is said; bytes go out as they are."""
        if "do" in order:
            self.orders.append(order)
            return self.answers.get(order["do"], {"error": "unknown order"})
        if order.get("show") == "topology":
            shown = self.topologies[0]
            if len(self.topologies) > 1:
                self.topologies.pop(0)
            else:
                self.gate.set()
            return {"rows": [shown]}
        return {"rows": self.rows[order["show"]]}

    async def serve(self, reader, writer):
        """One connection."""
        try:
            order = json.loads(await reader.readline())
            if order.get("do") == "switchover":
                await asyncio.to_thread(self.gate.wait, WAIT_S)
            answer = self.answer(order)
            writer.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n")
            await writer.drain()
        finally:
            writer.close()


class FakeRescue:
    """The part of a worker that knows what would become of its clients."""

    def __init__(self, *clients, ended=(), counts=None, refusals=None, lost_acknowledged=0):
        self._clients = list(clients)
        self._ended = list(ended)
        self.counts = counts or {}
        self.refusals = refusals or {}
        self.lost_acknowledged = lost_acknowledged

    def rows(self):
        return [dict(row) for row in self._ended]

    def explain(self):
        return [dict(row) for row in self._clients]


def settings_of(*, users=None, admin=(), stats=(), trust=True, failover=None):
    """Settings of a proxy whose console is all that is of interest."""
    auth = Auth(
        method=AuthMethod.SCRAM,
        users={name: User(name=name, secret=secret) for name, secret in (users or {}).items()},
        trust_loopback=trust,
        admin_users=frozenset(admin),
        stats_users=frozenset(stats),
    )
    return ProxySettings(
        backends=(Backend(name="one", host="192.0.2.1"),),
        auth=auth,
        failover=failover or Failover(switchover_timeout_s=WAIT_S),
    )


class RunningConsole:
    """A worker in a thread of the test, with its door open on a port, and a sibling beside it.

    Args:
        directory: for the sockets.
        supervisor: who answers at ``supervisor.sock``; ``None``: nobody.
        rescue: of the worker that is asked; ``other_rescue`` of its sibling.
    """

    def __init__(self, directory, supervisor=None, *, rescue=None, other_rescue=None, **settings):
        self.supervisor = supervisor
        self._directory = directory
        told = settings_of(**settings)
        self.workers = [Worker(told, number, 2, Block().row(number), b"k" * 32) for number in range(2)]
        for worker, its in zip(self.workers, (rescue, other_rescue), strict=True):
            if its is not None:
                worker.rescue = its
        self.worker = self.workers[0]
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.call(self._start())
        return self

    def __exit__(self, *failure):
        if self.supervisor is not None:
            self.supervisor.gate.set()
        self.call(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WAIT_S)
        self.loop.close()

    def call(self, coroutine):
        """Run a coroutine in the worker's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WAIT_S)

    async def _start(self):
        self.worker.siblings = Siblings(self.worker, self._directory)
        self.worker.derive_secrets()
        door = Door(100, 100)
        self._greeters = []

        def greet():
            self._greeters.append(Greeter(self.worker, door))
            return self._greeters[-1]

        self._servers = [
            await self.loop.create_server(greet, "127.0.0.1", 0),
            await asyncio.start_unix_server(
                ControlServer(self.workers[1]).serve, str(socket_path(self._directory, 1))
            ),
        ]
        self.port = self._servers[0].sockets[0].getsockname()[1]
        if self.supervisor is not None:
            path = str(supervisor_path(self._directory))
            self._servers.append(await asyncio.start_unix_server(self.supervisor.serve, path))

    async def _stop(self):
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for greeter in self._greeters:
            if greeter.transport is not None:
                greeter.transport.abort()
        await self.loop.shutdown_default_executor()
        for _ in range(3):
            await asyncio.sleep(0)  # what was aborted is closed in the next turn
