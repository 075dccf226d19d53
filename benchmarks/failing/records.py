"""What a client notes of each transaction: what it wanted, what it was told, and what must be true then.

The verdict is the contract under test. Acknowledged: it is there, once. Refused with 40001, or before COMMIT
was sent: it is not there and never will be. Anything else after COMMIT was sent: whole, or not at all.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

ACKNOWLEDGED = "acknowledged"
ROLLED_BACK = "rolled back"
"""COMMIT was answered with ROLLBACK."""
LOST = "lost"
"""The connection ended without an error message."""
RETRY = "40001"
SERVERS_OWN = "could not serialize access"
"""PostgreSQL's own 40001, which need not have a DETAIL."""
CERTAIN = ("22", "23", "25", "42")
"""Classes of SQLSTATE that leave nothing behind even as an answer to COMMIT."""
TRACE_MAX = 200
"""Lines kept of one transaction."""

Row = tuple[object, ...]


class Verdict(Enum):
    """What has to be found of a transaction."""

    THERE = "there"
    ABSENT = "absent"
    EITHER = "either"


@dataclass(slots=True)
class Transfer:
    """Money from one account to another."""

    source: int
    target: int
    amount: int


@dataclass(frozen=True, slots=True)
class Reading:
    """The end of a list as a transaction saw it: the last position, and the newest entries, newest first."""

    list: int
    position: int
    entries: tuple[int, ...]


@dataclass(slots=True)
class Append:
    """The transaction's number at the end of several lists, and what it read there; or only the reading."""

    places: list[tuple[int, int]] = field(default_factory=list)
    """List and position."""
    readings: list[Reading] = field(default_factory=list)


@dataclass(slots=True)
class Ticket:
    """A row whose key the database has drawn, and one that refers to it."""

    table: str
    key: int | None = None
    """As RETURNING, or nextval(), told it."""
    at: str | None = None
    """A default that comes out differently every time, if it was asked for."""


@dataclass(slots=True)
class Single:
    """One INSERT without BEGIN."""

    key: int | None = None
    """As RETURNING told it, if it was asked for."""


Effect = Transfer | Append | Ticket | Single


@dataclass(slots=True, eq=False)
class Operation:
    """One transaction of one client.

    Attributes:
        number: Unique over the whole run; it is written into every row.
        outcome: ``acknowledged``, an SQLSTATE, ``lost`` or ``rolled back``; empty while it is under way.
        committing: COMMIT, or a statement that is a transaction of its own, has been sent.
        cut: The connection ended.
        hit: A fault struck while it was open.
        message: The error's first line.
        detail: Its DETAIL.
    """

    number: int
    client: str
    workload: str
    effect: Effect
    began: float
    ended: float = 0.0
    outcome: str = ""
    message: str = ""
    detail: str = ""
    committing: bool = False
    cut: bool = False
    hit: bool = False
    trace: list[tuple[float, str]] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """What has to be found of it."""
        if self.outcome == ACKNOWLEDGED:
            return Verdict.THERE
        if not self.committing or self.outcome in {RETRY, ROLLED_BACK, "40P01"}:
            return Verdict.ABSENT
        return Verdict.ABSENT if self.outcome[:2] in CERTAIN else Verdict.EITHER

    @property
    def unexplained(self) -> bool:
        """It was told 40001, not by a server that had to choose between transactions, and not why."""
        return self.outcome == RETRY and not self.detail and not self.message.startswith(SERVERS_OWN)

    def note(self, now: float, text: str) -> None:
        """Add a line to its history."""
        if len(self.trace) < TRACE_MAX:
            self.trace.append((now, text))

    def history(self) -> str:
        """What was said and heard, for people."""
        head = (
            f"{self.workload} {self.number} of {self.client}: {self.outcome or 'open'}"
            f"{', COMMIT sent' if self.committing else ''}{', connection lost' if self.cut else ''}"
            f"{', hit by a fault' if self.hit else ''}; {self.effect}"
        )
        lines = [f"  {at - self.began:+9.4f} s  {text}" for at, text in self.trace]
        return "\n".join([head, *lines, *([f"  DETAIL: {self.detail}"] if self.detail else [])])


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be."""

    what: str
    history: str = ""


class Logbook:
    """All transactions of a load: those under way, and those that nobody has checked yet."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: dict[str, Operation] = {}
        self._finished: deque[Operation] = deque()
        self.seen_single = 0
        """The newest row that was acknowledged outside of a transaction: everybody must see it."""
        self.violations: deque[Violation] = deque()

    def begin(self, operation: Operation) -> None:
        """It is under way."""
        with self._guard:
            self._open[operation.client] = operation

    def finish(self, operation: Operation) -> None:
        """Its client has been told."""
        with self._guard:
            del self._open[operation.client]
            self._finished.append(operation)

    def open_since(self, moment: float) -> list[Operation]:
        """Those that are under way and were at that moment already."""
        with self._guard:
            return [one for one in self._open.values() if one.began < moment]

    def strike(self, *, before: float, after: float) -> list[Operation]:
        """Mark and return those that were open when a fault struck, some time between two moments.

        Who was acknowledged in between may have been so before it struck, and doesn't count.
        """
        with self._guard:
            found = [
                one
                for one in (*self._open.values(), *self._finished)
                if one.began < before
                and (
                    not one.ended
                    or one.ended > (after if one.outcome == ACKNOWLEDGED else min(before, after))
                )
            ]
        for one in found:
            one.hit = True
        return found

    def take(self) -> list[Operation]:
        """Those that have ended since this was asked last."""
        with self._guard:
            found = list(self._finished)
            self._finished.clear()
        return found


def told(operations: Sequence[Operation]) -> str:
    """The histories of some transactions."""
    return "\n".join(one.history() for one in operations)
