"""How to connect to a proxy that runs, in words and as data: for ``seawall proxy`` and ``seawall up``."""

from __future__ import annotations

import getpass
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from seawall.app.observation.settings import ObservationSettings
from seawall.proxy.settings import AuthMethod, Listen, ProxySettings

__all__ = ["address", "as_table", "dsn", "lines", "names", "telemetry"]

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- nothing is bound here
"""A client can't connect to "everywhere"; from this machine it is this."""
MAINTENANCE = "postgres"


def address(listen: Listen) -> str:
    """One address as it is written in a configuration."""
    if listen.unix_directory:
        return f"{listen.unix_directory}/.s.PGSQL.{listen.port}"
    return f"{_bracketed(listen.host)}:{listen.port}"


def names(settings: ProxySettings) -> tuple[str, str]:
    """A user and a database that may be tried."""
    anybody = settings.auth.trust_loopback or settings.auth.method is AuthMethod.TRUST
    user = next(iter(settings.auth.users), _login_name() if anybody else MAINTENANCE)
    database = next((name for name in settings.databases if name != "*"), MAINTENANCE)
    return user, database


def dsn(listen: Listen, user: str, database: str) -> str:
    """A URL that libpq and every driver takes (PostgreSQL documentation, "Connection URIs")."""
    if listen.unix_directory:
        place = f"host={quote(listen.unix_directory, safe='')}&port={listen.port}&user={quote(user, safe='')}"
        return f"postgresql:///{quote(database, safe='')}?{place}"
    host = EVERYWHERE.get(listen.host, listen.host)
    return f"postgresql://{quote(user, safe='')}@{_bracketed(host)}:{listen.port}/{quote(database, safe='')}"


def lines(addresses: tuple[Listen, ...], user: str, database: str) -> Iterator[str]:
    """What to type to connect."""
    url = dsn(addresses[0], user, database)
    yield f"connect    psql {shlex.quote(url)}"
    yield f"           {url}"
    # In a URL everything that could end a quotation is escaped.
    program = f'import psycopg; print(psycopg.connect("{url}").execute("select version()").fetchone())'
    yield f"           python -c {shlex.quote(program)}"


def telemetry(settings: ObservationSettings) -> Iterator[str]:
    """Where programs read how the proxy is."""
    for name, door, path in (
        ("metrics", settings.metrics, "/metrics"),
        ("status", settings.status, "/openapi.json"),
    ):
        if door.enabled:
            scheme = "https" if door.certificate else "http"
            where = f"{scheme}://{_bracketed(door.host)}"
            port = f":{door.port}{path}" if door.port else ", at a port the system chooses; see the log"
            yield f"{name:<10} {where}{port}"


def as_table(
    addresses: tuple[Listen, ...], pids: tuple[int, ...], user: str, database: str
) -> dict[str, Any]:
    """The same for a program."""
    return {
        "ready": True,
        "listen": [
            {"host": item.host, "port": item.port, "unix_directory": item.unix_directory}
            for item in addresses
        ],
        "dsn": dsn(addresses[0], user, database),
        "worker_pids": list(pids),
    }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return MAINTENANCE
