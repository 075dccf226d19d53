"""The writer: a registry in, bytes of any format out, a slice at a time.

An event loop that is held for milliseconds is one that a failing server waits for, so nothing here writes
more than a slice in one go: whoever serves a scrape takes one, lets the loop have its turn, and takes the
next. A thread would not do instead: the GIL makes the loop wait for it just the same. Slices see the
registry as it is when they are written. A scrape is no snapshot, and no format promises one.

A part that can't be read (a broken source, a family that raises) is left out and counted, never the whole
scrape.

Called by the server for scrapes, once per scrape; it opens no socket and reads no clock. Several scrapes
may be under way at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, final

from seawall.telemetry.exposition import openmetrics, protobuf, text
from seawall.telemetry.exposition.compression import gzipped
from seawall.telemetry.exposition.formats import FORMATS, Format, Syntax
from seawall.telemetry.exposition.grouping import sample_metrics
from seawall.telemetry.exposition.lines import cell_lines, sample_line
from seawall.telemetry.exposition.losses import Losses
from seawall.telemetry.exposition.names import escape_metric
from seawall.telemetry.exposition.negotiation import accepts_gzip, negotiate
from seawall.telemetry.exposition.readings import samples_of
from seawall.telemetry.exposition.settings import Settings
from seawall.telemetry.exposition.sources import (
    FamilyShape,
    MetricShape,
    RegistryShape,
    Sample,
    SampleFamily,
    Source,
)
from seawall.telemetry.exposition.views import View, claims, views_of

__all__ = ["SOURCES_MAX", "VIEWS_MAX", "Scrape", "Writer", "WriterStatistics"]

SOURCES_MAX: Final = 16
"""Each source's families are made in one go, so each may hold the loop."""
VIEWS_MAX: Final = 4_096
"""Metrics whose views are remembered, by format; beyond it they are made anew in every scrape."""


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """One moment of a writer.

    Attributes:
        scrapes: Scrapes written to their end.
        series: Series written in all of them.
        views: Metrics whose views are remembered.
        views_refused: Times that views were made and could not be remembered.
        exemplars_dropped: Exemplars that no format allows.
        families_dropped: Families that could not be read to their end.
        families_clashing: Families left out because another one had their name.
        sources_failed: Times that a source failed.
    """

    scrapes: int
    series: int
    views: int
    views_refused: int
    exemplars_dropped: int
    families_dropped: int
    families_clashing: int
    sources_failed: int


@dataclass(frozen=True, slots=True)
class Scrape:
    """The answer to one scrape.

    Attributes:
        headers: Content type, encoding and what the answer varies by.
        slices: The body; an empty slice is a pause, with nothing to send.
    """

    headers: tuple[tuple[str, str], ...]
    slices: Iterator[bytes]


@dataclass(slots=True)
class _Block:
    """Part of an exposition under one name: what stands above, and whoever writes the next so many units."""

    head: bytes
    tail: bytes
    cost: int
    take: Callable[[int], list[Any]]


