"""Pools: one per user and database; who waits is served in turn, and no pool can starve another.

A pool keeps its idle servers last in, first out, so that what is not needed grows old and is closed. When
there is none, the client waits and the pool asks for a new connection if its size and the limits above it
(of the database, of the user, of the backend) allow. Those limits are shared by pools; a place that becomes
free goes to the pools that wait in turn (round robin), not to the loudest (``sharing``).

It opens no connection itself: ``worker`` does what ``want`` says.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import Any, Final

from seawall.proxy.client import Client
from seawall.proxy.home import Home
from seawall.proxy.owed import Note
from seawall.proxy.server import Server
from seawall.proxy.settings import PoolMode
from seawall.proxy.sink import Sink
from seawall.wire.pgwire.passwords import Md5Secret
from seawall.wire.pgwire.scram import ScramKeys

TOOK_BOUNDS_S: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0),
)
"""What durations of transactions are sorted by, in seconds: around what services of this kind promise."""
BURST: Final = 8
"""Connections a pool has under way at once at most."""


class Idle(Sink):
    """The sink of pooled servers: nearly whatever they say means that they are no longer good."""

    __slots__ = ("pool",)

    def __init__(self, pool: Pool) -> None:
        self.pool: Pool = pool

    def deliver(self, data: bytes) -> None:
        """Notices and reports of changed settings; an error is handled in ``refused``."""

    def settled(self, server: Server) -> None:
        """A ReadyForQuery that nobody asked for: the connection is out of step."""
        self.pool.discard(server)

    def parameter(self, server: Server, body: bytes) -> None:
        """A reload of the server's configuration changed a reported setting."""
        self.pool.worker.fitting.server_parameter(server, body)

    def refused(self, server: Server, body: bytes) -> None:
        """Usually 57P01: the server is being shut down."""
        self.pool.discard(server)

    def undone(self, note: Note, *, failed: bool) -> None:
        """Nobody asked for one."""

    def resume(self) -> None:
        """Nobody waits."""

    def forgotten(self) -> None:
        """Nobody asked for that."""

    def lost(self, server: Server) -> None:
        """The server is gone."""
        self.pool.forget(server)

    def throttle(self, *, stop: bool) -> None:
        """Nothing is being sent."""


