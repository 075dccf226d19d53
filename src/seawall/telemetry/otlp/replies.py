"""What collectors answer, by HTTP and by gRPC, read without believing it. Pure: bytes in, verdicts out.

Statuses: OpenTelemetry Protocol specification, "OTLP/HTTP Response" and "OTLP/gRPC Throttling". The status
alone says whether the spans were taken: a body that can't be read takes nothing back, since sending them
again would double them.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final, Protocol

from seawall.telemetry.otlp.protobuf import Malformed, fields
from seawall.telemetry.otlp.verdict import Answer, Verdict

__all__ = ["Headers", "accepted", "grpc_verdict", "http_verdict", "retry_after_s", "retry_info_s"]

_RETRYABLE_STATUSES: Final = frozenset({429, 502, 503, 504})
_RETRYABLE_CODES: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
_REASONS: Final = {
    "DEADLINE_EXCEEDED": "timeout",
    "RESOURCE_EXHAUSTED": "throttled",
    "CANCELLED": "connection",
}


class Headers(Protocol):
    """The headers of a reply, found whatever the case of their names."""

    def get(self, name: str, default: str, /) -> str:
        """The value, or ``default``."""
        ...


def http_verdict(status: int, headers: Headers, body: bytes, *, spans: int, wall: float) -> Verdict:
    """Judge a reply.

    Args:
        status: Its status.
        headers: Its headers.
        body: Its body, or what came of it.
        spans: How many spans the request had: no collector rejects more.
        wall: Seconds since 1970, for dates.
    """
    if 200 <= status < 300:
        return accepted(body, spans=spans)
    text = f"HTTP {status} {_message(body)}".rstrip()
    if status in _RETRYABLE_STATUSES:
        wait = retry_after_s(headers, wall)
        reason = "throttled" if status == 429 else "unavailable"
        return Verdict(answer=Answer.RETRY, reason=reason, retry_after_s=wait, text=text)
    return Verdict(answer=Answer.REFUSED, reason="refused", text=text)


def grpc_verdict(code: str, message: str, details: bytes | None) -> Verdict:
    """Judge a status other than OK.

    Args:
        code: Its name.
        message: What the server says.
        details: The trailer ``grpc-status-details-bin``.
    """
    wait = retry_info_s(details) if details else None
    text = f"{code} {message}".rstrip()
    # Whether exhausted resources come back is unknown, unless the server says when.
    if code in _RETRYABLE_CODES or (code == "RESOURCE_EXHAUSTED" and wait is not None):
        reason = _REASONS.get(code, "unavailable")
        return Verdict(answer=Answer.RETRY, reason=reason, retry_after_s=wait, text=text)
    return Verdict(answer=Answer.REFUSED, reason="refused", text=text)


def accepted(body: bytes, *, spans: int) -> Verdict:
    """Read the ``ExportTraceServiceResponse`` of a collector that accepts, maybe with a warning."""
    rejected, message = 0, b""
    try:
        for number, value in fields(body):
            if number == 1 and isinstance(value, bytes):
                for inner, held in fields(value):
                    if inner == 1 and isinstance(held, int):
                        rejected = held if held < 1 << 63 else 0
                    elif inner == 2 and isinstance(held, bytes):
                        message = held
    except Malformed:
        return Verdict(answer=Answer.ACCEPTED, text="accepted with an unreadable answer")
    return Verdict(
        answer=Answer.ACCEPTED, rejected=min(rejected, spans), text=message.decode("utf-8", "replace")
    )


def retry_after_s(headers: Headers, wall: float) -> float | None:
    """The wait that ``Retry-After`` asks for, in seconds or as a date; None if it is absent or unreadable.

    A date is read against the reply's own ``Date``, if it has one: only then do the clocks of both sides
    agree.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until = _seconds_of(text)
    if until is None:
        return None
    now = _seconds_of(headers.get("date", ""))
    return max(until - (wall if now is None else now), 0.0)


def _seconds_of(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def retry_info_s(status: bytes) -> float | None:
    """The delay in a ``google.rpc.RetryInfo`` among the details of a ``google.rpc.Status``."""
    try:
        for number, detail in fields(status):
            if number == 3 and isinstance(detail, bytes):
                found = dict(fields(detail))  # Any: type_url, value
                address, value = found.get(1), found.get(2, b"")
                if isinstance(address, bytes) and address.endswith(b"/google.rpc.RetryInfo"):
                    return _delay_s(value)
    except Malformed:
        return None
    return None


def _delay_s(retry_info: int | bytes) -> float | None:
    if not isinstance(retry_info, bytes):
        return None
    delay = dict(fields(retry_info)).get(1, b"")  # Duration: seconds, nanos
    if not isinstance(delay, bytes):
        return None
    duration = dict(fields(delay))
    seconds, nanos = duration.get(1, 0), duration.get(2, 0)
    if not (isinstance(seconds, int) and isinstance(nanos, int)) or seconds >= 1 << 63 or nanos >= 1 << 63:
        return None  # a text, or a negative number
    return seconds + nanos / 1e9


def _message(body: bytes) -> str:
    """The message of the ``google.rpc.Status`` that OTLP has errors explained with."""
    try:
        found = dict(fields(body)).get(2)
    except Malformed:
        return ""
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else ""
