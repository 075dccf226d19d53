"""Clients that ask one thing after another and note how long each took: what an interruption looks like.

Each is a thread with a connection of psycopg. A connection that ends is replaced; how long that took
belongs to the question that was under way.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg

Asks = Callable[["psycopg.Connection[Any]", int], None]

REST_S = 0.01
JOIN_S = 40.0
CONNECT_S = 20
RECONNECT_S = 0.05

MAKE = """
DROP TABLE IF EXISTS beats, counters;
CREATE TABLE counters (id int PRIMARY KEY, value bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO counters SELECT i, 0 FROM generate_series(1, 1000) AS i;
CREATE TABLE beats (id bigserial, client int, value bigint);
"""


def read(connection: psycopg.Connection[Any], client: int) -> None:
    """One statement that reads."""
    connection.execute("SELECT value FROM counters WHERE id = %s", (client,)).fetchone()


def transaction(connection: psycopg.Connection[Any], client: int) -> None:
    """A transaction that reads, writes and reads."""
    with connection.transaction():
        connection.execute("SELECT value FROM counters WHERE id = %s", (client,)).fetchone()
        connection.execute("UPDATE counters SET value = value + 1 WHERE id = %s", (client,))
        connection.execute("INSERT INTO beats (client, value) VALUES (%s, 1)", (client,))


def writable(connection: psycopg.Connection[Any], client: int) -> None:
    """One statement that a replica answers with an error."""
    del client
    connection.execute("SELECT 1 / (NOT pg_is_in_recovery())::int")


@dataclass(frozen=True, slots=True)
class Beat:
    """One question."""

    client: str
    began: float
    ended: float
    error: str = ""
    """SQLSTATE, or ``lost``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of client."""

    name: str
    asks: Asks
    prepared: bool = False


READER = Kind("reader", read)
PREPARED_READER = Kind("prepared reader", read, prepared=True)
WRITER = Kind("writer", transaction)
PROBE = Kind("probe", writable)


@dataclass
class Pulse:
    """Clients on one port.

    Args:
        port: of the proxy.
        kinds: one client for each.
        rest_s: between two questions.
    """

    port: int
    kinds: Sequence[Kind]
    rest_s: float = REST_S
    beats: list[Beat] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        """Connect and begin."""
        for number, kind in enumerate(self.kinds, start=1):
            thread = threading.Thread(target=self._run, args=(number, kind), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let them end."""
        self._stop.set()
        give_up = time.monotonic() + JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))

    def _connect(self, kind: Kind) -> psycopg.Connection[Any]:
        return psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres connect_timeout={CONNECT_S}",
            autocommit=True,
            prepare_threshold=0 if kind.prepared else None,
        )

    def _run(self, number: int, kind: Kind) -> None:
        name = f"{kind.name} {number}"
        connection: psycopg.Connection[Any] | None = None
        while not self._stop.is_set():
            began = time.monotonic()
            error = ""
            try:
                if connection is None or connection.closed:
                    connection = self._connect(kind)
                kind.asks(connection, number)
            except psycopg.Error as failure:
                error = failure.sqlstate or "lost"
            self.beats.append(Beat(name, began, time.monotonic(), error))
            time.sleep(RECONNECT_S if error else self.rest_s)
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    # --- what was seen --------------------------------------------------------------------------------------

    def errors(self, since: float = 0.0) -> Counter[str]:
        """What went wrong after a moment, by SQLSTATE."""
        return Counter(beat.error for beat in tuple(self.beats) if beat.error and beat.ended > since)

    def back(self, moment: float, dead_s: float = 0.0) -> dict[str, float]:
        """Seconds from a moment to each client's first success after it.

        Args:
            moment: when something happened.
            dead_s: so long after it nobody can have been served; what ended by then was served before.
        """
        found: dict[str, float] = {}
        for beat in tuple(self.beats):
            if not beat.error and beat.ended > moment + dead_s and beat.client not in found:
                found[beat.client] = beat.ended - moment
        return found

    def wait_back(self, moment: float, within_s: float, dead_s: float = 0.0) -> list[float]:
        """Wait until every client has had a success that began after a moment; seconds to each first."""
        give_up = time.monotonic() + within_s
        while time.monotonic() < give_up:
            fresh = {beat.client for beat in tuple(self.beats) if not beat.error and beat.began > moment}
            if len(fresh) == len(self.kinds):
                break
            time.sleep(0.005)
        found = self.back(moment, dead_s)
        return [*found.values(), *[within_s] * (len(self.kinds) - len(found))]

    def longest(self, since: float) -> float:
        """Seconds of the longest question that was answered after a moment."""
        answered = [beat for beat in tuple(self.beats) if not beat.error and beat.ended > since]
        return max((beat.ended - beat.began for beat in answered), default=float("nan"))