@final
class Writer:
    """Writes one registry.

    Args:
        registry: The families with their cells.
        settings: How they are named and numbered.
        sources: Families of others, written behind the registry's own.

    Raises:
        ValueError: There are too many sources.
    """

    __slots__ = ("_losses", "_refused", "_registry", "_scrapes", "_series", "_settings", "_sources", "_views")

    def __init__(
        self, registry: RegistryShape, settings: Settings | None = None, sources: Sequence[Source] = ()
    ) -> None:
        if len(sources) > SOURCES_MAX:
            raise ValueError(
                f"{len(sources)} sources: at most {SOURCES_MAX}; join them in one registry first"
            )
        self._registry = registry
        self._settings = Settings() if settings is None else settings
        self._sources = tuple(sources)
        self._views: dict[tuple[str, Format], tuple[MetricShape, str, tuple[View, ...]]] = {}
        self._losses = Losses()
        self._refused = 0
        self._scrapes = 0
        self._series = 0

    def scrape(self, accept: str | None = None, accept_encoding: str | None = None) -> Scrape:
        """Answer a request.

        Args:
            accept: Its header ``Accept``, or ``None``.
            accept_encoding: Its header ``Accept-Encoding``, or ``None``.

        Returns:
            Headers and slices.
        """
        form = negotiate(accept)
        headers = [("content-type", form.content_type), ("vary", "accept, accept-encoding")]
        slices = self.slices(form)
        if accepts_gzip(accept_encoding):
            headers.append(("content-encoding", "gzip"))
            slices = gzipped(slices)
        return Scrape(tuple(headers), slices)

    def slices(self, form: Format = FORMATS[0]) -> Iterator[bytes]:
        """The exposition in slices of at most the settings' number of series.

        Args:
            form: The format.

        Yields:
            Bytes. A slice is empty where a protobuf family, whose length has to come first, is still
            gathered.
        """
        if form.syntax is Syntax.PROTOBUF:
            yield from self._messages(form)
        else:
            yield from self._texts(form)
        self._scrapes += 1

    def write(self, form: Format = FORMATS[0]) -> bytes:
        """The whole exposition at once, for whoever has no loop to hold: a command, a test.

        Args:
            form: The format.
        """
        return b"".join(self.slices(form))

    def statistics(self) -> WriterStatistics:
        """Counters of one moment."""
        losses = self._losses
        return WriterStatistics(
            scrapes=self._scrapes,
            series=self._series,
            views=len(self._views),
            views_refused=self._refused,
            exemplars_dropped=losses.exemplars,
            families_dropped=losses.families,
            families_clashing=losses.clashes,
            sources_failed=losses.sources,
        )

    def __repr__(self) -> str:
        return f"<Writer scrapes={self._scrapes} series={self._series} {self._losses!r}>"

    def _texts(self, form: Format) -> Iterator[bytes]:
        limit = room = self._settings.slice_series
        out: list[bytes] = []
        for block in self._blocks(form):
            head = block.head
            while True:
                if room < block.cost and room < limit:
                    yield b"".join(out)
                    out, room = [], limit
                lines = self._taken(block, max(1, room // block.cost))
                if not lines:
                    break
                out.append(head)
                head = b""
                while len(lines) > room:
                    # Only a histogram or state set with more lines than a slice holds comes here.
                    out.append(_encoded(lines[:room]))
                    lines = lines[room:]
                    yield b"".join(out)
                    out, room = [], limit
                out.append(_encoded(lines))
                room -= len(lines)
        if form.syntax is Syntax.OPENMETRICS:
            out.append(openmetrics.END)
        yield b"".join(out)

    def _messages(self, form: Format) -> Iterator[bytes]:
        limit = room = self._settings.slice_series
        out: list[bytes] = []
        for block in self._blocks(form):
            cost = min(block.cost, limit)
            gathered: list[bytes] = []
            while True:
                if room < cost:
                    yield b"".join(out)
                    out, room = [], limit
                units = max(1, room // cost)
                metrics = self._taken(block, units)
                if not metrics:
                    break
                gathered.append(b"".join(metrics))
                room -= min(units, len(metrics)) * cost
            if not gathered:
                continue
            length = len(block.head) + len(block.tail) + sum(map(len, gathered))
            out += (protobuf.framed(length), block.head, gathered[0])
            for piece in gathered[1:]:
                yield b"".join(out)
                out = [piece]
            out.append(block.tail)
        yield b"".join(out)

    def _taken(self, block: _Block, units: int) -> list[Any]:
        try:
            taken = block.take(units)
        except Exception:  # noqa: BLE001 -- one family that can't be read must not cost the others
            self._losses.families += 1
            return []
        self._series += len(taken)
        return taken

    def _blocks(self, form: Format) -> Iterator[_Block]:
        """Everything that is to be written, each name once."""
        taken: set[str] = set()
        for family in self._registry.families():
            if not family.cells:
                continue
            for view in self._views_of(family.metric, form):
                if self._claimed(view.name, view.type, taken):
                    yield self._cells_block(view, family, form)
        for source in self._sources:
            for found in self._collected(source):
                if found.samples and self._claimed(found.name, found.type, taken):
                    yield from self._samples_blocks(found, form)

    def _claimed(self, name: str, kind: str, taken: set[str]) -> bool:
        names = claims(name, kind)
        if taken.isdisjoint(names):
            taken |= names
            return True
        self._losses.clashes += 1
        return False

    def _views_of(self, metric: MetricShape, form: Format) -> tuple[View, ...]:
        settings = self._settings
        namespace = self._registry.namespace if settings.namespace is None else settings.namespace
        key = (metric.name, form)
        known = self._views.get(key)
        if known is not None and known[0] is metric and known[1] == namespace:
            return known[2]
        views = views_of(metric, settings, namespace, form)
        for view in views:
            view.head = _head(view, form)
        if known is None and len(self._views) >= VIEWS_MAX:
            self._refused += 1
        else:
            self._views[key] = (metric, namespace, views)
        return views

    def _cells_block(self, view: View, family: FamilyShape, form: Format) -> _Block:
        # The copy is one step of the interpreter, whatever other threads add meanwhile.
        cells = iter(family.cells.copy().items())
        if form.syntax is not Syntax.PROTOBUF:
            return _Block(view.head, b"", view.cost, partial(self._take_lines, view, cells, form))
        head, tail = view.head, protobuf.tail(view.unit)
        if view.plain:
            return _Block(head, tail, view.cost, partial(self._take_metrics, view, cells))
        found = SampleFamily(
            view.name, view.type, family.metric.help, view.unit, list(samples_of(view, cells))
        )
        return _Block(head, tail, view.cost, _taker(sample_metrics(found, form, self._losses)))

    def _take_lines(self, view: View, cells: Iterator[Any], form: Format, units: int) -> list[str]:
        return cell_lines(view, list(islice(cells, units)), form, self._losses)

    def _take_metrics(self, view: View, cells: Iterator[Any], units: int) -> list[bytes]:
        return protobuf.cell_metrics(view, list(islice(cells, units)), self._losses)

    def _collected(self, source: Source) -> Iterator[SampleFamily]:
        try:
            yield from source.collect()
        except Exception:  # noqa: BLE001 -- a source is a stranger's; what it still had is left out
            self._losses.sources += 1

    def _samples_blocks(self, family: SampleFamily, form: Format) -> Iterator[_Block]:
        if form.syntax is Syntax.PROTOBUF:
            metrics = sample_metrics(family, form, self._losses)
            name = _message_name(family.name, family.type)
            head = protobuf.head(escape_metric(name, form.escaping), family.type, family.help)
            yield _Block(head, protobuf.tail(family.unit), 1, _taker(metrics))
            return
        created = self._settings.created_at is not None
        blocks = (
            openmetrics.blocks(family, form, created=created)
            if form.syntax is Syntax.OPENMETRICS
            else text.blocks(family, form)
        )
        for head_lines, samples in blocks:
            yield _Block(_encoded([head_lines]), b"", 1, _taker(self._lines(samples, form)))

    def _lines(self, samples: Iterable[Sample], form: Format) -> Iterator[str]:
        for sample in samples:
            line = sample_line(sample, form, self._losses)
            if line:
                yield line


def _taker(pieces: Iterator[Any]) -> Callable[[int], list[Any]]:
    return lambda units: list(islice(pieces, units))


def _head(view: View, form: Format) -> bytes:
    if form.syntax is Syntax.OPENMETRICS:
        return _encoded([openmetrics.head(view, form)])
    if form.syntax is Syntax.TEXT:
        return _encoded([text.head(view, form)])
    return protobuf.head(escape_metric(view.sample, form.escaping), view.type, view.metric.help)


def _message_name(name: str, kind: str) -> str:
    return name + {"counter": "_total", "info": "_info"}.get(kind, "")


def _encoded(lines: list[str]) -> bytes:
    return "".join(lines).encode("utf-8", "replace")
