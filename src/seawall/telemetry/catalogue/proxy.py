"""The PostgreSQL proxy's metrics.

``database`` and ``user`` are names as the servers know them; ``backend`` is a server's name in the
configuration. No label holds anything that a client can make up without having logged in.
"""

from __future__ import annotations

from typing import Final

from seawall.telemetry.metrics.metric import Aggregation, Kind, Metric

__all__ = [
    "BACKEND_CONNECTIONS",
    "BACKEND_LAG",
    "BACKEND_STATE",
    "BACKEND_STATES",
    "CANCELS",
    "CLIENTS",
    "CLIENTS_WAITING",
    "CLIENT_CONNECTIONS",
    "CONNECTIONS_REFUSED",
    "CONNECT_ERRORS",
    "ERRORS",
    "FAILOVERS",
    "FAILOVER_DURATION",
    "PRIMARY",
    "PROXY",
    "QUERIES",
    "QUEUE_OVERFLOWS",
    "REQUEST_BUCKETS",
    "RESCUES",
    "SERVERS",
    "SERVERS_IDLE",
    "SERVERS_OPENED",
    "SPANS_OFFERED",
    "STATEMENTS_EVICTED",
    "TOPOLOGY_EPOCH",
    "TRANSACTIONS",
    "TRANSACTION_DURATION",
    "WAIT_SECONDS",
    "WORKERS",
    "WORKER_RESTARTS",
]

REQUEST_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0),
)
"""Bounds in seconds around the objectives that services of this kind have: 1 ms to 10 s."""
FAILOVER_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BACKEND_STATES: Final = ("unknown", "primary", "replica", "zombie", "down")

_POOL: Final = ("database", "user")

CLIENTS: Final = Metric(
    name="proxy_clients",
    kind=Kind.GAUGE,
    help="Clients that are logged in.",
    alias=("helios_proxy_client_connections",),
)
CLIENTS_WAITING: Final = Metric(
    name="proxy_clients_waiting",
    kind=Kind.GAUGE,
    help="Clients that wait for a server connection.",
    labels=_POOL,
)
CLIENT_CONNECTIONS: Final = Metric(
    name="proxy_client_connections", kind=Kind.COUNTER, help="Clients that have logged in."
)
CONNECTIONS_REFUSED: Final = Metric(
    name="proxy_connections_refused",
    kind=Kind.COUNTER,
    help="Connections turned away before a login, at a limit.",
)
SERVERS: Final = Metric(
    name="proxy_servers", kind=Kind.GAUGE, help="Server connections, idle ones included.", labels=_POOL
)
SERVERS_IDLE: Final = Metric(
    name="proxy_servers_idle", kind=Kind.GAUGE, help="Server connections that nobody uses.", labels=_POOL
)
SERVERS_OPENED: Final = Metric(
    name="proxy_servers_opened", kind=Kind.COUNTER, help="Server connections made.", labels=_POOL
)
QUERIES: Final = Metric(
    name="proxy_queries", kind=Kind.COUNTER, help="Queries passed to servers.", labels=_POOL
)
TRANSACTIONS: Final = Metric(
    name="proxy_transactions", kind=Kind.COUNTER, help="Transactions that have ended.", labels=_POOL
)
ERRORS: Final = Metric(
    name="proxy_query_errors",
    kind=Kind.COUNTER,
    help="Errors that servers answered queries with.",
    labels=_POOL,
)
TRANSACTION_DURATION: Final = Metric(
    name="proxy_transaction_duration",
    kind=Kind.HISTOGRAM,
    help="From getting a server connection to giving it back.",
    unit="seconds",
    labels=("database",),
    buckets=REQUEST_BUCKETS,
)
WAIT_SECONDS: Final = Metric(
    name="proxy_wait",
    kind=Kind.COUNTER,
    help="Time that clients have waited for server connections.",
    unit="seconds",
    labels=_POOL,
)
CONNECT_ERRORS: Final = Metric(
    name="proxy_connect_errors", kind=Kind.COUNTER, help="Logins to servers that failed.", labels=_POOL
)
QUEUE_OVERFLOWS: Final = Metric(
    name="proxy_queue_overflows", kind=Kind.COUNTER, help="Clients refused because too many wait."
)
CANCELS: Final = Metric(name="proxy_cancels", kind=Kind.COUNTER, help="Cancel requests passed to servers.")
STATEMENTS_EVICTED: Final = Metric(
    name="proxy_statements_evicted",
    kind=Kind.COUNTER,
    help="Prepared statements closed to make room for others.",
)
RESCUES: Final = Metric(
    name="proxy_rescues",
    kind=Kind.COUNTER,
    help="Clients that lost their server, by what was done for them.",
    labels=("what",),
)
SPANS_OFFERED: Final = Metric(
    name="proxy_spans_offered",
    kind=Kind.COUNTER,
    help="Queries that were worth a span, by what became of it.",
    labels=("fate",),
)
BACKEND_CONNECTIONS: Final = Metric(
    name="proxy_backend_connections",
    kind=Kind.GAUGE,
    help="Connections to a server, those being opened included.",
    labels=("backend",),
)
BACKEND_STATE: Final = Metric(
    name="proxy_backend_state",
    kind=Kind.STATE_SET,
    help="How a server is.",
    labels=("backend",),
    states=BACKEND_STATES,
)
BACKEND_LAG: Final = Metric(
    name="proxy_backend_lag",
    kind=Kind.GAUGE,
    help="How far a replica's replay is behind the primary.",
    unit="bytes",
    labels=("backend",),
)
PRIMARY: Final = Metric(
    name="proxy_primary",
    kind=Kind.GAUGE,
    help="1 for the server that takes writes, 0 for the others.",
    labels=("backend",),
)
TOPOLOGY_EPOCH: Final = Metric(
    name="proxy_topology_epoch", kind=Kind.GAUGE, help="Number of the present topology; it only grows."
)
FAILOVERS: Final = Metric(
    name="proxy_failovers",
    kind=Kind.COUNTER,
    help="Changes of the primary.",
    labels=("kind", "outcome"),
)
FAILOVER_DURATION: Final = Metric(
    name="proxy_failover_duration",
    kind=Kind.HISTOGRAM,
    help="How long a change of the primary took.",
    unit="seconds",
    labels=("kind",),
    buckets=FAILOVER_BUCKETS,
)
WORKERS: Final = Metric(
    name="proxy_workers",
    kind=Kind.GAUGE,
    help="Worker processes that are alive.",
    aggregation=Aggregation.MAX,
)
WORKER_RESTARTS: Final = Metric(
    name="proxy_worker_restarts", kind=Kind.COUNTER, help="Worker processes that had to be replaced."
)

PROXY: Final = (
    CLIENTS,
    CLIENTS_WAITING,
    CLIENT_CONNECTIONS,
    CONNECTIONS_REFUSED,
    SERVERS,
    SERVERS_IDLE,
    SERVERS_OPENED,
    QUERIES,
    TRANSACTIONS,
    ERRORS,
    TRANSACTION_DURATION,
    WAIT_SECONDS,
    CONNECT_ERRORS,
    QUEUE_OVERFLOWS,
    CANCELS,
    STATEMENTS_EVICTED,
    RESCUES,
    SPANS_OFFERED,
    BACKEND_CONNECTIONS,
    BACKEND_STATE,
    BACKEND_LAG,
    PRIMARY,
    TOPOLOGY_EPOCH,
    FAILOVERS,
    FAILOVER_DURATION,
    WORKERS,
    WORKER_RESTARTS,
)
"""All of them."""
