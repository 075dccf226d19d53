"""Finds out what became of a COMMIT whose answer was lost; ``replay.resolution`` says what counts as knowing.

The client has a connection to the present primary, in its session's state. If the backend that was lost may
be alive it is terminated first, by its process number and by being older than the loss. Then one statement
asks for the transaction's state together with what shows that the server is still the one that was meant. If
it isn't, what is known of the servers is on its way: it is looked at again a moment later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from seawall.kernel.errors import ValidationError
from seawall.proxy.client import Client
from seawall.proxy.errands import Batch
from seawall.proxy.naming import CLOSED
from seawall.proxy.owed import Note
from seawall.proxy.replay import ladder
from seawall.proxy.replay.journal import Journal
from seawall.proxy.replay.resolution import Finding, Outcome, Sample, resolve, status_outcome
from seawall.proxy.server import Server
from seawall.proxy.sink import Sink
from seawall.proxy.topology import Topology, parse_lsn
from seawall.wire.pgwire import messages

TRIES_MAX: Final = 60
"""Looks at one COMMIT."""
BETWEEN_S: Final = 0.1
NOTHING_WRITTEN: Final = Sample("", 0.0, None, 0, None, 0, 0)
"""Of a transaction that provably has no number: it isn't asked."""
CONFIRM: Final = (
    "BEGIN READ WRITE; SET LOCAL synchronous_commit = on;"
    " SELECT pg_catalog.pg_logical_emit_message(true, 'seawall', ''); COMMIT"
)
"""A commit that is acknowledged when everything before it is, by synchronous standbys where there are any:
a backend that ends while it waits for them has committed, and on no server but its own."""
GONE_TRIES_MAX: Final = 30
"""Looks for the end of a backend that was terminated."""


def sample_of(journal: Journal, node: str) -> Sample | None:
    """What was learnt of a transaction; ``None`` if the answer didn't come, or nobody knew the servers."""
    if not journal.sample or journal.topology is None:
        return None
    found = sample_from((journal.sampled_at, node, journal.topology, journal.sample))
    return None if found is not None and found.xid is None and journal.sampled_early else found


def sample_from(answer: tuple[float, str, Topology, bytes]) -> Sample | None:
    """Read an answer: when it was asked for, of which server, what was known of the servers, and its row."""
    taken_at, node, topology, row = answer
    view = topology.node(node)
    if view is None:
        return None
    try:
        xid, lsn, recovery = messages.parse_data_row(row)
        if lsn is None:
            return None
        return Sample(
            node,
            taken_at,
            int(xid) if xid is not None else None,
            parse_lsn(lsn.decode()),
            parse_lsn(recovery.decode()) if recovery is not None else None,
            view.timeline,
            view.system_identifier,
        )
    except (ValueError, ValidationError, messages.ProtocolViolation):
        return None


