"""What the servers say about themselves: role, timeline, position in the log, and who lags behind.

A server's own word is the only truth about roles; the state file is what was meant. Source: PostgreSQL
documentation, "System Administration Functions" (recovery, backup control) and "Cumulative Statistics
System".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from seawall.embedded.errors import StatementFailed
from seawall.embedded.node import Node
from seawall.kernel.errors import DatabaseUnavailable, UnitError

__all__ = ["Answer", "NodeStatus", "leader", "lsn_bytes", "status", "survey"]

ASK_TIMEOUT_S: Final = 2.0
"""A server that takes longer is shown as running and silent."""

QUESTION: Final = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery()
            THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver),
                          (SELECT timeline_id FROM pg_control_checkpoint()))
            -- the control file learns of a promotion at the next checkpoint, the log's name at once
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
"""

LSN: Final = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")

FOLLOWERS: Final = "SELECT application_name, sync_state FROM pg_stat_replication WHERE state = 'streaming'"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node at one moment; what couldn't be asked is ``None``.

    Attributes:
        name: The node.
        role: ``primary``, ``replica``, ``zombie`` (accepts writes on a timeline that others have left), or
            what it is meant to be when it doesn't answer.
        running: There is a postmaster.
        paused: It stands still.
        pid: Of the postmaster.
        port: TCP port.
        timeline: The one it writes or follows.
        lsn: End of its log, or how far it has replayed.
        lag_bytes: How far it has replayed less than the primary has written.
        in_recovery: What it says itself.
        sync_state: ``async``, ``quorum``, ``sync``, … as the primary says; ``None`` if nothing is streamed to
            it.
    """

    name: str
    role: str
    running: bool
    paused: bool
    pid: int | None
    port: int
    timeline: int | None = None
    lsn: str | None = None
    lag_bytes: int | None = None
    in_recovery: bool | None = None
    sync_state: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one server said."""

    in_recovery: bool
    timeline: int
    lsn: str


def lsn_bytes(text: str) -> int:
    """A log sequence number such as ``0/3000148`` as a position in bytes.

    Raises:
        UnitError: It is none.
    """
    if found := LSN.fullmatch(text):
        return (int(found[1], 16) << 32) + int(found[2], 16)
    raise UnitError(text, "a log sequence number: two hexadecimal numbers", "write it as in 16/B374D848")


def ask(node: Node) -> Answer | None:
    """Ask one server; ``None`` if it is down, paused, too slow or not ready."""
    if not node.is_running or node.is_paused:
        return None
    try:
        ((recovery, timeline, lsn),) = node.execute(QUESTION, timeout_s=ASK_TIMEOUT_S)
    except (DatabaseUnavailable, StatementFailed):
        return None
    return Answer(recovery == "t", int(timeline or 0), lsn or "0/0")


def survey(nodes: Sequence[Node]) -> dict[str, Answer]:
    """Ask all; by the names of those that answered."""
    return {node.name: answer for node in nodes if (answer := ask(node)) is not None}


def leader(answers: Mapping[str, Answer]) -> str | None:
    """Who accepts writes; of several, the one on the highest timeline: the others don't know they lost."""
    writable = [
        (answer.timeline, lsn_bytes(answer.lsn), name)
        for name, answer in answers.items()
        if not answer.in_recovery
    ]
    return max(writable)[2] if writable else None


def status(nodes: Sequence[Node], planned: Mapping[str, str]) -> list[NodeStatus]:
    """Every node's present state.

    Args:
        nodes: Whom to ask.
        planned: Each node's role as the state file has it.
    """
    answers = survey(nodes)
    first = leader(answers)
    followers: dict[str, str | None] = {}
    for node in nodes:
        if node.name == first:
            followers = _followers(node)
    return [_describe(node, answers, first, followers, planned[node.name]) for node in nodes]


def _followers(node: Node) -> dict[str, str | None]:
    try:
        return {name or "": state for name, state in node.execute(FOLLOWERS, timeout_s=ASK_TIMEOUT_S)}
    except (DatabaseUnavailable, StatementFailed):
        return {}


def _describe(
    node: Node,
    answers: Mapping[str, Answer],
    first: str | None,
    followers: Mapping[str, str | None],
    planned: str,
) -> NodeStatus:
    pid, paused = node.pid, node.is_paused
    answer = answers.get(node.name)
    if answer is None:
        return NodeStatus(node.name, planned, pid is not None, paused, pid, node.port)
    role = "replica" if answer.in_recovery else "primary" if node.name == first else "zombie"
    lag = None
    if role == "replica" and first is not None:
        lag = max(0, lsn_bytes(answers[first].lsn) - lsn_bytes(answer.lsn))
    return NodeStatus(
        name=node.name,
        role=role,
        running=pid is not None,
        paused=paused,
        pid=pid,
        port=node.port,
        timeline=answer.timeline,
        lsn=answer.lsn,
        lag_bytes=lag,
        in_recovery=answer.in_recovery,
        sync_state=followers.get(node.name) if role == "replica" else None,
    )
