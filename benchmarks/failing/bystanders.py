"""Clients that must never notice anything: they read outside of transactions, or have nothing open at all.

Readers ask all the time: for a sum that is the same in every consistent state, and for a row whose commit
somebody was told of before the question was asked, which a server that has been replaced doesn't have.
Sleepers say something only when they are poked, after a fault: on the same connection, with the session
as they left it.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg

from benchmarks.failing.records import Logbook, Row, Violation
from benchmarks.failing.sessions import ENDED, Asyncpg, Lost, Psycopg, Refused
from benchmarks.failing.workloads import ACCOUNTS, BALANCE, Result, Step, whole

REST_S = 0.01
CALM_S = 0.1
"""While servers are put right."""
SUM = ACCOUNTS * BALANCE
READERS = ("simple", "extended", "prepared")
ASYNC_READERS = ("named", "plain")
SLEEPERS = 4
JOIN_S = 30.0
NOTICED_MAX = 1000
RECONNECT_S = 0.05

SUM_SQL = "SELECT sum(balance)::bigint FROM accounts"
SEEN_SQL = "SELECT count(*) FROM singles WHERE number = $1"


class Bystanders:
    """Readers and sleepers on one port.

    Args:
        port: of the proxy.
        logbook: tells the readers what has been acknowledged, and takes what must never be.
    """

    def __init__(self, port: int, logbook: Logbook) -> None:
        self._port = port
        self._logbook = logbook
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.rest_s = REST_S
        self.reads = 0
        self.slowest_s = 0.0
        """Of all reads since the last call of ``slowest``."""
        self.errors: Counter[str] = Counter()
        """Reads and sleepers that noticed, by SQLSTATE."""
        self.noticed: deque[str] = deque(maxlen=NOTICED_MAX)
        """The same in words, the latest."""
        self.last_success: dict[str, float] = {}
        """When the last read that succeeded began, by reader."""
        self._sleepers: list[_Sleeper] = []

    def start(self) -> None:
        """Connect; readers begin."""
        for style in READERS:
            self._run(f"reader-{style}", self._read, style)
        self._run("readers-asyncpg", self._loop)
        self._sleepers = [_Sleeper(self._port, number) for number in range(1, SLEEPERS + 1)]

    def _run(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> list[str]:
        """Let the readers end; those that don't are named."""
        self._stop.set()
        give_up = time.monotonic() + JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))
        for sleeper in self._sleepers:
            sleeper.close()
        return [thread.name for thread in self._threads if thread.is_alive()]

    def stuck(self, since: float) -> list[str]:
        """Readers that have had no success since a moment."""
        names = (*READERS, *(f"asyncpg {style}" for style in ASYNC_READERS))
        return [f"reader ({name})" for name in names if self.last_success.get(name, 0.0) <= since]

    def slowest(self) -> float:
        """Seconds that the slowest read took since this was asked last."""
        with self._guard:
            found, self.slowest_s = self.slowest_s, 0.0
        return found

    def poke(self) -> float:
        """Have every sleeper say something; returns the seconds that the slowest took."""
        slowest = 0.0
        for sleeper in self._sleepers:
            started = time.monotonic()
            problem = sleeper.say()
            slowest = max(slowest, time.monotonic() - started)
            if problem:
                self._noticed("sleeper", problem)
                sleeper.replace(self._port)
        return slowest

    # --- readers --------------------------------------------------------------------------------------------

    def _ask(self, dice: random.Random) -> tuple[Step, int]:
        seen = self._logbook.seen_single
        if seen and dice.random() < 0.7:
            return Step(SEEN_SQL, (seen,)), seen
        return Step(SUM_SQL), 0

    def _judge(self, name: str, began: float, seen: int, results: Sequence[Result]) -> None:
        value = whole(results[0].rows[0][0])
        if seen and value != 1:
            self._never(f"reader ({name}) found {value} rows of {seen}, whose commit had been acknowledged")
        elif not seen and value != SUM:
            self._never(f"reader ({name}) found {value} in all accounts, not {SUM}")
        took = time.monotonic() - began
        with self._guard:
            self.reads += 1
            self.slowest_s = max(self.slowest_s, took)
            self.last_success[name] = began

    def _never(self, what: str) -> None:
        self._logbook.violations.append(Violation(what))

    def _noticed(self, name: str, failure: str) -> None:
        with self._guard:
            self.errors[failure.partition(":")[0]] += 1
            self.noticed.append(f"{name}: {failure}")

    def _read(self, style: str) -> None:
        dice = random.Random(style)
        session: Psycopg | None = None
        while not self._stop.is_set():
            if session is None:
                try:
                    session = Psycopg(self._port, style)
                except psycopg.Error as error:
                    self._noticed(f"reader ({style}), connecting", f"{error.sqlstate or 'lost'}: {error}")
                    time.sleep(RECONNECT_S)
                continue
            step, seen = self._ask(dice)
            began = time.monotonic()
            try:
                self._judge(style, began, seen, session.say(step))
            except (Refused, Lost) as failure:
                took = time.monotonic() - began
                self._noticed(f"reader ({style})", f"{named(failure)}, after {took:.3f} s")
                session = None if session.gone else session
            time.sleep(self.rest_s)
        if session is not None:
            session.close()

    def _loop(self) -> None:
        asyncio.run(self._tasks())

    async def _tasks(self) -> None:
        await asyncio.gather(*(self._task(style) for style in ASYNC_READERS))

    async def _task(self, style: str) -> None:
        name = f"asyncpg {style}"
        dice = random.Random(name)
        session: Asyncpg | None = None
        while not self._stop.is_set():
            if session is None:
                try:
                    session = await Asyncpg.open(self._port, style)
                except (*ENDED, TimeoutError, asyncpg.PostgresError) as error:
                    code = getattr(error, "sqlstate", None) or "lost"
                    self._noticed(f"reader ({name}), connecting", f"{code}: {error}")
                    await asyncio.sleep(RECONNECT_S)
                continue
            step, seen = self._ask(dice)
            began = time.monotonic()
            try:
                self._judge(name, began, seen, await session.say(step))
            except (Refused, Lost) as failure:
                took = time.monotonic() - began
                self._noticed(f"reader ({name})", f"{named(failure)}, after {took:.3f} s")
                if session.gone or isinstance(failure, Lost):
                    session.close()
                    session = None
            await asyncio.sleep(self.rest_s)
        if session is not None:
            session.close()


