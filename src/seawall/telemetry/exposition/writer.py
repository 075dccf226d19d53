"""The writer: a registry in, bytes of any format out, a slice at a time.

An event loop that is held for milliseconds is one that a failing server waits for, so nothing here writes
more than a slice in one go: whoever serves a scrape takes one, lets the loop have its turn, and takes the
next. A thread would not do instead: the GIL makes the loop wait for it just the same. Slices see the
registry as it is when they are written. A scrape is no snapshot, and no format promises one.

Before the first line the registry is brought up to date, in slices as well: what is idle goes, what workers
have counted is summed. Nobody else has to think of it.

A part that can't be read (a broken source, a family that raises) is left out and counted, never the whole
scrape.

Called by the server, once per scrape; it opens no socket. Several scrapes may be under way at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any, Final, Protocol, final

from seawall.telemetry.exposition import protobuf, text
from seawall.telemetry.exposition.formats import Format, accepts_gzip, negotiate
from seawall.telemetry.exposition.grouping import sample_metrics
from seawall.telemetry.exposition.samples import Sample, SampleFamily, Source, claims
from seawall.telemetry.exposition.settings import Settings
from seawall.telemetry.exposition.values import Losses
from seawall.telemetry.exposition.views import View, views_of
from seawall.telemetry.metrics.families import Family
from seawall.telemetry.metrics.metric import Metric

__all__ = ["SOURCES_MAX", "Readable", "Scrape", "Writer", "WriterStatistics"]

SOURCES_MAX: Final = 16
"""Each source's families are made in one go, so each may hold the loop."""
FAMILY_COST: Final = 10
"""Series that could be written while a family is begun."""

_LEVEL: Final = 1
"""Series resemble each other so much that the fastest compression already leaves a tenth."""
_GZIP: Final = 16 + zlib.MAX_WBITS
"""Makes zlib write gzip's header and checksum around its stream."""


