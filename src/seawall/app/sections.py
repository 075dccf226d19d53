"""The sections of the configuration that the proxy acts on.

Each is a pydantic model: a field is a key, its declaration says what it accepts and what it does
(:mod:`seawall.app.keys`), its default is that of :mod:`seawall.proxy.settings`. What keys mean together is
checked in :mod:`seawall.app.contradictions`. The sections that nothing acts on yet are in
:mod:`seawall.app.dormant`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from seawall.app import addresses
from seawall.app.keys import (
    DAY_S,
    YEAR_S,
    Key,
    choice,
    file_path,
    identifier,
    identifiers,
    milliseconds,
    number,
    percent,
    reader,
    secret,
    span,
    text,
    truth,
    whole,
    words,
)
from seawall.app.secrets import Secret
from seawall.proxy.settings import (
    Auth,
    AuthMethod,
    Backend,
    Listen,
    Pooling,
    PoolMode,
    PreAuthentication,
    ProxySettings,
    ReplayMode,
    Role,
    Timeouts,
)
from seawall.proxy.shared import WORKERS_MAX

BACKENDS_MAX: Final = 4_096
USERS_MAX: Final = 100_000
DATABASES_MAX: Final = 10_000
CONNECTIONS_MAX: Final = 1_000_000
NAME_PATTERN: Final = r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}"
QUERY_TYPES: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "CALL", "DDL", "OTHER")


class Section(BaseModel):
    """A table of the configuration: its keys and no others, unchanging once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    acts: ClassVar[bool] = True
    """Whether anything acts on this section in this release."""

    @classmethod
    def declarations(cls) -> dict[str, Key]:
        """The keys with their declarations; tables inside this table are not keys."""
        found: dict[str, Key] = {}
        for name, field in cls.model_fields.items():
            for item in field.metadata:
                if isinstance(item, Key):
                    found[name] = item
        return found


def _pool_mode(meaning: str) -> Key:
    return choice(meaning, *(mode.value for mode in PoolMode))


def _replay(meaning: str) -> Key:
    return choice(meaning, *(mode.value for mode in ReplayMode))


def _limit(high: int, meaning: str, *, acts: bool = True) -> Key:
    return whole(0, high, f"{meaning}; 0 is no limit", acts=acts)


_POOLING: Final = Pooling()
_TIMEOUTS: Final = Timeouts()
_LIMITS: Final = PreAuthentication()
_LISTEN: Final = Listen()
_BACKEND: Final = Backend(name="", host="")
_AUTH: Final = Auth()
_SETTINGS: Final = ProxySettings(backends=())


class ProxySection(Section):
    """Where clients connect, and what serves them."""

    listen_address: Annotated[
        tuple[Listen, ...],
        reader(
            'an address "host:port", or a list of them',
            addresses.read_listen,
            "Where clients connect. Port 0 lets the system choose. An IPv6 address stands in brackets.",
            example='"127.0.0.1:6432" or ["0.0.0.0:6432", "[::]:6432"]',
        ),
    ] = (_LISTEN,)
    unix_directory: Annotated[
        str | None,
        reader(
            f"an absolute path of at most {addresses.SOCKET_DIRECTORY_MAX_BYTES} bytes",
            addresses.read_directory,
            "Also listen on a unix socket in this directory, named for the port of the first address.",
            example='"/run/seawall"',
        ),
    ] = None
    protocol: Annotated[str, choice("What is spoken there; there is one.", "postgresql")] = "postgresql"
    workers: Annotated[
        int, whole(0, WORKERS_MAX, "Processes that share the addresses; 0 is one per core.")
    ] = _SETTINGS.workers
    busy_poll: Annotated[
        float,
        span(
            0.0,
            60.0,
            "How long after the last query a worker asks for more without sleeping: it answers sooner and "
            "uses up a core meanwhile; 0 is never.",
        ),
    ] = _SETTINGS.busy_poll_s
    admin_database: Annotated[
        str, identifier("Clients that ask for this database talk to the proxy itself.")
    ] = _SETTINGS.admin_database
    runtime_directory: Annotated[
        str | None,
        text(
            "an absolute path",
            "For the workers' control sockets; not set: a private temporary directory.",
            pattern=r"/[^\0]*",
            longest=addresses.SOCKET_DIRECTORY_MAX_BYTES,
            example='"/run/seawall"',
        ),
    ] = None
    circuit_breaker_enabled: Annotated[bool, truth("Whether backends have breakers at all.", acts=False)] = (
        True
    )