def named(failure: Refused | Lost) -> str:
    """A failure with its SQLSTATE in front."""
    return f"{failure.sqlstate}: {failure}" if isinstance(failure, Refused) else f"lost: {failure}"


class _Sleeper:
    """A session with nothing open, but with settings and a prepared statement."""

    def __init__(self, port: int, number: int) -> None:
        self._number = number
        self.connection: psycopg.Connection[Any] | None = None
        self.replace(port)

    def replace(self, port: int) -> None:
        """Begin anew."""
        self.close()
        try:
            connection: psycopg.Connection[Row] = psycopg.connect(
                f"host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=20",
                autocommit=True,
                prepare_threshold=0,
            )
            connection.execute(f"SET work_mem TO '{1000 + self._number}kB'")
            connection.execute("SELECT %s::int + %s", (1, 1))
        except psycopg.Error:
            self.connection = None
        else:
            self.connection = connection

    def say(self) -> str:
        """Ask what it left; what is wrong, or nothing."""
        if self.connection is None:
            return "no connection: none could be made after the last fault"
        try:
            found = self.connection.execute("SHOW work_mem").fetchone()
            total = self.connection.execute("SELECT %s::int + %s", (1, self._number)).fetchone()
        except psycopg.Error as error:
            return f"{error.sqlstate or 'lost'}: {error}"
        if found != (f"{1000 + self._number}kB",) or total != (1 + self._number,):
            return f"another session: work_mem is {found}"
        return ""

    def close(self) -> None:
        """Give it up."""
        if self.connection is not None:
            self.connection.close()
