"""The admin database: ``psql -p PORT seawall -c 'SHOW POOLS'``.

Answers cover all workers: the one that was asked collects the others' rows. What is about the servers, and
every order, is the supervisor's business and is passed on to it. Simple and extended queries work, values are
text. Column names follow PgBouncer's where the meaning is the same, so that dashboards carry over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from seawall._version import __version__
from seawall.proxy.client import Client
from seawall.proxy.naming import ATTACHED, WAITING
from seawall.proxy.server import Server
from seawall.wire.pgwire import framing, messages, sqlstate
from seawall.wire.pgwire.framing import MessageReader
from seawall.wire.pgwire.messages import ProtocolViolation

MESSAGE_LIMIT: Final = 65_536
PORTALS_LIMIT: Final = 100
QUEUE_LIMIT: Final = 100
"""Messages of one connection that may wait for their turn, before it isn't read any more."""
ORDER_MARGIN_S: Final = 120.0
"""Checkpoint, fencing and promotion have limits of their own, beside ``switchover_timeout_s``."""
TEXT_OID: Final = 25
NO_DATA: Final = b"n\0\0\0\4"
SERVER_VERSION: Final = "16.0 (Seawall)"
"""The console's own; drivers read it as a number."""

Rows = list[dict[str, Any]]


def _seconds(client: Client, now: float) -> float:
    return round(now - client.waiting_since, 3) if client.state == WAITING and client.server is None else 0.0


def pools(worker: Any) -> Rows:  # noqa: ANN401
    """Pools of one worker."""
    now = worker.clock()
    found: Rows = []
    for pool in worker.pools.values():
        clients = [one for one in worker.clients.values() if one.pool is pool]
        used = [one for one in pool.servers if one not in pool.idle]
        oldest = now - pool.waiting[0].waiting_since if pool.waiting else 0.0
        found.append(
            {
                "database": pool.database,
                "user": pool.user,
                "worker": worker.number,
                "cl_active": sum(1 for one in clients if one.server is not None),
                "cl_waiting": len(pool.waiting),
                "cl_idle": sum(1 for one in clients if one.server is None) - len(pool.waiting),
                "sv_active": len(used),
                "sv_idle": len(pool.idle),
                "sv_login": pool.opening,
                "maxwait": int(oldest),
                "maxwait_us": int(oldest % 1 * 1e6),
                "pool_size": pool.size,
                "pool_mode": pool.mode.value,
                "last_error": pool.last_error,
            }
        )
    return found


def clients(worker: Any) -> Rows:  # noqa: ANN401
    """Clients of one worker."""
    now = worker.clock()
    found: Rows = []
    for client in worker.clients.values():
        server: Server | None = client.server
        waiting = client.state == WAITING
        found.append(
            {
                "user": client.user,
                "database": client.pool.database,
                "state": "waiting" if waiting else "active" if client.state == ATTACHED else "idle",
                "addr": client.address,
                "worker": worker.number,
                "pid": client.pid,
                "server_pid": server.pid if server is not None else None,
                "backend": server.backend.name if server is not None else None,
                "connected_s": round(now - client.connected_at, 1),
                "wait_s": _seconds(client, now),
                "prepared": len(client.statements or ()),
                "session": "portable" if client.ledger.portable else "pinned",
                "pinned_by": ", ".join(client.ledger.reasons()),
                "application_name": client.ledger.current.get("application_name"),
            }
        )
    return found


def servers(worker: Any) -> Rows:  # noqa: ANN401
    """Server connections of one worker."""
    now = worker.clock()
    found: Rows = []
    for pool in worker.pools.values():
        for server in pool.servers:
            client = server.sink if isinstance(server.sink, Client) else None
            found.append(
                {
                    "backend": server.backend.name,
                    "host": server.backend.host,
                    "port": server.backend.port,
                    "user": pool.user,
                    "database": pool.database,
                    "state": "idle" if server in pool.idle else "active",
                    "worker": worker.number,
                    "pid": server.pid,
                    "client_pid": client.pid if client is not None else None,
                    "connected_s": round(now - server.born_at, 1) if server.born_at >= 0 else None,
                    "prepared": len(server.statements),
                    "owed": len(server.pending),
                    "cancels": server.cancels,
                }
            )
    return found


