"""The load: clients that write without a break, each on a connection of its own, until they are told to stop.

Those of psycopg are threads, those of asyncpg tasks of one loop in one more thread. A client whose connection
has ended connects again and goes on; who doesn't get anywhere any more is found by ``stuck``.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import asyncpg  # type: ignore[import-untyped]
import psycopg

from benchmarks.failing.records import ACKNOWLEDGED, Logbook, Operation, Single, Violation
from benchmarks.failing.sessions import ASYNCPG, PSYCOPG, Asyncpg, Psycopg
from benchmarks.failing.workloads import Work, start

STYLES = (
    ("bank", PSYCOPG, "simple"),
    ("bank", PSYCOPG, "extended"),
    ("bank", PSYCOPG, "pipeline"),
    ("bank", ASYNCPG, "named"),
    ("lists", PSYCOPG, "simple"),
    ("lists", PSYCOPG, "prepared"),
    ("lists", PSYCOPG, "pipeline"),
    ("lists", ASYNCPG, "named"),
    ("tickets", PSYCOPG, "simple"),
    ("tickets", PSYCOPG, "extended"),
    ("tickets", PSYCOPG, "prepared"),
    ("tickets", ASYNCPG, "plain"),
    ("singles", PSYCOPG, "simple"),
    ("singles", PSYCOPG, "prepared"),
    ("singles", ASYNCPG, "named"),
)
"""What is done, by which driver, how it speaks. One connection each."""
REST_MAX_S = 0.01
"""Between two transactions of a client."""
CALM_MAX_S = 0.2
"""The same while servers are put right: they share the machine."""
RECONNECT_S = 0.05
NUMBERS_EACH = 10**9
JOIN_S = 30.0


@dataclass(slots=True, eq=False)
class Client:
    """One client, as others see it."""

    number: int
    workload: str
    driver: str
    style: str
    dice: random.Random
    numbers: itertools.count[int]
    last_success: float = 0.0
    """When the youngest of its acknowledged transactions began."""
    connects_refused: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """For people."""
        return f"client {self.number} ({self.driver}, {self.style})"


class Load:
    """Clients on one port.

    Args:
        port: of the proxy.
        seed: of what they do.
        first: the first number that no earlier load has used, per client.
    """

    def __init__(self, port: int, seed: str, first: int = 1) -> None:
        self.logbook = Logbook()
        self.rest_s = REST_MAX_S
        self._port = port
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.clients = [
            Client(
                number,
                workload,
                driver,
                style,
                random.Random(f"{seed} client {number}"),
                itertools.count(number * NUMBERS_EACH + first),
            )
            for number, (workload, driver, style) in enumerate(STYLES, start=1)
        ]

    def start(self) -> None:
        """Connect and begin."""
        for client in self.clients:
            if client.driver == PSYCOPG:
                self._run(f"client-{client.number}", self._thread, client)
        self._run("clients-asyncpg", self._loop)

    def _run(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> list[str]:
        """Let every client end what it does; those that don't are named."""
        self._stop.set()
        give_up = time.monotonic() + JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def stuck(self, since: float) -> list[Client]:
        """Clients that have had no success with anything that began after a moment."""
        return [client for client in self.clients if client.last_success <= since]

    @property
    def connects_refused(self) -> Counter[str]:
        """Attempts to connect that failed, by SQLSTATE."""
        return sum((client.connects_refused for client in self.clients), Counter[str]())

    # --- one transaction ------------------------------------------------------------------------------------

    def _begin(self, client: Client) -> tuple[Operation, Work]:
        number = next(client.numbers)
        effect, work = start(client.workload, number, client.dice)
        operation = Operation(number, client.name, client.workload, effect, time.monotonic())
        self.logbook.begin(operation)
        return operation, work

    def _end(self, client: Client, operation: Operation, *, gone: bool) -> None:
        operation.ended = time.monotonic()
        operation.cut |= gone
        if operation.outcome == ACKNOWLEDGED:
            client.last_success = operation.began
            if isinstance(operation.effect, Single):
                self.logbook.seen_single = operation.number
        self.logbook.finish(operation)

    def _crashed(self, client: Client) -> None:
        self.logbook.violations.append(
            Violation(f"{client.name} was told what can't be", traceback.format_exc())
        )

    # --- threads --------------------------------------------------------------------------------------------

    def _thread(self, client: Client) -> None:
        session: Psycopg | None = None
        while not self._stop.is_set():
            if session is None:
                session = self._connect(client)
                continue
            operation, work = self._begin(client)
            try:
                session.play(operation, work)
            except Exception:
                self._crashed(client)
                session.close()
            if operation.outcome != ACKNOWLEDGED:
                session.rollback(operation)
            self._end(client, operation, gone=session.gone)
            if session.gone:
                session = None
            time.sleep(client.dice.random() * self.rest_s)
        if session is not None:
            session.close()

    def _connect(self, client: Client) -> Psycopg | None:
        try:
            return Psycopg(self._port, client.style)
        except psycopg.Error as error:
            client.connects_refused[error.sqlstate or "no answer"] += 1
            time.sleep(RECONNECT_S)
            return None

    # --- tasks ----------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        asyncio.run(self._tasks())

    async def _tasks(self) -> None:
        await asyncio.gather(*(self._task(client) for client in self.clients if client.driver == ASYNCPG))

    async def _task(self, client: Client) -> None:
        session: Asyncpg | None = None
        while not self._stop.is_set():
            if session is None:
                session = await self._open(client)
                continue
            operation, work = self._begin(client)
            try:
                await session.play(operation, work)
            except Exception:
                self._crashed(client)
                session.close()
            if operation.outcome != ACKNOWLEDGED:
                await session.rollback(operation)
            self._end(client, operation, gone=session.gone)
            if session.gone:
                session = None
            await asyncio.sleep(client.dice.random() * self.rest_s)
        if session is not None:
            session.close()

    async def _open(self, client: Client) -> Asyncpg | None:
        try:
            return await Asyncpg.open(self._port, client.style)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            client.connects_refused[str(getattr(error, "sqlstate", None) or "no answer")] += 1
            await asyncio.sleep(RECONNECT_S)
            return None
