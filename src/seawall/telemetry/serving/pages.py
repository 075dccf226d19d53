"""The pages for machines: ``/metrics``, ``/health``, ``/ready`` and the latter two's aliases.

``/metrics`` is written by somebody else (:class:`PageWriter`); here its slices are sent one by one, and the
loop does other work in between. The health pages are read by everybody, since what restarts a container has
no token; reasons and figures of a check are shown only to those who may read the status API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, Protocol, runtime_checkable

import msgspec

from seawall.telemetry.serving.access import Access, Role
from seawall.telemetry.serving.checks import Checks
from seawall.telemetry.serving.endpoints import Answer, Endpoint, Handler, Request, header
from seawall.telemetry.serving.gate import Gate
from seawall.telemetry.serving.health import Probe

__all__ = [
    "LIVE_PATHS",
    "METRICS_PATH",
    "READY_PATHS",
    "ExpositionPage",
    "PageWriter",
    "health_endpoints",
    "metrics_endpoint",
]

METRICS_PATH: Final = "/metrics"
LIVE_PATHS: Final = ("/health", "/healthz/live")
READY_PATHS: Final = ("/ready", "/healthz/ready")


@runtime_checkable
class PageWriter(Protocol):
    """Writes the page of metrics."""

    async def write(
        self, accept: str, accept_encoding: str
    ) -> tuple[Iterator[bytes] | AsyncIterator[bytes], str, str]:
        """Negotiate and write.

        Args:
            accept: The scraper's ``Accept`` header; empty without one.
            accept_encoding: Its ``Accept-Encoding`` header.

        Returns: Slices of the page, each short enough not to hold the loop; its content type; its content
            encoding, empty or ``identity`` if it has none.
        """
        ...


class Scrape(Protocol):
    """The answer to one scrape, as ``exposition`` has it."""

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """Content type and encoding, in lower case."""
        ...

    @property
    def slices(self) -> Iterator[bytes]:
        """The body; an empty slice is a pause."""
        ...


class Scraper(Protocol):
    """Answers scrapes, as the writer of ``exposition`` does; neither imports the other."""

    def scrape(self, accept: str | None = None, accept_encoding: str | None = None, /) -> Scrape:
        """Answer one."""
        ...


class ExpositionPage:
    """The page of metrics of an exposition's writer.

    Args:
        scraper: The writer.
    """

    __slots__ = ("_scraper",)

    def __init__(self, scraper: Scraper) -> None:
        self._scraper = scraper

    async def write(self, accept: str, accept_encoding: str) -> tuple[Iterator[bytes], str, str]:
        """See :class:`PageWriter`; nothing is written before the first slice is asked for."""
        scrape = self._scraper.scrape(accept or None, accept_encoding or None)
        headers = dict(scrape.headers)
        return scrape.slices, headers["content-type"], headers.get("content-encoding", "")


def metrics_endpoint(writer: PageWriter, gate: Gate, access: Access, *, local_only: bool) -> Endpoint:
    """The page of metrics, for viewers."""

    async def metrics(request: Request) -> Answer:
        slices, content_type, encoding = await writer.write(
            header(request.scope, b"accept") or "", header(request.scope, b"accept-encoding") or ""
        )
        return Answer(
            content_type=content_type,
            body=slices,
            encoding="" if encoding == "identity" else encoding,
            headers={"Vary": "Accept, Accept-Encoding"},
        )

    return Endpoint(gate, access, {"GET": metrics}, {"GET": Role.VIEWER}, local_only=local_only)


def health_endpoints(checks: Checks, gate: Gate, access: Access) -> dict[str, Endpoint]:
    """The health pages by path, for everybody."""
    found = {}
    for probe, paths in ((Probe.LIVENESS, LIVE_PATHS), (Probe.READINESS, READY_PATHS)):
        handler = _page(checks, probe)
        endpoint = Endpoint(gate, access, {"GET": handler}, {"GET": None})
        found.update(dict.fromkeys(paths, endpoint))
    return found


def _page(checks: Checks, probe: Probe) -> Handler:
    async def page(request: Request) -> Answer:
        report = await checks.report(probe)
        full = request.caller is not None and request.caller.role >= Role.VIEWER
        return Answer(status=report.http_status, body=msgspec.json.encode(report.document(full=full)))

    return page