def stats(worker: Any) -> Rows:  # noqa: ANN401
    """Counters of one worker, by database and user."""
    for pool in worker.pools.values():
        pool.add_up()
    return [
        {
            "database": pool.database,
            "user": pool.user,
            "worker": worker.number,
            "total_xact_count": pool.transactions,
            "total_query_count": pool.queries,
            "total_xact_time": int(pool.busy_s * 1e6),
            "total_wait_time": int(pool.waited_s * 1e6),
            "errors": pool.errors,
            "connect_errors": pool.connect_errors,
            "servers_opened": pool.opened_count,
        }
        for pool in worker.pools.values()
    ]


def workers(worker: Any) -> Rows:  # noqa: ANN401
    """This worker's row of the shared block."""
    return [{"worker": worker.number, **worker.row.read()}]


def replays(worker: Any) -> Rows:  # noqa: ANN401
    """What one worker did last for clients whose servers were lost."""
    rescue = getattr(worker, "rescue", None)
    return rescue.rows() if rescue is not None else []


def rescues(worker: Any) -> Rows:  # noqa: ANN401
    """The same, counted."""
    rescue = getattr(worker, "rescue", None)
    if rescue is None:
        return []
    refused = {f"not replayed: {reason}": count for reason, count in rescue.refusals.items()}
    counts = {**rescue.counts, **refused, "acknowledged commits lost": rescue.lost_acknowledged}
    return [{"worker": worker.number, "what": what, "count": count} for what, count in counts.items()]


def explain(worker: Any) -> Rows:  # noqa: ANN401
    """What would become of one worker's clients if the primary were lost now."""
    rescue = getattr(worker, "rescue", None)
    return rescue.explain() if rescue is not None else []


TABLES: Final[Mapping[str, Callable[[Any], Rows]]] = {
    "pools": pools,
    "clients": clients,
    "servers": servers,
    "stats": stats,
    "workers": workers,
    "replays": replays,
    "rescues": rescues,
    "explain": explain,
}
"""What workers tell each other."""
SUPERVISED: Final = ("backends", "topology", "failovers")
"""What the supervisor tells."""
VIEWS: Final = (*(name for name in TABLES if name != "explain"), *SUPERVISED)
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "backends": (
        *("name", "host", "port", "role", "state", "timeline", "system_identifier", "lag_bytes"),
        *("connected_s", "reason", "sync_state"),
    ),
    "topology": (
        *("epoch", "phase", "primary", "multi_primary", "timeline", "system_identifier", "tracked", "reason"),
        "plan",
    ),
    "failovers": (
        *("at", "kind", "old_primary", "new_primary", "timeline", "took_ms", "outcome", "reason", "end_lsn"),
        *("detected_ms", "promoted_ms", "resumed_ms", "replays"),
    ),
    "replays": (
        *("at", "worker", "client_pid", "user", "database", "backend", "way", "outcome", "statements"),
        *("attempts", "took_ms", "reason"),
    ),
    "rescues": ("worker", "what", "count"),
    "explain": ("pid", "user", "database", "worker", "backend", "would", "because"),
}
"""Columns that are there even if nothing is to be shown; a row may have more."""
SHOW: Final = re.compile(r"\s*show\s+([a-z_]+)\s*;?\s*\Z", re.IGNORECASE)
EXPLAIN: Final = re.compile(r"\s*explain\s+failover\s*;?\s*\Z", re.IGNORECASE)
ORDER: Final = re.compile(
    r"\s*(?:(?P<verb>pause|resume)|switchover(?:\s+to\s+"
    r"(?:\"(?P<quoted>[^\"]+)\"|'(?P<text>[^']+)'|(?P<bare>[a-z0-9_][a-z0-9_.:-]*)))?)\s*;?\s*\Z",
    re.IGNORECASE,
)
COMMANDS: Final = (
    *(f"SHOW {name.upper()}" for name in (*VIEWS, "version", "help")),
    *("EXPLAIN FAILOVER", "PAUSE", "RESUME", "SWITCHOVER [TO name]"),
)


TOLD: Final = ("item", "value")
"""Columns of what came of an order."""


class Answer(NamedTuple):
    """What a command gives: columns (none: no rows either), rows, and the command's tag."""

    columns: list[str]
    rows: Rows
    tag: str


@dataclass(frozen=True, slots=True)
class Order:
    """Something that changes what the proxy does.

    Attributes:
        tag: the command.
        message: what the supervisor is told.
        columns: of the answer.
    """

    tag: str
    message: dict[str, Any]
    columns: tuple[str, ...] = ()


def order_of(sql: str) -> Order | None:
    """The order that a command is; ``None`` if it is something else."""
    match = ORDER.match(sql)
    if match is None:
        return None
    verb = match["verb"]
    if verb is not None:
        return Order(verb.upper(), {"do": verb.lower()}, () if verb.lower() == "resume" else TOLD)
    target = match["quoted"] or match["text"] or match["bare"]
    return Order("SWITCHOVER", {"do": "switchover", "to": target}, TOLD)


