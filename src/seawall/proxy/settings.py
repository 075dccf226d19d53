"""What the proxy has been told: plain frozen records, every value checked before it gets here.

Nothing here reads a file; ``seawall.app.config`` does and explains what is wrong with it. Durations are
seconds, 0 means "no limit" unless the field says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class PoolMode(Enum):
    """When a server connection goes back to the pool."""

    SESSION = "session"
    TRANSACTION = "transaction"
    STATEMENT = "statement"


class Role(Enum):
    """What a backend is for."""

    PRIMARY = "primary"
    REPLICA = "replica"
    AUTO = "auto"
    """Not told: taken for a primary until something knows better."""


class AuthMethod(Enum):
    """How clients prove who they are."""

    SCRAM = "scram-sha-256"
    MD5 = "md5"
    CLEARTEXT = "password"
    TRUST = "trust"


class Authority(Enum):
    """Who makes a server the primary."""

    EXTERNAL = "external"
    """Somebody else (Patroni, a cloud, a person); the proxy observes."""
    SELF = "self"
    """The proxy, when the primary is gone."""


class ReplayMode(Enum):
    """What becomes of open transactions whose server is lost."""

    OFF = "off"
    SHADOW = "shadow"
    """They are recorded and it is told what would have been replayed; clients get 40001."""
    ON = "on"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listen:
    """One address: host and port, or the directory of a unix socket (``port`` then names its file)."""

    host: str = "127.0.0.1"
    port: int = 6432
    """0 lets the system choose."""
    unix_directory: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """One PostgreSQL server."""

    name: str
    host: str
    """Host name, address, or the directory of its unix socket (starts with a slash)."""
    port: int = 5432
    role: Role = Role.AUTO
    priority: int = 100
    weight: float = 1.0
    zone: str = ""
    region: str = ""
    allowed_query_types: tuple[str, ...] = ()
    max_connections: int = 0
    """Over all pools of this proxy; 0 is no limit."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Per-backend keys of the configuration that parts outside the data path read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """One user, as clients name it."""

    name: str
    secret: str = field(default="", repr=False)
    """Plain password, ``md5...`` or ``SCRAM-SHA-256$...`` as pg_authid stores it; empty: trust only."""
    server_secret: str = field(default="", repr=False)
    """Plain password for the servers, where ``secret`` is a verifier that cannot log in."""
    pool_mode: PoolMode | None = None
    pool_size: int | None = None
    max_client_connections: int = 0
    replay: ReplayMode | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """One database, as clients name it; ``"*"`` stands for all that are not named."""

    name: str
    server_name: str = ""
    """Its name on the servers; empty: the same."""
    server_user: str = ""
    """Log in to servers as this user whatever the client's name is; empty: as the client's."""
    server_secret: str = field(default="", repr=False)
    pool_mode: PoolMode | None = None
    pool_size: int | None = None
    max_connections: int = 0
    """Server connections over all users of this database."""
    replay: ReplayMode | None = None
    """Above the user's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pooling:
    """Pools: one per user and database, sizes over all workers together."""

    mode: PoolMode = PoolMode.TRANSACTION
    size: int = 20
    min_size: int = 0
    reserve_size: int = 0
    reserve_after_s: float = 5.0
    max_client_connections: int = 10_000
    max_db_connections: int = 0
    max_user_connections: int = 0
    queue_limit: int = 10_000
    """Clients of one pool that may wait for a server; more are told 53300."""
    queue_timeout_s: float = 120.0
    server_lifetime_s: float = 3600.0
    server_idle_timeout_s: float = 600.0
    max_prepared_statements: int = 200
    """Named statements kept on one server connection."""
    statements_per_client: int = 10_000
    """Named statements one client may hold."""
    ignore_startup_parameters: tuple[str, ...] = ()
    """Startup parameters that are dropped instead of being set on the server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """How long what may take."""

    connect_s: float = 5.0
    """TCP connect and login to a server."""
    login_s: float = 15.0
    """A client that has not logged in by then is cut."""
    unavailable_s: float = 10.0
    """Clients wait this long for a server that can't be reached, then they are told 57P03."""
    query_s: float = 0.0
    idle_in_transaction_s: float = 0.0
    transaction_s: float = 0.0
    client_idle_s: float = 0.0
    drain_s: float = 30.0
    """What is still open this long after a drain began is cut."""
    dns_refresh_s: float = 15.0
    """Host names are looked up again this often, and at every failed connect."""
    user_timeout_s: float = 2.0
    """TCP_USER_TIMEOUT towards servers (Linux tcp(7))."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreAuthentication:
    """What somebody who has not logged in may use up."""

    startup_bytes: int = 10_000
    """As PostgreSQL's MAX_STARTUP_PACKET_LENGTH."""
    connections_per_address: int = 1_000
    """Of connections that are not logged in yet."""
    connections: int = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Auth:
    """Who may come in."""

    method: AuthMethod = AuthMethod.SCRAM
    users: Mapping[str, User] = field(default_factory=dict)
    trust_loopback: bool = False
    """Let anybody in who connects from this machine, under any name."""
    admin_users: frozenset[str] = frozenset()
    stats_users: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Failover:
    """Following the primary, and making one."""

    enabled: bool = True
    """Watch the servers' roles; without it connections go by the configuration alone."""
    authority: Authority = Authority.EXTERNAL
    topology: str = "auto"
    """``single-primary``, ``multi-primary``, or ``auto``: as the first look at all servers shows."""
    user: str = ""
    """Whom the watch logs in as; empty: ``postgres``."""
    secret: str = field(default="", repr=False)
    database: str = "postgres"
    probe_interval_s: float = 0.1
    probe_timeout_s: float = 0.15
    """Three probes in a row without an answer by then mean that a server doesn't answer."""
    down_after_s: float = 0.5
    """A primary that can't be reached for so long is replaced (``Authority.SELF``)."""
    hold_requests: int = 1000
    """Clients per worker that may wait while there is no primary; more are told 57P03."""
    patroni: tuple[str, ...] = ()
    """Base URLs of Patroni's REST API; the leader it names is the only one that is written to."""
    allow_loss: bool = False
    """Promote a replica although a synchronous one that may have acknowledged more can't be asked."""
    sole_proxy: bool = False
    """No other proxy and nobody else writes to the servers or promotes one."""
    witnesses: tuple[str, ...] = ()
    """``host:port`` of other proxies whose consoles are asked whether they reach the primary."""
    fence_command: tuple[str, ...] = ()
    promote_command: tuple[str, ...] = ()
    """Empty: ``pg_promote()``."""
    repoint_command: tuple[str, ...] = ()
    rejoin_command: tuple[str, ...] = ()
    switchover_timeout_s: float = 10.0
    replay_window_s: float = 2.0
    """Replays have a new primary to themselves for at most so long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What is done for clients whose server is lost under them."""

    mode: ReplayMode = ReplayMode.OFF
    """Of open transactions."""
    retry_reads: bool = True
    """Say a statement again that provably changes nothing and of which nothing was delivered."""
    resolve_commits: bool | None = None
    """Find out what became of a COMMIT in flight; ``None``: where transactions are replayed."""
    pin_sequences: bool = False
    """Have a replayed statement draw the sequence values again that its client has seen."""
    statements_max: int = 1000
    journal_bytes: int = 4 * 1024 * 1024
    """Of what was said in one transaction; a longer one is not replayed."""
    age_s: float = 30.0
    """A transaction that has been open for longer is not replayed."""
    require_sync: bool = False
    """Replay only where a synchronous standby is confirmed."""
    allow_foreign: bool = False
    """Replay also in databases with foreign tables or functions in untrusted languages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProxySettings:
    """Everything the data plane needs to run."""

    backends: tuple[Backend, ...]
    listen: tuple[Listen, ...] = (Listen(),)
    workers: int = 0
    """Processes; 0 is one per core."""
    busy_poll_s: float = 0.0
    """How long after the last query a worker asks for more without sleeping."""
    databases: Mapping[str, Database] = field(default_factory=lambda: {"*": Database(name="*")})
    pooling: Pooling = field(default_factory=Pooling)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: PreAuthentication = field(default_factory=PreAuthentication)
    auth: Auth = field(default_factory=Auth)
    failover: Failover = field(default_factory=Failover)
    replay: Replay = field(default_factory=Replay)
    admin_database: str = "seawall"
    runtime_directory: str = ""
    """For the workers' control sockets; empty: a private temporary directory."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Sections of the configuration that parts outside the data path read."""
