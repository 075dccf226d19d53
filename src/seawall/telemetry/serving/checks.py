"""Runs the health checks: all at once, each at most once at a time, none longer than its timeout.

One check is in one of three states ::

    state     event                               next      what whoever asks gets
    fresh     asked, result younger than max age  fresh     the result, with its age
    fresh     asked, result too old or missing    asking    the new result; all who ask meanwhile share it
    asking    it answers or raises in time        fresh     the result
    asking    its timeout passes                  overdue   "no answer within …", at its timeout
    overdue   asked                               overdue   "still running …", at once; never started again
    overdue   it comes back                       fresh     (its late answer counts for nothing)

So a check that hangs costs one task or one thread, however often it is asked about, and is named in the
answer. An awaitable that is overdue is cancelled; a thread can't be, and stays the only one of its check
until it returns.

The number of checks is limited, and so is the number of those that run; one that finds no place within its
timeout has failed like one that doesn't answer. Nothing raised by a check leaves this module. What a result
means is told by ``health``; the pages ask here.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from seawall.kernel.clock import Clock
from seawall.kernel.errors import UsageError
from seawall.kernel.units import format_duration
from seawall.telemetry.serving.health import Check, CheckResult, Probe, Report, judge

__all__ = ["CHECKS_MAX", "HOLDS_MAX", "Checks", "ChecksStatistics"]

CHECKS_MAX: Final = 64
"""More dependencies than a process has; a loop that registers checks by mistake ends here."""
HOLDS_MAX: Final = 16
"""Reasons not to be ready at one time."""
CONCURRENCY: Final = 16
"""Checks that run at one time, unless told otherwise."""

_Outcome = tuple[object, BaseException | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksStatistics:
    """What the checks did so far.

    Attributes:
        checks: Those registered.
        overdue: Those that have not come back after their timeout.
        started: Runs begun.
        cached: Questions answered from a result that was young enough, or by a run that was under way.
        failed: Runs that ended with a failure, timeouts included.
        timed_out: Runs without an answer in time.
        not_started: Runs refused because the one before has not come back, or no place was free in time.
    """

    checks: int
    overdue: int
    started: int
    cached: int
    failed: int
    timed_out: int
    not_started: int


class _Slot:
    """One check's place."""

    __slots__ = ("check", "result", "round", "since", "work")

    def __init__(self, check: Check) -> None:
        self.check = check
        self.result: CheckResult | None = None
        self.round: asyncio.Task[CheckResult] | None = None
        self.work: asyncio.Future[_Outcome] | None = None
        self.since = 0.0


