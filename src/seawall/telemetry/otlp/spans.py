"""One span, resource or scope as Protocol Buffers, written by hand: one pass, no message objects.

The library for Protocol Buffers builds an object per message and holds the interpreter for milliseconds per
batch. A span is a short row of fields, so the bytes are put together directly. ``encode`` groups spans and
slices the work.

Spans are read by the attributes that both this library's light spans and those of the OpenTelemetry SDK
have, so neither is imported: ``name``, ``kind``, ``start_time``, ``end_time``, ``attributes``, ``events``,
``links``, ``resource``, ``instrumentation_scope`` and the three ``dropped_...``. Who a span is, and how it
ended, light spans tell by cheaper ways: a method ``lineage``, and ``status_code`` with
``status_description``; the others have ``context``, ``parent`` and ``status``.

Pure. Field numbers: opentelemetry/proto/trace/v1/trace.proto and resource/v1/resource.proto, written in
ascending order, as others do, so that equal spans give equal bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, final

from seawall.telemetry.otlp.masking import Masking
from seawall.telemetry.otlp.protobuf import length, text
from seawall.telemetry.otlp.values import VALUES_LIMIT, Values

__all__ = ["Origin", "SpanLike", "SpanWriter"]

SpanLike: TypeAlias = Any
"""A finished span. Nothing is promised about one that lacks an attribute: the encoder leaves it out."""

Origin = tuple[bytes, bytes, bytes, bytes]
"""Where spans come from: the encoded resource and its schema's address, the scope and its schema's."""

_kind_and_times: Final = struct.Struct("<BBBQBQ").pack
_fixed32: Final = struct.Struct("<I").pack

_FLAGS: Final = 0x3FF
"""The eight bits of W3C Trace Context, "it is known whether the parent is remote", and whether it is."""
_KNOWN, _REMOTE = 0x100, 0x200

_STATUS: Final = (b"\x7a\x00", b"\x7a\x02\x18\x01", b"\x7a\x02\x18\x02")


@final
class SpanWriter:
    """Writes spans and what they have in common. Whatever is wrong about one raises, with any exception.

    Args:
        masking: Masks texts that may quote values; ``None``: they are written as they are.
    """

    __slots__ = ("_masking", "_values")

    def __init__(self, masking: Masking | None = None) -> None:
        self._values = Values()
        self._masking = masking

    def span(self, span: SpanLike) -> bytes:
        """One span as a field of ``ScopeSpans``."""
        values = self._values
        values.room = VALUES_LIMIT
        trace_id, span_id, parent_id, flags, state = _lineage(span)
        parts = [b"\x0a\x10", trace_id.to_bytes(16, "big"), b"\x12\x08", span_id.to_bytes(8, "big")]
        if state:
            parts.append(text(b"\x1a", state))
        if parent_id:
            parts += (b"\x22\x08", parent_id.to_bytes(8, "big"))
        if name := span.name:
            parts.append(text(b"\x2a", name))
        # OTLP counts kinds from 1. `_value_` is a plain attribute, `value` a call into Python.
        kind = span.kind._value_ + 1
        parts.append(_kind_and_times(0x30, kind, 0x39, span.start_time or 0, 0x41, span.end_time or 0))
        dropped = span.dropped_attributes
        masking = self._masking
        if attributes := span.attributes:
            shown = attributes if masking is None else masking.attributes(attributes)
            dropped += values.add(parts, b"\x4a", shown)
        if dropped:
            parts += (b"\x50", length(dropped))
        dropped = span.dropped_events
        if events := span.events:
            dropped += self._events(parts, events)
        if dropped:
            parts += (b"\x60", length(dropped))
        dropped = span.dropped_links
        if links := span.links:
            dropped += self._links(parts, links)
        if dropped:
            parts += (b"\x70", length(dropped))
        parts += (_status(span, masking), b"\x85\x01", _fixed32(flags & _FLAGS))
        body = b"".join(parts)
        return b"\x12" + length(len(body)) + body

    def origin(self, resource: Any, scope: Any) -> Origin:  # noqa: ANN401 -- as spans, or None
        """The resource as a field of ``ResourceSpans``, the scope as one of ``ScopeSpans``."""
        of_resource: list[bytes] = []
        if resource is not None:
            self._attributes(of_resource, b"\x0a", resource.attributes, dropped_tag=b"\x10")
        of_scope: list[bytes] = []
        if scope is not None:
            if scope.name:
                of_scope.append(text(b"\x0a", scope.name))
            if scope.version:
                of_scope.append(text(b"\x12", scope.version))
            self._attributes(of_scope, b"\x1a", scope.attributes, dropped_tag=b"\x20")
        return (
            _enclosed(b"\x0a", of_resource),
            _schema(resource),
            _enclosed(b"\x0a", of_scope),
            _schema(scope),
        )

    def _attributes(
        self, parts: list[bytes], tag: bytes, attributes: Mapping[str, Any] | None, *, dropped_tag: bytes
    ) -> None:
        self._values.room = VALUES_LIMIT
        if attributes and (left_out := self._values.add(parts, tag, attributes)):
            parts += (dropped_tag, length(left_out))

    def _events(self, parts: list[bytes], events: Sequence[Any]) -> int:
        """Append the events; how many were left out."""
        affordable, left_out = self._values.afford(events)
        for event in affordable:
            message = [b"\x09", event.timestamp.to_bytes(8, "little")]
            if event.name:
                message.append(text(b"\x12", event.name))
            dropped = event.dropped_attributes
            if attributes := event.attributes:
                shown = attributes if self._masking is None else self._masking.attributes(attributes)
                dropped += self._values.add(message, b"\x1a", shown)
            if dropped:
                message += (b"\x20", length(dropped))
            parts.append(_enclosed(b"\x5a", message))
        return left_out

    def _links(self, parts: list[bytes], links: Sequence[Any]) -> int:
        """Append the links; how many were left out."""
        affordable, left_out = self._values.afford(links)
        for link in affordable:
            context = link.context
            message = [b"\x0a\x10", context.trace_id.to_bytes(16, "big")]
            message += (b"\x12\x08", context.span_id.to_bytes(8, "big"))
            if context.trace_state:
                message.append(text(b"\x1a", context.trace_state.to_header()))
            dropped = link.dropped_attributes
            if attributes := link.attributes:
                dropped += self._values.add(message, b"\x22", attributes)
            if dropped:
                message += (b"\x28", length(dropped))
            message += (b"\x35", _fixed32(_flags(context.trace_flags, remote=context.is_remote)))
            parts.append(_enclosed(b"\x6a", message))
        return left_out


def _lineage(span: SpanLike) -> tuple[int, int, int, int, str]:
    """Trace, id, the parent's id (0 for none), flags as OTLP has them, and the header ``tracestate``."""
    own = getattr(span, "lineage", None)
    if own is not None:
        told: tuple[int, int, int, int, str] = own()
        return told
    context, parent = span.context, span.parent
    return (
        context.trace_id,
        context.span_id,
        0 if parent is None else parent.span_id,
        _flags(context.trace_flags, remote=parent is not None and parent.is_remote),
        context.trace_state.to_header() if context.trace_state else "",
    )


def _flags(w3c: int, *, remote: bool) -> int:
    return w3c & 0xFF | _KNOWN | (_REMOTE if remote else 0)


def _status(span: SpanLike, masking: Masking | None) -> bytes:
    code = getattr(span, "status_code", None)
    if code is None:
        status = span.status
        code, description = status.status_code, status.description
    else:
        description = span.status_description
    number: int = code._value_
    if not description:
        return _STATUS[number]
    if masking is not None:
        description = masking.text(description)
    # An unset status has no code on the wire, as everything that is zero.
    return _enclosed(b"\x7a", [text(b"\x12", description), b"\x18" + length(number) if number else b""])


def _enclosed(tag: bytes, message: list[bytes]) -> bytes:
    body = b"".join(message)
    return tag + length(len(body)) + body


def _schema(described: object) -> bytes:
    address = getattr(described, "schema_url", None)
    return text(b"\x1a", address) if address else b""
