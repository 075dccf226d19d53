"""A client whose session state is followed by a ledger, on blocking connections to a real server."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from seawall.proxy.ledger import EMPTY, Ledger, Settings, apply_batch, read_answer
from seawall.wire.pgwire import messages, scan
from seawall.wire.pgwire.login import ClientLogin
from tests.wire.line import Line, log_in


@dataclass
class Reply:
    """What came up to the last ReadyForQuery."""

    rows: list[list[bytes | None]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    reported: list[tuple[str, str]] = field(default_factory=list)
    status: bytes = b""

    @property
    def values(self) -> list[list[str | None]]:
        """The rows as text."""
        return [[None if value is None else messages.decode(value) for value in row] for row in self.rows]


class Connection:
    """One server connection."""

    def __init__(
        self, port: int, user: str = "postgres", database: str = "postgres", **parameters: str
    ) -> None:
        self.line = Line(socket.create_connection(("127.0.0.1", port)))
        login = ClientLogin(user, None, nonce=b"unused")
        said = log_in(self.line, login, {"user": user, "database": database, **parameters})
        self.reported = dict(messages.parse_parameter_status(body) for kind, body in said if kind == b"S")
        self.applied: Settings | None = EMPTY

    def close(self) -> None:
        self.line.sock.sendall(messages.terminate())
        self.line.sock.close()

    def send(self, data: bytes, ready: int = 1) -> Reply:
        """Send messages; wait for so many ReadyForQuery."""
        self.line.sock.sendall(data)
        reply = Reply()
        for _ in range(ready):
            for kind, body in self.line.read_until(b"Z"):
                if kind == b"D":
                    reply.rows.append(messages.parse_data_row(body))
                elif kind == b"C":
                    reply.tags.append(messages.decode(body[:-1]))
                elif kind == b"E":
                    reply.errors.append(messages.parse_fields(body))
                elif kind == b"S":
                    reply.reported.append(messages.parse_parameter_status(body))
                elif kind == b"Z":
                    reply.status = body
        for name, value in reply.reported:
            self.reported[name] = value
        return reply

    def query(self, sql: str) -> list[list[str | None]]:
        """Rows of a query that the proxy knows nothing of; it must not fail."""
        reply = self.send(messages.query(sql))
        assert not reply.errors, (sql, reply.errors)
        return reply.values

    def take_on(self, wanted: Settings) -> Reply:
        """Bring the connection from what is applied to what is wanted."""
        data, ready = apply_batch(self.applied, wanted)
        reply = self.send(data, ready)
        if not reply.errors:
            self.applied = wanted
        return reply


class Followed:
    """A client and its ledger, on one connection at a time."""

    def __init__(self, connection: Connection, user: str = "postgres", baseline: Settings = EMPTY) -> None:
        self.ledger = Ledger(user, baseline)
        self.flags = 0
        self.move(connection)

    def move(self, connection: Connection) -> None:
        """Go to another connection."""
        self.connection = connection
        reply = connection.take_on(self.ledger.current)
        assert not reply.errors, reply.errors
        self.ledger.adopt(connection.reported)

    def run(self, *statements: str, encoding: str = "utf-8") -> list[Reply]:
        """Run queries, and at the end of the last transaction ask what has to be asked."""
        replies = []
        for sql in statements:
            raw = sql.encode(encoding)
            suspicion = scan.suspicion(raw)
            self.flags |= suspicion
            if suspicion & (scan.SETTINGS | scan.UNKNOWN):
                self.ledger.note(scan.custom_names(raw))
            reply = self.connection.send(messages.query(messages.decode(raw)))
            replies.append(reply)
            self.settle(reply)
        return replies

    def run_bound(self, sql: str, values: Iterable[bytes | None]) -> Reply:
        """The same by the extended protocol."""
        bind = messages.bind("", "", list(values))
        suspicion = scan.suspicion(sql.encode())
        self.flags |= suspicion
        if suspicion & (scan.SETTINGS | scan.UNKNOWN):
            self.ledger.note(scan.custom_names(sql.encode()))
        if suspicion & scan.BOUND_NAME:
            self.ledger.note(scan.bound_names(bind[5:]))
        reply = self.connection.send(messages.parse("", sql) + bind + messages.execute() + messages.sync())
        self.settle(reply)
        return reply

    def settle(self, reply: Reply) -> None:
        for name, value in reply.reported:
            self.ledger.on_parameter_status(name, value)
        if reply.status != b"I":
            return
        if "DISCARD ALL" in reply.tags:
            self.connection.applied = self.ledger.discarded()
        asked = self.ledger.to_ask(self.flags)
        self.flags = 0
        if not asked:
            return
        data = self.ledger.question(asked)
        answer = self.connection.send(data, 1 if data else 0)
        if answer.errors:
            self.ledger.unanswered()
            return
        assert not data or answer.status == b"I"
        applied = self.ledger.examined(read_answer(asked, answer.rows))
        if applied is not None:
            self.connection.applied = applied
