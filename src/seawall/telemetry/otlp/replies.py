"""What collectors answer, by HTTP and by gRPC, read without believing it. Pure: bytes in, verdicts out.

Statuses: OpenTelemetry Protocol specification, "OTLP/HTTP Response" and "OTLP/gRPC Throttling". A body that
can't be read takes nothing back from an accepting status: the spans are there, sending them again would
double them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from seawall.telemetry.otlp.retry import Answer, Verdict
from seawall.telemetry.otlp.varint import Malformed, fields

__all__ = [
    "TEXT_LIMIT",
    "grpc_verdict",
    "http_verdict",
    "partial_success",
    "retry_after_s",
    "retry_info_s",
    "shortened",
]

TEXT_LIMIT: Final = 200
"""Characters of a collector's message that are kept."""

_RETRYABLE_STATUSES: Final = frozenset({429, 502, 503, 504})
_RETRYABLE_CODES: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
_REASONS: Final = {
    "UNAVAILABLE": "unavailable",
    "DEADLINE_EXCEEDED": "timeout",
    "RESOURCE_EXHAUSTED": "throttled",
    "CANCELLED": "connection",
}


def shortened(text: str) -> str:
    """A stranger's text, on one line and of bounded length."""
    line = "".join(character if character.isprintable() else " " for character in text[: TEXT_LIMIT + 1])
    return line if len(line) <= TEXT_LIMIT else f"{line[:TEXT_LIMIT]}…"


def http_verdict(status: int, headers: Mapping[str, str], body: bytes, *, spans: int, wall: float) -> Verdict:
    """Judge a reply.

    Args:
        status: Its status.
        headers: Its headers, names in lower case.
        body: Its body.
        spans: How many spans the request had: no collector rejects more.
        wall: Seconds since 1970, for dates.
    """
    is_json = headers.get("content-type", "").lower().startswith("application/json")
    if 200 <= status < 300:
        try:
            rejected, text = _partial_json(body) if is_json else _partial(body)
        except (Malformed, ValueError, RecursionError):
            return Verdict(answer=Answer.ACCEPTED, reason="garbled", text=f"HTTP {status}, unreadable body")
        return Verdict(answer=Answer.ACCEPTED, rejected=min(max(rejected, 0), spans), text=shortened(text))
    text = shortened(f"HTTP {status} {_message(body, is_json=is_json)}".rstrip())
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
    text = shortened(f"{code} {message}".rstrip())
    # Whether exhausted resources come back is unknown, unless the server says when.
    if code in _RETRYABLE_CODES or (code == "RESOURCE_EXHAUSTED" and wait is not None):
        return Verdict(
            answer=Answer.RETRY, reason=_REASONS.get(code, "unavailable"), retry_after_s=wait, text=text
        )
    return Verdict(answer=Answer.REFUSED, reason="refused", text=text)


def partial_success(body: bytes, *, spans: int) -> Verdict:
    """Judge the answer of an accepting gRPC server."""
    try:
        rejected, text = _partial(body)
    except Malformed:
        return Verdict(answer=Answer.ACCEPTED, reason="garbled", text="unreadable answer")
    return Verdict(answer=Answer.ACCEPTED, rejected=min(max(rejected, 0), spans), text=shortened(text))


def retry_after_s(headers: Mapping[str, str], wall: float) -> float | None:
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


def _partial(body: bytes) -> tuple[int, str]:
    """Rejected spans and message of an ``ExportTraceServiceResponse``."""
    rejected, message = 0, b""
    for number, value in fields(body):
        if number == 1 and isinstance(value, bytes):
            for inner, held in fields(value):
                if inner == 1 and isinstance(held, int):
                    rejected = held if held < 1 << 63 else 0
                elif inner == 2 and isinstance(held, bytes):
                    message = held
    return rejected, message.decode("utf-8", "replace")


def _partial_json(body: bytes) -> tuple[int, str]:
    said = json.loads(body) if body.strip() else {}
    partial: Any = said.get("partialSuccess") if isinstance(said, dict) else None
    if not isinstance(partial, dict):
        return 0, ""
    return int(partial.get("rejectedSpans") or 0), str(partial.get("errorMessage") or "")


def _message(body: bytes, *, is_json: bool) -> str:
    """The message of the ``google.rpc.Status`` that OTLP has errors explained with."""
    try:
        found = json.loads(body).get("message") if is_json else dict(fields(body)).get(2)
    except (Malformed, ValueError, AttributeError, RecursionError):
        return ""
    if isinstance(found, bytes):
        return found.decode("utf-8", "replace")
    return found if isinstance(found, str) else ""
