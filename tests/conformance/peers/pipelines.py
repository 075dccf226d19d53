"""Pipelines by hand: sequences of messages and pauses that drivers make, with the answers of a bare server.

Each case is a list of exchanges: what is sent at once, and the kinds of the replies that have to come before
more is sent. A capital letter is a message's type as the protocol writes it; ReadyForQuery is written with
its status (``ZI``, ``ZT``, ``ZE``), an ErrorResponse with its SQLSTATE. Replies that no proxy has to keep in
place (ParameterStatus, NoticeResponse) are left out.

Source: PostgreSQL documentation, chapter "Message Flow".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from benchmarks.proxying.client import HEADER, Client, message, query
from tests.conformance.peers.outcomes import FAILED, PASSED
from tests.conformance.peers.suites import Visit

PATIENCE_S = 5.0
NOT_COMPARED = b"SN"

Exchange = tuple[bytes, str]

SYNC, FLUSH = message(b"S", b""), message(b"H", b"")
EXECUTE = message(b"E", b"\0" + struct.pack("!I", 0))
DESCRIBE_PORTAL = message(b"D", b"P\0")
TABLE = "DROP TABLE IF EXISTS pipelined; CREATE TABLE pipelined (n int NOT NULL, t text)"
BAD = "INSERT INTO pipelined (t) VALUES ('no n')"
NULL = "23502"


def parse(name: str, sql: str) -> bytes:
    """Return a Parse message without parameter types."""
    return message(b"P", name.encode() + b"\0" + sql.encode() + b"\0" + struct.pack("!H", 0))


def bind(name: str) -> bytes:
    """Return a Bind of a statement without parameters to the unnamed portal."""
    return message(b"B", b"\0" + name.encode() + b"\0" + struct.pack("!HHH", 0, 0, 0))


def execute(name: str) -> bytes:
    """Return Bind, Describe and Execute."""
    return bind(name) + DESCRIBE_PORTAL + EXECUTE


def describe(name: str) -> bytes:
    """Return a Describe of a statement."""
    return message(b"D", b"S" + name.encode() + b"\0")


def close(name: str) -> bytes:
    """Return a Close of a statement."""
    return message(b"C", b"S" + name.encode() + b"\0")


def transaction(*inside: Exchange) -> list[Exchange]:
    """Return exchanges inside a transaction with a savepoint, ended by a rollback."""
    return [
        (query("BEGIN"), "C ZT"),
        (query("SAVEPOINT a"), "C ZT"),
        *inside,
        (query("ROLLBACK TO SAVEPOINT a"), "C ZT"),
        (query("ROLLBACK"), "C ZI"),
    ]


CASES: dict[str, list[Exchange]] = {
    "the rest of a pipeline comes after its error": [
        *transaction((parse("a", BAD) + execute("a"), f"1 2 n E{NULL}"), (execute("a") + SYNC + FLUSH, "ZE")),
        *transaction((parse("b", BAD) + execute("b") + execute("b") + SYNC + FLUSH, f"1 2 n E{NULL} ZE")),
        (parse("c", "SELECT 1") + execute("c") + SYNC, "1 2 T D C ZI"),
    ],
    "a statement parsed behind an error does not exist": [
        (parse("", "SELECT 1/0") + execute(""), "1 E22012"),
        (parse("late", "SELECT 1") + execute("late") + SYNC, "ZI"),
        (execute("late") + SYNC, "E26000 ZI"),
        (parse("late", "SELECT 1") + execute("late") + SYNC, "1 2 T D C ZI"),
    ],
    "a statement closed behind an error still exists": [
        (parse("kept", "SELECT 1") + SYNC, "1 ZI"),
        (parse("", "SELECT 1/0") + execute("") + close("kept") + SYNC, "1 E22012 ZI"),
        (execute("kept") + SYNC, "2 T D C ZI"),
        (close("kept") + SYNC, "3 ZI"),
        (execute("kept") + SYNC, "E26000 ZI"),
    ],
    "a query behind an error is skipped": [
        (parse("", "SELECT 1/0") + execute(""), "1 E22012"),
        (query("SELECT 1") + SYNC, "ZI"),
        (query("SELECT 1"), "T D C ZI"),
    ],
    "an error between two Syncs leaves the second part alone": [
        (
            parse("", "SELECT 1/0") + execute("") + SYNC + parse("", "SELECT 2") + execute("") + SYNC,
            "1 E22012 ZI 1 2 T D C ZI",
        ),
    ],
    "a pipeline is one transaction up to its Sync": [
        (query(TABLE), "C C ZI"),
        (
            parse("", "INSERT INTO pipelined VALUES (1)") + execute("") + parse("", BAD) + execute("") + SYNC,
            f"1 2 n C 1 2 n E{NULL} ZI",
        ),
        (query("SELECT n FROM pipelined"), "T C ZI"),
    ],
    "Parse and Describe with Flush, the rest later": [
        (parse("", "SELECT 1") + describe("") + FLUSH, "1 t T"),
        (execute("") + SYNC, "2 T D C ZI"),
        (parse("named", "SELECT 2") + describe("named") + FLUSH, "1 t T"),
        (execute("named") + FLUSH, "2 T D C"),
        (SYNC, "ZI"),
    ],
    "a lone Describe of a statement of before": [
        (parse("shown", "SELECT 1 AS n") + SYNC, "1 ZI"),
        (describe("shown") + SYNC, "t T ZI"),
    ],
    "Flush and Sync with nothing to do": [
        (FLUSH + SYNC, "ZI"),
        (SYNC + SYNC, "ZI ZI"),
        (query(""), "I ZI"),
        (FLUSH + query("SELECT 1"), "T D C ZI"),
    ],
    "one name parsed twice": [
        (parse("twice", "SELECT 1") + SYNC, "1 ZI"),
        (parse("twice", "SELECT 2") + SYNC, "E42P05 ZI"),
        (execute("twice") + SYNC, "2 T D C ZI"),
        (close("twice") + parse("twice", "SELECT 1, 2") + describe("twice") + SYNC, "3 1 t T ZI"),
    ],
    "DEALLOCATE of a statement that was parsed": [
        (parse("gone", "SELECT 1") + execute("gone") + SYNC, "1 2 T D C ZI"),
        (query("DEALLOCATE gone"), "C ZI"),
        (execute("gone") + SYNC, "E26000 ZI"),
        (parse("gone", "SELECT 1, 2") + execute("gone") + SYNC, "1 2 T D C ZI"),
        (query('DEALLOCATE "gone"'), "C ZI"),
        (execute("gone") + SYNC, "E26000 ZI"),
    ],
    "DEALLOCATE in the extended protocol": [
        (parse("gone", "SELECT 1") + execute("gone") + SYNC, "1 2 T D C ZI"),
        (parse("", "DEALLOCATE gone") + execute("") + SYNC, "1 2 n C ZI"),
        (execute("gone") + SYNC, "E26000 ZI"),
    ],
    "PREPARE and EXECUTE in SQL": [
        (query("PREPARE written AS SELECT 1"), "C ZI"),
        (query("EXECUTE written"), "T D C ZI"),
        (query("BEGIN"), "C ZT"),
        (query("EXECUTE written"), "T D C ZT"),
        (query("ROLLBACK"), "C ZI"),
        (query("DEALLOCATE ALL"), "C ZI"),
        (query("EXECUTE written"), "E26000 ZI"),
    ],
    "COPY in with a Sync behind it": [
        (query(TABLE), "C C ZI"),
        (
            parse("", "COPY pipelined FROM STDIN")
            + execute("")
            + message(b"d", b"1\tx\n")
            + message(b"c", b"")
            + SYNC,
            "1 2 n G C ZI",
        ),
        (query("SELECT n FROM pipelined"), "T D C ZI"),
        (query("COPY pipelined FROM STDIN"), "G"),
        (message(b"d", b"2\ty\n") + message(b"f", b"no\0"), "E57014 ZI"),
        (query("SELECT n FROM pipelined"), "T D C ZI"),
    ],
}


def heard(client: Client, number: int) -> list[str]:
    """Return so many replies as a case writes them, fewer if no more come."""
    found: list[str] = []
    try:
        while len(found) < number:
            kind, length = HEADER.unpack(client.exactly(HEADER.size))
            body = client.exactly(length - 4)
            if kind in NOT_COMPARED:
                continue
            word = kind.decode()
            if kind == b"Z":
                word += body.decode()
            elif kind == b"E":
                word += {part[:1]: part[1:] for part in body.split(b"\0")}[b"C"].decode()
            found.append(word)
    except TimeoutError:
        found.append("nothing more")
    except OSError as error:
        found.append(f"cut: {error}")
    return found


def difference(client: Client, exchanges: Sequence[Exchange]) -> str:
    """Go through a case; return what was not as it should be, nothing if all was."""
    client.socket.settimeout(PATIENCE_S)
    for number, (sent, expected) in enumerate(exchanges, start=1):
        client.socket.sendall(sent)
        found = " ".join(heard(client, len(expected.split())))
        if found != expected:
            return f"exchange {number}: wanted {expected}, heard {found}"
    return ""


def run(visit: Visit) -> dict[str, str]:
    """Run every case twice on connections of its own, the second time on what the first has left behind."""
    found: dict[str, str] = {}
    lines: list[str] = []
    with Client(visit.address.port, visit.database, host=visit.address.host) as client:
        client.simple(TABLE)
    for turn in ("first", "again"):
        for name, exchanges in CASES.items():
            with Client(visit.address.port, visit.database, host=visit.address.host) as client:
                fault = difference(client, exchanges)
            found[f"{name}, {turn}"] = FAILED if fault else PASSED
            if fault:
                lines.append(f"{name}, {turn}: {fault}")
    visit.report(".log").write_text("".join(f"{line}\n" for line in lines))
    return found
