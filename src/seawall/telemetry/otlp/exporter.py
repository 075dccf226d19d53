"""The exporter: tasks on the event loop that take spans from a lane, encode them in slices, have them sent.

Theory of operation
-------------------
::

    lane ── take ──► pending ── encode (steps, sleep(0) between) ──► backlog ──► senders ──► collector
           every poll_s       batch_spans, batch_delay_s or flush    bounded     in_flight, one gate

One task drains, ``in_flight`` tasks send. The drain stops taking while the backlog is full: the lane is the
place where spans are lost in an outage, since it knows which are worth more. Every span that was taken is,
at any moment, pending, in the backlog, being sent, exported, or dropped for one of
:data:`~seawall.telemetry.otlp.accounts.DROP_REASONS`::

    taken == exported + sum(dropped) + pending + buffered + sending

A failed attempt closes the gate for all senders (see ``retry``). A request is dropped when it fails and is
older than ``retry_elapsed_s``; in an outage those that grew old while they waited are dropped untried.

Nothing of this raises into the application or logs; what goes wrong is counted, and the last complaint of the
collector is in the statistics. A task that meets an error of our own counts it and goes on.

In a forked child everything starts from nothing: the spans are the parent's, and ``start`` has to be called
again there. A stale task of the parent that wakes in the child ends itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final, final

from seawall.telemetry.otlp.accounts import (
    DROP_REASONS,
    FAILURE_REASONS,
    ExporterStatistics,
    Source,
    Transport,
)
from seawall.telemetry.otlp.encode import Encoder, Request
from seawall.telemetry.otlp.retry import Answer, Gate
from seawall.telemetry.otlp.settings import OtlpSettings
from seawall.telemetry.otlp.shapes import SpanLike

__all__ = ["TAKE_SPANS", "Exporter"]

TAKE_SPANS: Final = 512
"""Spans taken from the lane at once; taking more would be a long step."""

FAULT_PAUSE_S: Final = 1.0
"""A task that met an error of our own rests so long, lest it spin."""

LEFT_ROUNDS: Final = 1_000
"""At the end the lane is emptied, in so many rounds at most: somebody may still be filling it."""


@dataclass(slots=True, eq=False)
class _Parcel:
    """A request on its way."""

    number: int
    body: bytes
    spans: int
    made_at: float


@final
class Exporter:
    """Sends what comes into a lane to a collector.

    Args:
        source: The lane.
        transport: How to send.
        settings: Limits and times.
        encoder: Makes the requests; its form has to be the transport's.
        clock: Monotonic seconds; the loop's own time if None.
        rng: Uniform random numbers in [0, 1), for the jitter.
    """

    def __init__(
        self,
        source: Source,
        transport: Transport,
        settings: OtlpSettings,
        encoder: Encoder,
        *,
        clock: Callable[[], float] | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.settings: Final = settings
        self._source = source
        self._transport = transport
        self._encoder = encoder
        self._clock = clock
        self._rng = rng
        self._left_behind: list[asyncio.Task[None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._generation = 0
        self._begin()

    def _begin(self) -> None:
        """Empty, all counters at zero."""
        self._pending: list[SpanLike] = []
        self._oldest_at = 0.0
        self._encoding = 0
        self._backlog: deque[_Parcel] = deque()
        self._outstanding: dict[int, _Parcel] = {}
        self._buffered_bytes = 0
        self._number = 0
        self._gate = Gate(base_s=self.settings.retry_base_s, max_s=self.settings.retry_max_s)
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._hurry = 0
        self._caught_up = 0
        self._stopping = False
        self._taken = self._exported = self._sending = self._requests = self._bytes_sent = 0
        self._garbled = self._faults = 0
        self._dropped = dict.fromkeys(DROP_REASONS, 0)
        self._failed = dict.fromkeys(FAILURE_REASONS, 0)
        self._last_failure = ""
        self._uncounted = (self._encoder.unencodable, self._encoder.too_large)

    # --- the application's side -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, on the running loop; does nothing if it has begun."""
        if self._running():
            return
        self._stopping = False
        self._wake, self._changed = asyncio.Event(), asyncio.Event()  # the old ones may be another loop's
        _watch_forks(self)
        loop = asyncio.get_running_loop()
        jobs = [self._drain, *[self._send_on] * self.settings.in_flight]
        self._tasks = [
            loop.create_task(self._keep_on(job), name=f"seawall-otlp-{number}")
            for number, job in enumerate(jobs)
        ]

    def wake(self) -> None:
        """Look at the lane now rather than at the next poll; on the loop's thread."""
        self._wake.set()

    async def flush(self, timeout_s: float = 10.0) -> bool:
        """Send what is in the lane now, without waiting for a full batch.

        Args:
            timeout_s: How long to wait for the collector.

        Returns:
            Whether all of it was settled in time: exported, or dropped with its reason counted.
        """
        if not self._running():
            return False
        self._hurry += 1
        wanted = self._hurry
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: self._caught_up >= wanted)
                last = self._number
                await self._until(lambda: not self._outstanding or min(self._outstanding) > last)
                return True
        return False

    async def stop(self, timeout_s: float = 5.0) -> ExporterStatistics:
        """Send what is left, and end. What isn't sent in time is counted as dropped.

        Args:
            timeout_s: How long the collector has; 0 for not at all.

        Returns:
            The last statistics.
        """
        self._stopping = True
        self._gate.hurry()
        self._changed_now()
        try:
            await self.flush(timeout_s)
        finally:
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.cancel()
            self._forsake()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._transport.close()
        return self.statistics()

    def statistics(self) -> ExporterStatistics:
        """Counters, all of one moment."""
        self._count_unencoded()
        return ExporterStatistics(
            taken=self._taken,
            exported=self._exported,
            dropped=dict(self._dropped),
            pending=len(self._pending) + self._encoding,
            buffered=sum(parcel.spans for parcel in self._backlog),
            sending=self._sending,
            requests=self._requests,
            bytes_sent=self._bytes_sent,
            failed=dict(self._failed),
            garbled=self._garbled,
            faults=self._faults,
            troubles=self._gate.troubles,
            last_failure=self._last_failure,
        )

    def __repr__(self) -> str:
        now = self.statistics()
        state = "stopped" if not self._running() else "in trouble" if now.troubles else "running"
        return (
            f"<Exporter {state} exported={now.exported} dropped={sum(now.dropped.values())}"
            f" waiting={now.pending + now.buffered + now.sending}>"
        )

    # --- the tasks ------------------------------------------------------------------------------------------

    async def _keep_on(self, job: Callable[[int], Awaitable[None]]) -> None:
        generation = self._generation
        while generation == self._generation:
            try:
                await job(generation)
            except Exception as error:  # noqa: BLE001 -- counted; the application never sees it
                self._faults += 1
                self._last_failure = f"fault: {type(error).__name__}"
                self._changed_now()
                await asyncio.sleep(FAULT_PAUSE_S)
            else:
                return

    async def _drain(self, generation: int) -> None:
        """Take, wait for a batch, encode; until stopped from outside."""
        settings = self.settings
        while generation == self._generation:
            hurry = self._hurry
            taken = self._take(min(settings.batch_spans - len(self._pending), TAKE_SPANS))
            ready = len(self._pending) >= settings.batch_spans or (
                self._pending and not taken and (hurry > self._caught_up or self._overdue())
            )
            if ready:
                await self._encode(generation)
            elif taken:
                await asyncio.sleep(0)
            elif not self._pending and self._has_room() and hurry > self._caught_up:
                self._caught_up = hurry
                self._changed_now()
            else:
                await self._rest()

    def _take(self, most: int) -> int:
        """Move spans from the lane to those that are pending, if there is room for them; how many."""
        if most <= 0 or not self._has_room():
            return 0
        spans = self._source.take(most)
        if spans and not self._pending:
            self._oldest_at = self._now()
        self._pending += spans
        self._taken += len(spans)
        return len(spans)

    async def _rest(self) -> None:
        """Until the next poll, or until somebody is in a hurry."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.poll_s):
                await self._wake.wait()
        self._wake.clear()

    def _overdue(self) -> bool:
        return self._now() - self._oldest_at >= self.settings.batch_delay_s

    def _has_room(self) -> bool:
        return (
            len(self._outstanding) < self.settings.buffer_requests
            and self._buffered_bytes < self.settings.buffer_bytes
        )

    async def _encode(self, generation: int) -> None:
        """Turn what is pending into parcels, letting the loop turn after each step."""
        await self._until(self._has_room)
        batch, self._pending = self._pending, []
        self._encoding = len(batch)
        reason = "fault"
        try:
            for request in self._encoder.steps(_consumed(batch)):
                body = b""
                if request is None:
                    await asyncio.sleep(0)
                else:
                    body = await self._transport.pack(request)
                if generation != self._generation:
                    return
                if request is not None:
                    self._post(request, body)
        except asyncio.CancelledError:
            reason = "shutdown"
            raise
        finally:
            # Cut short by an end or by an error of our own; nothing is left after the ordinary end.
            if generation == self._generation:
                self._count_unencoded()
                self._dropped[reason] += self._encoding
                self._encoding = 0

    def _post(self, request: Request, body: bytes) -> None:
        self._count_unencoded()
        self._number += 1
        parcel = _Parcel(self._number, body, request.spans, self._now())
        self._encoding -= request.spans
        self._outstanding[parcel.number] = parcel
        self._buffered_bytes += len(body)
        self._requests += 1
        self._backlog.append(parcel)
        self._changed_now()

    def _count_unencoded(self) -> None:
        unencodable, too_large = self._encoder.unencodable, self._encoder.too_large
        before = self._uncounted
        self._uncounted = (unencodable, too_large)
        self._dropped["unencodable"] += unencodable - before[0]
        self._dropped["too_large"] += too_large - before[1]
        self._encoding -= unencodable - before[0] + too_large - before[1]

    async def _send_on(self, generation: int) -> None:
        """Take parcels from the backlog and deliver them, until stopped from outside."""
        while generation == self._generation:
            await self._until(lambda: bool(self._backlog))
            parcel = self._backlog.popleft()
            self._sending += parcel.spans
            try:
                exported, reason = await self._deliver(parcel, generation)
            except asyncio.CancelledError:
                self._put_back(parcel)
                raise
            except Exception:
                self._settle(parcel, 0, "fault")
                raise
            self._settle(parcel, exported, reason)

    def _put_back(self, parcel: _Parcel) -> None:
        """The loop ends, and nobody called ``stop``: another loop may go on with it."""
        if self._outstanding.get(parcel.number) is parcel:
            self._sending -= parcel.spans
            self._backlog.appendleft(parcel)

    async def _deliver(self, parcel: _Parcel, generation: int) -> tuple[int, str]:
        """Send until it is settled: how many spans were exported, and what became of the others."""
        gate, settings = self._gate, self.settings
        # In an outage the old make way, unless nobody comes after them.
        while not (gate.troubles and self._expired(parcel) and self._backlog):
            if (wait_s := gate.wait_s(self._now())) > 0.0:
                await self._gate_opens(wait_s)
                continue
            began = self._now()
            self._bytes_sent += len(parcel.body)
            verdict = await self._transport.send(parcel.body, parcel.spans, settings.timeout_s)
            if generation != self._generation:
                return 0, "fault"
            if verdict.answer is Answer.ACCEPTED:
                gate.succeeded()
                self._garbled += verdict.reason == "garbled"
                if verdict.rejected:
                    self._last_failure = f"rejected: {verdict.text}"
                return parcel.spans - verdict.rejected, "rejected"
            self._failed[verdict.reason if verdict.reason in self._failed else "fault"] += 1
            self._last_failure = f"{verdict.reason}: {verdict.text}"
            if verdict.answer is Answer.REFUSED:
                return 0, "refused"
            gate.failed(verdict, began=began, now=self._now(), rng=self._rng)
            if self._expired(parcel):
                return 0, "expired"
        return 0, "expired"

    def _expired(self, parcel: _Parcel) -> bool:
        return self._now() - parcel.made_at >= self.settings.retry_elapsed_s

    async def _gate_opens(self, wait_s: float) -> None:
        """Wait, but look again when something has changed: a stop opens the gate."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._changed.wait()

    def _settle(self, parcel: _Parcel, exported: int, reason: str) -> None:
        if self._outstanding.get(parcel.number) is not parcel:
            return  # forsaken meanwhile, or the parent's
        del self._outstanding[parcel.number]
        self._sending -= parcel.spans
        self._buffered_bytes -= len(parcel.body)
        self._exported += exported
        self._dropped[reason] += parcel.spans - exported
        self._changed_now()

    # --- the end, and what all share ------------------------------------------------------------------------

    def _forsake(self) -> None:
        """Count all that is not settled as dropped, the lane's rest included."""
        left = len(self._pending) + sum(parcel.spans for parcel in self._outstanding.values())
        self._pending = []
        self._backlog.clear()
        self._outstanding.clear()
        self._sending = self._buffered_bytes = 0
        for _ in range(LEFT_ROUNDS):
            try:
                spans = self._source.take(TAKE_SPANS)
            except Exception:  # noqa: BLE001 -- an odd lane must not keep the program from ending
                self._faults += 1
                break
            if not spans:
                break
            self._taken += len(spans)
            left += len(spans)
        self._dropped["shutdown"] += left

    def _running(self) -> bool:
        return any(not task.done() for task in self._tasks)

    def _now(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()

    def _changed_now(self) -> None:
        """Wake all who wait for something to become true, and give later ones a fresh event."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._changed.wait()

    def forked(self) -> None:
        """In a child process: the parent's spans, connections and tasks are the parent's."""
        self._generation += 1
        # Not dropped, because a task that is collected while it waits complains in the log.
        self._left_behind += self._tasks
        self._tasks = []
        with contextlib.suppress(Exception):
            self._transport.forked()
        self._begin()


def _consumed(batch: list[SpanLike]) -> Iterator[SpanLike]:
    """The spans in order, each let go of once it is encoded: to free them all at once is a long step."""
    batch.reverse()
    while batch:
        yield batch.pop()


_exporters: Final[weakref.WeakSet[Exporter]] = weakref.WeakSet()
_hooked: Final[list[bool]] = []


def _watch_forks(exporter: Exporter) -> None:
    _exporters.add(exporter)
    if not _hooked:
        _hooked.append(True)
        os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    for exporter in list(_exporters):
        exporter.forked()
