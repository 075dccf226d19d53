"""From spans to requests, in slices of 0.1 to 0.2 ms.

Encoding two thousand spans takes pure Python some ten milliseconds, and whoever does it holds the
interpreter, on a thread of its own no less. So the work is a generator that gives control back after every
slice, and whoever drives it lets others run in between::

    for request in encoder.steps(spans):
        if request is None:
            time.sleep(0.0001)
        else:
            ...

Slices are measured by what they made (spans, bytes), not by a clock. Pure; the exporter drives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, final

from seawall.telemetry.otlp.masking import Masking
from seawall.telemetry.otlp.protobuf import length
from seawall.telemetry.otlp.spans import Origin, SpanLike, SpanWriter

__all__ = ["ORIGINS_LIMIT", "SLICE_BYTES", "SLICE_SPANS", "Encoder", "Request"]

SLICE_SPANS: Final = 24
"""Most spans of a slice; one costs 4 to 7 µs."""

SLICE_BYTES: Final = 12 * 1024
"""A slice ends at so many bytes even if it has few spans: those have many attributes or events."""

ORIGINS_LIMIT: Final = 256
"""Encoded resources and scopes that are kept; a process has one resource and a scope per library."""


@dataclass(frozen=True, slots=True)
class Request:
    """One ``ExportTraceServiceRequest``.

    Attributes:
        body: Its bytes.
        spans: How many spans it holds.
    """

    body: bytes
    spans: int


@final
class Encoder:
    """Encodes spans.

    Args:
        drop: Called with ``"unencodable"`` or ``"too_large"`` for each span that is left out.
        request_bytes: A request is ended before it grows beyond this; a span that is longer alone is left
            out.
        masking: Masks texts of spans that may quote values; ``None``: they are sent as they are.
    """

    __slots__ = ("_drop", "_origins", "_request_bytes", "_writer")

    def __init__(
        self, drop: Callable[[str], object], *, request_bytes: int, masking: Masking | None = None
    ) -> None:
        self._drop = drop
        self._request_bytes = request_bytes
        self._writer = SpanWriter(masking)
        # The objects are kept with what they became: an id means nothing once its object is gone.
        self._origins: dict[tuple[int, int], tuple[object, object, Origin]] = {}

    def steps(self, batch: Iterable[SpanLike]) -> Iterator[Request | None]:
        """Encode; a slice per value.

        Args:
            batch: Finished spans.

        Yields:
            None after a slice, a request when one is full and when all is done. No spans, no request.
        """
        groups: dict[Origin, list[bytes]] = {}
        count = size = slice_spans = slice_bytes = 0
        for span in batch:
            slice_spans += 1
            encoded = self._encoded(span)
            if encoded is not None:
                origin, message = encoded
                if count and size + len(message) > self._request_bytes:
                    yield _request(groups, count)
                    groups, count, size = {}, 0, 0
                members = groups.get(origin)
                if members is None:
                    members = groups[origin] = []
                    size += sum(map(len, origin))
                members.append(message)
                count += 1
                size += len(message)
                slice_bytes += len(message)
            if slice_spans >= SLICE_SPANS or slice_bytes >= SLICE_BYTES:
                slice_spans = slice_bytes = 0
                yield None
        if count:
            yield _request(groups, count)

    def _encoded(self, span: SpanLike) -> tuple[Origin, bytes] | None:
        """The span with where it comes from; None if it has to be left out."""
        try:
            resource, scope = span.resource, span.instrumentation_scope
            known = self._origins.get((id(resource), id(scope)))
            origin = self._origin(resource, scope) if known is None else known[2]
            message = self._writer.span(span)
        except Exception:  # noqa: BLE001 -- spans are objects of strangers; one must not cost a batch
            self._drop("unencodable")
            return None
        if sum(map(len, origin)) + len(message) > self._request_bytes:
            self._drop("too_large")
            return None
        return origin, message

    def _origin(self, resource: object, scope: object) -> Origin:
        origin = self._writer.origin(resource, scope)
        if len(self._origins) >= ORIGINS_LIMIT:
            self._origins.clear()
        self._origins[id(resource), id(scope)] = resource, scope, origin
        return origin


def _request(groups: dict[Origin, list[bytes]], count: int) -> Request:
    """Enclose what is there: its resources, each with its scopes, each with its spans."""
    by_resource: dict[tuple[bytes, bytes], list[bytes]] = {}
    for (resource, resource_schema, scope, scope_schema), spans in groups.items():
        scopes = by_resource.setdefault((resource, resource_schema), [resource])
        size = len(scope) + sum(map(len, spans)) + len(scope_schema)
        scopes += (b"\x12" + length(size), scope, *spans, scope_schema)
    pieces: list[bytes] = []
    for (_, resource_schema), scopes in by_resource.items():
        size = sum(map(len, scopes)) + len(resource_schema)
        pieces += (b"\x0a" + length(size), *scopes, resource_schema)
    return Request(b"".join(pieces), count)
