"""The text of a server's configuration files. Nothing here touches a file.

The files lie beside the data directory and not in it, so that a base backup or ``pg_rewind``, which make one
node's data equal to another's, can't give it the other's port. Source: PostgreSQL documentation, "Server
Configuration" and "Client Authentication"; libpq, "Connection Strings".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from seawall.embedded.ports import HOST
from seawall.kernel.errors import Problem

__all__ = [
    "AUTHENTICATIONS",
    "SUPERUSER",
    "Upstream",
    "client_authentication",
    "connection_string",
    "server_configuration",
    "setting_problems",
]

SUPERUSER: Final = "postgres"
"""The database user that ``initdb`` makes."""

AUTHENTICATIONS: Final[Mapping[str, str]] = {
    "trust": "scram-sha-256",
    "scram-sha-256": "scram-sha-256",
    "md5": "md5",
    "password": "scram-sha-256",
}
"""Methods of ``pg_hba.conf`` without TLS or a third party, each with how passwords are stored for it."""

SETTINGS_MAX: Final = 400
"""PostgreSQL has fewer."""

VALUE_CHARACTERS_MAX: Final = 2000

SETTING_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?\Z")

RESERVED: Final = frozenset(
    {
        "port",
        "listen_addresses",
        "unix_socket_directories",
        "unix_socket_permissions",
        "cluster_name",
        "hot_standby",
    }
    | {"data_directory", "config_file", "hba_file", "external_pid_file", "primary_conninfo", "include"}
    | {"include_dir", "include_if_exists", "logging_collector", "synchronous_standby_names"}
)
"""Decided by the cluster itself."""

DEFAULTS: Final[Mapping[str, str]] = {
    "max_connections": "200",
    "shared_buffers": "32MB",
    "wal_level": "replica",
    "hot_standby": "on",
    # pg_rewind needs it, or checksums
    "wal_log_hints": "on",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    # A node that was away for a while finds here what it missed; there are no slots that could fill the disk.
    "wal_keep_size": "512MB",
    # Who finds his upstream gone, or moved, asks again at once: the default of 5 s is most of an outage.
    "wal_retrieve_retry_interval": "200ms",
    "wal_receiver_status_interval": "1s",
    "wal_receiver_timeout": "10s",
    "wal_sender_timeout": "10s",
    # Messages are read by programs as well.
    "lc_messages": "C",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
}
"""Under the caller's settings. Durable: ``fsync`` stays on unless it is turned off by name."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a replica finds the node it follows: a unix socket, so that no password is needed or stored."""

    socket_directory: str
    port: int


def setting_problems(settings: Mapping[Any, Any]) -> list[Problem]:
    """What is wrong with PostgreSQL settings, as far as can be told without a server."""
    problems = []
    if len(settings) > SETTINGS_MAX:
        problems.append(Problem("settings", len(settings), f"at most {SETTINGS_MAX} settings"))
    for key, value in settings.items():
        name = f"settings.{key}"
        if not isinstance(key, str) or not SETTING_NAME.match(key):
            problems.append(
                Problem(name, value, "the lower-case name of a PostgreSQL setting", "mend the name")
            )
        elif key in RESERVED:
            problems.append(
                Problem(name, value, "any setting but this one", "leave it out: the cluster decides")
            )
        elif not isinstance(value, str):
            problems.append(Problem(name, value, "text", f'write "{value}"'))
        elif len(value) > VALUE_CHARACTERS_MAX or not value.isprintable():
            allowed = f"at most {VALUE_CHARACTERS_MAX} printable characters"
            problems.append(
                Problem(name, value, allowed, "shorten it, or write it without control characters")
            )
    return problems


def quoted(value: str) -> str:
    """A value as ``postgresql.conf`` takes it."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def connection_string(parameters: Mapping[str, str | int]) -> str:
    """Parameters as a libpq connection string."""

    def word(value: str | int) -> str:
        escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"

    return " ".join(f"{key}={word(value)}" for key, value in parameters.items())


def server_configuration(
    *,
    name: str,
    port: int,
    socket_directory: str,
    authentication: str,
    synchronous: bool,
    settings: Mapping[str, str],
    upstream: Upstream | None,
) -> str:
    """The text of ``postgresql.conf``.

    Args:
        name: The node's, which is also the name its replication goes by.
        port: TCP port, and the number in the unix socket's name.
        socket_directory: For the unix socket, open to the servers' account alone.
        authentication: A key of ``AUTHENTICATIONS``.
        synchronous: Whether a commit waits for one replica, whichever.
        settings: The caller's, checked with :func:`setting_problems`.
        upstream: Whom the node follows when it is a replica.
    """
    lines = dict(DEFAULTS)
    lines["password_encryption"] = AUTHENTICATIONS[authentication]
    lines.update(settings)
    lines["listen_addresses"] = HOST
    lines["port"] = str(port)
    lines["unix_socket_directories"] = socket_directory
    lines["unix_socket_permissions"] = "0700"
    lines["cluster_name"] = name
    lines["logging_collector"] = "off"
    if synchronous:
        lines["synchronous_standby_names"] = "ANY 1 (*)"
    if upstream is not None:
        lines["primary_conninfo"] = connection_string(
            {
                "host": upstream.socket_directory,
                "port": upstream.port,
                "user": SUPERUSER,
                "application_name": name,
                "connect_timeout": 5,
            }
        )
    text = "\n".join(f"{key} = {quoted(value)}" for key, value in lines.items())
    return f"# Written by Seawall, and again at every start: change the cluster's settings instead.\n{text}\n"


def client_authentication(authentication: str) -> str:
    """The text of ``pg_hba.conf``: the unix socket's directory guards itself, TCP clients log in."""
    return (
        "# Written by Seawall, and again at every start.\n"
        "local all         all trust\n"
        "local replication all trust\n"
        f"host  all         all {HOST}/32 {authentication}\n"
        f"host  replication all {HOST}/32 {authentication}\n"
    )