class UserSection(Section):
    """One user, as clients name it."""

    name: Annotated[str, identifier("The name.")]
    password: Annotated[
        Secret | None,
        secret(
            "Plain, or `md5…` or `SCRAM-SHA-256$…` as `pg_authid` stores it. A plain one also logs in to "
            "the servers."
        ),
    ] = None
    password_file: Annotated[str | None, file_path("A file whose only line is the password.")] = None
    server_password: Annotated[
        Secret | None,
        secret("Plain password for the servers, where `password` is not plain or another one."),
    ] = None
    server_password_file: Annotated[str | None, file_path("A file whose only line is that password.")] = None
    pool_mode: Annotated[str | None, _pool_mode("Instead of the database's and the pool's.")] = None
    pool_size: Annotated[int | None, whole(1, CONNECTIONS_MAX, "Instead of the pool's `size`.")] = None
    max_client_connections: Annotated[int, _limit(CONNECTIONS_MAX, "Connections of clients of this name")] = 0
    replay: Annotated[
        str | None, _replay("Instead of `replay.mode`, unless the database says otherwise.")
    ] = None


class AuthSection(Section):
    """Who may come in."""

    method: Annotated[
        str,
        choice(
            "How clients prove who they are. `password` is sent as it is; `trust` lets anybody in who "
            "reaches the address.",
            *(method.value for method in AuthMethod),
        ),
    ] = _AUTH.method.value
    trust_loopback: Annotated[
        bool, truth("Let in whoever connects from this machine, under any name, without a password.")
    ] = _AUTH.trust_loopback
    admin_users: Annotated[
        tuple[str, ...], identifiers("Users that may give orders in the admin database.")
    ] = ()
    stats_users: Annotated[tuple[str, ...], identifiers("Users that may look around there.")] = ()
    users: Annotated[tuple[UserSection, ...], Field(max_length=USERS_MAX)] = ()


class DatabaseSection(Section):
    """One database, as clients name it; ``"*"`` stands for all that are not named."""

    name: Annotated[str, identifier('As clients name it; `"*"` stands for all that are not named.')]
    server_name: Annotated[str | None, identifier("Its name on the servers; not set: the same.")] = None
    server_user: Annotated[
        str | None, identifier("Log in to the servers as this user; not set: as the client's.")
    ] = None
    server_password: Annotated[Secret | None, secret("The password of `server_user`.")] = None
    server_password_file: Annotated[str | None, file_path("A file whose only line is that password.")] = None
    pool_mode: Annotated[str | None, _pool_mode("Instead of the pool's.")] = None
    pool_size: Annotated[int | None, whole(1, CONNECTIONS_MAX, "Instead of the pool's `size`.")] = None
    max_connections: Annotated[
        int, _limit(CONNECTIONS_MAX, "Server connections over all users of this database")
    ] = 0
    replay: Annotated[str | None, _replay("Instead of the user's and of `replay.mode`.")] = None


class PoolSection(Section):
    """Server connections, kept in one pool per user and database; sizes are over all workers together."""

    mode: Annotated[
        str, _pool_mode("When a server connection goes back to the pool: at the end of what.")
    ] = _POOLING.mode.value
    size: Annotated[int, whole(1, CONNECTIONS_MAX, "Server connections of one pool.")] = _POOLING.size
    min_size: Annotated[int, whole(0, CONNECTIONS_MAX, "Of these, as many are kept open without work.")] = (
        _POOLING.min_size
    )
    reserve_size: Annotated[
        int, whole(0, CONNECTIONS_MAX, "As many more are opened when clients waited for `reserve_after`.")
    ] = _POOLING.reserve_size
    reserve_after: Annotated[float, span(0.0, DAY_S, "See `reserve_size`.")] = _POOLING.reserve_after_s
    max_client_connections: Annotated[
        int, whole(1, CONNECTIONS_MAX, "Connections of clients; more are refused.")
    ] = _POOLING.max_client_connections
    max_db_connections: Annotated[
        int, _limit(CONNECTIONS_MAX, "Server connections of one database, over all users")
    ] = _POOLING.max_db_connections
    max_user_connections: Annotated[
        int, _limit(CONNECTIONS_MAX, "Server connections of one user, over all databases")
    ] = _POOLING.max_user_connections
    queue_limit: Annotated[
        int, whole(0, CONNECTIONS_MAX, "Clients of one pool that may wait for a server; more are told 53300.")
    ] = _POOLING.queue_limit
    queue_timeout: Annotated[
        float, span(0.0, DAY_S, "How long a client waits for a server; 0 is without end.")
    ] = _POOLING.queue_timeout_s
    server_lifetime: Annotated[
        float, span(0.0, YEAR_S, "An unused server connection older than this is closed; 0 is never.")
    ] = _POOLING.server_lifetime_s
    server_idle_timeout: Annotated[
        float, span(0.0, YEAR_S, "A server connection unused for this long is closed; 0 is never.")
    ] = _POOLING.server_idle_timeout_s
    max_prepared_statements: Annotated[
        int, whole(0, 100_000, "Named statements kept on one server connection.")
    ] = _POOLING.max_prepared_statements
    statements_per_client: Annotated[
        int, whole(1, 1_000_000, "Named statements that one client may hold.")
    ] = _POOLING.statements_per_client
    ignore_startup_parameters: Annotated[
        tuple[str, ...],
        identifiers("Startup parameters that are dropped instead of being set on the server."),
    ] = _POOLING.ignore_startup_parameters


