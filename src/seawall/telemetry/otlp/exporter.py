"""The exporter: one thread that takes spans from a lane, encodes them in slices and sends them.

Theory of operation
-------------------
::

    lane ── take ──► batch ── encode, slice by slice ──► request ── send, until it is settled ──► collector
         every poll_s     batch_spans, batch_delay_s, a flush or the end

One request at a time and no queue of its own: while the collector is away, spans wait in the lane, which is
bounded, counts what it turns away and keeps room for those that matter. Every span that was taken is, at any
moment, pending, exported, or dropped for one of :data:`DROP_REASONS`::

    taken == exported + sum(dropped) + pending

A thread, because then whatever hangs (a resolver, a handshake, a collector) hangs here, and because not
every program has a loop. But pure Python in a thread holds the interpreter as well, five milliseconds at a
time. So the thread *sleeps* after every slice of 0.1 to 0.2 ms, which hands the interpreter to whoever waits
for it; to sleep for no time would not.

Nothing of this raises into the application or logs: what goes wrong is counted, and the last complaint is in
the statistics. An error of our own costs the spans that were pending and a rest.

``_turns`` is what the thread does, as a generator of the times that it rests; ``_main`` is the one place
that rests. A *run* is one start: if it hangs beyond the end of a stop it is given up, with its connection,
and what it does later counts no more.

In a forked child everything starts from nothing, since the spans are the parent's, and a thread of its own
goes on if the parent had one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, final

from seawall.telemetry.otlp.encode import Encoder, Request
from seawall.telemetry.otlp.grpc import GrpcTransport
from seawall.telemetry.otlp.http import HttpTransport
from seawall.telemetry.otlp.masking import Masking
from seawall.telemetry.otlp.settings import OtlpSettings
from seawall.telemetry.otlp.spans import SpanLike
from seawall.telemetry.otlp.verdict import FAILURE_REASONS, Answer, Backoff, Verdict

__all__ = ["DROP_REASONS", "Exporter", "ExporterStatistics", "Source", "Transport"]

DROP_REASONS: Final = ("refused", "rejected", "expired", "too_large", "unencodable", "shutdown", "fault")
"""Why a span that was taken from the lane did not arrive.

The collector refused the request, or accepted it without this span; it grew too old in an outage; it
exceeds a request; it can't be encoded; the exporter was stopped first; an error of our own.
"""

TAKE_SPANS: Final = 512
"""Spans taken from the lane at once; taking more would be a long step."""

SLICE_REST_S: Final = 0.000_1
"""Rest after a slice: long enough for another thread to wake and take the interpreter."""

FAULT_REST_S: Final = 1.0
"""Rest after an error of our own, lest the thread spin."""

EXIT_S: Final = 2.0
"""How long a program that ends without a stop waits for the collector."""


class Source(Protocol):
    """Where spans come from: a lane."""

    def take(self, limit: int, /) -> Sequence[SpanLike]:
        """The oldest spans, at most ``limit``; fewer only if there are no more."""
        ...

    def forget(self) -> object:
        """Empty it: what waits in a forked child is the parent's."""
        ...


class Transport(Protocol):
    """How requests go to the collector. Nothing here raises."""

    def send(self, body: bytes, spans: int, timeout_s: float, /) -> Verdict:
        """One attempt."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...

    def forked(self) -> None:
        """Let go of everything in a child process, where it is the parent's."""
        ...


@dataclass(frozen=True, slots=True)
class ExporterStatistics:
    """One moment of an exporter.

    Attributes:
        taken: Spans taken from the lane.
        exported: Those that the collector accepted.
        dropped: Those that it never will, by reason, see :data:`DROP_REASONS`.
        pending: The others: being encoded, sent, or waiting for another attempt.
        attempts: Requests sent, each time counted.
        failed: Attempts by the reason they failed for.
        faults: Errors of our own that the thread met.
        troubles: Failed attempts in a row, up to now.
        last_complaint: What the collector or the network complained about last.
    """

    taken: int
    exported: int
    dropped: Mapping[str, int]
    pending: int
    attempts: int
    failed: Mapping[str, int]
    faults: int
    troubles: int
    last_complaint: str


@final
class _Run:
    """One start, to the end of its thread or until it is given up."""

    def __init__(self, transport: Transport, encoder: Encoder, backoff: Backoff) -> None:
        self.transport = transport
        self.encoder = encoder
        self.backoff = backoff
        self.thread: threading.Thread | None = None
        self.wake = threading.Event()
        self.wanted = self.flushed = 0  # flushes that were asked for, and that are done
        self.stop_at: float | None = None
        self.hurried = False
        self.given_up = False