@dataclass(slots=True)
class Portal:
    """A command that was bound; an order is carried out by the first Execute and by no other."""

    sql: str
    answer: Answer | None = None


class Console:
    """The protocol of an admin connection.

    Args:
        worker: the worker that was asked.
        transport: its connection.
        user: who asks.
        may_order: whether this user may give orders, and not only look.
    """

    def __init__(self, worker: Any, transport: Any, user: str, *, may_order: bool = False) -> None:  # noqa: ANN401
        self.worker = worker
        self.transport = transport
        self.user = user
        self.may_order = may_order
        self._reader = MessageReader(MESSAGE_LIMIT)
        self._queue: list[tuple[int, bytes]] = []
        self._held = False
        self._task: asyncio.Task[None] | None = None
        self._failed = False
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, Portal] = {}
        greeting = [
            messages.parameter_status("server_version", SERVER_VERSION),
            messages.parameter_status("server_encoding", "UTF8"),
            messages.parameter_status("client_encoding", "UTF8"),
            messages.parameter_status("standard_conforming_strings", "on"),
            messages.parameter_status("DateStyle", "ISO, MDY"),
            messages.parameter_status("integer_datetimes", "on"),
            messages.ready_for_query(b"I"),
        ]
        transport.write(b"".join(greeting))

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        """The transport is this one already."""

    def eof_received(self) -> bool:
        """Whoever stops asking is gone."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was asked; an order that was passed on is carried out all the same."""
        del exc
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Answers are small."""

    def resume_writing(self) -> None:
        """Answers are small."""

    def data_received(self, data: bytes) -> None:
        """Answer messages one after another."""
        try:
            self._queue.extend(self._reader.feed(data))
        except ProtocolViolation as error:
            self.transport.write(messages.error_response(error.sqlstate, str(error), severity="FATAL"))
            self.transport.close()
            return
        if len(self._queue) > QUEUE_LIMIT and not self._held:
            self._held = True
            self.transport.pause_reading()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._queue:
            kind, body = self._queue.pop(0)
            if kind == framing.TERMINATE:
                self.transport.close()
                return
            try:
                await self._answer(kind, body)
            except ProtocolViolation as error:
                self._failed = kind != framing.QUERY
                self.transport.write(
                    messages.error_response(error.sqlstate, str(error), detail=error.detail, hint=error.hint)
                )
                if kind == framing.QUERY:
                    self.transport.write(messages.ready_for_query(b"I"))
        self._task = None
        if self._held:
            self._held = False
            self.transport.resume_reading()

    async def _answer(self, kind: int, body: bytes) -> None:
        write = self.transport.write
        if kind == framing.SYNC:
            self._failed = False
            write(messages.ready_for_query(b"I"))
        elif kind == framing.QUERY:
            answer = await self.run(_text(body, 0))
            head = self._head(answer.columns) if answer.columns else b""
            write(head + self._rows(answer) + messages.ready_for_query(b"I"))
        elif self._failed:
            return
        elif kind == framing.PARSE:
            name, offset = messages.cstring(body, 0)
            self._bound(self._statements, name)
            self._statements[name] = _text(body, offset)
            write(messages.PARSE_COMPLETE)
        elif kind == framing.BIND:
            portal, offset = messages.cstring(body, 0)
            name, _ = messages.cstring(body, offset)
            self._bound(self._portals, portal)
            self._portals[portal] = await self._bind(self._statements.get(name, ""))
            write(messages.BIND_COMPLETE)
        elif kind == framing.DESCRIBE:
            write(await self._describe(body))
        elif kind == framing.EXECUTE:
            write(self._rows(await self._execute(messages.cstring(body, 0)[0])))
        elif kind == framing.CLOSE:
            kept: dict[bytes, Any] = self._statements if body[:1] == b"S" else self._portals
            kept.pop(messages.cstring(body, 1)[0], None)
            write(messages.CLOSE_COMPLETE)
        elif kind != framing.FLUSH:
            raise ProtocolViolation(f"the admin console does not take message type {chr(kind)!r}")

    async def _bind(self, sql: str) -> Portal:
        return Portal(sql, None if order_of(sql) else await self.run(sql))

    async def _describe(self, body: bytes) -> bytes:
        name, _ = messages.cstring(body, 1)
        statement = body[:1] == b"S"
        portal = None if statement else self._portals.get(name)
        sql = self._statements.get(name, "") if statement else portal.sql if portal else ""
        order = order_of(sql)
        if order is not None:
            columns = list(order.columns)
        elif portal is not None and portal.answer is not None:
            columns = portal.answer.columns
        else:
            columns = (await self.run(sql)).columns
        return (b"t\0\0\0\6\0\0" if statement else b"") + (self._head(columns) if columns else NO_DATA)

    async def _execute(self, name: bytes) -> Answer:
        portal = self._portals.get(name)
        if portal is None:
            raise ProtocolViolation("portal does not exist", sqlstate.INVALID_CURSOR_NAME)
        if portal.answer is None:
            portal.answer = await self.run(portal.sql)
        return portal.answer

    def _bound(self, kept: Mapping[bytes, object], name: bytes) -> None:
        if name not in kept and len(kept) >= PORTALS_LIMIT:
            raise ProtocolViolation("too many prepared statements on the admin console", "53400")

    async def run(self, sql: str) -> Answer:
        """Carry out one command.

        Raises:
            ProtocolViolation: there is no such command (42601), this user may not give it (42501), or the
                supervisor refuses it (55000) or doesn't answer (57P03).
        """
        order = order_of(sql)
        if order is not None:
            return await self._obey(order)
        if EXPLAIN.match(sql):
            return self._table("explain", await self._ask_workers("explain"), "EXPLAIN")
        match = SHOW.match(sql)
        name = match.group(1).lower() if match else ""
        if name == "version":
            return Answer(["version"], [{"version": f"Seawall {__version__}"}], "SHOW")
        if name == "help":
            return Answer(["command"], [{"command": one} for one in COMMANDS], "SHOW")
        if name not in VIEWS:
            hint = f"Try {', '.join(COMMANDS)}."
            raise ProtocolViolation(f"unknown command: {sql.strip()[:80]}", "42601", hint=hint)
        if name in SUPERVISED:
            rows = _rows_of(await self._ask_supervisor({"show": name}))
        else:
            rows = await self._ask_workers(name)
        return self._table(name, rows, f"SHOW {len(rows)}")

    async def _ask_workers(self, name: str) -> Rows:
        rows = TABLES[name](self.worker)
        if self.worker.siblings is not None:
            for answer in await self.worker.siblings.ask({"show": name}):
                rows.extend(_rows_of(answer))
        return rows

    async def _ask_supervisor(self, message: dict[str, Any], *more_s: float) -> dict[str, Any]:
        siblings = self.worker.siblings
        answer = None if siblings is None else await siblings.ask_supervisor(message, *more_s)
        if answer is None:
            hint = "An order may still be carried out: see SHOW TOPOLOGY." if "do" in message else ""
            raise ProtocolViolation("the proxy's supervisor does not answer", "57P03", hint=hint)
        if "error" in answer:
            hint = str(answer.get("hint") or "")
            raise ProtocolViolation(str(answer["error"]), "55000", str(answer.get("detail") or ""), hint)
        found: dict[str, Any] = answer
        return found

    async def _obey(self, order: Order) -> Answer:
        if not self.may_order:
            hint = "auth.admin_users names those who may."
            raise ProtocolViolation(f'user "{self.user}" may give no orders', "42501", hint=hint)
        patience_s = self.worker.settings.failover.switchover_timeout_s + ORDER_MARGIN_S
        answer = await self._ask_supervisor(order.message, patience_s)
        rows = [{"item": key, "value": value} for key, value in answer.items() if key != "done"]
        return Answer(list(order.columns), rows if order.columns else [], order.tag)

    def _table(self, name: str, rows: Rows, tag: str) -> Answer:
        columns = [*COLUMNS.get(name, ()), *(rows[0] if rows else ())]
        return Answer(list(dict.fromkeys(columns)) or [name], rows, tag)

    def _head(self, columns: list[str]) -> bytes:
        return messages.row_description([(name, TEXT_OID) for name in columns])

    def _rows(self, answer: Answer) -> bytes:
        rows = [messages.data_row([_cell(row.get(name)) for name in answer.columns]) for row in answer.rows]
        return b"".join(rows) + messages.command_complete(answer.tag)


def _text(body: bytes, offset: int) -> str:
    return messages.cstring(body, offset)[0].decode(errors="replace")


def _rows_of(answer: Mapping[str, Any]) -> Rows:
    """The rows of an answer from another process, without whatever is none."""
    rows = answer.get("rows")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _cell(value: object) -> bytes | None:
    if value is None:
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.encode("utf-8", "replace")