class Resolving(Sink):
    """One COMMIT.

    Args:
        worker: whose client it is.
        client: who waits for the answer.
        server: a connection to the primary, idle.
        case: the ``rescue.Case``.
        done: called once with the client, what became of it (never ``ASK``) and why.
    """

    def __init__(
        self,
        worker: Any,  # noqa: ANN401
        client: Client,
        server: Server,
        case: Any,  # noqa: ANN401
        done: Callable[[Client, Outcome, str], None],
    ) -> None:
        self._worker = worker
        self._client = client
        self.server = server
        self._case = case
        self._done = done
        journal: Journal = case.loss.journal
        self._sample = sample_of(journal, case.node)
        names = case.loss.names
        said = ladder.texts_of(b"".join(journal.said), names, journal.unnamed)
        # A function may notify as well: only what provably changes nothing has sent nothing.
        self._notifies = bool(journal.spoiled) or not ladder.changes_nothing(journal, names)
        if self._sample is None and not self._notifies:
            self._sample = NOTHING_WRITTEN
        self._serializable = client.ledger.current.get(
            "default_transaction_isolation"
        ) == "serializable" or any(b"serializable" in one.lower() for one in said)
        self._tries = 0
        self._waits = 0
        self._over = False

    @staticmethod
    def terminate_sql(pid: int, lost_s: float) -> str:
        """End a backend by its number, unless the number is somebody else's by now."""
        return (
            "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(a.pid))"  # noqa: S608 -- of two numbers
            " FROM pg_catalog.pg_stat_activity AS a"
            f" WHERE a.pid OPERATOR(pg_catalog.=) {pid} AND a.backend_start OPERATOR(pg_catalog.<)"
            f" pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) interval '{lost_s:.3f} s'"
        )

    def start(self) -> None:
        """Begin."""
        self.server.sink = self
        self._look()

    def _end(self, outcome: Outcome, reason: str) -> None:
        if not self._over:
            self._over = True
            self._done(self._client, outcome, reason)

    def _look(self) -> None:
        self._tries += 1
        finding = resolve(
            self._sample,
            notifies=self._notifies,
            topology=self._worker.topology,
            serializable=self._serializable,
        )
        if finding.outcome is Outcome.COMMITTED:
            self._end(Outcome.COMMITTED, finding.reason)
        elif finding.outcome is Outcome.NOT_COMMITTED:
            self._end(Outcome.NOT_COMMITTED, finding.reason)
        elif finding.outcome is Outcome.UNKNOWN:
            self._unknown(finding)
        elif finding.node != self.server.backend.name:
            self._later(finding)
        elif finding.terminate:
            sql = self.terminate_sql(self._case.backend_pid, self._worker.clock() - self._case.lost_at)
            self._ask(sql, lambda batch: self._terminated(batch, finding))
        else:
            self._status(finding)

    def _unknown(self, finding: Finding) -> None:
        """Not yet, or never: what happened to the servers may not have been told yet."""
        if self._sample is not None and self._sample.xid is not None and self._tries < TRIES_MAX // 3:
            self._later(finding)
        else:
            self._end(Outcome.UNKNOWN, finding.reason)

    def _later(self, finding: Finding) -> None:
        if self._tries >= TRIES_MAX:
            self._end(Outcome.UNKNOWN, finding.reason or "the servers kept changing")
            return
        self._worker.after(BETWEEN_S, self._again)

    def _again(self) -> None:
        if self._over:
            return
        if self._client.state == CLOSED:
            self._end(Outcome.UNKNOWN, "its client has gone")
        else:
            self._look()

    def _ask(self, sql: str, then: Callable[[Batch], None]) -> None:
        Batch(self.server, messages.query(sql), 1, lambda batch: self._asked(batch, then))

    def _asked(self, batch: Batch, then: Callable[[Batch], None]) -> None:
        if batch.gone or self._client.state == CLOSED:
            self._end(Outcome.UNKNOWN, "the server was lost meanwhile")
            return
        if not self._over:
            self.server.sink = self
            then(batch)

    def _terminated(self, batch: Batch, finding: Finding) -> None:
        """Wait until the backend is gone: until then it may still commit."""
        if batch.error is None and batch.rows and batch.rows[0][0] not in (b"0", None):
            self._waits += 1
            if self._waits > GONE_TRIES_MAX:
                self._end(Outcome.UNKNOWN, "the backend that committed doesn't end")
                return
            self._worker.after(BETWEEN_S / 5, self._again)
            return
        self._status(finding)

    def _status(self, finding: Finding) -> None:
        sample = self._sample
        if sample is None or sample.xid is None:
            self._end(Outcome.UNKNOWN, finding.reason)
            return
        sql = (
            f"SELECT pg_catalog.pg_xact_status('{sample.xid}'::pg_catalog.xid8),"  # noqa: S608 -- of a number
            " pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE"
            " pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END,"
            " pg_catalog.pg_last_wal_replay_lsn(), s.stats_reset FROM pg_catalog.pg_stat_bgwriter AS s"
        )
        self._ask(sql, lambda batch: self._told(batch, finding))

    def _told(self, batch: Batch, finding: Finding) -> None:
        if batch.error is not None or not batch.rows:
            self._later(
                finding
            )  # "in the future": the number isn't in this history, so the cut isn't told yet
            return
        status, recovering, file, recovery, reset = batch.rows[0]
        holds = file is not None and finding.holds(
            in_recovery=recovering != b"f",
            timeline=int(file[:8], 16),
            end_of_recovery=parse_lsn(recovery.decode()) if recovery is not None else None,
            stats_reset=reset.decode() if reset is not None else "",
        )
        outcome = status_outcome(status.decode() if status is not None else None)
        if not holds or outcome is Outcome.ASK:
            self._later(finding)
        elif outcome is Outcome.COMMITTED:
            self._ask(CONFIRM, lambda batch: self._confirmed(batch, finding))
        elif outcome is Outcome.NOT_COMMITTED:
            self._end(Outcome.NOT_COMMITTED, finding.reason)
        else:
            self._end(Outcome.UNKNOWN, "the server has forgotten the transaction")

    def _confirmed(self, batch: Batch, finding: Finding) -> None:
        """What is committed here is where it has to be before anybody may be told."""
        if batch.error is None:
            self._end(Outcome.COMMITTED, finding.reason)
        else:
            self._end(Outcome.UNKNOWN, "it is committed, but not certainly replicated")

    # --- between two questions ----------------------------------------------------------------------------

    def lost(self, server: Server) -> None:
        """The server is gone before it has been asked everything."""
        self._end(Outcome.UNKNOWN, "the server was lost meanwhile")

    def refused(self, server: Server, body: bytes) -> None:
        """It says that something is wrong, to nobody in particular; its end is what counts."""

    def parameter(self, server: Server, body: bytes) -> None:
        """A reload of the server's configuration changed a reported setting."""
        server.pool.worker.fitting.server_parameter(server, body)

    def deliver(self, data: bytes) -> None:
        """Nothing was asked."""

    def settled(self, server: Server) -> None:
        """Nothing was asked."""

    def undone(self, note: Note, *, failed: bool) -> None:
        """Nothing was prepared."""

    def resume(self) -> None:
        """Nothing stalls."""

    def forgotten(self) -> None:
        """Nothing was prepared."""

    def throttle(self, *, stop: bool) -> None:
        """Questions are small."""
