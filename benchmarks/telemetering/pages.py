"""Ten thousand series as a page: counters, gauges and the lines of histograms, ours and prometheus_client's.

Both hold the same metrics under the same labels, and both pages have the same number of samples, which is
looked at before anything is measured. The rival writes no ``_created`` samples: they would cost it more.
All counters move between two pages, so what is written is never what was written before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import prometheus_client
from prometheus_client import CollectorRegistry, disable_created_metrics, exposition, openmetrics

from benchmarks.harness import Arm, cpu_clock
from benchmarks.telemetering.costs import OURS, PROMETHEUS, Row
from benchmarks.telemetering.instruments import BUCKETS
from seawall.telemetry.exposition import Format, Settings, Writer
from seawall.telemetry.metrics import Kind, Metric, Registry

__all__ = ["SERIES", "Pages", "build", "rows", "samples"]

SERIES = 10_000
HISTOGRAMS = 285
LINES_EACH = len(BUCKETS) + 3
"""A bucket for each bound, that of infinity, sum and count."""
GAUGES = 2_000
COUNTERS = SERIES - GAUGES - HISTOGRAMS * LINES_EACH
TEXT_MS = 10.0
LABELS = ("backend", "number")


class _Counting(Protocol):
    def inc(self, amount: float = ..., /) -> None: ...


@dataclass(frozen=True)
class Pages:
    """The same series twice.

    Attributes:
        registry: Ours.
        writer: Writes it.
        theirs: prometheus_client's.
        move: Moves all counters of both.
    """

    registry: Registry
    writer: Writer
    theirs: CollectorRegistry
    move: Callable[[], None]

    def forget(self) -> None:
        """Forget what the writer keeps of each series."""
        for family in self.registry.families():
            for cell in family.cells.values():
                cell.line = None


def build() -> Pages:
    """Make both, with something in each series."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
    registry, theirs = Registry(series_limit=SERIES), CollectorRegistry()
    limits = {"labels": LABELS, "limit": SERIES, "values_limit": SERIES}
    calls = registry.counter(Metric(name="calls", kind=Kind.COUNTER, help="Calls.", **limits))  # type: ignore[arg-type]  # as its fields are
    clients = registry.gauge(Metric(name="clients", kind=Kind.GAUGE, help="Clients.", **limits))  # type: ignore[arg-type]  # as above
    waits = registry.histogram(
        Metric(name="wait", kind=Kind.HISTOGRAM, help="Wait.", unit="seconds", buckets=BUCKETS, **limits)  # type: ignore[arg-type]  # as above
    )
    their_calls = prometheus_client.Counter("calls", "Calls.", LABELS, registry=theirs)
    their_clients = prometheus_client.Gauge("clients", "Clients.", LABELS, registry=theirs)
    their_waits = prometheus_client.Histogram(
        "wait_seconds", "Wait.", LABELS, buckets=BUCKETS, registry=theirs
    )
    counters: list[_Counting] = []
    for values in _labels(COUNTERS):
        counters += (calls.cell(*values), their_calls.labels(*values))
    for index, values in enumerate(_labels(GAUGES)):
        clients.cell(*values).set(index * 1.5)
        their_clients.labels(*values).set(index * 1.5)
    for index, values in enumerate(_labels(HISTOGRAMS)):
        for number in range(20):
            waits.cell(*values).observe(0.001 * (index + 3) * number)
            their_waits.labels(*values).observe(0.001 * (index + 3) * number)

    def move() -> None:
        for index, counter in enumerate(counters):
            counter.inc(1 + (index // 2) % 3)

    move()
    pages = Pages(registry, Writer(registry, Settings(namespace="")), theirs, move)
    ours, other = samples(pages.writer.write()), samples(exposition.generate_latest(theirs))
    assert ours == other == SERIES, f"pages of {ours} and {other} samples, not {SERIES}"
    return pages


def samples(page: bytes) -> int:
    """How many samples a page of text has."""
    return sum(1 for line in page.splitlines() if line and not line.startswith(b"#"))


def rows(pages: Pages) -> list[Row]:
    """The page in each format, and the first one of all."""
    written = f"{SERIES:,} series as "
    writer, theirs = pages.writer, pages.theirs
    return [
        Row(
            name=f"{written}text",
            target=TEXT_MS,
            unit="ms",
            number=1,
            arms={
                OURS: _arm(pages, lambda: writer.write(Format.TEXT)),
                PROMETHEUS: _arm(pages, lambda: exposition.generate_latest(theirs)),
            },
        ),
        Row(
            name=f"{written}text, the first page",
            unit="ms",
            number=1,
            arms={OURS: _first(pages)},
        ),
        Row(
            name=f"{written}OpenMetrics",
            unit="ms",
            number=1,
            arms={
                OURS: _arm(pages, lambda: writer.write(Format.OPENMETRICS)),
                PROMETHEUS: _arm(pages, lambda: openmetrics.exposition.generate_latest(theirs)),  # type: ignore[no-untyped-call]  # the library's
            },
        ),
        Row(
            name=f"{written}protobuf",
            unit="ms",
            number=1,
            arms={OURS: _arm(pages, lambda: writer.write(Format.PROTOBUF))},
        ),
        Row(
            name=f"{written}text, gzipped for a scraper",
            unit="ms",
            number=1,
            arms={OURS: _arm(pages, lambda: b"".join(writer.scrape(None, "gzip").slices))},
        ),
    ]


def _labels(count: int) -> Iterable[tuple[str, str]]:
    return ((f"backend-{number % 20}", str(number)) for number in range(count))


def _first(pages: Pages) -> Arm:
    """The page of a writer that has seen no series yet; when the clock has stopped it sees them all again."""

    def run(number: int) -> float:
        spent = 0.0
        for _ in range(number):
            pages.forget()
            started = cpu_clock()
            pages.writer.write(Format.TEXT)
            spent += cpu_clock() - started
            pages.writer.write(Format.PROTOBUF)
        return spent

    return run


def _arm(pages: Pages, write: Callable[[], bytes]) -> Arm:
    def run(number: int) -> float:
        spent = 0.0
        for _ in range(number):
            pages.move()
            started = cpu_clock()
            write()
            spent += cpu_clock() - started
        return spent

    return run
