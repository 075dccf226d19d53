"""Where a suite runs: one PostgreSQL, a proxy before it, a fresh database for each of the two runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks.proxying import cluster as servers
from benchmarks.proxying import endpoints
from benchmarks.proxying.client import Client
from tests.conformance.peers.material import NoMaterialError

DIRECT_DATABASE, THROUGH_DATABASE = "peers_direct", "peers_through"
SERVER_SETTINGS = {
    "autovacuum": "on",  # suites run for minutes and make thousands of tables
    "max_prepared_transactions": "20",
    "shared_buffers": "128MB",
}
MAINTENANCE = "postgres"
SEAWALL, PGBOUNCER, DIRECT = "seawall", "pgbouncer", "direct"


@dataclass(frozen=True)
class Address:
    """Where clients connect to; a host by address or name."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port``.

        Raises:
            NoMaterialError: It is something else.
        """
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit():
            raise NoMaterialError(f"{text!r} is no address: write host:port, such as 127.0.0.1:6432")
        return cls(host, int(port))


@dataclass(frozen=True)
class Arena:
    """A server and the way through a proxy to it."""

    server: Address
    proxy: Address
    version: str
    through: str
    pids: Callable[[], tuple[int, ...]]
    """The proxy's processes; none where it was given or is the server itself."""
    extensions: tuple[str, ...] = field(default=("hstore", "citext"))

    def fresh(self, database: str, *, plain: bool = False) -> None:
        """Make an empty database, on a connection that goes straight to the server.

        Args:
            database: its name; one of that name is dropped.
            plain: without the extensions and schemas that SQLAlchemy wants.
        """
        with Client(self.server.port, MAINTENANCE, host=self.server.host) as client:
            client.simple(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            client.simple(f"CREATE DATABASE {database} TEMPLATE template0")
            client.simple(f"ALTER DATABASE {database} SET default_text_search_config = 'pg_catalog.english'")
        if plain:
            return
        with Client(self.server.port, database, host=self.server.host) as client:
            for extension in self.extensions:
                client.simple(f"CREATE EXTENSION {extension}")
            for schema in ("test_schema", "test_schema_2"):
                client.simple(f"CREATE SCHEMA {schema}")


def _nobody() -> tuple[int, ...]:
    return ()


@contextmanager
def arena(
    through: str, *, mode: str, size: int, program: str | None = None, given: tuple[str, str] | None = None
) -> Iterator[Arena]:
    """Start a server and a proxy, or use given ones.

    Args:
        through: ``seawall``, ``pgbouncer``, or ``direct``: the server itself, which shows what is unsteady.
        mode: the pool mode.
        size: server connections per pool.
        program: another PgBouncer than the one on the path.
        given: ``host:port`` of a running proxy and of the server behind it; user ``postgres`` must come in
            without a password.
    """
    with ExitStack() as stack:
        if given is not None:
            proxy, server = Address.parse(given[0]), Address.parse(given[1])
            pids = _nobody
        else:
            running = stack.enter_context(servers.cluster(SERVER_SETTINGS))
            server = Address("127.0.0.1", running.port)
            endpoint = endpoints.Endpoint(DIRECT, running.port)
            if through == PGBOUNCER:
                start = endpoints.pgbouncer(
                    running.port, mode=mode, size=size, database=MAINTENANCE, program=program
                )
                endpoint = stack.enter_context(start)
            elif through == SEAWALL:
                start = endpoints.seawall(running.port, mode=mode, size=size, database=MAINTENANCE)
                endpoint = stack.enter_context(start)
            pids = endpoint.pids
            port = endpoint.port
            proxy = Address("127.0.0.1", port)
        with Client(server.port, MAINTENANCE, host=server.host) as client:
            version = client.scalar("SHOW server_version")
        yield Arena(server, proxy, version, through, pids)
