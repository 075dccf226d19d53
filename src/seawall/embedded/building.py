"""How a node's directory comes about: made anew, copied from one that is down, or backed up.

``initdb`` runs once per cluster: it takes 0.3 to 0.5 s, and a copy of a prepared data directory, which would
save half of that, would give every cluster the same system identifier, by which strangers are told apart. The
replicas of a new cluster are copies of its primary, made before that starts for the first time: the same
bytes a base backup would give, without a server. Files are not synced here: a crash of the machine while a
cluster is made loses nothing that anybody has.

Source: PostgreSQL documentation, "Creating a Database Cluster", "File System Level Backup",
``pg_basebackup``.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from seawall.embedded.accounts import Account
from seawall.embedded.configuration import (
    AUTHENTICATIONS,
    SUPERUSER,
    Upstream,
    client_authentication,
    connection_string,
    server_configuration,
    setting_problems,
)
from seawall.embedded.directories import make_directory, scratch_directory, write_file
from seawall.embedded.errors import ClusterError
from seawall.embedded.node import Node
from seawall.embedded.state import NAME_PREFIX, NODES_MAX, SOCKET_DIRECTORY, ClusterState
from seawall.kernel.errors import PolicyError, Problem, UsageError

__all__ = [
    "back_up",
    "check_request",
    "configure",
    "copy_data",
    "initialise",
    "make_node_directory",
    "make_standby",
    "refused_by_copies",
    "set_password",
    "socket_directory_for",
    "upstream_string",
]

LOCALES: Final = ("C.UTF-8", "C")
"""The first knows letters beyond ASCII and is on nearly every machine; the second is on all."""


INITIAL_RESOURCES: Final = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
"""What ``initdb`` notes in the control file. Source: PostgreSQL documentation, "Hot Standby"."""


def make_node_directory(node: Node) -> None:
    """Make a node's directory with an empty data directory, and the directory of its socket."""
    make_directory(node.directory, node.account, owned=False)
    make_directory(node.data_directory, node.account, owned=True)
    make_directory(node.socket_directory, node.account, owned=True)