class Pool(Home):
    """The server connections of one user to one database.

    Args:
        worker: opens connections and tells clients what failed.
        user: name the servers know.
        database: name the servers know.
        mode: when servers come back.
        size: connections this worker may have for it.
    """

    __slots__ = (
        "connect_errors",
        "idle",
        "idle_sink",
        "last_error",
        "mode",
        "opened_count",
        "opening",
        "paused",
        "privileged",
        "queue_limit",
        "reserve",
        "retry_at",
        "secret",
        "servers",
        "size",
        "took",
        "user",
        "waited_s",
        "waiting",
        "worker",
    )

    def __init__(self, worker: Any, user: str, database: str, mode: PoolMode, size: int) -> None:  # noqa: ANN401
        super().__init__(
            database=database,
            session=mode is PoolMode.SESSION,
            statement_mode=mode is PoolMode.STATEMENT,
            statements_per_client=worker.settings.pooling.statements_per_client,
            signals=worker.signals,
        )
        self.worker: Any = worker
        self.user: str = user
        self.mode: PoolMode = mode
        self.size: int = size
        self.reserve: int = 0
        self.queue_limit: int = worker.settings.pooling.queue_limit
        self.idle: list[Server] = []
        self.idle_sink: Idle = Idle(self)
        self.servers: dict[Server, bool] = {}
        self.opening: int = 0
        self.retry_at: float = 0.0
        self.paused: bool = worker.following.held
        """Servers go to nobody but ``privileged``."""
        self.privileged: Client | None = None
        self.waiting: deque[Client] = deque()
        self.waited_s: float = 0.0
        self.connect_errors: int = 0
        self.opened_count: int = 0
        self.last_error: str = ""
        self.took: list[int] = [0] * (len(TOOK_BOUNDS_S) + 1)
        """Transactions by how long they took: up to each bound, and longer."""
        self.secret: str | Md5Secret | ScramKeys | None = None
        """What proves to servers that we are this user."""

    def add_up(self) -> None:
        """Count the transactions that have ended since the last time."""
        lasted = self.lasted
        if not lasted:
            return
        self.lasted = []
        self.transactions += len(lasted)
        self.busy_s += sum(lasted)
        lasted.sort()
        took, before = self.took, 0
        for position, bound in enumerate(TOOK_BOUNDS_S):
            upto = bisect_right(lasted, bound)
            took[position] += upto - before
            before = upto
        took[-1] += len(lasted) - before

    def take(self, client: Client) -> Server | None:
        """An idle server, or ``None`` if the client has to wait."""
        del client
        if not self.idle or self.waiting or self.paused:
            return None
        return self.idle.pop()

    def wait(self, client: Client) -> None:
        """Queue a client."""
        if self.paused and self.worker.following.without_primary and self._full_without_primary(client):
            return
        if len(self.waiting) >= self.queue_limit:
            self.worker.queue_overflows += 1
            client.fail("53300", "too many clients wait for a server", f"{len(self.waiting)} are waiting")
            return
        client.waiting_since = self.worker.clock()
        self.waiting.append(client)
        if self.paused or len(self.servers) + self.opening < self.size + self.reserve:
            self.worker.want(self)

    def _full_without_primary(self, client: Client) -> bool:
        """Refuse one client too many while there is no primary; whether that was done."""
        if len(self.waiting) < self.worker.settings.failover.hold_requests:
            return False
        self.worker.queue_overflows += 1
        client.fail("57P03", "there is no primary, and too many wait for one", self.worker.topology.reason)
        return True

    def wait_first(self, client: Client, *, alone: bool = False) -> None:
        """Queue a client ahead of all others: it has lost a server. ``alone``: even while all others wait."""
        client.waiting_since = self.worker.clock()
        self.waiting.appendleft(client)
        if alone:
            self.privileged = client
        if self.idle and (alone or not self.paused):
            self.hand(self.idle.pop(), self.waiting.popleft())
        else:
            self.worker.want(self)

    def release(self) -> None:
        """Clients are served again: hand out what is idle."""
        while self.idle and self.waiting and not self.paused:
            self.hand(self.idle.pop(), self.waiting.popleft())

    def put(self, server: Server, now: float = 0.0) -> None:
        """A server is free: it goes to whoever waits longest, makes place for another pool's, or is idle.

        Args:
            server: which.
            now: the clock, if it is known.
        """
        server.unnamed = None
        server.overtime = False
        server.retries = 0
        if server.paused:
            server.paused = False
            server.transport.resume_reading()
        if server.cancels:
            server.sink = self.idle_sink
            return  # a cancel for its last user is on its way; worker puts it again when that has ended
        if server not in self.servers or server.born_at < 0:
            self.discard(server)
            return
        waiting = self.waiting
        if waiting and (not self.paused or waiting[0] is self.privileged):
            if self.signals.contended and self.worker.sharing.yields(self, server):
                self.discard(server)
                return
            client = waiting.popleft()
            if client is self.privileged:
                self.privileged = None
            if not now:
                now = self.worker.clock()
            self.waited_s += now - client.waiting_since
            client.granted(server, now)
            return
        server.sink = self.idle_sink
        server.used_at = self.signals.now
        self.idle.append(server)
        if self.signals.contended:
            self.worker.sharing.share(self)

    def hand(self, server: Server, client: Client) -> None:
        """Give a server to a client that waited."""
        if client is self.privileged:
            self.privileged = None
        now = self.worker.clock()
        self.waited_s += now - client.waiting_since
        client.granted(server)

    def opened(self, server: Server) -> None:
        """A connection that was wanted is there."""
        self.opening -= 1
        self.opened_count += 1
        self.last_error = ""
        self.servers[server] = True
        self.put(server)

    def leave(self, client: Client) -> None:
        """A waiting client went away."""
        try:
            self.waiting.remove(client)
        except ValueError:
            return

    def forget(self, server: Server) -> None:
        """A server is gone."""
        if self.servers.pop(server, None) is None:
            return
        if server in self.idle:
            self.idle.remove(server)
        self.worker.server_gone(self, server)

    def discard(self, server: Server) -> None:
        """Close a server that must not be used again."""
        server.close()
        self.forget(server)

    def retire(self) -> None:
        """Close idle servers, and make those in use close when they come back."""
        for server in list(self.idle):
            self.discard(server)
        for server in self.servers:
            server.born_at = -1.0

    @property
    def room(self) -> int:
        """How many connections it may still open."""
        return self.size + self.reserve - len(self.servers) - self.opening

    @property
    def lacking(self) -> int:
        """How many connections it could use and may have."""
        if self.paused:
            first = bool(self.waiting) and self.waiting[0] is self.privileged
            return 1 if first and not self.opening else 0
        return min(len(self.waiting) - self.opening, self.room, BURST - self.opening)
