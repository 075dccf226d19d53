"""One worker: its pools and clients, and everything that happens to them less often than once per query.

The hot path is in ``client`` and ``server``; they call in here when something is out of the ordinary: a
session has to be fitted to a server, a server or client is gone, a limit is reached. Nothing here blocks;
coroutines are started for logins and cancels only.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Final

from seawall.proxy.backends import Backends
from seawall.proxy.client import Client
from seawall.proxy.connect import Addresses, LoginFailed, cancel, log_in, tune
from seawall.proxy.errands import Batch
from seawall.proxy.fitting import Fitting
from seawall.proxy.following import Following
from seawall.proxy.home import Home, Signals
from seawall.proxy.ledger import SURVIVES_DISCARD
from seawall.proxy.naming import ATTACHED, CLOSED, DETACHED, WAITING
from seawall.proxy.observing import Watcher
from seawall.proxy.pool import Pool
from seawall.proxy.reported import Reported, reported_of
from seawall.proxy.rescue import Rescuing
from seawall.proxy.sampling import Sampling
from seawall.proxy.server import BROKEN, OPEN, Server
from seawall.proxy.session_settings import EMPTY, Settings
from seawall.proxy.settings import AuthMethod, Backend, Database, PoolMode, ProxySettings, ReplayMode, User
from seawall.proxy.shared import Row
from seawall.proxy.sharing import Sharing
from seawall.proxy.statements import StatementCache
from seawall.proxy.topology import Topology, untracked
from seawall.proxy.watching import Watch
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.passwords import Md5Secret, PlainSecret, Secret, parse_secret
from seawall.wire.pgwire.scram import verifier_for

POOLS_LIMIT: Final = 10_000
"""Pairs of user and database one worker keeps pools for."""
LINGER_S: Final = 5.0
"""A client that is closed and doesn't read is cut after this long."""
RETRY_FIRST_S: Final = 0.05
RETRY_LAST_S: Final = 1.0
KEY_BYTES: Final = 4
NOTES_LIMIT: Final = 100
KEY_BYTES_LONG: Final = 32
INDEX_BITS: Final = 20
"""Of the process number clients see: the client's index; the bits above are the worker's number."""


def server_secret(text: str) -> str | Md5Secret | None:
    """What to log in to servers with; ``None`` for a SCRAM verifier, from which nobody can log in.

    For users known by a verifier the keys come from the client's own login, see ``Greeter``.
    """
    secret = parse_secret(text) if text else None
    if isinstance(secret, PlainSecret):
        return text
    return secret if isinstance(secret, Md5Secret) else None


