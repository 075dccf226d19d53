"""The demo's bank: its tables, one transfer in PostgreSQL's protocol, and the audit at the end.

The tables and the transaction follow TPC-B (as ``pgbench`` does), with one column more: each client numbers
its transfers and writes the number into the history. So it can be told afterwards, transfer by transfer, what
was lost and what was done twice, which sums alone don't tell: a transfer that is missing as a whole leaves
them all in balance.

Pure: the statements are text and bytes; others send them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from seawall.wire.pgwire import messages

__all__ = ["PREPARE", "Audit", "Book", "audit", "begin", "finish", "tables"]

DATABASE: Final = "bank"
BRANCHES: Final = 8
TELLERS: Final = 10 * BRANCHES
ACCOUNTS: Final = 1000 * BRANCHES
DELTA_MAX: Final = 5000
"""A transfer moves up to this much, either way."""

EXCEPTIONS_MAX: Final = 1_000
"""Transfers without an acknowledgement that one client keeps in mind; with more than that it stops."""

HISTORY: Final = "SELECT client, number, count(*), sum(delta) FROM history GROUP BY client, number"
BALANCES: Final = (
    "SELECT (SELECT sum(balance) FROM accounts), (SELECT sum(balance) FROM tellers),"
    " (SELECT sum(balance) FROM branches), (SELECT coalesce(sum(delta), 0) FROM history),"
    " (SELECT count(*) FROM history)"
)

_STATEMENTS: Final = {
    "begin": "BEGIN",
    "account": "UPDATE accounts SET balance = balance + $1 WHERE id = $2 RETURNING balance",
    "teller": "UPDATE tellers SET balance = balance + $1 WHERE id = $2",
    "branch": "UPDATE branches SET balance = balance + $1 WHERE id = $2",
    "note": "INSERT INTO history VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())",
    "commit": "COMMIT",
}
PREPARE: Final = b"".join(messages.parse(name, sql) for name, sql in _STATEMENTS.items()) + messages.sync()
"""Prepares what a transfer needs, once per connection to the proxy."""

ROLLBACK: Final = messages.query("ROLLBACK")


def tables() -> str:
    """Statements that make the tables and fill them."""
    parts: list[str] = []
    for name, count in (("branches", BRANCHES), ("tellers", TELLERS), ("accounts", ACCOUNTS)):
        # Every row changes all the time: with room in the page, the changes stay there.
        room = "WITH (fillfactor = 50)"
        parts += (
            f"CREATE TABLE {name} (id int PRIMARY KEY, balance bigint NOT NULL) {room}",
            f"INSERT INTO {name} SELECT i, 0 FROM generate_series(1, {count}) AS i",  # noqa: S608 -- ours
        )
    parts.append(
        "CREATE TABLE history (client int, number int, account int, teller int, branch int, delta int,"
        " at timestamptz)"
    )
    return ";".join(parts)


def begin(account: int, delta: int) -> bytes:
    """The first half of a transfer: BEGIN, and the account's new balance."""
    return _run("begin") + _run("account", delta, account) + messages.sync()


def finish(*, client: int, number: int, account: int, teller: int, branch: int, delta: int) -> bytes:
    """The second half: teller, branch, history and COMMIT in one pipeline."""
    return (
        _run("teller", delta, teller)
        + _run("branch", delta, branch)
        + _run("note", client, number, account, teller, branch, delta)
        + _run("commit")
        + messages.sync()
    )


def _run(statement: str, *values: int) -> bytes:
    return messages.bind("", statement, [b"%d" % value for value in values]) + messages.execute()


@dataclass(slots=True)
class Book:
    """What one client knows of its own transfers, which are numbered from 1.

    Attributes:
        client: Its number.
        asked: Transfers that it began.
        total: The sum of those that were acknowledged.
        void: Transfers whose COMMIT was never sent, or was refused: they must not be in the history.
        unknown: The connection was lost while COMMIT was under way: they may be in the history, once; with
            what they moved.
    """

    client: int
    asked: int = 0
    total: int = 0
    void: set[int] = field(default_factory=set)
    unknown: dict[int, int] = field(default_factory=dict)

    @property
    def acknowledged(self) -> int:
        """How many were acknowledged."""
        return self.asked - len(self.void) - len(self.unknown)

    @property
    def full(self) -> bool:
        """Whether no further exception can be kept."""
        return len(self.void) + len(self.unknown) >= EXCEPTIONS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the servers have, against what the clients were told.

    Attributes:
        acknowledged: Transfers whose COMMIT was acknowledged.
        lost: Acknowledged ones that the history doesn't have.
        doubled: Transfers that it has more than once.
        uninvited: Transfers it has though their COMMIT was never sent, or which nobody asked for.
        unknown: Transfers whose COMMIT was under way when the connection was lost.
        unknown_done: Those of them that the history has.
        accounts: Sum of the accounts' balances.
        tellers: Sum of the tellers' balances.
        branches: Sum of the branches' balances.
        history: Sum of the history's deltas.
        expected: The same sum by the clients' own books.
        replica_same: Whether the replica has the same sums, caught up.
    """

    acknowledged: int
    lost: int
    doubled: int
    uninvited: int
    unknown: int
    unknown_done: int
    accounts: int
    tellers: int
    branches: int
    history: int
    expected: int
    replica_same: bool

    @property
    def balanced(self) -> bool:
        """Whether all sums are the same, the clients' own among them."""
        return self.accounts == self.tellers == self.branches == self.history == self.expected


def audit(
    books: Iterable[Book],
    history: Iterable[Sequence[str | None]],
    balances: Sequence[str | None],
    replica_balances: Sequence[str | None],
) -> Audit:
    """Compare.

    Args:
        books: What the clients know.
        history: Rows of ``HISTORY``.
        balances: The row of ``BALANCES``.
        replica_balances: The same of the replica, which has replayed everything.
    """
    known = {book.client: book for book in books}
    found: dict[tuple[int, int], int] = {}
    for client, number, count, _ in history:
        found[int(client or 0), int(number or 0)] = int(count or 0)
    unknown_done = [(c, n) for c, n in found if c in known and n in known[c].unknown]
    uninvited = sum(1 for c, n in found if not _invited(known, c, n))
    acknowledged = sum(book.acknowledged for book in known.values())
    accounts, tellers, branches, moved = (int(value or 0) for value in balances[:4])
    return Audit(
        acknowledged=acknowledged,
        lost=acknowledged - (len(found) - uninvited - len(unknown_done)),
        doubled=sum(1 for count in found.values() if count > 1),
        uninvited=uninvited,
        unknown=sum(len(book.unknown) for book in known.values()),
        unknown_done=len(unknown_done),
        accounts=accounts,
        tellers=tellers,
        branches=branches,
        history=moved,
        expected=sum(book.total for book in known.values())
        + sum(known[c].unknown[n] for c, n in unknown_done),
        replica_same=list(balances) == list(replica_balances),
    )


def _invited(known: Mapping[int, Book], client: int, number: int) -> bool:
    book = known.get(client)
    return book is not None and 1 <= number <= book.asked and number not in book.void
