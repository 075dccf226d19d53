"""What goes on in a process with telemetry: scrapes and flushes, ours and the rivals'.

Ours are the real parts: the server's ``/metrics`` read by a scraper in another process, and the exporter's
own thread sending to a receiver in another process. The rivals' page is made in the loop and in a thread, and
the SDK's spans are encoded in a thread, as its batch processor does; what they would send is not sent, which
is to their advantage.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as OtelProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import exposition

from benchmarks.harness import ROOT, CouldNotRunError
from benchmarks.telemetering.delays import Load, Ticker
from benchmarks.telemetering.pages import SERIES, Pages
from benchmarks.telemetering.spans import ATTRIBUTES
from seawall.telemetry.exposition import Scrape, Writer
from seawall.telemetry.otlp import Exporter, OtlpSettings
from seawall.telemetry.serving import Binding, TelemetryServer
from seawall.telemetry.tracing import Resource, Sampling, TracerProvider

__all__ = ["SPANS", "flush", "generated", "sdk_encoding", "served"]

SPANS = 2_048
WAIT_S = 20.0
SELDOM_S = 600.0
"""The exporter sends when it is told to, and not by itself."""


class _Partner:
    """A program at the other end, which answers a line with a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def read(self) -> int:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), WAIT_S)
        if not line:
            raise CouldNotRunError("the program at the other end has ended")
        return int(line)

    async def ask(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return await self.read()


@asynccontextmanager
async def _partner(module: str, *arguments: str) -> AsyncIterator[_Partner]:
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        cwd=Path(ROOT),
    )
    try:
        yield _Partner(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), WAIT_S)
        except TimeoutError:
            process.kill()
            await process.wait()


class _Watched:
    """The writer, which tells the ticker when it begins and has ended."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.ticker: Ticker | None = None

    def scrape(self, accept: str | None = None, accept_encoding: str | None = None, /) -> Scrape:
        answer = self._writer.scrape(accept, accept_encoding)
        return Scrape(answer.headers, self._slices(answer.slices))

    def _slices(self, slices: Iterator[bytes]) -> Iterator[bytes]:
        assert self.ticker is not None
        with self.ticker.noting():
            yield from slices


@asynccontextmanager
async def served(pages: Pages) -> AsyncIterator[Load]:
    """A scrape by another process."""
    watched = _Watched(pages.writer)
    binding = Binding(key="benchmark.metrics", port=0)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(TelemetryServer(scraper=watched, metrics=binding))
        scraper = await stack.enter_async_context(
            _partner("benchmarks.telemetering.scraper", f"{server.metrics_url}/metrics")
        )

        async def load(ticker: Ticker) -> None:
            pages.move()
            watched.ticker = ticker
            size = await scraper.ask()
            if size < SERIES:
                raise CouldNotRunError(f"the scraper got {size}")

        yield load


def generated(pages: Pages, *, threaded: bool) -> Load:
    """prometheus_client's page, in the loop or in a thread."""

    async def load(ticker: Ticker) -> None:
        pages.move()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with ticker.noting():
            if threaded:
                await asyncio.to_thread(exposition.generate_latest, pages.theirs)
            else:
                exposition.generate_latest(pages.theirs)

    return load


@asynccontextmanager
async def flush() -> AsyncIterator[Load]:
    """Our exporter's thread sends :data:`SPANS` spans to a receiver in another process."""
    async with _partner("benchmarks.telemetering.receiver") as receiver:
        provider = TracerProvider(
            resource=Resource({"service.name": "benchmark"}), sampling=Sampling(ratio=1.0)
        )
        tracer = provider.get_tracer("benchmark")
        settings = OtlpSettings(
            endpoint=f"http://127.0.0.1:{await receiver.read()}/v1/traces",
            poll_s=SELDOM_S,
            batch_delay_s=SELDOM_S,
            batch_spans=SPANS,
        )
        exporter = Exporter(provider.lane, settings)
        exporter.start()

        async def load(ticker: Ticker) -> None:
            await _in_steps(lambda: tracer.start_span("query", attributes=ATTRIBUTES).end())
            with ticker.noting():
                done = await asyncio.to_thread(exporter.flush, WAIT_S)
            came = await receiver.ask()
            if not done or came != SPANS:
                raise CouldNotRunError(f"{came} of {SPANS} spans came: {exporter.statistics()}")

        try:
            yield load
        finally:
            await asyncio.to_thread(exporter.stop, WAIT_S)


def sdk_encoding() -> Load:
    """The SDK's :data:`SPANS` spans, encoded in a thread."""
    memory = InMemorySpanExporter()
    provider = OtelProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("benchmark")
    for _ in range(SPANS):
        tracer.start_span("query", attributes=ATTRIBUTES).end()
    spans: Sequence[ReadableSpan] = memory.get_finished_spans()

    async def load(ticker: Ticker) -> None:
        with ticker.noting():
            await asyncio.to_thread(lambda: encode_spans(spans).SerializeToString())

    return load


async def _in_steps(make: Callable[[], object]) -> None:
    """Make the spans without holding the loop: it is not what is measured."""
    for number in range(SPANS):
        make()
        if number % 100 == 0:
            await asyncio.sleep(0)