class Readable(Protocol):
    """What counts in this process (a registry), what sums up all of them, or what stands before either."""

    def families(self) -> Sequence[Family[Any]]:
        """All families in the order of their names."""

    def refreshing(self, now: float) -> Iterator[None]:
        """Bring them up to date, in slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStatistics:
    """One moment of a writer.

    Attributes:
        scrapes: Scrapes written to their end.
        series: Series written in all of them.
        exemplars_dropped: Exemplars that no format allows.
        families_dropped: Families that could not be read to their end.
        families_clashing: Families left out because another one had their name.
        sources_failed: Times that a source failed.
        refreshes_failed: Times that the registry could not be brought up to date, and was written as it was.
    """

    scrapes: int
    series: int
    exemplars_dropped: int
    families_dropped: int
    families_clashing: int
    sources_failed: int
    refreshes_failed: int


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
        clock: Gives monotonic seconds, by which gauges are idle.

    Raises:
        ValueError: There are too many sources.
    """

    __slots__ = (
        "_clock",
        "_losses",
        "_registry",
        "_scrapes",
        "_series",
        "_settings",
        "_sources",
        "_views",
    )

    def __init__(
        self,
        registry: Readable,
        settings: Settings | None = None,
        sources: Sequence[Source] = (),
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if len(sources) > SOURCES_MAX:
            raise ValueError(
                f"{len(sources)} sources: at most {SOURCES_MAX}; join them in one registry first"
            )
        self._registry = registry
        self._settings = Settings() if settings is None else settings
        self._sources = tuple(sources)
        self._clock = clock
        # Bounded by the registry, which has only so many metrics.
        self._views: dict[tuple[str, Format], tuple[View, ...]] = {}
        self._losses = Losses()
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
            slices = _gzipped(slices)
        return Scrape(tuple(headers), slices)

    def slices(self, form: Format = Format.TEXT) -> Iterator[bytes]:
        """The exposition in slices of at most the settings' number of series.

        Args:
            form: The format.

        Yields:
            Bytes. A slice is empty while the registry is brought up to date, and where a protobuf family,
            whose length has to come first, is still gathered.
        """
        yield from self._refreshing()
        if form is Format.PROTOBUF:
            yield from self._messages()
        else:
            yield from self._texts(form)
        self._scrapes += 1

    def write(self, form: Format = Format.TEXT) -> bytes:
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
            exemplars_dropped=losses.exemplars,
            families_dropped=losses.families,
            families_clashing=losses.clashes,
            sources_failed=losses.sources,
            refreshes_failed=losses.refreshes,
        )

    def __repr__(self) -> str:
        return f"<Writer scrapes={self._scrapes} series={self._series} {self._losses!r}>"

    def _refreshing(self) -> Iterator[bytes]:
        try:
            for _ in self._registry.refreshing(self._clock()):
                yield b""
        except Exception:  # noqa: BLE001  # numbers that are a scrape old are better than none
            self._losses.refreshes += 1

    def _texts(self, form: Format) -> Iterator[bytes]:
        limit = room = self._settings.slice_series
        out: list[bytes] = []
        for block in self._blocks(form):
            head = block.head
            room -= FAMILY_COST
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
        if form is Format.OPENMETRICS:
            out.append(text.END)
        yield b"".join(out)

    def _messages(self) -> Iterator[bytes]:
        limit = room = self._settings.slice_series
        out: list[bytes] = []
        for block in self._blocks(Format.PROTOBUF):
            cost = min(block.cost, limit)
            gathered: list[bytes] = []
            room -= FAMILY_COST
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
            out += (protobuf.varint(length), block.head, gathered[0])
            for piece in gathered[1:]:
                yield b"".join(out)
                out = [piece]
            out.append(block.tail)
        yield b"".join(out)

    def _taken(self, block: _Block, units: int) -> list[Any]:
        try:
            taken = block.take(units)
        except Exception:  # noqa: BLE001  # one family that can't be read must not cost the others
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
                if self._claimed(view.claims, taken):
                    yield self._cells_block(view, family, form)
        for source in self._sources:
            for found in self._collected(source):
                try:
                    blocks = self._samples_blocks(found, form)
                    names = claims(found.name, found.type)
                except Exception:  # noqa: BLE001  # as above
                    self._losses.families += 1
                    continue
                if found.samples and self._claimed(names, taken):
                    yield from blocks

    def _claimed(self, names: frozenset[str], taken: set[str]) -> bool:
        if taken.isdisjoint(names):
            taken |= names
            return True
        self._losses.clashes += 1
        return False

    def _views_of(self, metric: Metric, form: Format) -> tuple[View, ...]:
        views = self._views.get((metric.name, form))
        if views is None:
            views = views_of(metric, self._settings, form)
            for view in views:
                view.head = _head(view, form)
            self._views[metric.name, form] = views
        return views

    def _cells_block(self, view: View, family: Family[Any], form: Format) -> _Block:
        # The copy is one step of the interpreter, whatever other threads add meanwhile.
        cells = iter(family.cells.copy().items())
        if form is Format.PROTOBUF:
            tail = protobuf.tail(view.unit)
            return _Block(view.head, tail, view.cost, partial(self._take_metrics, view, cells))
        losses = self._losses if form is Format.OPENMETRICS else None
        return _Block(view.head, b"", view.cost, partial(_take_lines, view, cells, losses))

    def _take_metrics(self, view: View, cells: Iterator[Any], units: int) -> list[bytes]:
        return protobuf.cell_metrics(view, list(islice(cells, units)), self._losses)

    def _collected(self, source: Source) -> Iterator[SampleFamily]:
        try:
            yield from source.collect()
        except Exception:  # noqa: BLE001  # a source is a stranger's; what it still had is left out
            self._losses.sources += 1

    def _samples_blocks(self, family: SampleFamily, form: Format) -> list[_Block]:
        if form is Format.PROTOBUF:
            name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
            head = protobuf.head(name, family.type, family.help)
            metrics = sample_metrics(family, self._losses)
            return [_Block(head, protobuf.tail(family.unit), 1, _taker(metrics))]
        losses = self._losses if form is Format.OPENMETRICS else None
        return [
            _Block(_encoded([head]), b"", 1, _taker(_sample_lines(samples, losses)))
            for head, samples in text.families(family, form)
        ]


def _take_lines(view: View, cells: Iterator[Any], losses: Losses | None, units: int) -> list[str]:
    return text.cell_lines(view, list(islice(cells, units)), losses)


def _sample_lines(samples: Iterable[Sample], losses: Losses | None) -> Iterator[str]:
    return filter(None, (text.sample_line(sample, losses) for sample in samples))


def _taker(pieces: Iterator[Any]) -> Callable[[int], list[Any]]:
    return lambda units: list(islice(pieces, units))


def _head(view: View, form: Format) -> bytes:
    metric = view.metric
    if form is Format.PROTOBUF:
        return protobuf.head(view.sample, view.type, metric.help)
    return _encoded(
        [
            text.head(
                form,
                name=view.name,
                sample=view.sample,
                kind=view.type,
                unit=view.unit,
                description=metric.help,
            )
        ]
    )


def _encoded(lines: list[str]) -> bytes:
    return "".join(lines).encode("utf-8", "replace")


def _gzipped(slices: Iterable[bytes]) -> Iterator[bytes]:
    """The same slices as one gzip stream; where the compressor still gathers, a slice is empty.

    ``zlib`` lets go of the GIL while it works, and a slice's worth takes it a tenth of a millisecond.
    """
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for piece in slices:
        yield compressor.compress(piece)
    yield compressor.flush()
