"""Where a client's servers come from, as far as a client knows it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from seawall.proxy.server import Server


class Signals:
    """What all pools of a worker have to heed, close by because it is looked at in every transaction.

    Attributes:
        draining: no transaction may begin.
        contended: a pool waits for a place that another one has.
        now: the clock as of the last sweep, for what needs no better.
    """

    __slots__ = ("contended", "draining", "now")

    def __init__(self, now: float) -> None:
        self.draining: bool = False
        self.contended: bool = False
        self.now: float = now


class Home(ABC):
    """Where a client's servers come from, as far as the client knows it; ``pool.Pool`` is the whole of it.

    Args:
        database: name the servers know.
        session: whether clients keep their server between transactions.
        statement_mode: whether there may be none of several statements.
        statements_per_client: named statements that one client may hold.
        signals: what to heed.
    """

    __slots__ = (
        "busy_s",
        "database",
        "errors",
        "lasted",
        "queries",
        "session",
        "signals",
        "statement_mode",
        "statements_per_client",
        "transactions",
    )

    def __init__(
        self,
        *,
        database: str,
        session: bool,
        statement_mode: bool,
        statements_per_client: int,
        signals: Signals,
    ) -> None:
        self.database: str = database
        self.session: bool = session
        self.statement_mode: bool = statement_mode
        self.statements_per_client: int = statements_per_client
        self.signals: Signals = signals
        self.transactions: int = 0
        self.queries: int = 0
        self.errors: int = 0
        self.busy_s: float = 0.0
        self.lasted: list[float] = []
        """Durations of transactions since the last sweep, which adds them up."""

    @abstractmethod
    def take(self, client: Any) -> Server | None:  # noqa: ANN401 -- what a client is comes after its home
        """An idle server, or ``None`` if the client has to wait."""

    @abstractmethod
    def put(self, server: Server, now: float = 0.0) -> None:
        """A server is free; at this time, if it is known."""

    @abstractmethod
    def wait(self, client: Any) -> None:  # noqa: ANN401
        """Queue a client."""

    @abstractmethod
    def leave(self, client: Any) -> None:  # noqa: ANN401
        """A waiting client went away."""

    @abstractmethod
    def wait_first(self, client: Any, *, alone: bool = False) -> None:  # noqa: ANN401
        """Queue a client ahead of all others: it has lost a server."""
