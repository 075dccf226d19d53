"""The pages for machines: ``/metrics``, ``/health`` and ``/ready``, and these two by other names.

``/metrics`` is written by somebody else (:class:`Scraper`); here its slices are sent one by one, and the loop
does other work in between. The health pages are read by everybody, since what restarts a container has no
token; reasons and figures of a check are shown only to those who may read the status API.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import msgspec

from seawall.telemetry.serving.access import Access, Role
from seawall.telemetry.serving.checks import Checks
from seawall.telemetry.serving.endpoints import Answer, Endpoint, Handler, Request, header
from seawall.telemetry.serving.gate import Gate
from seawall.telemetry.serving.health import Probe

__all__ = ["METRICS_PATH", "Scrape", "Scraper", "health_endpoint", "metrics_endpoint"]

METRICS_PATH: Final = "/metrics"


class Scrape(Protocol):
    """The answer to one scrape."""

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """The content type, and what else belongs to the answer; names are in lower case."""
        ...

    @property
    def slices(self) -> Iterator[bytes]:
        """The body, each slice short enough not to hold the loop; an empty one is a pause."""
        ...


class Scraper(Protocol):
    """Writes the page of metrics, as the writer of ``exposition`` does; neither imports the other."""

    def scrape(self, accept: str | None = None, accept_encoding: str | None = None, /) -> Scrape:
        """Answer one scrape; nothing is written before the first slice is asked for.

        Args:
            accept: The scraper's ``Accept`` header.
            accept_encoding: Its ``Accept-Encoding`` header.
        """
        ...


def metrics_endpoint(scraper: Scraper, gate: Gate, access: Access, *, local_only: bool) -> Endpoint:
    """The page of metrics, for viewers."""

    async def metrics(request: Request) -> Answer:
        scope = request.scope
        scrape = scraper.scrape(header(scope, b"accept"), header(scope, b"accept-encoding"))
        headers = dict(scrape.headers)
        return Answer(content_type=headers.pop("content-type"), body=scrape.slices, headers=headers)

    return Endpoint(gate, access, {"GET": metrics}, {"GET": Role.VIEWER}, local_only=local_only)


def health_endpoint(
    probe: Probe, checks: Checks, gate: Gate, access: Access, *, local_only: bool
) -> Endpoint:
    """A health page, for everybody."""
    return Endpoint(gate, access, {"GET": _page(checks, probe)}, {"GET": None}, local_only=local_only)


def _page(checks: Checks, probe: Probe) -> Handler:
    async def page(request: Request) -> Answer:
        report = await checks.report(probe)
        shown = report.document(full=request.caller is not None)
        return Answer(status=report.http_status, body=msgspec.json.encode(shown))

    return page