@final
class Exporter:
    """Sends what comes into a lane to a collector.

    Args:
        source: The lane.
        settings: Where to, how, and what may be spent on it.
        transport: How to send, if neither HTTP nor gRPC.
        clock: Monotonic seconds.
        rng: Uniform random numbers in [0, 1), for the jitter.

    Raises:
        UsageError: The protocol needs a package that isn't installed.
    """

    def __init__(
        self,
        source: Source,
        settings: OtlpSettings | None = None,
        *,
        transport: Callable[[OtlpSettings], Transport] | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.settings: Final = settings or OtlpSettings()
        self._source = source
        self._connect: Final[Callable[[OtlpSettings], Transport]] = transport or (
            GrpcTransport if self.settings.protocol == "grpc" else HttpTransport
        )
        self._clock = clock
        self._rng = rng
        self._begin()

    def _begin(self) -> None:
        """Nothing pending, all counters at zero."""
        # Held for a few assignments, and for one take from the lane.
        self._changed = threading.Condition()
        self._taken = self._exported = self._pending = self._attempts = self._faults = 0
        self._dropped = dict.fromkeys(DROP_REASONS, 0)
        self._failed = dict.fromkeys(FAILURE_REASONS, 0)
        self._last_complaint = ""
        self._run = self._new_run()

    def _new_run(self) -> _Run:
        settings = self.settings
        run = _Run(
            self._connect(settings),
            Encoder(
                lambda reason: self._settle(run, 1, reason),
                request_bytes=settings.request_bytes,
                masking=Masking() if settings.masked else None,
            ),
            Backoff(base_s=settings.retry_base_s, max_s=settings.retry_max_s),
        )
        return run

    # --- the application's side -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; does nothing if it has begun."""
        with self._changed:
            run = self._run
            if run.thread is not None:
                return
            thread = threading.Thread(target=self._main, args=(run,), name="seawall-otlp", daemon=True)
            thread.start()
            run.thread = thread
        _started.add(self)
        atexit.register(self.stop, EXIT_S)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Send what is in the lane now, without waiting for a full batch. Blocks; not for a loop's thread.

        Args:
            timeout_s: How long to wait for the collector.

        Returns:
            Whether all of it was settled in time: exported, or dropped with its reason counted.
        """
        with self._changed:
            run = self._run
            if run.thread is None:
                return False
            run.wanted += 1
            ours = run.wanted
            run.wake.set()
            self._changed.wait_for(lambda: run.flushed >= ours or run.given_up, timeout_s)
            return run.flushed >= ours

    def stop(self, timeout_s: float = 5.0) -> ExporterStatistics:
        """Send what is left, and end. What was taken and isn't sent in time is counted as dropped.

        Blocks; a coroutine calls it by ``asyncio.to_thread``. What comes into the lane later stays there for
        another start.

        Args:
            timeout_s: How long the collector has; 0 for not at all.

        Returns:
            The last statistics.
        """
        run = self._run
        if run.thread is not None:
            run.stop_at = self._clock() + timeout_s
            run.wake.set()
            run.thread.join(timeout_s)
            self._retire(run)
            atexit.unregister(self.stop)
        return self.statistics()

    def statistics(self) -> ExporterStatistics:
        """Counters, all of one moment."""
        with self._changed:
            return ExporterStatistics(
                taken=self._taken,
                exported=self._exported,
                dropped=dict(self._dropped),
                pending=self._pending,
                attempts=self._attempts,
                failed=dict(self._failed),
                faults=self._faults,
                troubles=self._run.backoff.troubles,
                last_complaint=self._last_complaint,
            )

    def __repr__(self) -> str:
        now = self.statistics()
        state = "stopped" if self._run.thread is None else "in trouble" if now.troubles else "running"
        return (
            f"<Exporter {state} exported={now.exported} dropped={sum(now.dropped.values())}"
            f" pending={now.pending}>"
        )

    # --- the thread -----------------------------------------------------------------------------------------

    def _main(self, run: _Run) -> None:
        for rest_s in self._turns(run):
            if rest_s <= SLICE_REST_S:
                time.sleep(SLICE_REST_S)
            else:
                run.wake.wait(rest_s)
                run.wake.clear()

    def _turns(self, run: _Run) -> Iterator[float]:
        """All that the thread does; how long it rests in between, unless it is woken."""
        try:
            while not run.given_up:
                try:
                    yield from self._export(run)
                except Exception as error:  # noqa: BLE001 -- counted; the application never sees it
                    self._fault(run, error)
                    yield FAULT_REST_S
                else:
                    return
        finally:
            with contextlib.suppress(Exception):
                run.transport.close()

    def _export(self, run: _Run) -> Iterator[float]:
        """Collect batches and send them, until stopped."""
        settings = self.settings
        batch: list[SpanLike] = []
        oldest_at = self._clock()
        while not run.given_up:
            # Looked at before the lane: who wants a flush then finds that all it offered before was taken.
            wanted, ending = run.wanted, run.stop_at is not None
            limit = min(settings.batch_spans - len(batch), TAKE_SPANS)
            if not batch:
                oldest_at = self._clock()
            emptied = self._take(run, limit, batch) < limit
            due = ending or wanted > run.flushed or self._clock() - oldest_at >= settings.batch_delay_s
            shipping = len(batch) >= settings.batch_spans or (emptied and due and len(batch) > 0)
            if shipping:
                yield from self._ship(run, batch)
            if emptied and not batch:
                self._caught_up(run, wanted)
                if ending:
                    return
            # Shipping takes its time: who rang meanwhile isn't kept waiting for the next poll.
            yield settings.poll_s if emptied and not shipping else 0.0

    def _ship(self, run: _Run, batch: list[SpanLike]) -> Iterator[float]:
        """Encode and send what is in ``batch``, and empty it."""
        for request in run.encoder.steps(_consumed(batch)):
            if request is None:
                yield 0.0
            else:
                yield from self._deliver(run, request)

    def _deliver(self, run: _Run, request: Request) -> Iterator[float]:
        """Send until it is settled."""
        settings, backoff, made_at = self.settings, run.backoff, self._clock()
        while not run.given_up:
            now = self._clock()
            if run.stop_at is not None and not run.hurried:
                run.hurried = True
                backoff.hurry()
            wait_s = backoff.wait_s(now)
            left_s = settings.timeout_s if run.stop_at is None else run.stop_at - now
            if run.stop_at is not None and max(wait_s, 0.0) >= left_s:
                self._settle(run, request.spans, "shutdown")
                return
            if wait_s > 0.0:
                yield wait_s
                continue
            verdict = run.transport.send(request.body, request.spans, min(settings.timeout_s, left_s))
            if self._settled(run, request, verdict, made_at):
                return

    # --- what is counted ------------------------------------------------------------------------------------

    def _take(self, run: _Run, limit: int, batch: list[SpanLike]) -> int:
        """Move spans from the lane to ``batch``, counted in one step; none for a run that was given up."""
        with self._changed:
            if run.given_up:
                return 0
            spans = self._source.take(limit)
            batch += spans
            self._taken += len(spans)
            self._pending += len(spans)
            return len(spans)

    def _settled(self, run: _Run, request: Request, verdict: Verdict, made_at: float) -> bool:
        """Count an attempt; whether there will be no other one."""
        with self._changed:
            if run.given_up:
                return True
            self._attempts += 1
            if verdict.text:
                self._last_complaint = self.settings.presentable(verdict.text)
            if verdict.answer is Answer.ACCEPTED:
                run.backoff.answered()
                self._pending -= request.spans
                self._exported += request.spans - verdict.rejected
                self._dropped["rejected"] += verdict.rejected
                return True
            self._failed[verdict.reason] += 1
            if verdict.answer is Answer.REFUSED:
                run.backoff.answered()
                self._settle(run, request.spans, "refused")
                return True
            now = self._clock()
            run.backoff.failed(now, self._rng, asked_s=verdict.retry_after_s)
            if now - made_at < self.settings.retry_elapsed_s:
                return False
            self._settle(run, request.spans, "expired")
            return True

    def _settle(self, run: _Run, spans: int, reason: str) -> None:
        """Count spans of a run as dropped; those of one that was given up have been."""
        with self._changed:
            if not run.given_up:
                self._pending -= spans
                self._dropped[reason] += spans

    def _fault(self, run: _Run, error: Exception) -> None:
        with self._changed:
            self._faults += 1
            self._last_complaint = f"fault: {type(error).__name__}"
            self._settle(run, self._pending, "fault")

    def _caught_up(self, run: _Run, wanted: int) -> None:
        if wanted > run.flushed:
            with self._changed:
                run.flushed = wanted
                self._changed.notify_all()

    # --- the end of a run -----------------------------------------------------------------------------------

    def _retire(self, run: _Run) -> None:
        """Drop what is pending; the next start finds everything new."""
        with self._changed:
            if not run.given_up:
                self._settle(run, self._pending, "shutdown")
                run.given_up = True
                self._run = self._new_run()
                self._changed.notify_all()

    def forked(self) -> None:
        """In a child process: spans and connection are the parent's, and its thread isn't here."""
        run = self._run
        run.given_up = True
        with contextlib.suppress(Exception):
            run.transport.forked()
        self._source.forget()
        self._begin()
        if run.thread is not None:
            self.start()


def _consumed(batch: list[SpanLike]) -> Iterator[SpanLike]:
    """The spans in order, each let go of once it is encoded: to free them all at once is a long step."""
    batch.reverse()
    while batch:
        yield batch.pop()


_started: Final[weakref.WeakSet[Exporter]] = weakref.WeakSet()


def _forked() -> None:
    for exporter in list(_started):
        with contextlib.suppress(Exception):  # nobody could be told
            exporter.forked()


# The system keeps such a hook for ever, so there is one for all exporters.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
