"""Which transactions are recorded, and which are asked how far they are, to resolve their COMMIT by.

A transaction is asked once: behind its first change where that can be seen in its text (in the same batch,
or ahead of the next Query), else ahead of its COMMIT. Both tell the same: its number, and a place in the log
that its commit record is behind. One that provably changes nothing isn't asked. One that was asked early is
asked again when it has been said again, or losing a second server at its COMMIT would leave that unknown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from seawall.proxy.client import Client
from seawall.proxy.errands import Batch
from seawall.proxy.owed import SAMPLE, SAMPLE_AGAIN
from seawall.proxy.replay import ladder
from seawall.proxy.replay.journal import Journal
from seawall.proxy.resolving import sample_from
from seawall.proxy.server import Server
from seawall.proxy.settings import ProxySettings, Replay, ReplayMode
from seawall.proxy.statements import Statement
from seawall.proxy.topology import Topology
from seawall.wire.pgwire import framing, messages

ACKNOWLEDGED_LIMIT: Final = 10_000
"""Commits that are remembered, to count those that a failover has lost."""


class Sampling:
    """The recording of one worker's transactions.

    Args:
        worker: whose.
    """

    def __init__(self, worker: Any) -> None:  # noqa: ANN401 -- the worker has one of these
        self._worker = worker
        self._settings: Replay = worker.settings.replay
        self.sample = Statement(SAMPLE.encode() + b"\0\0\0", b"seawall_sample")
        """What is asked within a batch."""
        self.acknowledged: deque[tuple[float, str, Topology, bytes]] = deque(maxlen=ACKNOWLEDGED_LIMIT)
        """When, on which server, what was known of it, and its answer as it came."""
        self.lost_acknowledged = 0

    def mode_for(self, user: str, database: str) -> ReplayMode:
        """Whether open transactions of this user in this database are said again."""
        settings: ProxySettings = self._worker.settings
        entry = settings.databases.get(database) or settings.databases.get("*")
        known = settings.auth.users.get(user)
        if entry is not None and entry.replay is not None:
            return entry.replay
        if known is not None and known.replay is not None:
            return known.replay
        return settings.replay.mode

    def resolves(self, client: Client) -> bool:
        """Whether it is found out what became of this client's COMMITs."""
        resolve = self._settings.resolve_commits
        return client.replays if resolve is None else resolve

    def equip(self, server: Server) -> None:
        """Give a server connection a journal, if its clients may be rescued."""
        if not server.pool.session:
            server.journal = Journal(self._settings.journal_bytes, 4 * self._settings.statements_max)

    def samples(self, client: Client, server: Server, sql: bytes) -> bool:
        """Whether to ask a question ahead of what may be a COMMIT."""
        journal, status = client.journal, server.status
        if journal is None or status == framing.IN_FAILED_TRANSACTION:
            return False
        if status == framing.IDLE and not server.pending:
            return False
        topology: Topology = self._worker.topology
        if not topology.tracked or topology.multi_primary or journal.numbered:
            return False
        if not ladder.ends_with_commit(sql):
            return False
        if not journal.spoiled and ladder.changes_nothing(journal, client.statements or {}):
            return False
        journal.topology = self._worker.topology
        return True

    def samples_changes(self, client: Client) -> bool:
        """Whether to ask a question behind the first change of a transaction."""
        journal = client.journal
        if journal is None:
            return False
        if self._worker.topology.multi_primary or not self._worker.topology.tracked:
            return False
        journal.topology = self._worker.topology
        return True

    def ask_again(self, client: Client, old: Journal, server: Server, done: Callable[[bool], None]) -> bool:
        """Ask behind what was said again, where an early question was answered before; false if it wasn't.

        Args:
            client: whose transaction it is.
            old: what it had said and seen.
            server: where it stands again.
            done: called when the answer is there, with false if none came.
        """
        if not (old.sampled_early and old.sample) or server.status != framing.IN_TRANSACTION:
            return False
        if server.pending or server.unsynced or server.mid_message or not self.samples_changes(client):
            return False
        asked_at = self._worker.clock()
        Batch(server, SAMPLE_AGAIN, 1, lambda batch: done(self._answered_again(client, asked_at, batch)))
        return True

    @staticmethod
    def _answered_again(client: Client, asked_at: float, batch: Batch) -> bool:
        journal = client.journal
        if batch.gone or batch.error is not None or not batch.rows or journal is None:
            return False
        journal.sample = messages.data_row(batch.rows[0])[framing.HEADER_BYTES :]
        journal.sampled_at, journal.sampled_early = asked_at, True
        return True

    def committed(self, server: Server, journal: Journal) -> None:
        """A sampled COMMIT was answered: remember where it stood, to tell whether a failover loses it."""
        self.acknowledged.append((journal.sampled_at, server.backend.name, journal.topology, journal.sample))

    def count_lost(self, before: Topology, after: Topology) -> None:
        """Count acknowledged commits that a crash or promotion has cut off."""
        known = set(before.recoveries)
        for one in after.recoveries:
            if one in known or one.clean or one.end_lsn is None:
                continue
            timeline = one.parent or one.timeline
            self.lost_acknowledged += sum(
                1
                for found in map(sample_from, self.acknowledged)
                if found is not None
                and found.xid is not None
                and found.timeline == timeline
                and found.taken_at < one.seen_at
                and found.lsn >= one.end_lsn
            )