class TimeoutsSection(Section):
    """How long what may take; 0 is without end."""

    connect: Annotated[float, span(0.001, 3_600.0, "TCP connect and login to a server.")] = (
        _TIMEOUTS.connect_s
    )
    login: Annotated[float, span(0.001, 3_600.0, "A client that has not logged in by then is cut.")] = (
        _TIMEOUTS.login_s
    )
    unavailable: Annotated[
        float, span(0.0, DAY_S, "Clients wait this long for a server that can't be reached.")
    ] = _TIMEOUTS.unavailable_s
    query: Annotated[float, span(0.0, YEAR_S, "One query; it is cancelled after that.")] = _TIMEOUTS.query_s
    idle_in_transaction: Annotated[
        float, span(0.0, YEAR_S, "A transaction in which the client does nothing.")
    ] = _TIMEOUTS.idle_in_transaction_s
    transaction: Annotated[float, span(0.0, YEAR_S, "A whole transaction.")] = _TIMEOUTS.transaction_s
    client_idle: Annotated[float, span(0.0, YEAR_S, "A client that does nothing outside transactions.")] = (
        _TIMEOUTS.client_idle_s
    )
    drain: Annotated[float, span(0.0, DAY_S, "What is still open this long after a drain began is cut.")] = (
        _TIMEOUTS.drain_s
    )
    dns_refresh: Annotated[
        float, span(1.0, DAY_S, "Host names are looked up again this often, and at failed connects.")
    ] = _TIMEOUTS.dns_refresh_s
    user_timeout: Annotated[
        float, span(0.0, 3_600.0, "How long a server may acknowledge nothing of what it is sent; 0 for ever.")
    ] = _TIMEOUTS.user_timeout_s


class LimitsSection(Section):
    """What somebody who has not logged in may use up."""

    startup_bytes: Annotated[
        int, whole(64, 1_048_576, "Of a startup packet; PostgreSQL's own limit is the default.")
    ] = _LIMITS.startup_bytes
    connections_per_address: Annotated[
        int, whole(1, CONNECTIONS_MAX, "From one address, of those not logged in yet.")
    ] = _LIMITS.connections_per_address
    connections: Annotated[int, whole(1, CONNECTIONS_MAX, "From anywhere, of those not logged in yet.")] = (
        _LIMITS.connections
    )


class BackendSection(Section):
    """One PostgreSQL server."""

    name: Annotated[
        str,
        text(
            "letters, digits and _ . : -, at most 63",
            "What logs, metrics and views call it.",
            pattern=NAME_PATTERN,
            example='"primary-1"',
        ),
    ]
    host: Annotated[
        str,
        reader(
            "a host name, an IP address, or the directory of a unix socket",
            addresses.read_host,
            "Where it is. What starts with a slash is the directory of its unix socket.",
            example='"db.internal", "10.0.0.5" or "/run/postgresql"',
        ),
    ]
    port: Annotated[int, whole(1, 65_535, "Its port.")] = _BACKEND.port
    role: Annotated[
        str,
        choice(
            "What it is for; `auto` takes it for a primary until more is known.", *(r.value for r in Role)
        ),
    ] = _BACKEND.role.value
    priority: Annotated[int, whole(0, 1_000_000, "Servers of the highest priority are used first.")] = (
        _BACKEND.priority
    )
    weight: Annotated[
        float, number(0.0, 1_000.0, "Its share of the connections among equals.", open_low=True)
    ] = _BACKEND.weight
    zone: Annotated[str | None, identifier("Availability zone.", acts=False)] = None
    region: Annotated[str | None, identifier("Region.", acts=False)] = None
    allowed_query_types: Annotated[
        tuple[str, ...],
        words(
            "a list of " + ", ".join(QUERY_TYPES),
            choice("", *QUERY_TYPES),
            "It gets only these kinds of queries; empty: all.",
            example='["SELECT"]',
        ),
    ] = _BACKEND.allowed_query_types
    max_connections: Annotated[
        int, _limit(CONNECTIONS_MAX, "Connections to it over all pools of this proxy")
    ] = _BACKEND.max_connections
    circuit_breaker_latency_threshold_p95_ms: Annotated[
        float | None,
        milliseconds(1.0, 3_600_000.0, "Instead of `circuit_breaker.latency_threshold_p95_ms`.", acts=False),
    ] = None
    circuit_breaker_failure_threshold: Annotated[
        float | None,
        percent(
            0.0,
            99.0,
            "Instead of `circuit_breaker.failure_threshold_percentage`.",
            open_low=True,
            acts=False,
        ),
    ] = None


def reads_only(backend: BackendSection) -> bool:
    """Whether a server is kept out of the group that takes every kind of query."""
    return backend.role == Role.REPLICA.value or bool(backend.allowed_query_types)


class BackendsSection(Section):
    """The PostgreSQL servers."""

    instances: Annotated[tuple[BackendSection, ...], Field(max_length=BACKENDS_MAX)] = ()
