"""What an exporter stands between, and what it counts. Pure; the exporter fills it in."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from seawall.telemetry.otlp.encode import Request
from seawall.telemetry.otlp.retry import Verdict

__all__ = ["DROP_REASONS", "FAILURE_REASONS", "ExporterStatistics", "Source", "Transport"]

DROP_REASONS: Final = ("refused", "rejected", "expired", "too_large", "unencodable", "shutdown", "fault")
"""Why a span that was taken from the lane did not arrive.

The collector refused the request, or accepted it without this span; it grew too old in an outage; it
exceeds a request; it can't be encoded; the exporter was stopped first; an error of our own.
"""

FAILURE_REASONS: Final = (
    "timeout",
    "connection",
    "tls",
    "throttled",
    "unavailable",
    "refused",
    "garbled",
    "fault",
)
"""How an attempt failed."""


class Source(Protocol):
    """Where spans come from: a lane."""

    def take(self, limit: int, /) -> Sequence[Any]:
        """The oldest spans, at most ``limit``."""
        ...


class Transport(Protocol):
    """How requests go to the collector. Nothing here raises but cancellation."""

    def pack(self, request: Request, /) -> Awaitable[bytes]:
        """The body that is sent, once per request."""
        ...

    def send(self, body: bytes, spans: int, timeout_s: float, /) -> Awaitable[Verdict]:
        """One attempt."""
        ...

    def close(self) -> Awaitable[None]:
        """Let go of everything."""
        ...

    def forked(self) -> None:
        """Begin anew in a child process."""
        ...


@dataclass(frozen=True, slots=True)
class ExporterStatistics:
    """One moment of an exporter. Spans, unless it says otherwise.

    Attributes:
        taken: Taken from the lane.
        exported: Accepted by the collector.
        dropped: By reason, see :data:`DROP_REASONS`.
        pending: Taken, not yet encoded.
        buffered: Encoded, waiting.
        sending: In requests that are being sent or wait for another attempt.
        requests: Requests made.
        bytes_sent: Bytes of bodies in all attempts.
        failed: Attempts by the reason they failed for, see :data:`FAILURE_REASONS`.
        garbled: Accepted requests whose answer could not be read.
        faults: Errors of our own that a task met.
        troubles: Failures in a row, up to now.
        last_failure: What the last failed attempt came to.
    """

    taken: int
    exported: int
    dropped: Mapping[str, int]
    pending: int
    buffered: int
    sending: int
    requests: int
    bytes_sent: int
    failed: Mapping[str, int]
    garbled: int
    faults: int
    troubles: int
    last_failure: str