def socket_directory_for(directory: Path, name: str, account: Account) -> Path:
    """Where a node's socket goes: into its directory, or a short and plain path if that one is neither.

    Raises:
        UsageError: The short path isn't short and plain either.
    """
    preferred = directory / name / "socket"
    digest = hashlib.sha256(str(preferred).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    for path in (preferred, scratch_directory(account) / f"socket-{digest}"):
        if re.fullmatch(SOCKET_DIRECTORY, str(path)):
            return path
    raise UsageError(
        f"{path} is too long for a unix socket, or has odd letters: set TMPDIR to a short plain path"
    )


def initialise(node: Node) -> None:
    """Make a new database cluster in the node's empty data directory.

    Raises:
        ClusterError: ``initdb`` fails.
    """
    command: list[str | Path] = [
        node.engine.binary("initdb"),
        f"--pgdata={node.data_directory}",
        f"--username={SUPERUSER}",
        "--auth=trust",  # pg_hba.conf is written anew by configure()
        "--encoding=UTF8",
        "--data-checksums",
        "--no-sync",
        "--no-instructions",
    ]
    for locale in LOCALES:
        try:
            node.account.run([*command, f"--locale={locale}"], node.engine.environment())
        except ClusterError as error:
            if "invalid locale" not in error.reason:
                raise
        else:
            return
    raise ClusterError(node.name, "initdb knows neither of the locales " + ", ".join(LOCALES))


def refused_by_copies(settings: Mapping[str, str]) -> bool:
    """Whether a replica copied from fresh data would refuse these settings.

    A replica may have no less of certain resources than the control file says its primary has; there
    ``initdb`` has noted the defaults, and a primary notes what it really has at its first start.
    """
    for name, noted in INITIAL_RESOURCES.items():
        try:
            if int(settings.get(name, noted)) < noted:
                return True
        except ValueError:
            return True
    return False


def copy_data(source: Node, target: Node) -> None:
    """Copy the data of a node that is down and was stopped properly (or never started).

    Raises:
        ClusterError: It runs, or the copy fails.
    """
    if source.is_running:
        raise ClusterError(source.name, "its files can't be copied while it runs: use back_up()")
    command: list[str | Path] = [
        "cp",
        "-a",
        "--reflink=auto",
        f"{source.data_directory}/.",
        f"{target.data_directory}/",
    ]
    target.account.run(command, target.engine.environment())


def back_up(node: Node, source: Node) -> None:
    """Replace a node's data by a base backup of a running one; the old data stays until the new is whole.

    Raises:
        ClusterError: ``pg_basebackup`` fails, or the node runs.
    """
    node.clear_remains()
    fresh = node.directory / "data.new"
    _remove(fresh)
    make_directory(fresh, node.account, owned=True)
    command: list[str | Path] = [
        node.engine.binary("pg_basebackup"),
        f"--pgdata={fresh}",
        f"--dbname={upstream_string(source, node.name)}",
        "--checkpoint=fast",
        "--wal-method=stream",
        "--no-password",
        "--no-sync",
    ]
    try:
        node.account.run(command, node.engine.environment())
    except BaseException:
        _remove(fresh)
        raise
    _remove(node.data_directory)
    fresh.rename(node.data_directory)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def upstream_string(source: Node, name: str) -> str:
    """How a tool that calls itself ``name`` connects to a node: over its unix socket, as superuser."""
    return connection_string(
        {
            "host": str(source.socket_directory),
            "port": source.port,
            "user": SUPERUSER,
            "dbname": "postgres",
            "application_name": name,
        }
    )


def make_standby(node: Node) -> None:
    """Have a node follow its upstream from its next start on."""
    write_file(node.data_directory / "standby.signal", "", node.account, mode=0o600)


def configure(node: Node, state: ClusterState) -> None:
    """Write a node's configuration as the cluster's state wants it; takes effect at its start or reload.

    Args:
        node: Whose files.
        state: Who follows whom, on which ports.
    """
    mine = state.node(node.name)
    upstream = None
    if mine.follows is not None:
        leader = state.node(mine.follows)
        upstream = Upstream(leader.socket_directory, leader.port)
    text = server_configuration(
        name=node.name,
        port=mine.port,
        socket_directory=mine.socket_directory,
        authentication=state.authentication,
        synchronous=state.synchronous,
        settings=state.settings,
        upstream=upstream,
    )
    write_file(node.configuration_file, text, node.account)
    write_file(node.directory / "pg_hba.conf", client_authentication(state.authentication), node.account)


def check_request(
    replicas: int, prefix: str, settings: Mapping[str, str], auth: str, password: str, *, synchronous: bool
) -> None:
    """See that a cluster can be made as it is asked for; ``PolicyError`` names every value that is wrong."""
    problems = setting_problems(settings)
    if not 0 <= replicas < NODES_MAX:
        problems.append(
            Problem("replicas", replicas, f"0 to {NODES_MAX - 1}", "write a number in that range")
        )
    if synchronous and replicas == 0:
        fix = "without one, no commit would ever return: add a replica or leave it out"
        problems.append(Problem("synchronous", synchronous, "only with at least one replica", fix))
    if not NAME_PREFIX.fullmatch(prefix):
        fix = "write a short lower-case name"
        problems.append(Problem("name_prefix", prefix, "a letter, then letters, digits, _ and -", fix))
    if auth not in AUTHENTICATIONS:
        problems.append(Problem("auth", auth, ", ".join(AUTHENTICATIONS), "write one of them"))
    elif auth != "trust" and not password:
        problems.append(Problem("password", "nothing", f"a password, for auth = {auth!r}", "give one"))
    if "\0" in password:
        problems.append(Problem("password", "(not shown)", "text without NUL", "choose another one"))
    if problems:
        raise PolicyError(problems, "cluster")


def set_password(node: Node, password: str) -> None:
    """Give the superuser a password, on a primary that may have no replica yet."""
    escaped = password.replace("'", "''")
    # A synchronous commit would wait for a replica; and no log may have the statement.
    node.execute(
        "SET synchronous_commit = local; SET log_min_error_statement = panic; SET log_statement = none;"
        f" SET standard_conforming_strings = on; ALTER ROLE {SUPERUSER} PASSWORD '{escaped}'"
    )
