"""Puts the demo's play on stage: service, guard and a few hundred client calls a second, in one event loop.

It runs in real time, or in whatever time the running event loop and the given clock share. It draws nothing:
an :class:`Audience` is shown the stage several times a second.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Final, Protocol

from seawall import CallRejected, guard
from seawall.cli.demo_report import FAULTY, Counters, Report, report
from seawall.cli.demo_scenario import FlakyService, Scenario
from seawall.cli.demo_story import Answer, Moment, Story, Tally
from seawall.kernel.clock import Clock
from seawall.kernel.signals import BreakerChanged, Hub, RampMoved, Subscription
from seawall.resilience.system import SYSTEM_CLOCK

FRAME_S: Final = 0.125
PACE_S: Final = 0.005
"""The clients' calls are started in batches this far apart."""
CLIENTS_MAX: Final = 2_000
"""Calls under way at once. One more is not made but counted, so that no fault can eat the memory."""
DRAIN_S: Final = 2.0
"""After the end, calls under way get this long to come back."""
SIGNALS_MAX: Final = 10_000
"""Signals kept between two frames."""


class Audience(Protocol):
    """Who watches the play."""

    def see(self, stage: Stage, fresh: Iterable[Moment]) -> None:
        """Look at the stage; ``fresh`` is what has happened since the last look."""
        ...


class Stage:
    """A play with its actors.

    Args:
        scenario: what happens.
        seed: start of the random numbers.
        clock: the time that the running event loop goes by.

    Attributes:
        service: who falls ill.
        guard: who deals with it.
        tally: what was counted.
        story: what happened.
        skipped: calls that were not made, because too many were under way.
    """

    def __init__(self, scenario: Scenario, *, seed: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self.scenario: Final = scenario
        self._clock: Final = clock
        self._dice: Final = random.Random(seed)  # noqa: S311 -- a play needs no secrets
        self._hub: Final = Hub()
        self._origin_s = clock.monotonic()
        self._under_way: Final[set[asyncio.Task[None]]] = set()
        self._asked_while_ill = 0
        self.skipped = 0
        self.tally: Final = Tally(scenario.ends_at_s)
        self.story = Story(scenario, self._origin_s)
        self.service: Final = FlakyService(
            scenario, dice=self._dice, elapsed_s=self.elapsed_s, sleep=asyncio.sleep
        )
        self.guard: Final = guard(
            "prices",
            breaker=scenario.breaker,
            retry=scenario.retry,
            timeout=scenario.timeout,
            fallback=last_known,
            probe=self.service.ping,
            clock=clock,
            rng=self._dice.random,
            hub=self._hub,
        )

    def elapsed_s(self) -> float:
        """Seconds since the play began."""
        return self._clock.monotonic() - self._origin_s

    async def play(self, audience: Audience) -> None:
        """Play from beginning to end; leaves no task behind, however it ends."""
        self._origin_s = self._clock.monotonic()
        self.story = Story(self.scenario, self._origin_s)
        with self._hub.subscribe(BreakerChanged, RampMoved, capacity=SIGNALS_MAX) as signals:
            clients = asyncio.create_task(self._clients())
            try:
                while not clients.done():
                    self._show(audience, signals)
                    await asyncio.wait({clients}, timeout=FRAME_S)
                await clients
                if self._under_way:
                    await asyncio.wait(self._under_way, timeout=DRAIN_S)
                self._show(audience, signals)
            finally:
                left = [clients, *self._under_way]
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)

    def _show(self, audience: Audience, signals: Subscription) -> None:
        elapsed_s = self.elapsed_s()
        self.tally.stands(elapsed_s, self.guard.state.label, self.guard.share)
        audience.see(self, self.story.pass_time(elapsed_s, signals.take()))

    async def _clients(self) -> None:
        """Calls arrive independently of each other and of how the service does: a Poisson process."""
        next_at_s = 0.0
        while (now_s := self.elapsed_s()) < self.scenario.ends_at_s:
            while next_at_s <= now_s:
                next_at_s += self._dice.expovariate(self.scenario.calls_per_s)
                self._ask(now_s)
            await asyncio.sleep(PACE_S)
            self.tally.lag_s = max(self.tally.lag_s, self.elapsed_s() - now_s - PACE_S)

    def _ask(self, now_s: float) -> None:
        if len(self._under_way) >= CLIENTS_MAX:
            self.skipped += 1
            return
        if self.scenario.phase_at(now_s) in FAULTY:
            self._asked_while_ill += 1
        task = asyncio.create_task(self._client())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _client(self) -> None:
        """One call, as a user of the library would write it, and a note of how it went."""
        asked_s = self.elapsed_s()
        source: Answer | None
        try:
            value = await self.guard.acall(self._attempt)
        except Exception:  # noqa: BLE001 -- whatever it is, the client got no answer
            source = None
        else:
            source = value if isinstance(value, Answer) else Answer.SERVICE
        self.tally.answer(asked_s, self.elapsed_s(), source)

    async def _attempt(self) -> object:
        """What is guarded: one call of the service."""
        started_s = self.elapsed_s()
        try:
            return await self.service.price()
        finally:
            self.tally.attempt(started_s, self.elapsed_s() - started_s)

    def report(self) -> Report:
        """The play's result."""
        counted = self.guard.statistics()
        assert counted.breaker is not None
        assert counted.retry is not None
        counters = Counters(
            rejected=counted.breaker.rejected,
            retries=counted.retry.retried,
            retries_refused=counted.retry.out_of_budget,
            sent=self.service.sent,
            asked_while_ill=self._asked_while_ill,
        )
        return report(self.scenario, self.story, self.tally, counters)


def last_known(error: BaseException) -> Answer:
    """The guard's fallback: a real one would take the last price from a cache."""
    return Answer.REJECTED if isinstance(error, CallRejected) else Answer.FAILED
