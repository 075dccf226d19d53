"""Beside a proxy: gathers what workers count, serves it, sends spans, writes down what happens.

It runs in the supervisor's process and loop. Whatever fails here fails alone: an address that is taken is
told and tried again, a collector that is away costs its spans, and clients are served all the same.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from math import inf
from typing import Any, Final

from seawall.app.observation.gauges import Gauges
from seawall.app.observation.news import News
from seawall.app.observation.records import unpack
from seawall.app.observation.settings import Door, ObservationSettings
from seawall.app.observation.spans import Spans
from seawall.app.observation.status import Telemetry, checks_of, status_api
from seawall.app.observation.worker import WorkerAttachment, layout_of
from seawall.kernel.errors import PolicyError, SeawallError
from seawall.kernel.proxy_signals import FailoverEnded
from seawall.kernel.signals import Signal
from seawall.proxy.settings import ProxySettings
from seawall.telemetry.exposition import Settings as ExpositionSettings
from seawall.telemetry.exposition import Writer
from seawall.telemetry.logs import LogHandle
from seawall.telemetry.metrics import Block, Collector, Registry, Sheet
from seawall.telemetry.otlp import Exporter, from_environment
from seawall.telemetry.otlp.settings import OtlpSettings
from seawall.telemetry.selfwatch import SelfWatch, Watched
from seawall.telemetry.serving import Access, Binding, Role, TelemetryServer, Tls, Token
from seawall.telemetry.tracing import TracerProvider, TracingSettings, make_provider
from seawall.telemetry.tracing.lane import Lane
from seawall.telemetry.tracing.settings import Sampling

__all__ = ["ObservingCompanion"]

LOGGER: Final = logging.getLogger("seawall.proxy")
TICK_S: Final = 1.0
RETRY_S: Final = 5.0
"""An address that is taken is tried again after that long."""
COUNTED_LINES: Final = (
    *("offered", "accepted", "dropped", "queued"),
    *("written", "failed", "masked", "truncated"),
)
"""Of what is counted about lines, what the status API shows."""
FAREWELL_S: Final = 2.0
"""What a collector has for the last spans, and readers for their answers: who stops a proxy waits for it."""
CHANNEL_BYTES: Final = 1 << 20
"""What may wait in the channel from the workers; what comes on top is dropped by them, and counted."""
DATAGRAM_MAX: Final = 1 << 16
METRICS_PATH: Final = "/metrics"
DOCUMENT_PATH: Final = "/openapi.json"
"""Where what a listener has begins."""
READS_MAX: Final = 8
"""Datagrams read before the loop gets its turn."""


class ObservingCompanion:
    """The companion of one proxy.

    Args:
        settings: What the telemetry is told.
        proxy: What the proxy is told.
        log: Takes a line about what fails here.
        lines: Where lines are written, to be counted.

    Raises:
        PolicyError: A setting is out of range; every one of them is named.
        UsageError: The SDK is asked for and not installed.
    """

    def __init__(
        self,
        settings: ObservationSettings,
        proxy: ProxySettings,
        log: Callable[[str], None],
        lines: LogHandle | None = None,
    ) -> None:
        self._settings = settings
        self._proxy = proxy
        self._log = log
        self._lines = lines
        self._tasks: list[asyncio.Task[None]] = []
        self._servers: list[TelemetryServer] = []
        self._reader: socket.socket | None = None
        self._channel: socket.socket | None = None
        self._block: Block | None = None
        self._attachment: WorkerAttachment | None = None
        self._news: News | None = None
        self._writer: Writer | None = None
        self._spans: Spans | None = None
        self._exporter: Exporter | None = None
        self._lane: Lane[Any] | None = None
        self._provider: object = None
        self._shut: Callable[[], object] = lambda: None
        self.malformed = 0
        """Datagrams that were none of ours."""
        self.failed = 0
        """How often something here failed that should not have, and was gone without."""
        tracing = settings.tracing
        self._slow_s = tracing.slow_s or inf
        if tracing.enabled:
            self._trace(otlp_of(settings))

    def _trace(self, otlp: OtlpSettings) -> None:
        tracing = self._settings.tracing
        made = TracingSettings(
            provider="sdk" if tracing.provider == "sdk" else "light",
            resource={"service.name": tracing.service},
            # Which queries have a span is decided before: by their trace's own flag, by errors and slowness.
            sampling=Sampling(ratio=1.0),
        )
        provider, lane = make_provider(made)
        backends = {backend.name: backend for backend in self._proxy.backends}
        self._spans = Spans(provider, backends, slow_s=self._slow_s, errors=tracing.errors)
        self._exporter = Exporter(lane, otlp)
        self._lane = lane
        self._provider = provider
        self._shut = getattr(provider, "shutdown", self._shut)

    @property
    def attachment(self) -> WorkerAttachment | None:
        """What workers are given."""
        return self._attachment

    async def start(self, supervisor: Any) -> None:  # noqa: ANN401 -- a ``supervisor.Supervisor``
        """Begin; listening goes on by itself."""
        loop = asyncio.get_running_loop()
        block = self._block = Block(layout_of(supervisor.count))
        reader, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        reader.setblocking(False)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BYTES)
        self._reader, self._channel = reader, channel
        self._attachment = WorkerAttachment(
            block=block.descriptor,
            channel=channel.fileno(),
            workers=supervisor.count,
            slow_s=self._slow_s,
            spans=self._spans is not None,
        )
        loop.add_reader(reader, self._read)
        registry, collector = Registry(cells=Sheet(block, supervisor.count)), Collector(block)
        gauges = Gauges(registry, [one.name for one in self._proxy.backends])
        self._news = News(supervisor.hub, gauges, self._on_signal)
        watch = SelfWatch(registry, collector=collector)
        self._writer = Writer(Watched(collector, watch), self._exposition())
        self._watch_parts(watch)
        if self._exporter is not None:
            self._exporter.start()
        self._tasks = [
            loop.create_task(self._tick(supervisor, gauges)),
            *(loop.create_task(self._serve(server)) for server in self._doors(supervisor)),
        ]

    def _watch_parts(self, watch: SelfWatch) -> None:
        """Have telemetry's own parts counted."""
        if self._writer is not None:
            watch.writer(self._writer)
        if self._lines is not None:
            watch.logs(self._lines)
        if isinstance(self._provider, TracerProvider):
            watch.tracing(self._provider)
        if self._exporter is not None:
            watch.exporter(self._exporter)

    async def stop(self) -> None:
        """Send what is left, and end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(server.stop() for server in self._servers), return_exceptions=True)
        if self._news is not None:
            self._news.close()
        if self._reader is not None and self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._reader)
            while self._read():  # the workers are gone, so there is an end to it
                continue
            self._reader.close()
            self._channel.close()
            self._reader = self._channel = None
        self._shut()
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.stop, FAREWELL_S)
        if self._block is not None:
            self._block.close()
            self._block = None

    def worker_ended(self, number: int) -> None:
        """A worker's process is gone: its gauges go, its totals stay."""
        if self._block is not None:
            self._block.retire(number)

    def telemetry(self) -> Telemetry:
        """How telemetry itself is."""
        spans, lane, exporter, writer = self._spans, self._lane, self._exporter, self._writer
        sent = exporter.statistics() if exporter is not None else None
        shown = writer.statistics() if writer is not None else None
        written = self._lines.statistics() if self._lines is not None else None
        return Telemetry(
            spans={
                "made": spans.made,
                "unsampled": spans.unsampled,
                "dropped": sum(lane.statistics().dropped.values()),
                "malformed": self.malformed,
            }
            if spans is not None and lane is not None
            else {},
            export={
                "taken": sent.taken,
                "exported": sent.exported,
                "dropped": sum(sent.dropped.values()),
                "pending": sent.pending,
                "failed_attempts": sum(sent.failed.values()),
            }
            if sent is not None
            else {},
            logs={name: getattr(written, name) for name in COUNTED_LINES} if written is not None else {},
            scrapes=shown.scrapes if shown is not None else 0,
            series=shown.series if shown is not None else 0,
            failed=self.failed + (self._news.errors if self._news is not None else 0),
        )

    # --- what comes in ------------------------------------------------------------------------------------

    def _read(self) -> bool:
        """Take some of what came; whether there may be more."""
        reader = self._reader
        if reader is None:
            return False
        for _ in range(READS_MAX):
            try:
                datagram = reader.recv(DATAGRAM_MAX)
            except OSError:
                return False
            self._take(datagram)
        return True

    def _take(self, datagram: bytes) -> None:
        try:
            records = unpack(datagram)
        except ValueError:
            self.malformed += 1
            return
        for record in records:
            try:
                if self._spans is not None:
                    self._spans.add(record)
            except Exception:  # noqa: BLE001 -- one query costs no other's span
                self.failed += 1

    def _on_signal(self, signal: Signal) -> None:
        if self._spans is not None and isinstance(signal, FailoverEnded):
            self._spans.failover(signal)

    async def _tick(self, supervisor: Any, gauges: Gauges) -> None:  # noqa: ANN401
        while True:
            try:
                gauges.show(supervisor.topology, supervisor.alive)
            except Exception:  # noqa: BLE001 -- telemetry must not be what stops a supervisor, nor itself
                self.failed += 1
            await asyncio.sleep(TICK_S)

    # --- what is served -----------------------------------------------------------------------------------

    def _exposition(self) -> ExpositionSettings:
        numbering = self._settings.state_numbering
        return ExpositionSettings(
            namespace=self._settings.namespace,
            state_numbering="helios" if numbering == "helios" else "seawall",
            aliases=self._settings.aliases,
        )

    def _doors(self, supervisor: Any) -> list[TelemetryServer]:  # noqa: ANN401
        """A server for each listener, so that an address that is taken costs no other."""
        metrics, status, checks = self._settings.metrics, self._settings.status, checks_of(supervisor)
        doors = []
        if metrics.enabled:
            binding = binding_of("telemetry.metrics", metrics)
            doors.append(
                TelemetryServer(scraper=self._writer, checks=checks, metrics=binding, grace_s=FAREWELL_S)
            )
        if status.enabled:
            binding = binding_of("telemetry.status", status)
            api = status_api(supervisor, self.telemetry)
            doors.append(
                TelemetryServer(
                    api=api,
                    checks=checks,
                    status=binding,
                    on_error=self._failed_operation,
                    grace_s=FAREWELL_S,
                )
            )
        return doors

    def _failed_operation(self, number: str, error: BaseException) -> None:
        self._log(f"status API: request {number} failed: {type(error).__name__}")

    async def _serve(self, server: TelemetryServer) -> None:
        told = ""
        while True:
            try:
                await server.start()
            except (SeawallError, OSError) as error:
                if str(error) != told:
                    self._log(f"telemetry is not served, and will be tried again: {error}")
                told = str(error)
                await asyncio.sleep(RETRY_S)
            else:
                self._servers.append(server)
                url = server.metrics_url
                where = f"{url}{METRICS_PATH}" if url else f"{server.status_url}{DOCUMENT_PATH}"
                LOGGER.info("telemetry is served at %s", where)
                return

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it listens."""
        return tuple(url for one in self._servers for url in (one.metrics_url, one.status_url) if url)


def binding_of(key: str, door: Door) -> Binding:
    """Where a listener is, and who may use it.

    Raises:
        PolicyError: A token can't be one.
    """
    tokens = []
    if door.token:
        tokens.append(Token.of("reader", Role.VIEWER, door.token))
    tls = None
    if door.certificate:
        tls = Tls(certificate=door.certificate, key=door.key, client_ca=door.client_ca or None)
    access = Access(tokens=tuple(tokens), allow_unauthenticated=door.allow_unauthenticated)
    return Binding(key=key, port=door.port, host=door.host, access=access, tls=tls)


def otlp_of(settings: ObservationSettings) -> OtlpSettings:
    """Where spans go: by the file, else by the environment, else to this machine.

    Raises:
        PolicyError: Either is wrong; every mistake is named.
    """
    tracing = settings.tracing
    environ = dict(tracing.environ)
    for suffix, value in (("ENDPOINT", tracing.endpoint), ("PROTOCOL", tracing.protocol)):
        if value:
            environ[f"OTEL_EXPORTER_OTLP_TRACES_{suffix}"] = value
    found, problems = from_environment(environ)
    if problems:
        raise PolicyError(problems, "OTLP exporter")
    return found
