"""What is remembered of queries that somebody may want to look at: those of a trace, slow ones, failed ones.

The relay appends a :class:`Fact` and does nothing else; the sweeper hands what has come together to whoever
watches, ten times a second. There is room for so many between two sweeps, which bounds what telemetry can
cost: what comes on top is counted and forgotten, failed queries last.

Nothing here reads SQL: a fact has the bytes that were said, for whoever watches to make something decent of.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final, NamedTuple

from seawall.proxy.server import Server
from seawall.proxy.worth import CROWDED, Worth

__all__ = ["FACTS_MAX", "FACTS_RESERVED", "Fact", "Watch"]

FACTS_MAX: Final = 16
"""Between two sweeps; more are dropped."""
FACTS_RESERVED: Final = 4
"""Of these, places that only failed queries get."""
AT_ONCE_S: Final = 0.001
"""A query that is said within this time of its transaction's beginning is the one that waited for it."""


class Fact(NamedTuple):
    """One query, or one batch, that has been answered.

    Attributes:
        ended_at: when, by the worker's clock, in seconds.
        waited_s: how long its transaction waited for a server; told once per transaction.
        fitted_s: how long it then took to put the server into the session's state; told once too.
        lead_s: how much of these two came right before it was said: all, or nothing if its transaction had
            said something else before.
        took_s: from saying it to the last of its answer.
        idle_s: how long its transaction had waited for the client to say it; 0 if that is not known.
        user: the client's name.
        database: as the client calls it.
        backend: the server's name.
        traced: whether a comment in it has a trace's context.
        error: the body of the ErrorResponse, if that was the answer.
        text: of a prepared statement, with what follows it in a Parse; nothing if it is in ``said``.
        said: the bytes that have the comment, or those said to the server last; parameters' values may be
            among them.
        client_pid: the client's process number.
    """

    ended_at: float
    waited_s: float
    fitted_s: float
    lead_s: float
    took_s: float
    idle_s: float
    user: str
    database: str
    backend: str
    traced: bool
    error: bytes
    text: bytes
    said: bytes
    client_pid: int


class Watch:
    """The facts of one worker; ``offered`` is always ``accepted + dropped``.

    Args:
        slow_s: a query that takes so long is worth a fact.
        limit: facts between two sweeps; 0 for none at all, when nobody watches.
    """

    __slots__ = ("accepted", "dropped", "facts", "limit", "room", "roomy", "slow_s")

    def __init__(self, slow_s: float = inf, limit: int = 0) -> None:
        self.slow_s: float = slow_s
        self.limit: int = limit
        self.room: int = limit - min(FACTS_RESERVED, limit // 4)
        """Of these, places for queries that have not failed."""
        self.roomy: bool = self.room > 0
        """Whether there is such a place."""
        self.facts: list[Fact] = []
        self.accepted: int = 0
        self.dropped: int = 0

    @property
    def offered(self) -> int:
        """Queries that were worth a fact."""
        return self.accepted + self.dropped

    def ended(self, client: Any, server: Server, now: float) -> None:  # noqa: ANN401 -- a client knows its watch
        """A query is answered that was found worth a fact; see whether it is, and remember it."""
        worth: Worth = client.worth
        client.worth = None
        if worth is CROWDED:
            self.dropped += self.limit > 0
            return
        if not self.limit:
            return
        error: bytes = worth.refusal
        full = len(self.facts) >= (self.limit if error else self.room)
        if full and (error or worth.traced):
            self.dropped += 1
            return
        took_s: float = now - server.since
        if not (error or worth.traced or took_s >= self.slow_s):
            return
        if full:
            self.dropped += 1
            return
        began_at: float = client.began_at
        asked_at: float = client.waiting_since
        waited_s: float = began_at - asked_at if asked_at and asked_at >= client.seen_at else 0.0
        fitted_s: float = max(server.fitted_at - began_at, 0.0)
        at_once = server.since - max(began_at, server.fitted_at) < AT_ONCE_S
        client.waiting_since = server.fitted_at = 0.0
        self.accepted += 1
        self.roomy = len(self.facts) + 1 < self.room
        self.facts.append(
            Fact(
                now,
                waited_s,
                fitted_s,
                waited_s + fitted_s if at_once else 0.0,
                took_s,
                worth.idle_s,
                client.user,
                client.database,
                server.backend.name,
                worth.traced,
                error,
                worth.text,
                worth.said or server.said,
                client.pid,
            )
        )

    def close(self) -> None:
        """Nobody looks on any more."""
        self.limit = 0
        self.roomy = False
        self.facts = []

    def take(self) -> list[Fact]:
        """What has come together since the last time."""
        facts = self.facts
        self.facts = []
        self.roomy = self.limit > 0
        return facts