class Worker:
    """The data plane of one process.

    Args:
        settings: what the proxy has been told.
        number: which worker this is, from 0.
        count: how many there are.
        row: its counters in the shared block.
        mock_key: makes up salts for users that don't exist; the same in all workers.
    """

    def __init__(
        self, settings: ProxySettings, number: int, count: int, row: Row, mock_key: bytes = b""
    ) -> None:
        self.settings = settings
        self.number = number
        self.count = count
        self.row = row
        self.clock = monotonic
        self.signals = Signals(monotonic())
        self.statements = StatementCache()
        self.addresses = Addresses(settings.timeouts.dns_refresh_s)
        self.backends = Backends(settings.backends, self.share_of)
        self.pools: dict[tuple[str, str, PoolMode], Pool] = {}
        self.clients: dict[int, Client] = {}
        self.by_user: dict[str, int] = {}
        """How many of them each user has; bounded by their number."""
        self.welcomes: dict[tuple[Home, Settings], Reported] = {}
        self.queue_overflows = 0
        self.clients_total = 0
        self.refused_at_door = 0
        self.cancels = 0
        self.mock_key = mock_key
        self.siblings: Any = None
        self.published: Any = None
        """The shared block, in which the supervisor publishes."""
        self.notes: deque[str] = deque(maxlen=NOTES_LIMIT)
        """What happened that should not."""
        self._next_pid = secrets.randbelow(1 << INDEX_BITS)
        self.topology: Topology = untracked("nobody watches the servers")
        self.following = Following(self)
        self.sampling = Sampling(self)
        self.rescue = Rescuing(self)
        self.fitting = Fitting(self)
        self.sharing = Sharing(self)
        self.watch = Watch()
        """What is remembered of queries; nothing, unless somebody looks on."""
        self.watcher = Watcher()
        self._tasks: set[asyncio.Task[None]] = set()
        self._secrets: dict[str, Secret] = {}
        """Bounded by the number of configured users."""

    # --- clients come and go ------------------------------------------------------------------------------

    def pool_for(self, user: str, database: str) -> Pool:
        """The pool for clients that name this user and database.

        Raises:
            KeyError: there is no such database here.
        """
        entry = self.database(database)
        known = self.settings.auth.users.get(user) or User(name=user)
        mode = known.pool_mode or entry.pool_mode or self.settings.pooling.mode
        server_user = entry.server_user or user
        server_database = entry.server_name or database
        key = (server_user, server_database, mode)
        pool = self.pools.get(key)
        if pool is None:
            if len(self.pools) >= POOLS_LIMIT:
                raise KeyError(database)
            size = known.pool_size or entry.pool_size or self.settings.pooling.size
            pool = Pool(self, server_user, server_database, mode, self.share_of(size))
            pool.secret = server_secret(entry.server_secret or known.server_secret or known.secret)
            self.pools[key] = pool
        return pool

    def database(self, name: str) -> Database:
        """How this database is configured.

        Raises:
            KeyError: it isn't.
        """
        found = self.settings.databases.get(name) or self.settings.databases.get("*")
        if found is None:
            raise KeyError(name)
        return found

    def full(self, user: str) -> bool:
        """Whether one more client of this user is one too many."""
        if len(self.clients) >= self.share_of(self.settings.pooling.max_client_connections):
            return True
        known = self.settings.auth.users.get(user)
        limit = known.max_client_connections if known is not None else 0
        return bool(limit) and self.by_user.get(user, 0) >= self.share_of(limit)

    def share_of(self, size: int) -> int:
        """This worker's part of a limit that holds for all workers together; at least one."""
        return max(1, size // self.count + (self.number < size % self.count))

    def enrol(self, client: Client, *, long_key: bool) -> None:
        """Give a client its place and its cancel key."""
        while True:
            self._next_pid = (self._next_pid + 1) & ((1 << INDEX_BITS) - 1)
            pid = (self.number + 1) << INDEX_BITS | self._next_pid
            if pid not in self.clients:
                break
        client.pid = pid
        client.replays = self.sampling.mode_for(client.user, client.database) is not ReplayMode.OFF
        client.resolves = self.sampling.resolves(client)
        client.key = secrets.token_bytes(KEY_BYTES_LONG if long_key else KEY_BYTES)
        client.connected_at = client.seen_at = self.clock()
        self.clients[pid] = client
        self.clients_total += 1
        self.by_user[client.user] = self.by_user.get(client.user, 0) + 1

    def rename(self, client: Client, pid: int) -> None:
        """Give a client another process number, unless somebody here has it."""
        if pid not in self.clients:
            del self.clients[client.pid]
            client.pid = pid
            self.clients[pid] = client

    def greet(self, client: Client) -> None:
        """Find out what a server in this client's state reports, tell the client, and let it in."""
        known = None if client.pool.session else self.welcomes.get((client.pool, client.settings))
        if known is not None:
            self.fitting.let_in(client, known)
            return
        client.state = WAITING
        server = client.pool.take(client)
        if server is None:
            client.pool.wait(client)
        else:
            client.granted(server)

    def client_gone(self, client: Client) -> None:
        """A client's connection is closed: free what it had."""
        if client.rescue is not None:
            self.rescue.gone(client)
        self.rescue.turns.unpark(client)
        if self.clients.pop(client.pid, None) is not None:
            left = self.by_user.pop(client.user) - 1
            if left:
                self.by_user[client.user] = left
        server = client.server
        if server is None:
            client.pool.leave(client)
            return
        if server.sink is not client:
            return  # an errand is under way; it comes back to _after and finds the client closed
        client.server = None
        self.recycle(server, client)

    def recycle(self, server: Server, client: Client) -> None:
        """Clean a server that a client left, or close it."""
        pool: Pool = server.pool
        if server.paused:
            server.paused = False
            server.transport.resume_reading()
        in_transaction = server.status != framing.IDLE
        if server.journal is not None:
            server.journal.clear()
        if server.state == BROKEN:
            pool.forget(server)
        elif server.busy or client.mid_message:
            self.start(cancel(self.addresses, server.backend, server.pid, server.key))
            pool.discard(server)
        elif client.ledger.pins & SURVIVES_DISCARD:
            pool.discard(server)
        elif in_transaction or client.stay or server.suspect:
            sql = ("ROLLBACK", "DISCARD ALL") if in_transaction else ("DISCARD ALL",)
            server.sink = pool.idle_sink
            server.suspect = 0
            Batch(server, b"".join(messages.query(one) for one in sql), len(sql), self._cleaned)
        else:
            pool.put(server)

    def _cleaned(self, batch: Batch) -> None:
        server = batch.server
        if batch.gone:
            server.pool.forget(server)
        elif batch.error is not None or not server.free:
            server.pool.discard(server)
        else:
            server.statements.clear()
            server.applied = EMPTY
            server.suspect = 0
            server.pool.put(server)

    def close_client(
        self, client: Client, sqlstate: str, message: str, detail: str = "", hint: str = ""
    ) -> None:
        """Tell a client why it has to go, unless it is in the middle of a message; close its connection."""
        if client.state == CLOSED:
            return
        client.state = CLOSED
        server = client.server
        if server is None or server.sink is not client or not server.mid_message:
            client.tell(
                messages.error_response(sqlstate, message, severity="FATAL", detail=detail, hint=hint)
            )
        client.transport.close()
        self.start(self._linger(client.transport))
        self.client_gone(client)

    async def _linger(self, transport: Any) -> None:  # noqa: ANN401
        """Give a client that was told to go a moment to read why, then cut it."""
        await asyncio.sleep(LINGER_S)
        transport.abort()

    def close_idle(self) -> None:
        """Close all idle server connections."""
        for pool in self.pools.values():
            for server in list(pool.idle):
                pool.discard(server)

    def fill(self, pool: Pool, least: int) -> None:
        """Open connections until a pool has at least so many."""
        while len(pool.servers) + pool.opening < min(least, pool.size) and self.clock() >= pool.retry_at:
            backend = self.backends.take(self.clock()) if self.sharing.allowed(pool) else None
            if backend is None:
                return
            pool.opening += 1
            self.start(self._open(pool, backend))

    def database_ddl(self) -> None:
        """CREATE, DROP or ALTER DATABASE is coming: idle connections must not be in its way."""
        self.close_idle()
        if self.siblings is not None:
            self.siblings.tell({"do": "close_idle"})

    # --- servers come and go ------------------------------------------------------------------------------

    def want(self, pool: Pool) -> None:
        """Open connections for whoever waits in this pool, as far as the limits allow."""
        while pool.lacking > 0 and self.clock() >= pool.retry_at:
            backend = self.sharing.place(pool)
            if backend is None:
                return
            pool.opening += 1
            self.start(self._open(pool, backend))

    async def _open(self, pool: Pool, backend: Backend) -> None:
        """Open one connection for a pool and hand it over."""
        timeouts = self.settings.timeouts
        try:
            async with asyncio.timeout(timeouts.connect_s or None):
                welcome = await log_in(
                    self.addresses, backend, pool.user, pool.database, pool.secret, timeouts.user_timeout_s
                )
        except LoginFailed as error:
            self._not_opened(pool, backend, error.sqlstate, error.reason, final=error.final)
            return
        except (OSError, TimeoutError) as error:
            self._not_opened(pool, backend, "08006", str(error) or "timed out", final=False)
            return
        except messages.ProtocolViolation as error:
            self._not_opened(pool, backend, "08P01", str(error), final=False)
            return
        if self.topology.tracked and welcome.parameters.get("in_hot_standby") == "on":
            welcome.transport.abort()
            self._not_opened(pool, backend, "25006", "it is in recovery", final=False)
            return
        self.backends.connected(backend)
        tune(welcome.transport, 0.0)  # from here on the sweeper looks whether it is silent
        pool.retry_at = 0.0
        server = Server(welcome.transport, pool.idle_sink, self.settings.pooling.max_prepared_statements)
        server.pool = pool
        server.backend = backend
        server.pid = welcome.pid
        server.key = welcome.key
        server.born_at = self.clock()
        server.applied = EMPTY
        server.parameters = reported_of(welcome.parameters)
        self.sampling.equip(server)
        welcome.transport.set_protocol(server)
        pool.opened(server)
        if welcome.rest:
            server.data_received(welcome.rest)
        self.want(pool)

    def _not_opened(self, pool: Pool, backend: Backend, sqlstate: str, message: str, *, final: bool) -> None:
        pool.opening -= 1
        pool.connect_errors += 1
        pool.last_error = f"{backend.name}: {message}"
        if final:
            self.backends.closed(backend)
            while pool.waiting:
                self.close_client(pool.waiting.popleft(), sqlstate, message)
            return
        wait_s = self.backends.failed(backend, self.clock(), RETRY_FIRST_S, RETRY_LAST_S)
        pool.retry_at = self.clock() + wait_s
        asyncio.get_running_loop().call_later(wait_s, self.want, pool)

    def server_gone(self, pool: Pool, server: Server) -> None:
        """A connection left a pool; somebody may take its place."""
        self.backends.closed(server.backend)
        if self.signals.contended:
            self.sharing.share(pool)
        else:
            self.want(pool)

    def server_lost(self, client: Client, server: Server) -> None:
        """A server died under a client."""
        self.rescue.lost(client, server)

    def unserved(self, client: Client, server: Server) -> None:
        """A server died before its client had said anything on it: another will do."""
        client.server = client.journal = None
        server.journal = None
        server.pool.forget(server)
        client.state = WAITING
        server.pool.wait_first(client)

    def after(self, wait_s: float, what: Callable[[], None]) -> None:
        """Do something later."""
        asyncio.get_running_loop().call_later(wait_s, what)

    # --- cancelling ---------------------------------------------------------------------------------------

    def cancel(self, pid: int, key: bytes) -> bool:
        """Cancel what a client of this worker runs; true if there is such a client and the key is right.

        While a request is on its way the server connection goes to nobody else, or it might hit them.
        """
        client = self.clients.get(pid)
        if client is None or not hmac.compare_digest(client.key, key):
            return False
        server = client.server
        if client.state == WAITING and server is None and client.rescue is not None:
            client.pool.leave(client)
            self.rescue.expire(client, "it was cancelled while it waited for a server")
        elif client.state == WAITING and server is None:
            client.pool.leave(client)
            self.close_client(client, "57014", "canceling statement due to user request")
        elif server is not None and client.state == ATTACHED and server.pending and not server.cancels:
            self.cancels += 1
            self.start(self.cancel_server(server))
        return True

    async def cancel_server(self, server: Server) -> None:
        """Send a cancel request for a server connection, and keep it out of the pool meanwhile."""
        server.cancels += 1
        try:
            await cancel(self.addresses, server.backend, server.pid, server.key)
        finally:
            server.cancels -= 1
            if not server.cancels and server.sink is server.pool.idle_sink and server.state == OPEN:
                server.pool.put(server)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside everything else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def look_at_topology(self) -> None:
        """Read what the supervisor has published, if it is news."""
        if self.published is not None and self.published.generation != self.following.generation:
            self.following.read(*self.published.topology())

    def note(self, text: str) -> None:
        """Remember what should not have happened."""
        self.notes.append(text)

    # --- operators' orders --------------------------------------------------------------------------------

    def drain(self) -> None:
        """Let no transaction begin; close what is idle, the rest as it ends."""
        self.signals.draining = True
        for client in list(self.clients.values()):
            self.drain_client(client)

    def drain_client(self, client: Client) -> None:
        """Close a client that is between transactions."""
        if client.server is None and client.state == DETACHED:
            self.close_client(client, "57P01", "the proxy is shutting down", "", "Connect again.")

    def derive_secrets(self) -> None:
        """Derive what clients' proofs are checked against: at a login it would tell who is a user here."""
        auth = self.settings.auth
        for name, user in auth.users.items():
            if user.secret:
                secret = parse_secret(user.secret)
                if auth.method is AuthMethod.SCRAM and isinstance(secret, PlainSecret):
                    secret = verifier_for(secret, name, self.mock_key)[0]
                self._secrets[name] = secret

    def proof(self, user: str, *, loopback: bool) -> tuple[AuthMethod, Secret | None]:
        """How a client that names this user has to prove it, and the secret to check against."""
        auth = self.settings.auth
        if auth.trust_loopback and loopback:
            return AuthMethod.TRUST, None
        if auth.method is AuthMethod.TRUST:
            return AuthMethod.TRUST, None
        return auth.method, self._secrets.get(user)

    def may_see(self, user: str, *, loopback: bool) -> bool:
        """Whether this user may use the admin console."""
        auth = self.settings.auth
        return user in auth.admin_users or user in auth.stats_users or (auth.trust_loopback and loopback)

    @property
    def pid(self) -> int:
        """The process."""
        return os.getpid()
