"""A model of PostgreSQL's end of the protocol, strict about order and names, for tests of the relay.

Its SQL has a handful of statements: ``rows N``, ``fail``, ``begin``, ``commit``, ``rollback``, ``copyin``,
``nothing`` (an empty query), ``deallocate NAME``; everything else is a syntax error. It answers as
``PostgresMain`` does, also while copying.
"""

from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import MessageReader

LIMIT = 1 << 20


class ModelServer:
    """Bytes in, bytes out."""

    def __init__(self) -> None:
        self.reader = MessageReader(LIMIT)
        self.statements: dict[bytes, str] = {}
        self.portals: dict[bytes, str] = {}
        self.status = b"I"
        self.skipping = False
        self.copying: str | None = None  # None, "simple" or "extended"
        self.seen: list[tuple[str, bytes]] = []
        self.closed = False

    def feed(self, data: bytes) -> bytes:
        out = b""
        for kind, body in self.reader.feed(data):
            self.seen.append((chr(kind), body))
            out += self.take(chr(kind), body)
        return out

    def take(self, kind: str, body: bytes) -> bytes:
        if self.copying is not None:
            return self.copy(kind)
        if self.skipping and kind not in "SX":
            return b""
        if kind in "dcf":
            return b""
        return getattr(self, f"on_{kind}")(body)

    def copy(self, kind: str) -> bytes:
        if kind in "dHS":
            return b""
        mode, self.copying = self.copying, None
        out = (
            messages.command_complete("COPY 1")
            if kind == "c"
            else self.error("57014", simple=mode == "simple")
        )
        if mode == "simple":
            out += self.ready() if kind == "c" else b""
        return out

    def ready(self) -> bytes:
        return messages.ready_for_query(self.status)

    def error(self, sqlstate: str, *, simple: bool) -> bytes:
        if self.status == b"T":
            self.status = b"E"
        self.skipping = not simple
        out = messages.error_response(sqlstate, f"model {sqlstate}")
        return out + self.ready() if simple else out

    def run(self, sql: str, *, simple: bool) -> tuple[bytes | None, str]:
        word, _, rest = sql.partition("/*")[0].rstrip().partition(" ")
        word = word.lower()
        if self.status == b"E" and word not in ("commit", "rollback"):
            return None, "25P02"
        if word == "rows" and rest.isdigit():
            row = messages.data_row([b"x" * 5])
            head = messages.row_description([("a", 25)]) if simple else b""
            return head + row * int(rest) + messages.command_complete(f"SELECT {rest}"), ""
        if word == "begin":
            self.status = b"T" if self.status == b"I" else self.status
            return messages.command_complete("BEGIN"), ""
        if word in ("commit", "rollback"):
            tag = "ROLLBACK" if self.status == b"E" else word.upper()
            self.status = b"I"
            self.portals.clear()
            return messages.command_complete(tag), ""
        if word == "nothing":
            return messages.empty_query_response(), ""
        if word == "deallocate":
            if self.statements.pop(rest.encode(), None) is None:
                return None, "26000"
            return messages.command_complete("DEALLOCATE"), ""
        if word == "copyin":
            self.copying = "simple" if simple else "extended"
            return b"G\0\0\0\7\0\0\0", ""
        return None, "22012"

    def on_Q(self, body: bytes) -> bytes:
        self.statements.pop(b"", None)
        if self.status == b"I":
            self.portals.clear()
        sql = body[:-1].decode()
        if sql.split(" ")[0] == "bad":
            return self.error("42601", simple=True)
        out, sqlstate = self.run(sql, simple=True)
        if sqlstate:
            return self.error(sqlstate, simple=True)
        return out if self.copying else out + self.ready()

    def on_P(self, body: bytes) -> bytes:
        name, offset = messages.cstring(body, 0)
        sql, _ = messages.cstring(body, offset)
        if not name:
            self.statements.pop(name, None)
        if sql.startswith(b"bad"):
            return self.error("42601", simple=False)
        # Of a server in a failed transaction this is too kind (25P02): so is the proxy, which doesn't send
        # the Parse of a statement that the server has. What uses the statement fails either way.
        if name and name in self.statements:
            return self.error("42P05", simple=False)
        self.statements[name] = sql.decode()
        return messages.PARSE_COMPLETE

    def on_B(self, body: bytes) -> bytes:
        portal, offset = messages.cstring(body, 0)
        name, _ = messages.cstring(body, offset)
        if name not in self.statements:
            return self.error("26000", simple=False)
        if self.status == b"E" and self.statements[name] not in ("commit", "rollback"):
            return self.error("25P02", simple=False)
        self.portals[portal] = self.statements[name]
        return messages.BIND_COMPLETE

    def on_D(self, body: bytes) -> bytes:
        name, _ = messages.cstring(body, 1)
        known = self.statements if body[:1] == b"S" else self.portals
        if name not in known:
            return self.error("26000" if body[:1] == b"S" else "34000", simple=False)
        if self.status == b"E" and known[name].startswith("rows"):
            return self.error("25P02", simple=False)
        head = messages.row_description([("a", 25)]) if known[name].startswith("rows") else messages.NO_DATA
        return (b"t\0\0\0\6\0\0" if body[:1] == b"S" else b"") + head

    def on_E(self, body: bytes) -> bytes:
        name, _ = messages.cstring(body, 0)
        if name not in self.portals:
            return self.error("34000", simple=False)
        out, sqlstate = self.run(self.portals[name], simple=False)
        if self.copying is not None:
            self.portals[name] = "fail"  # a portal runs to its end once
        return self.error(sqlstate, simple=False) if sqlstate else out

    def on_C(self, body: bytes) -> bytes:
        name, _ = messages.cstring(body, 1)
        (self.statements if body[:1] == b"S" else self.portals).pop(name, None)
        return messages.CLOSE_COMPLETE

    def on_H(self, body: bytes) -> bytes:
        return b""

    def on_S(self, body: bytes) -> bytes:
        self.skipping = False
        if self.status == b"I":
            self.portals.clear()
        return self.ready()

    def on_X(self, body: bytes) -> bytes:
        self.closed = True
        return b""


def summary(data: bytes) -> list[tuple[str, object]]:
    """What a client sees, less what may differ: kinds, tags, SQLSTATEs, statuses."""
    found = []
    for kind, body in MessageReader(LIMIT).feed(data):
        letter = chr(kind)
        if letter == "E":
            found.append(("E", messages.parse_fields(body)["C"]))
        elif kind in (framing.COMMAND_COMPLETE, framing.READY):
            found.append((letter, body))
        else:
            found.append((letter, len(body)))
    return found
