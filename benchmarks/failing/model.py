"""A model of a PostgreSQL cluster: logs, transactions, locks, crashes, promotions; on somebody else's clock.

A :class:`Node` is its log: a crash cuts what was not flushed, a promotion what was not received, and what
is left is read again from its beginning. ``model_backend`` speaks the protocol and runs statements.

Sources: PostgreSQL documentation, chapters "Reliability and the Write-Ahead Log" and "High Availability";
``sequence.c`` for SEQ_LOG_VALS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SYSTEM = 7_001
LOG_AHEAD = 32
"""Values of a sequence that one record of the log covers."""
COUNTERS = ("1", "2")
FIRST_XID = 700
Later = Callable[[float, Callable[[], None]], None]


@dataclass
class Xact:
    """One run of one transaction."""

    xid: int = 0
    log: list[Any] = field(default_factory=list)
    """What each of its statements answered."""
    effects: list[tuple[str, str, str]] = field(default_factory=list)
    """Table, whose it is, value."""
    marks: dict[str, int] = field(default_factory=dict)
    """Savepoints, by how many effects there were."""
    tokens: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    block: bool = False
    failed: bool = False
    committed: bool = False


@dataclass(frozen=True)
class Record:
    """One record of a log, up to the place ``end``."""

    end: int
    kind: str
    xid: int = 0
    xact: Xact | None = None
    value: int = 0


class Node:
    """One server.

    Args:
        name: of it.
        cluster: which it is of.
    """

    def __init__(self, name: str, cluster: Cluster) -> None:
        self.name = name
        self.cluster = cluster
        self.wal: list[Record] = [Record(1000, "start")]
        self.flushed = 1
        self.up = True
        self.recovering = False
        self.timeline = 1
        self.end_of_recovery: int | None = None
        self.reset = 0
        self.born_at = 0.0
        self.backends: dict[int, Any] = {}
        self.read_log()

    # --- the log --------------------------------------------------------------------------------------------

    @property
    def lsn(self) -> int:
        """Where the log ends."""
        return self.wal[-1].end

    def write(self, kind: str, size: int, xid: int = 0, xact: Xact | None = None, value: int = 0) -> int:
        """Append a record; where it ends."""
        self.wal.append(Record(self.lsn + size, kind, xid, xact, value))
        self.cluster.later(self.cluster.flush_s, lambda: self.flush(None))
        return self.lsn

    def flush(self, upto: int | None) -> None:
        """Make the log last."""
        self.flushed = max(self.flushed, min(len(self.wal), upto or len(self.wal)))
        self.cluster.ship(self)

    def read_log(self) -> None:
        """Come up from the log alone."""
        self.rows: dict[int, str] = {}
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.status: dict[int, str] = {}
        self.active: set[int] = set()
        self.next_xid = FIRST_XID
        self.drawn = self.ahead = 0
        self.holders: dict[str, Any] = {}
        for one in self.wal:
            self.next_xid = max(self.next_xid, one.xid + 1)
            if one.kind == "sequence":
                self.drawn = self.ahead = one.value
            elif one.xact is not None:
                self.status[one.xid] = "committed"
                self.apply(one.xact)

    def apply(self, xact: Xact) -> None:
        """Show everybody what a transaction did."""
        for table, who, value in xact.effects:
            if table == "t":
                self.rows[int(value)] = who
            else:
                self.counters[table] = int(value)

    def draw(self) -> int:
        """The sequence's next value."""
        self.drawn += 1
        if self.drawn > self.ahead:
            self.ahead = self.drawn + LOG_AHEAD
            self.write("sequence", 99, value=self.ahead)
        return self.drawn

    def number(self, xact: Xact) -> None:
        """Give a transaction its number."""
        if not xact.xid:
            xact.xid = self.next_xid
            self.next_xid += 1
            self.active.add(xact.xid)

    def history(self) -> list[Xact]:
        """What is committed, in order."""
        return [one.xact for one in self.wal if one.xact is not None]

    def xact_status(self, xid: int) -> str | None:
        """As ``pg_xact_status``; ``None`` for one in the future."""
        if xid >= self.next_xid:
            return None
        return "in progress" if xid in self.active else self.status.get(xid, "aborted")

    # --- faults ---------------------------------------------------------------------------------------------

    def stop(self, *, clean: bool) -> None:
        """Go down."""
        self.up = False
        if clean:
            self.flush(None)
        for backend in list(self.backends.values()):
            backend.end("terminating connection due to administrator command" if clean else "")
        self.backends.clear()
        if clean:
            self.flush(None)
            self.cluster.ship_all(self)
        else:
            del self.wal[self.flushed :]

    def start(self, *, clean: bool) -> None:
        """Come up again as what it was."""
        self.read_log()
        if clean:
            self.end_of_recovery = None
        else:
            self.end_of_recovery = self.lsn
            self.reset += 1
            self.write("checkpoint", 114)
            self.flush(None)
        self.up = True
        self.born_at = self.cluster.clock()

    def promote(self) -> None:
        """Become the primary."""
        self.read_log()
        self.end_of_recovery = self.lsn
        self.timeline += 1
        self.recovering = False
        self.write("end of recovery", 50)
        self.flush(None)


class Cluster:
    """A primary ``a`` and its replica ``b``.

    Args:
        clock: seconds.
        later: does something in so many seconds.
        synchronous: a COMMIT waits for the replica.
        flush_s: after which what nobody waits for is flushed; COMMIT waits for its flush unless ``lazy``.
        lazy: synchronous_commit = off.
        ship_s: how long a record is on its way to the replica.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        later: Later,
        *,
        synchronous: bool,
        lazy: bool,
        flush_s: float,
        ship_s: float,
    ) -> None:
        self.clock = clock
        self.later = later
        self.synchronous = synchronous
        self.lazy = lazy
        self.flush_s = flush_s
        self.ship_s = ship_s
        self.nodes: dict[str, Node] = {}
        self.runs: list[Xact] = []
        self.delivered: set[int] = set()
        """Runs, by identity, whose commit a server has told and the proxy has heard."""
        self.nodes = {name: Node(name, self) for name in "ab"}
        self.nodes["b"].recovering = True
        self.primary = self.nodes["a"]
        self.next_pid = 100

    def ship(self, node: Node) -> None:
        """Send what is flushed to the replica."""
        replica = self.nodes.get("b")
        if replica is None or node is replica or not replica.recovering:
            return
        upto = node.flushed
        wal = node.wal

        def arrive() -> None:
            if replica.recovering and replica.up and node.timeline == 1 and len(wal) >= upto:
                self._receive(node, upto)

        self.later(self.ship_s, arrive)

    def _receive(self, node: Node, upto: int) -> None:
        replica = self.nodes["b"]
        if upto > len(replica.wal):
            replica.wal.extend(node.wal[len(replica.wal) : upto])
            replica.flushed = len(replica.wal)
            for backend in list(node.backends.values()):
                backend.replicated(replica.lsn)

    def ship_all(self, node: Node) -> None:
        """As a clean shutdown does."""
        if node is not self.nodes["b"] and self.nodes["b"].recovering:
            self._receive(node, len(node.wal))

    def promote(self) -> None:
        """Make the replica the primary."""
        self.nodes["b"].promote()
        self.primary = self.nodes["b"]

    def replicas(self, node: Node) -> bool:
        """Whether a synchronous standby follows."""
        return self.synchronous and node is self.nodes["a"] and self.nodes["b"].recovering
