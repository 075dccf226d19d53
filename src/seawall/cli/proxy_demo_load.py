"""The demo's load: clients that check out through the proxy, connect again when they are cut, and count.

Each client is a coroutine with one connection; between two checkouts it thinks for a moment. The stage
starts and stops them and reads the tally.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from seawall.cli import proxy_demo_shop as shop
from seawall.cli.proxy_demo_client import Session, SessionLost, connect
from seawall.embedded.configuration import SUPERUSER
from seawall.embedded.errors import StatementFailed

__all__ = ["BUCKET_S", "NOBODY", "Bucket", "Load", "Loss", "Step", "Tally", "percentile_s"]

BUCKET_S: Final = 0.25
SAMPLES_MAX: Final = 4_000
"""Latencies kept per bucket and worker: what no machine exceeds in a quarter of a second."""
NOBODY: Final = -1
"""Stands for the worker of a client that has not been let in yet."""
LOSSES_MAX: Final = 10_000
ENDINGS_MAX: Final = 50_000
"""Moments kept at which a checkout had ended."""
PAYMENT_LOW_S: Final = 0.05
PAYMENT_HIGH_S: Final = 0.1
"""Paying takes so long, and happens inside of the transaction."""
ANSWER_S: Final = 10.0
"""A checkout or a login that takes longer is a loss."""
RECONNECT_S: Final = 0.02
THINK_S: Final = 0.02
"""How long a client thinks on average: it leaves a small machine the time to start a worker meanwhile."""


@dataclass(slots=True)
class Bucket:
    """A quarter of a second: latencies of the checkouts that ended in it, and losses, by worker."""

    latencies_s: list[list[float]]
    losses: list[int]
    _p95_s: float | None = None

    def done(self, worker: int | None = None) -> int:
        """Checkouts, of one worker or of all."""
        chosen = self.latencies_s if worker is None else [self.latencies_s[worker]]
        return sum(map(len, chosen))

    def p95_s(self) -> float:
        """P95 over all workers of a bucket that is over; worked out once."""
        if self._p95_s is None:
            self._p95_s = percentile_s([one for worker in self.latencies_s for one in worker], 0.95)
        return self._p95_s


@dataclass(slots=True)
class Step:
    """How far one checkout is.

    Attributes:
        begun: The cart was read.
        told: Number and total of the order.
        committing: COMMIT was sent.
    """

    begun: bool = False
    told: tuple[int, int] = (0, 0)
    committing: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """A connection that ended, or a statement that failed.

    Attributes:
        at_s: When, since the start of the load.
        worker: Which worker served it; ``NOBODY`` if none had yet.
        sqlstate: What was said.
        in_transaction: Whether a transaction had begun and was not acknowledged.
        connected_s: When the connection was begun, since the start of the load.
    """

    at_s: float
    worker: int
    sqlstate: str
    in_transaction: bool
    connected_s: float


@dataclass(slots=True)
class Tally:
    """What was counted, by time and worker.

    Args:
        workers: How many workers there are.
    """

    workers: int
    buckets: list[Bucket] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    endings_s: list[float] = field(default_factory=list)
    """When checkouts had ended, in order."""

    def bucket(self, at_s: float) -> Bucket:
        """The bucket of a moment; those before it exist afterwards, too."""
        index = int(at_s / BUCKET_S)
        while len(self.buckets) <= index:
            self.buckets.append(Bucket([[] for _ in range(self.workers)], [0] * self.workers))
        return self.buckets[index]

    def between(self, from_s: float, to_s: float) -> list[Bucket]:
        """The buckets that a stretch of time touches."""
        return self.buckets[max(0, int(from_s / BUCKET_S)) : int(to_s / BUCKET_S) + 1]

    def done(self, at_s: float, worker: int, latency_s: float) -> None:
        """One more checkout."""
        if len(self.endings_s) < ENDINGS_MAX:
            self.endings_s.append(at_s)
        samples = self.bucket(at_s).latencies_s[worker]
        if len(samples) < SAMPLES_MAX:
            samples.append(latency_s)

    def pause_s(self, from_s: float, to_s: float) -> float | None:
        """The longest time in which no checkout ended; ``None`` if none did behind it."""
        inside = [one for one in self.endings_s if from_s <= one <= to_s]
        if not inside:
            return None
        return max(after - before for before, after in pairwise([from_s, *inside]))

    def lost(self, loss: Loss) -> None:
        """One more loss."""
        if 0 <= loss.worker < self.workers:
            self.bucket(loss.at_s).losses[loss.worker] += 1
        if len(self.losses) < LOSSES_MAX:
            self.losses.append(loss)


class Load:
    """All clients.

    Args:
        host: Where the proxy listens.
        port: Its port.
        clients: How many.
        workers: How many workers the proxy has.
        seed: Start of the random numbers.
        clock: Monotonic seconds.

    Attributes:
        books: What each client knows of its checkouts.
        tally: What was counted.
        ending: Whoever is cut from now on doesn't connect again.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        clients: int,
        workers: int,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._port = port
        self._clock = clock
        self._dice = random.Random(seed)  # noqa: S311 -- a load needs no secrets
        self._tasks: list[asyncio.Task[None]] = []
        self._sessions: dict[int, Session] = {}
        self._watched: tuple[int, float] | None = None
        self.books = [shop.Book(number) for number in range(clients)]
        self.tally = Tally(workers)
        self.ending = False
        self.began_at = clock()
        self.back_s: float | None = None
        """From ``watch`` until a new connection to the watched worker had checked out, in seconds."""
        self.first_done_s: list[float | None] = [None] * clients
        """When each client's first checkout since ``watch`` had ended, since the start of the load."""

    def __repr__(self) -> str:
        return f"Load({len(self.books)} clients, {len(self._sessions)} connected)"

    def elapsed_s(self) -> float:
        """Since the start of the load."""
        return self._clock() - self.began_at

    def start(self) -> None:
        """Let all clients come."""
        self.began_at = self._clock()
        self._tasks = [asyncio.create_task(self._client(book)) for book in self.books]

    def clients_of(self, worker: int) -> int:
        """How many clients a worker serves."""
        return sum(1 for one in self._sessions.values() if one.worker == worker and one.open)

    def watch(self, worker: int) -> None:
        """From now on, wait for the first checkout over a new connection to this worker."""
        self._watched = worker, self._clock()
        self.back_s = None
        self.first_done_s = [None] * len(self.books)

    async def gone(self, timeout_s: float) -> bool:
        """Wait until every client has ended; false if some had to be stopped."""
        if not self._tasks:
            return True
        ended, open_ = await asyncio.wait(self._tasks, timeout=timeout_s)
        await self.stop()
        for task in ended:
            task.result()
        return not open_

    async def stop(self) -> None:
        """Stop all clients where they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- one client ---------------------------------------------------------------------------------------

    async def _client(self, book: shop.Book) -> None:
        while not (self.ending or book.full):
            began_at = self._clock()
            try:
                async with asyncio.timeout(ANSWER_S):
                    session = await connect(
                        self._host, self._port, user=SUPERUSER, database=shop.DATABASE, now=began_at
                    )
            except (SessionLost, StatementFailed, TimeoutError) as error:
                if not self.ending:
                    self._lost(None, error, began_at, in_transaction=False)
                await asyncio.sleep(RECONNECT_S * (1.0 + self._dice.random()))
                continue
            self._sessions[book.client] = session
            try:
                await self._serve(session, book)
            finally:
                del self._sessions[book.client]
                session.close()

    async def _serve(self, session: Session, book: shop.Book) -> None:
        """Use one connection for as long as it lasts."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await session.ask(shop.PREPARE)
        except (SessionLost, StatementFailed, TimeoutError) as error:
            self._lost(session, error, session.connected_at, in_transaction=False)
            return
        while not book.full:
            await asyncio.sleep(self._dice.expovariate(1.0 / THINK_S))
            if not await self._checkout(session, book):
                return

    async def _checkout(self, session: Session, book: shop.Book) -> bool:
        """One checkout; false when the connection is over."""
        book.asked += 1
        number, began_at, step = book.asked, self._clock(), Step()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._buy(session, book.client, number, step)
        except StatementFailed as error:
            # The server says that nothing was committed, or that nobody knows.
            if error.sqlstate == shop.UNKNOWN_CODE:
                book.unknown[number] = step.told
            else:
                book.refused.add(number)
            self._lost(session, error, session.connected_at, in_transaction=step.begun)
            return await self._rolled_back(session)
        except (SessionLost, TimeoutError) as error:
            self._left(book, number, step)
            self._lost(session, error, session.connected_at, in_transaction=step.begun)
            return False
        except asyncio.CancelledError:
            self._left(book, number, step)
            raise
        book.orders[number] = step.told
        self._done(session, book, began_at)
        return True

    async def _buy(self, session: Session, client: int, number: int, step: Step) -> None:
        """The transaction, with the payment in the middle of it."""
        ((total, _),) = await session.ask(shop.begin(client, number))
        step.begun = True
        await asyncio.sleep(self._dice.uniform(PAYMENT_LOW_S, PAYMENT_HIGH_S))
        ((order_id,),) = await session.ask(shop.order(client, number, int(total or 0)))
        step.told = int(order_id or 0), int(total or 0)
        await session.ask(shop.deliver(client, number, step.told[0]))
        step.committing = True
        await session.ask(shop.commit())

    def _left(self, book: shop.Book, number: int, step: Step) -> None:
        """A checkout whose connection is over: refused for sure unless COMMIT was sent."""
        if step.committing:
            book.unknown[number] = step.told
        else:
            book.refused.add(number)

    async def _rolled_back(self, session: Session) -> bool:
        try:
            async with asyncio.timeout(ANSWER_S):
                await session.ask(shop.ROLLBACK)
        except (SessionLost, StatementFailed, TimeoutError):
            return False
        return True

    def _done(self, session: Session, book: shop.Book, began_at: float) -> None:
        now = self._clock()
        self.tally.done(now - self.began_at, session.worker, now - began_at)
        if self._watched is not None:
            worker, since = self._watched
            if self.first_done_s[book.client] is None and began_at > since:
                self.first_done_s[book.client] = now - self.began_at
            if self.back_s is None and session.worker == worker and session.connected_at > since:
                self.back_s = now - since

    def _lost(
        self, session: Session | None, error: Exception, connected_at: float, *, in_transaction: bool
    ) -> None:
        worker = NOBODY if session is None else session.worker
        sqlstate = getattr(error, "sqlstate", "timeout")
        now_s = self.elapsed_s()
        self.tally.lost(Loss(now_s, worker, sqlstate, in_transaction, connected_at - self.began_at))


def percentile_s(samples: Iterable[float], share: float) -> float:
    """The sample that this share of all is not above; 0 without samples (nearest rank)."""
    ordered = sorted(samples)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
