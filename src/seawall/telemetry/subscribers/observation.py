"""The door: joins a hub and its guards with a registry, the current spans and a logger.

What must not wait or be lost is done in the publisher's thread, and is quick: a count, an event of the
current span, the decision whether a line is due. What may wait, the logger, has a thread of its own behind a
bounded queue; it is started with the first line, and a process that was forked starts its own. Nothing that a
logger, a span or a guard does wrong reaches a guarded call.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

from seawall.kernel.errors import UsageError
from seawall.kernel.signals import DEFAULT_CAPACITY, Hub, Signal
from seawall.kernel.tally import Tally
from seawall.telemetry.logs.bound import get_logger
from seawall.telemetry.metrics.registry import Registry
from seawall.telemetry.subscribers.counting import Counting
from seawall.telemetry.subscribers.events import add_event, current_span
from seawall.telemetry.subscribers.lines import Note, Notes, TakesLines, say
from seawall.telemetry.subscribers.reading import Readings, Watched
from seawall.telemetry.tracing.current import enter, leave

__all__ = ["JOIN_TIMEOUT_S", "LOGGER", "Observation", "ObservationStatistics", "observe"]

JOIN_TIMEOUT_S: Final = 5.0
"""``close`` waits this long for a logger that is writing."""
LOGGER: Final = get_logger("seawall.guards")
"""Writes the lines unless another logger is given; says nothing until logs are configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationStatistics:
    """Counts since the observation began; ``offered`` is always ``accepted + dropped``.

    Attributes:
        signals: Signals seen.
        events: Events added to spans.
        offered: Lines that were due.
        accepted: Those that were written, could not be written, or are waiting.
        dropped: Those that the queue had no room for.
        queued: Those that wait.
        written: Those that the logger took.
        left_out: Signals that a later line of their kind stands for, or will.
        signal_errors: Signals that made no sense: they could not be counted, or judged for a line.
        event_errors: Exceptions that spans raised.
        line_errors: Lines that could not be written, since the logger raised or what they say made no sense.
        watched: Guards that are watched.
        watch_refused: Guards that are not, since there were too many.
        read_errors: Times that a guard could not be read.
        openings_forgotten: Openings of breakers that get no duration, since there were too many.
    """

    signals: int
    events: int
    offered: int
    accepted: int
    dropped: int
    queued: int
    written: int
    left_out: int
    signal_errors: int
    event_errors: int
    line_errors: int
    watched: int
    watch_refused: int
    read_errors: int
    openings_forgotten: int


