"""One session of the model cluster: the protocol, the statements, and the proxy's own questions.

It knows a handful of statements, as real SQL (``STATEMENTS``). READ COMMITTED; an UPDATE waits for whoever
holds its row. What is told and whether anybody hears it are two things: a backend goes on with what it has
got when its connection is cut.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from benchmarks.failing.model import COUNTERS, Cluster, Node, Xact
from seawall.proxy.owed import SAMPLE
from seawall.proxy.rescue import REFUSING
from seawall.proxy.topology import format_lsn
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import MessageReader

LIMIT = 1 << 20
INSERT = re.compile(r"INSERT INTO t \(who\) VALUES \('([^']*)'\)( RETURNING id)?")
UPDATE = re.compile(r"UPDATE c SET n = n \+ 1, who = '([^']*)' WHERE k = (\d)( RETURNING n)?")
COUNTER = re.compile(r"SELECT n, '([^']*)' FROM c WHERE k = (\d)")
MINE = re.compile(r"SELECT count\(\*\), '([^']*)' FROM t WHERE who = '([^']*)'")
BROKEN = re.compile(r"SELECT 1/0, '([^']*)'")
KILL = re.compile(r".*a\.pid OPERATOR\(pg_catalog\.=\) (\d+) .*interval '([\d.]+) s'", re.DOTALL)
STATUS = re.compile(r"SELECT pg_catalog\.pg_xact_status\('(\d+)'")
SAVEPOINT = re.compile(r"(SAVEPOINT|ROLLBACK TO SAVEPOINT|RELEASE SAVEPOINT) (\w+)")
Row = tuple[str | None, ...]

KEEPING = frozenset("PBDEC")
"""What a server answers when it is asked to (Sync, Flush), or when its buffer is full, and errors at once."""


class Refused(Exception):
    """A statement failed."""


class Blocked(Exception):
    """A statement has to wait for somebody's lock."""


