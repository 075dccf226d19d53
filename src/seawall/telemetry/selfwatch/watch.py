"""Reads the parts at every scrape and puts what they say into cells.

A part counts for itself, from its own birth. Here its totals become counters that only grow: what is added is
the difference to the reading before, or all of it if the part has begun anew, as parts do in a forked child.
Gauges of several parts of one kind are added up.

A part that can't be asked is left out of that scrape and counted; nothing here fails a scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from seawall.kernel.errors import UsageError
from seawall.telemetry.catalogue import own
from seawall.telemetry.exposition.writer import Readable, WriterStatistics
from seawall.telemetry.metrics.families import Family
from seawall.telemetry.metrics.metric import Kind, Metric
from seawall.telemetry.metrics.registry import Registry
from seawall.telemetry.selfwatch import readings
from seawall.telemetry.selfwatch.process import of_process
from seawall.telemetry.selfwatch.readings import Reading

if TYPE_CHECKING:
    from seawall.telemetry.logs.handle import LogStatistics
    from seawall.telemetry.metrics.gathering import CollectorStatistics
    from seawall.telemetry.otlp.exporter import ExporterStatistics
    from seawall.telemetry.tracing.provider import TracingStatistics

__all__ = ["SOURCES_MAX", "SelfWatch", "Watched"]

SOURCES_MAX: Final = 16
"""Parts that one watch asks; a process has a handful."""


class HasTracing(Protocol):
    """A tracer provider."""

    def statistics(self) -> TracingStatistics:
        """One moment of it."""


class HasExports(Protocol):
    """An exporter of spans."""

    def statistics(self) -> ExporterStatistics:
        """One moment of it."""


class HasLogs(Protocol):
    """A log handle."""

    def statistics(self) -> LogStatistics:
        """One moment of it."""


class HasScrapes(Protocol):
    """A writer of metrics."""

    def statistics(self) -> WriterStatistics:
        """One moment of it."""


class HasSums(Protocol):
    """A collector."""

    def statistics(self) -> CollectorStatistics:
        """One moment of it."""


@final
class _Part:
    """One part, and what it said last."""

    __slots__ = ("ask", "name", "seen")

    def __init__(self, name: str, ask: Callable[[], Iterable[Reading]]) -> None:
        self.name = name
        self.ask = ask
        self.seen: dict[tuple[str, tuple[str, ...]], float] = {}


@final
class SelfWatch:
    """Telemetry's own metrics.

    Args:
        registry: Where they are.
        collector: What sums up this registry and those of other processes; then the series are all of theirs,
            and without it the registry's own.
        process: Whether what the system knows of this process is read too.
    """

    __slots__ = ("_families", "_parts", "_process")

    def __init__(self, registry: Registry, *, collector: HasSums | None = None, process: bool = True) -> None:
        self._families: Final = {row.name: registry.declare(row) for row in own.OWN}
        self._parts: list[_Part] = []
        self._process = _Part("process", lambda: ()) if process else None
        built = readings.build()
        self._families[built.metric.name].cell(*built.values)
        if collector is None:
            self._add("registry", lambda: readings.of_registry(registry.statistics()))
        else:
            self._add("collector", lambda: readings.of_collector(collector.statistics()))

    def tracing(self, provider: HasTracing) -> None:
        """Watch a tracer provider.

        Raises:
            UsageError: There are too many parts.
        """
        self._add("tracing", lambda: readings.of_tracing(provider.statistics()))

    def exporter(self, exporter: HasExports) -> None:
        """Watch an exporter.

        Raises:
            UsageError: There are too many parts.
        """
        self._add("exporter", lambda: readings.of_exporter(exporter.statistics()))

    def logs(self, handle: HasLogs) -> None:
        """Watch a log handle.

        Raises:
            UsageError: There are too many parts.
        """
        self._add("logs", lambda: readings.of_logs(handle.statistics()))

    def writer(self, writer: HasScrapes) -> None:
        """Watch a writer of metrics.

        Raises:
            UsageError: There are too many parts.
        """
        self._add("writer", lambda: readings.of_writer(writer.statistics()))

    def refreshing(self) -> Iterator[None]:
        """Read every part.

        Yields:
            Nothing, after each part: an event loop may have its turn.
        """
        present: dict[tuple[Metric, tuple[str, ...]], float] = {}
        for part in self._parts:
            self._ask(part, present)
            yield
        if self._process is not None:
            part = self._process
            yield from of_process(lambda reading: self._take(part, reading, present))
        for (metric, values), value in present.items():
            self._families[metric.name].cell(*values).set(value)

    def refresh(self) -> None:
        """Read every part at once, for whoever has no loop to hold."""
        for _ in self.refreshing():
            continue

    def _add(self, name: str, ask: Callable[[], Iterable[Reading]]) -> None:
        if len(self._parts) >= SOURCES_MAX:
            raise UsageError(f"{SOURCES_MAX} parts already: a process has one of each, or a few")
        self._parts.append(_Part(name, ask))

    def _ask(self, part: _Part, present: dict[tuple[Metric, tuple[str, ...]], float]) -> None:
        try:
            for reading in part.ask():
                self._take(part, reading, present)
        except Exception:  # noqa: BLE001  # whatever is wrong with one part, the scrape goes on
            self._families[own.UNREADABLE.name].cell(part.name).inc()

    def _take(
        self, part: _Part, reading: Reading, present: dict[tuple[Metric, tuple[str, ...]], float]
    ) -> None:
        metric, values, value = reading
        if metric.kind is not Kind.COUNTER:
            present[metric, values] = present.get((metric, values), 0.0) + value
            return
        key = (metric.name, values)
        before = part.seen.get(key, 0.0)
        part.seen[key] = value
        self._families[metric.name].cell(*values).inc(value - before if value >= before else value)

    def __repr__(self) -> str:
        return f"<SelfWatch {' '.join(part.name for part in self._parts)}>"


@final
class Watched:
    """What a writer reads, with the watch read first.

    Args:
        readable: What it would read otherwise; the watch's registry is in it, or is it.
        watch: The watch.
    """

    __slots__ = ("_readable", "_watch")

    def __init__(self, readable: Readable, watch: SelfWatch) -> None:
        self._readable = readable
        self._watch = watch

    def families(self) -> Sequence[Family[Any]]:
        """All families, as of the last refreshing."""
        return self._readable.families()

    def refreshing(self, now: float) -> Iterator[None]:
        """Read the parts, then bring the rest up to date.

        Args:
            now: Monotonic seconds.

        Yields:
            Nothing, now and then: an event loop may have its turn.
        """
        yield from self._watch.refreshing()
        yield from self._readable.refreshing(now)

    def __repr__(self) -> str:
        return f"<Watched {self._readable!r}>"