class Observation:
    """A running observation; close it, or use it as a context manager. Made by :func:`observe`."""

    # fmt: off
    __slots__ = (
        "__weakref__", "_bell", "_closed", "_counting", "_event_errors", "_events", "_line_errors",
        "_logger", "_notes", "_readings", "_registry", "_signal_errors", "_signals", "_subscription",
        "_thread", "_tracing", "_written",
    )
    # fmt: on

    def __init__(
        self, hub: Hub, registry: Registry | None, logger: TakesLines | None, *, tracing: bool, capacity: int
    ) -> None:
        self._registry = registry
        self._counting = None if registry is None else Counting(registry)
        self._readings = None if registry is None else Readings(registry, hub)
        self._tracing = tracing
        self._logger = logger
        self._notes = Notes()
        self._signals, self._events, self._written = Tally(), Tally(), Tally()
        self._signal_errors, self._event_errors, self._line_errors = Tally(), Tally(), Tally()
        # True: there is something to take; False: the end. Its ``put`` may run inside its own ``get``, as
        # when a finalizer publishes; an Event would lock itself out.
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._subscription = hub.subscribe(capacity=capacity, on_ready=self._ready, on_signal=self._see)
        if self._readings is not None and registry is not None:
            try:
                registry.add_reader(self._readings.reading)
            except UsageError:
                self._subscription.close()
                raise
        atexit.register(self.close)
        _OPEN.add(self)
        _watch_forks()

    def watch(self, guard: Watched) -> bool:
        """Read a guard's own counters at every scrape, for as long as somebody else holds the guard.

        Args:
            guard: The guard itself; the views that ``at`` gives are not for keeping.

        Returns:
            Whether it is watched: not without a registry, nor above :data:`~.reading.WATCHED_MAX` guards.

        Raises:
            UsageError: It can't be referred to weakly.
        """
        return self._readings is not None and self._readings.watch(guard)

    def read(self) -> None:
        """Read the guards now; for a process whose registry is not scraped, as its cells are shared ones."""
        if self._readings is not None:
            for _ in self._readings.reading():
                pass

    def statistics(self) -> ObservationStatistics:
        """Counts at this moment."""
        subscription, readings, counting = self._subscription, self._readings, self._counting
        offered, dropped = subscription.offered, subscription.dropped
        return ObservationStatistics(
            signals=self._signals.value,
            events=self._events.value,
            offered=offered,
            accepted=offered - dropped,
            dropped=dropped,
            queued=subscription.queued,
            written=self._written.value,
            left_out=self._notes.left_out.value,
            signal_errors=self._signal_errors.value,
            event_errors=self._event_errors.value,
            line_errors=self._line_errors.value,
            watched=0 if readings is None else readings.watched,
            watch_refused=0 if readings is None else readings.refused,
            read_errors=0 if readings is None else readings.failed,
            openings_forgotten=0 if counting is None else counting.forgotten,
        )

    def close(self) -> None:
        """Listen no more, write what is queued (for a limited time), and end; twice does nothing.

        Counters and histograms stay in the registry, and so do gauges as they were. An event loop that closes
        it waits for as long as the logger needs, at most :data:`JOIN_TIMEOUT_S`.
        """
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        _OPEN.discard(self)
        self._subscription.close()
        if self._registry is not None and self._readings is not None:
            self._registry.remove_reader(self._readings.reading)
        thread = self._thread
        self._bell.put(False)
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Observation {state} signals={self._signals.value} queued={self._subscription.queued}>"

    # -- in the publishers' threads --------------------------------------------------------------------------

    def _see(self, signal: Signal) -> Signal | None:
        self._signals.add()
        if self._counting is not None:
            try:
                self._counting.count(signal)
            except Exception:  # noqa: BLE001  # a signal of somebody else's making may hold anything
                self._signal_errors.add()
        if self._tracing:
            self._mark(signal)
        if self._logger is None:
            return None
        try:
            return self._notes.note(signal, current_span)
        except Exception:  # noqa: BLE001  # as above
            self._signal_errors.add()
            return None

    def _mark(self, signal: Signal) -> None:
        try:
            span = current_span()
            if span is not None and add_event(signal, span):
                self._events.add()
        except Exception:  # noqa: BLE001  # a span is of whatever provider the application has
            self._event_errors.add()

    def _ready(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="seawall-guards", daemon=True)
            thread.start()
            self._thread = thread
        self._bell.put(True)

    # -- on the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        going_on = True
        while going_on:
            going_on = self._bell.get()
            self._write()

    def _write(self) -> None:
        logger = self._logger
        for note in self._subscription.take():
            if logger is None or not isinstance(note, Note):
                continue
            # So that the line has the trace of where it happened.
            token = None if note.span is None else enter(note.span)
            try:
                say(note, logger)
            except Exception:  # noqa: BLE001  # a logger is the application's
                self._line_errors.add()
            else:
                self._written.add()
            finally:
                if token is not None:
                    leave(token)

    def forked(self) -> None:
        """Begin anew in a child process; what was queued is the parent's to write."""
        self._bell = SimpleQueue()
        self._thread = None
        self._subscription.take()


_OPEN: weakref.WeakSet[Observation] = weakref.WeakSet()
_WATCHED: list[bool] = []


def _watch_forks() -> None:
    # A hook of the interpreter can't be taken back: there is one for all, and none before the first.
    if not _WATCHED:
        _WATCHED.append(True)
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    for observation in list(_OPEN):
        observation.forked()


def observe(
    hub: Hub,
    *,
    registry: Registry | None = None,
    tracing: bool = True,
    logger: TakesLines | None = LOGGER,
    guards: Iterable[Watched] = (),
    capacity: int = DEFAULT_CAPACITY,
) -> Observation:
    """Make metrics, span events and log lines of what guards do, until the observation is closed.

    Two observations of one hub into one registry count everything twice.

    Args:
        hub: Where they announce it; ``seawall.resilience.system.HUB`` unless they were given another.
        registry: Where it is counted; nothing is without one.
        tracing: Whether the span that is current when something happens gets an event.
        logger: Writes the lines; ``None`` for none. By default this package's, named ``seawall.guards``.
        guards: Those whose own counters are read at every scrape, as by :meth:`Observation.watch`.
        capacity: Lines that may wait for the logger.

    Returns:
        The observation; whoever holds it closes it. The end of the program does so too.

    Raises:
        UsageError: The capacity is out of range, there are too many subscribers or readers, the registry has
            other metrics of these names, or a guard can't be watched.

    Example:
        >>> from seawall.kernel.signals import Hub
        >>> with observe(Hub(), registry=Registry()) as observation:
        ...     observation.statistics().signals
        0
    """
    observation = Observation(hub, registry, logger, tracing=tracing, capacity=capacity)
    try:
        for guard in guards:
            observation.watch(guard)
    except BaseException:
        observation.close()
        raise
    return observation