class Backend:
    """One session.

    Args:
        node: on which server.
        tell: takes what it says.
        hang_up: called when it ends.
    """

    def __init__(self, node: Node, tell: Any, hang_up: Any) -> None:  # noqa: ANN401
        self.node = node
        self.cluster: Cluster = node.cluster
        self.tell = tell
        self.hang_up = hang_up
        self.pid = self.cluster.next_pid = self.cluster.next_pid + 1
        self.born_at = self.cluster.clock()
        node.backends[self.pid] = self
        self.reader = MessageReader(LIMIT)
        self.queue: deque[tuple[str, bytes]] = deque()
        self.statements: dict[str, str] = {}
        self.portals: dict[str, tuple[str, list[str]]] = {}
        self.xact: Xact | None = None
        self.skipping = False
        self.alive = True
        self.deaf = False
        """Its connection is gone; it finds out when it has done what it was told."""
        self.stalled_until = 0.0
        self.waits_for: str = ""
        self.waits_lsn = 0
        self.unsaid = b""
        self.kept_back = b""
        """Said when it is asked to, or has to say something else."""
        self.answered = b""
        """Of a Query of several statements."""
        self.told_commits: list[Xact] = []

    # --- coming and going -----------------------------------------------------------------------------------

    def hear(self, data: bytes) -> None:
        """Take in bytes."""
        if self.alive:
            self.queue.extend((chr(kind), bytes(body)) for kind, body in self.reader.feed(data))
            self.run()

    def cut(self) -> None:
        """The connection is gone."""
        self.deaf = True
        self.run()

    def stall(self, seconds: float) -> None:
        """Do nothing for a while."""
        self.stalled_until = self.cluster.clock() + seconds
        self.cluster.later(seconds + 1e-6, self.run)

    def terminate(self, after_s: float) -> None:
        """End soon, as by pg_terminate_backend."""
        self.cluster.later(after_s, lambda: self.end("terminating connection due to administrator command"))

    def end(self, why: str) -> None:
        """End; the transaction is rolled back, unless it is committed already."""
        if not self.alive:
            return
        self.alive = False
        self.node.backends.pop(self.pid, None)
        if self.waits_lsn and self.xact is not None:
            self._visible(self.xact)
        elif self.xact is not None:
            self.rollback()
        if why:
            told, self.told_commits = self.told_commits, []
            self.tell(self.kept_back + messages.error_response("57P01", why, severity="FATAL"), told)
        self.hang_up()

    def run(self) -> None:
        """Do what there is to do."""
        while self._awake:
            if not self.queue:
                if self.deaf:
                    self.end("")
                return
            kind, body = self.queue[0]
            try:
                out = self.take(kind, body)
            except Blocked:
                return
            if self.queue:
                self.queue.popleft()
            if self.waits_lsn:
                self.unsaid = out
                return
            self._say(out, kind)

    @property
    def _awake(self) -> bool:
        return self.alive and not self.waits_lsn and self.cluster.clock() >= self.stalled_until

    def _say(self, out: bytes, kind: str = "S") -> None:
        out = self.kept_back + out
        if kind in KEEPING and not self.skipping:
            self.kept_back = out
            return
        self.kept_back = b""
        if out and self.alive:
            told, self.told_commits = self.told_commits, []
            self.tell(out, told)

    def replicated(self, lsn: int) -> None:
        """The replica has got so far."""
        if self.alive and self.waits_lsn and lsn >= self.waits_lsn:
            self.waits_lsn = 0
            if self.xact is not None:
                self._visible(self.xact)
            self._say(self.unsaid)
            self.run()

    # --- the protocol ---------------------------------------------------------------------------------------

    def take(self, kind: str, body: bytes) -> bytes:
        """Answer one message."""
        if kind == "X":
            self.end("")
            return b""
        if self.skipping and kind != "S":
            return b""
        try:
            return getattr(self, f"on_{kind}")(body)  # type: ignore[no-any-return]
        except Refused as error:
            self.skipping = kind not in "QS"
            out, self.answered = self.answered, b""
            out += messages.error_response(str(error), f"model {error}")
            if kind == "Q":
                out += self.finish()
            return out

    def finish(self) -> bytes:
        """End an implicit transaction, then say ReadyForQuery."""
        xact = self.xact
        if xact is not None and not xact.block:
            if xact.failed:
                self.rollback()
            else:
                self.commit()
        return messages.ready_for_query(self.letter)

    @property
    def letter(self) -> bytes:
        """The transaction status."""
        xact = self.xact
        if xact is None or not xact.block or self.waits_lsn:
            return b"I"
        return b"E" if xact.failed else b"T"

    def on_Q(self, body: bytes) -> bytes:  # noqa: N802
        self.statements.pop("", None)
        sql = body[:-1].decode()
        own = self.question(sql)
        if own is not None:
            return rows_of(own, described=True) + messages.ready_for_query(self.letter)
        for one in sql.split("; "):
            self.answered += self.execute(one, described=True)
        out, self.answered = self.answered, b""
        return out + self.finish()

    def on_P(self, body: bytes) -> bytes:  # noqa: N802
        name, offset = messages.cstring(body, 0)
        sql = messages.cstring(body, offset)[0].decode()
        if name and name.decode() in self.statements:
            raise self.fail("42P05")
        if self.letter == b"E" and sql not in ("COMMIT", "ROLLBACK") and not sql.startswith("ROLLBACK TO"):
            raise self.fail("25P02")
        self.statements[name.decode()] = sql
        return messages.PARSE_COMPLETE

    def on_B(self, body: bytes) -> bytes:  # noqa: N802
        portal, offset = messages.cstring(body, 0)
        name, offset = messages.cstring(body, offset)
        if name.decode() not in self.statements:
            raise self.fail("26000")
        offset += 2 + 2 * int.from_bytes(body[offset : offset + 2])
        count = int.from_bytes(body[offset : offset + 2])
        offset += 2
        values = []
        for _ in range(count):
            size = int.from_bytes(body[offset : offset + 4])
            values.append(body[offset + 4 : offset + 4 + size].decode())
            offset += 4 + size
        self.portals[portal.decode()] = (self.statements[name.decode()], values)
        return messages.BIND_COMPLETE

    def on_D(self, body: bytes) -> bytes:  # noqa: N802
        name = body[1:-1].decode()
        if body[:1] == b"S":
            if name not in self.statements:
                raise self.fail("26000")
            return b"t\0\0\0\6\0\0" + describe(self.statements[name])
        if name not in self.portals:
            raise self.fail("34000")
        return describe(self.portals[name][0])

    def on_E(self, body: bytes) -> bytes:  # noqa: N802
        portal = messages.cstring(body, 0)[0].decode()
        if portal not in self.portals:
            raise self.fail("34000")
        sql, values = self.portals[portal]
        for number, value in enumerate(values, 1):
            sql = sql.replace(f"${number}", f"'{value}'")
        own = self.question(sql)
        return rows_of(own, described=False) if own is not None else self.execute(sql, described=False)

    def on_C(self, body: bytes) -> bytes:  # noqa: N802
        (self.statements if body[:1] == b"S" else self.portals).pop(body[1:-1].decode(), None)
        return messages.CLOSE_COMPLETE

    def on_H(self, body: bytes) -> bytes:  # noqa: N802
        del body
        return b""

    def on_S(self, body: bytes) -> bytes:  # noqa: N802
        del body
        self.skipping = False
        out = self.finish()
        if self.xact is None:
            self.portals.clear()
        return out

    # --- statements -----------------------------------------------------------------------------------------

    def fail(self, sqlstate: str) -> Refused:
        """The transaction fails."""
        if self.xact is None:
            self.begin()
        if self.xact is not None:
            self.xact.failed = True
        return Refused(sqlstate)

    def begin(self) -> Xact:
        """Start a transaction, if none is under way."""
        if self.xact is None:
            self.xact = Xact()
            self.cluster.runs.append(self.xact)
        return self.xact

    def execute(self, sql: str, *, described: bool) -> bytes:
        """Run one statement."""
        xact = self.begin()
        try:
            tag, rows = self._run(xact, sql)
        except Refused as error:
            xact.failed = True
            xact.log.append((str(error), ()))
            raise
        if tag not in ("COMMIT", "ROLLBACK"):
            xact.log.append((tag, tuple(rows)))
        head = describe(sql) if described and rows else b""
        return head + rows_of(rows, described=False, tag=tag)

    def _run(self, xact: Xact, sql: str) -> tuple[str, list[Row]]:
        if sql in ("COMMIT", "ROLLBACK"):
            tag = "ROLLBACK" if xact.failed else sql
            xact.log.append((tag, ()))
            if tag == "COMMIT":
                self.commit()
            else:
                self.rollback()
            return tag, []
        point = SAVEPOINT.fullmatch(sql)
        if point is not None and point[1] == "ROLLBACK TO SAVEPOINT" and point[2] in xact.marks:
            del xact.effects[xact.marks[point[2]] :]
            xact.failed = False
            xact.log.append(("ROLLBACK", ()))
            return "ROLLBACK", []
        if xact.failed:
            raise Refused("25P02")
        if sql == "BEGIN":
            xact.block = True
            return "BEGIN", []
        if point is not None:
            xact.marks[point[2]] = len(xact.effects)
            return point[1].partition(" ")[0], []
        return self._data(xact, sql)

    def _data(self, xact: Xact, sql: str) -> tuple[str, list[Row]]:
        node = self.node
        found = INSERT.fullmatch(sql)
        if found is not None:
            xact.tokens.add(found[1])
            node.number(xact)
            value = node.draw()
            node.write("row", 70, xact.xid)
            xact.effects.append(("t", found[1], str(value)))
            return "INSERT 0 1", [(str(value),)] if found[2] else []
        found = UPDATE.fullmatch(sql)
        if found is not None:
            return self._update(xact, found)
        found = COUNTER.fullmatch(sql)
        if found is not None:
            xact.tokens.add(found[1])
            return "SELECT 1", [(str(self._counter(xact, found[2])), found[1])]
        found = MINE.fullmatch(sql)
        if found is not None:
            xact.tokens.add(found[1])
            own = sum(1 for table, who, _ in xact.effects if (table, who) == ("t", found[2]))
            return "SELECT 1", [
                (str(sum(1 for who in node.rows.values() if who == found[2]) + own), found[1])
            ]
        found = BROKEN.fullmatch(sql)
        if found is not None:
            xact.tokens.add(found[1])
            raise Refused("22012")
        raise Refused("42601")

    def _counter(self, xact: Xact, key: str) -> int:
        own = [int(value) for table, _, value in xact.effects if table == key]
        return own[-1] if own else self.node.counters[key]

    def _update(self, xact: Xact, found: re.Match[str]) -> tuple[str, list[Row]]:
        key = found[2]
        if key not in COUNTERS:
            return "UPDATE 0", []
        holder = self.node.holders.get(key)
        if holder is not None and holder is not self:
            self.waits_for = key
            at, hops = holder, 0
            while at is not None and at.waits_for and hops < 10:
                at, hops = self.node.holders.get(at.waits_for), hops + 1
                if at is self:
                    self.waits_for = ""
                    raise Refused("40P01")
            raise Blocked
        self.waits_for = ""
        xact.tokens.add(found[1])
        self.node.holders[key] = self
        xact.held.add(key)
        self.node.number(xact)
        value = str(self._counter(xact, key) + 1)
        self.node.write("row", 70, xact.xid)
        xact.effects.append((key, found[1], value))
        return "UPDATE 1", [(value,)] if found[3] else []

    def commit(self) -> None:
        """Commit, or begin to."""
        xact, node = self.xact, self.node
        if xact is None:
            return
        if not xact.xid:
            xact.committed = True
            self._visible(xact)
            return
        lsn = node.write("commit", 34, xact.xid, xact)
        self.told_commits.append(xact)
        if not self.cluster.lazy:
            node.flush(None)
        node.status[xact.xid] = "committed"
        if self.cluster.replicas(node) and not self.cluster.lazy:
            self.waits_lsn = lsn
        else:
            self._visible(xact)

    def _visible(self, xact: Xact) -> None:
        if xact.xid:
            self.node.apply(xact)
        xact.committed = True
        self._gone(xact)

    def rollback(self) -> None:
        """Undo it all."""
        if self.xact is not None:
            self._gone(self.xact)

    def _gone(self, xact: Xact) -> None:
        node = self.node
        node.active.discard(xact.xid)
        self.xact = None
        for key in xact.held:
            node.holders.pop(key, None)
        if xact.held:
            for backend in list(node.backends.values()):
                if backend.waits_for in xact.held:
                    backend.waits_for = ""
                    self.cluster.later(0.0, backend.run)

    # --- the proxy's questions ------------------------------------------------------------------------------

    def question(self, sql: str) -> list[Row] | None:
        """The answer to what only the proxy asks; ``None`` for all else."""
        node = self.node
        if sql == SAMPLE:
            if self.letter == b"E":
                raise self.fail("25P02")
            xid = str(self.xact.xid) if self.xact is not None and self.xact.xid else None
            return [(xid, format_lsn(node.lsn), self._recovered())]
        if sql == REFUSING:
            return [("f", "f", "t" if self.cluster.replicas(node) else "f")]
        if sql == "DISCARD ALL":
            self.statements.clear()
            return []
        found = KILL.match(sql)
        if found is not None:
            victim = node.backends.get(int(found[1]))
            if victim is None or victim.born_at >= self.cluster.clock() - float(found[2]):
                return [("0",)]
            victim.terminate(0.03)
            return [("1",)]
        found = STATUS.match(sql)
        if found is not None:
            status = node.xact_status(int(found[1]))
            if status is None:
                raise self.fail("22023")
            file = f"{node.timeline:08X}{0:016X}"
            return [(status, "f", file, self._recovered(), str(node.reset))]
        return None

    def _recovered(self) -> str | None:
        lsn = self.node.end_of_recovery
        return None if lsn is None else format_lsn(lsn)


def describe(sql: str) -> bytes:
    """The description of what a statement returns."""
    own = sql == SAMPLE or sql.startswith("SELECT")
    if not own and "RETURNING" not in sql:
        return messages.NO_DATA
    columns = ["n", "who"] if sql.startswith("SELECT") else ["id"]
    return messages.row_description([(name, 25) for name in columns])


def rows_of(rows: list[Row], *, described: bool, tag: str = "SELECT 1") -> bytes:
    """Rows and the tag behind them."""
    head = (
        messages.row_description([(f"c{n}", 25) for n in range(len(rows[0]))]) if described and rows else b""
    )
    body = b"".join(messages.data_row([None if one is None else one.encode() for one in row]) for row in rows)
    return head + body + messages.command_complete(tag)