class Checks:
    """The health checks of a process.

    Args:
        clock: Tells ages and durations.
        concurrency: Checks that run at one time.

    Raises:
        UsageError: The concurrency is not positive.
    """

    def __init__(self, clock: Clock | None = None, *, concurrency: int = CONCURRENCY) -> None:
        if concurrency < 1:
            raise UsageError(f"concurrency = {concurrency!r}: allowed are numbers from 1")
        self._clock: Clock = time if clock is None else clock
        self._began = self._clock.monotonic()
        self._slots: dict[str, _Slot] = {}
        self._holds: dict[str, None] = {}
        self._places = asyncio.Semaphore(concurrency)
        self._started = self._cached = self._failed = self._timed_out = self._not_started = 0

    def add(self, check: Check) -> None:
        """Register a check.

        Raises:
            UsageError: Its name is taken, or there are too many.
        """
        if check.name in self._slots:
            raise UsageError(
                f"check {check.name!r} is registered already: remove it first, or name this one apart"
            )
        if len(self._slots) >= CHECKS_MAX:
            raise UsageError(f"check {check.name!r} is one too many: allowed are {CHECKS_MAX}")
        self._slots[check.name] = _Slot(check)

    def remove(self, name: str) -> None:
        """Forget a check; one that is not there is no mistake."""
        slot = self._slots.pop(name, None)
        if slot is not None and slot.work is not None:
            slot.work.cancel()  # whoever asked already is told that, and not cancelled with it

    def hold(self, reason: str) -> None:
        """Be unready until :meth:`release`, whatever the checks say: while starting or draining.

        Args:
            reason: In a word or two; shown to everybody.

        Raises:
            UsageError: There are too many.
        """
        if reason not in self._holds and len(self._holds) >= HOLDS_MAX:
            raise UsageError(f"hold({reason!r}) is one too many: allowed are {HOLDS_MAX}")
        self._holds[reason] = None

    def release(self, reason: str) -> None:
        """Take a hold back; one that is not there is no mistake."""
        self._holds.pop(reason, None)

    async def report(self, probe: Probe) -> Report:
        """Answer a question; never later than the longest timeout among its checks."""
        slots = [slot for _, slot in sorted(self._slots.items()) if probe in slot.check.probes]
        results = await asyncio.gather(*(self._result(slot) for slot in slots))
        now = self._clock.monotonic()
        return Report(
            probe=probe,
            results=tuple(results),
            holds=tuple(self._holds) if probe is Probe.READINESS else (),
            now=now,
            uptime_s=now - self._began,
        )

    async def close(self) -> None:
        """Cancel what runs; threads are left to themselves."""
        rounds = [slot.round for slot in self._slots.values() if slot.round is not None]
        for slot in self._slots.values():
            for running in (slot.round, slot.work):
                if running is not None:
                    running.cancel()
        await asyncio.gather(*rounds, return_exceptions=True)

    def statistics(self) -> ChecksStatistics:
        """Counters, all of one moment."""
        return ChecksStatistics(
            checks=len(self._slots),
            overdue=sum(slot.work is not None and slot.round is None for slot in self._slots.values()),
            started=self._started,
            cached=self._cached,
            failed=self._failed,
            timed_out=self._timed_out,
            not_started=self._not_started,
        )

    def __repr__(self) -> str:
        now = self.statistics()
        return f"<Checks {now.checks} overdue={now.overdue} failed={now.failed} holds={list(self._holds)}>"

    async def _result(self, slot: _Slot) -> CheckResult:
        last = slot.result
        if last is not None and self._clock.monotonic() - last.at < slot.check.max_age_s:
            self._cached += 1
            return last
        if slot.round is None:
            slot.round = asyncio.get_running_loop().create_task(self._round(slot))
        else:
            self._cached += 1
        # Whoever asked may go away; the others who share this round, and the next ones, want its result.
        return await asyncio.shield(slot.round)

    async def _round(self, slot: _Slot) -> CheckResult:
        try:
            began = self._clock.monotonic()
            if slot.work is None:
                healthy, reason, details = await self._run(slot, began)
            else:
                self._not_started += 1
                waited = format_duration(began - slot.since, 3)
                healthy, reason, details = False, f"still running after {waited}", {}
            self._failed += not healthy
            ended = self._clock.monotonic()
            slot.result = CheckResult(
                name=slot.check.name,
                critical=slot.check.critical,
                healthy=healthy,
                reason=reason,
                details=details,
                at=ended,
                duration_s=ended - began,
            )
            return slot.result
        finally:
            slot.round = None

    async def _run(
        self, slot: _Slot, began: float
    ) -> tuple[bool, str, dict[str, str | int | float | bool | None]]:
        check = slot.check
        loop = asyncio.get_running_loop()
        deadline = loop.time() + check.timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                await self._places.acquire()
        except TimeoutError:
            self._not_started += 1
            return (
                False,
                f"found no place among the running checks within {format_duration(check.timeout_s)}",
                {},
            )
        try:
            self._started += 1
            try:
                work = _on_a_thread(check, loop) if check.threaded else loop.create_task(_called(check.call))
            except RuntimeError as error:  # the system has no thread to give
                return judge(None, error)
            slot.work, slot.since = work, began
            work.add_done_callback(partial(_returned, slot))
            await asyncio.wait((work,), timeout=max(0.0, deadline - loop.time()))
        finally:
            self._places.release()
        if not work.done():
            self._timed_out += 1
            if not check.threaded:
                work.cancel()
            return False, f"no answer within {format_duration(check.timeout_s)}", {}
        if work.cancelled():
            return False, "the check was cancelled", {}
        try:
            return judge(*work.result())
        except Exception as error:  # noqa: BLE001 -- mappings can be of any class
            return judge(None, error)


def _returned(slot: _Slot, work: asyncio.Future[_Outcome]) -> None:
    if slot.work is work:
        slot.work = None


async def _called(call: Callable[[], object]) -> _Outcome:
    try:
        answer = call()
        if inspect.isawaitable(answer):
            answer = await answer
    except Exception as error:  # noqa: BLE001 -- whatever a check raises is its verdict
        return None, error
    return answer, None


def _on_a_thread(check: Check, loop: asyncio.AbstractEventLoop) -> asyncio.Future[_Outcome]:
    """Call a check on a daemon thread: an executor's would keep the process from ending while one hangs."""
    future: asyncio.Future[_Outcome] = loop.create_future()

    def settle(outcome: _Outcome) -> None:
        if not future.done():
            future.set_result(outcome)

    def body() -> None:
        try:
            outcome: _Outcome = (check.call(), None)
        except BaseException as error:  # noqa: BLE001 -- a thread has nobody else to tell
            outcome = (None, error)
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=body, name=f"seawall-check-{check.name}", daemon=True).start()
    return future
