"""How a node that fell out follows the present primary again, by the cheapest way that works.

====================  ============================================  =====================================
what the node is      first attempt                                 if it doesn't stream afterwards
====================  ============================================  =====================================
a replica             start it: it may only have been away          stop it, then as a former primary
a former primary      recover it alone, ``pg_rewind``, start it     a fresh base backup
without usable data   a fresh base backup                           an error
====================  ============================================  =====================================

``pg_rewind`` undoes what a former primary wrote after the others went on without it; those transactions are
gone, which is what losing a primary under asynchronous replication means. It wants a data directory that was
shut down properly, so a crashed one is recovered first, by a server in single-user mode. Source: PostgreSQL
documentation, ``pg_rewind``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seawall.embedded import building
from seawall.embedded.errors import ClusterError, StatementFailed
from seawall.embedded.node import Node
from seawall.kernel.errors import DatabaseUnavailable

__all__ = ["Rejoin", "follows", "gather", "rejoin", "wait_replayed", "wait_streaming"]

FOLLOW_TIMEOUT_S: Final = 20.0
"""From the start of a replica to streaming; a replica that is merely far behind streams at once."""

FOLLOW_POLL_S: Final = 0.02

STREAMS: Final = """
SELECT application_name, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
FROM pg_stat_replication WHERE state = 'streaming'
"""
"""Who is streamed to, and the timeline that is written."""
RECEIVES: Final = "SELECT received_tli FROM pg_stat_wal_receiver"

HOPELESS: Final = (
    "has already been removed",
    "forked off current database system timeline",
    "is not in this server's history",
    "is not a child of this server's history",
    "is ahead of the WAL flush position",
    "is behind recovery timeline",
    "database system identifier differs",
)
"""What a replica logs when it can never stream from this upstream with the data it has."""


@dataclass(frozen=True, slots=True)
class Rejoin:
    """How a node came back.

    Attributes:
        name: The node.
        method: ``started`` (nothing but a start was needed), ``rewound`` (``pg_rewind``) or ``copied`` (a
            fresh base backup).
        reason: Why no cheaper way was taken; empty if there is none.
        duration_s: How long it took, in seconds.
    """

    name: str
    method: str
    reason: str
    duration_s: float


def follows(node: Node, leader: Node) -> bool:
    """Whether the leader streams what it writes now to the node; ``DatabaseUnavailable`` if it is not there.

    For a moment it also streams to a replica that is ahead of it: what the old timeline has up to the fork.
    """
    streams = {name: timeline for name, timeline in leader.execute(STREAMS)}  # noqa: C416 -- mypy takes no other
    if node.name not in streams:
        return False
    with suppress(DatabaseUnavailable):
        return node.execute(RECEIVES) == [(streams[node.name],)]
    return False


def wait_streaming(node: Node, leader: Node, timeout_s: float = FOLLOW_TIMEOUT_S) -> None:
    """Wait until the leader streams to the node.

    Raises:
        ClusterError: It doesn't in time, or the node says that it never will.
    """
    give_up = time.monotonic() + timeout_s
    while not follows(node, leader):
        log = node.log_tail()
        hopeless = next((text for text in HOPELESS if text in log), None)
        if hopeless is not None:
            line = next(line for line in log.splitlines() if hopeless in line)
            raise ClusterError(node.name, f"cannot follow {leader.name}: {line.rpartition(':  ')[2].strip()}")
        if time.monotonic() >= give_up:
            raise ClusterError(node.name, f"doesn't follow {leader.name} after {timeout_s:g} s\n{log}")
        time.sleep(FOLLOW_POLL_S)


def wait_replayed(nodes: Sequence[Node], leader: Node, timeout_s: float) -> None:
    """Wait until every running replica has replayed all that the leader has written by now.

    Raises:
        ClusterError: One is behind for so long.
    """
    give_up = time.monotonic() + timeout_s
    ((target,),) = leader.execute("SELECT pg_current_wal_lsn()")
    question = f"SELECT coalesce(pg_last_wal_replay_lsn() >= '{target}', false)"
    for node in nodes:
        if not node.is_running or node.is_paused or not node.is_standby:
            continue
        while node.execute(question) != [("t",)]:
            if time.monotonic() >= give_up:
                raise ClusterError(node.name, f"has not replayed {target} after {timeout_s:g} s")
            time.sleep(FOLLOW_POLL_S)


def gather(nodes: Sequence[Node], leader: Node) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Wait for running replicas to follow a new leader; the names of those that do and those that can't."""
    following: list[str] = []
    stranded: list[str] = []
    for node in nodes:
        if node.is_running and not node.is_paused and node.is_standby:
            try:
                wait_streaming(node, leader)
            except ClusterError:
                stranded.append(node.name)
            else:
                following.append(node.name)
    return tuple(following), tuple(stranded)


def rejoin(node: Node, leader: Node, launch: Callable[[Node], None]) -> Rejoin:
    """Make a node a streaming replica of the leader, whatever it was.

    Args:
        node: Who comes back; its configuration names the leader already.
        leader: A running primary.
        launch: Starts a node and waits until it answers.

    Raises:
        ClusterError: Not even a fresh base backup helps.
    """
    began = time.monotonic()
    reasons: list[str] = []
    for method, attempt in (("started", _restart), ("rewound", _rewind), ("copied", building.back_up)):
        try:
            attempt(node, leader)
            building.make_standby(node)
            launch(node)
            wait_streaming(node, leader)
        except (ClusterError, StatementFailed, OSError) as error:
            if method == "copied":
                raise
            reasons.append(str(error).removeprefix(f"{node.name}: "))
            # Properly if it can be: pg_rewind refuses data that was in use when its server died.
            node.stop("fast")
        else:
            return Rejoin(node.name, method, "; ".join(reasons), time.monotonic() - began)
    raise AssertionError("the last way either works or raises")


def _restart(node: Node, leader: Node) -> None:
    """Be satisfied with a replica as it is; a former primary's data must never be started as it is."""
    if not node.is_standby:
        if node.is_paused:
            # Let go on, it would serve its clients for another moment, and what it tells them will be undone.
            node.kill()
        raise ClusterError(node.name, "it was a primary")
    if node.is_paused:
        node.resume()
    with suppress(DatabaseUnavailable):
        if node.is_running and follows(node, leader):
            return
    node.stop("fast")


def _rewind(node: Node, leader: Node) -> None:
    node.stop("fast")
    node.clear_remains()
    environment = node.engine.environment()
    if not node.is_standby:
        alone: list[str | Path] = [
            node.engine.binary("postgres"),
            "--single",
            "-F",
            "-D",
            node.data_directory,
        ]
        options = ["-c", f"config_file={node.configuration_file}", "template1"]
        node.account.run([*alone, *options], environment)
    # pg_rewind believes the leader's control file, which tells the old timeline until the first checkpoint.
    leader.execute("CHECKPOINT")
    node.account.run(
        [
            node.engine.binary("pg_rewind"),
            f"--target-pgdata={node.data_directory}",
            f"--source-server={building.upstream_string(leader, node.name)}",
            "--no-ensure-shutdown",
        ],
        environment,
    )
    # The node is consistent once it has replayed past the leader's present insert position, which may be the
    # start of a page: beyond the last record. An idle leader would let it wait for its next one, up to 15 s.
    leader.execute("CHECKPOINT")
