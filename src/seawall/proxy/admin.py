"""The admin database: ``psql -p PORT seawall -c 'SHOW POOLS'``.

Answers cover all workers: the one that was asked collects the others' rows. Simple and extended queries
work, values are text. Column names follow PgBouncer's where the meaning is the same, so that dashboards
carry over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from seawall._version import __version__
from seawall.proxy.client import Client
from seawall.proxy.server import Server
from seawall.proxy.speech import ATTACHED, WAITING
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import MessageReader
from seawall.wire.pgwire.messages import ProtocolViolation

MESSAGE_LIMIT: Final = 65_536
PORTALS_LIMIT: Final = 100
TEXT_OID: Final = 25
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


TABLES: Final[Mapping[str, Callable[[Any], Rows]]] = {
    "pools": pools,
    "clients": clients,
    "servers": servers,
    "stats": stats,
    "workers": workers,
}
SHOW: Final = re.compile(r"\s*show\s+([a-z_]+)\s*;?\s*\Z", re.IGNORECASE)
HELP: Final = ", ".join(f"SHOW {name.upper()}" for name in (*TABLES, "version", "help"))


class Console:
    """The protocol of an admin connection.

    Args:
        worker: the worker that was asked.
        transport: its connection.
        user: who asks.
    """

    def __init__(self, worker: Any, transport: Any, user: str) -> None:  # noqa: ANN401
        self.worker = worker
        self.transport = transport
        self.user = user
        self._reader = MessageReader(MESSAGE_LIMIT)
        self._queue: list[tuple[int, bytes]] = []
        self._task: asyncio.Task[None] | None = None
        self._failed = False
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, tuple[list[str], Rows]] = {}
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
        """Forget what was asked."""
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
                self.transport.write(messages.error_response(error.sqlstate, str(error), hint=error.hint))
                if kind == framing.QUERY:
                    self.transport.write(messages.ready_for_query(b"I"))
        self._task = None

    async def _answer(self, kind: int, body: bytes) -> None:
        write = self.transport.write
        if kind == framing.SYNC:
            self._failed = False
            write(messages.ready_for_query(b"I"))
        elif kind == framing.QUERY:
            columns, rows = await self.run(messages.cstring(body, 0)[0].decode(errors="replace"))
            write(self._head(columns) + self._rows(columns, rows) + messages.ready_for_query(b"I"))
        elif self._failed:
            return
        elif kind == framing.PARSE:
            name, offset = messages.cstring(body, 0)
            self._bound(self._statements)
            self._statements[name] = messages.cstring(body, offset)[0].decode(errors="replace")
            write(messages.PARSE_COMPLETE)
        elif kind == framing.BIND:
            portal, offset = messages.cstring(body, 0)
            name, _ = messages.cstring(body, offset)
            self._bound(self._portals)
            self._portals[portal] = await self.run(self._statements.get(name, ""))
            write(messages.BIND_COMPLETE)
        elif kind == framing.DESCRIBE:
            name, _ = messages.cstring(body, 1)
            if body[:1] == b"S":
                columns, _rows = await self.run(self._statements.get(name, ""))
                write(b"t\0\0\0\6\0\0" + self._head(columns))
            else:
                write(self._head(self._portals.get(name, ([], []))[0]))
        elif kind == framing.EXECUTE:
            columns, rows = self._portals.get(messages.cstring(body, 0)[0], ([], []))
            write(self._rows(columns, rows))
        elif kind == framing.CLOSE:
            write(messages.CLOSE_COMPLETE)
        elif kind != framing.FLUSH:
            raise ProtocolViolation(f"the admin console does not take message type {chr(kind)!r}")

    def _bound(self, kept: Mapping[bytes, object]) -> None:
        if len(kept) >= PORTALS_LIMIT:
            raise ProtocolViolation("too many prepared statements on the admin console", "53400")

    async def run(self, sql: str) -> tuple[list[str], Rows]:
        """Columns and rows of one command.

        Raises:
            ProtocolViolation: there is no such command (42601).
        """
        match = SHOW.match(sql)
        name = match.group(1).lower() if match else ""
        if name == "version":
            return ["version"], [{"version": f"Seawall {__version__}"}]
        if name == "help":
            return ["command"], [{"command": one} for one in HELP.split(", ")]
        if name not in TABLES:
            raise ProtocolViolation(f"unknown command: {sql.strip()[:80]}", "42601", hint=f"Try {HELP}.")
        rows = TABLES[name](self.worker)
        if self.worker.siblings is not None:
            for answer in await self.worker.siblings.ask({"show": name}):
                rows.extend(answer.get("rows", []))
        return (list(rows[0]) if rows else [name]), rows

    def _head(self, columns: list[str]) -> bytes:
        return messages.row_description([(name, TEXT_OID) for name in columns])

    def _rows(self, columns: list[str], rows: Rows) -> bytes:
        out = [
            messages.data_row(
                [None if row.get(name) is None else str(row[name]).encode() for name in columns]
            )
            for row in rows
        ]
        return b"".join(out) + messages.command_complete(f"SHOW {len(rows)}")
