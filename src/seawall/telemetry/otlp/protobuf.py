"""Spans as Protocol Buffers, written by hand: one pass, no message objects, constants kept.

The library for Protocol Buffers builds an object per message and holds the interpreter for milliseconds per
batch. A span is a short row of fields, so the bytes are put together directly. ``encode`` groups spans and
slices the work; this module knows what one span, resource and scope look like, and what encloses them.

Pure. Field numbers: opentelemetry/proto/trace/v1/trace.proto and resource/v1/resource.proto, written in
ascending order, as others do, so that equal spans give equal bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, final

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from seawall.telemetry.otlp.shapes import SpanLike
from seawall.telemetry.otlp.values import VALUES_LIMIT, Values, utf8
from seawall.telemetry.otlp.varint import LENGTHS, length, varint

__all__ = ["IDENTITIES_LIMIT", "NAMES_LIMIT", "Described", "ProtobufForm", "Scoped", "lineage"]

NAMES_LIMIT: Final = 1_024
"""Encoded names of spans that are kept. A full memory is emptied."""

_KEPT: Final = len(LENGTHS)
_NAME_BYTES: Final = 256
"""A longer name is no constant, and isn't kept."""

IDENTITIES_LIMIT: Final = 64
"""Kinds and codes of statuses that are known by identity; there are five and three."""

Described = tuple[bytes, bytes]
"""What comes before and after the members of a group: the resource or scope, and its schema's address."""

Scoped = tuple[Described, Sequence[bytes]]
"""A scope and its encoded spans, some joined already."""

# kind (6), start (7) and end (8) with their tags
_kind_and_times: Final = struct.Struct("<BBBQBQ").pack

# flags (16): the eight W3C bits, "it is known whether the parent is remote", and whether it is
_LOCAL: Final = tuple(b"\x85\x01" + struct.pack("<I", flags | 0x100) for flags in range(256))
_REMOTE: Final = tuple(b"\x85\x01" + struct.pack("<I", flags | 0x300) for flags in range(256))
_LINK_LOCAL: Final = tuple(b"\x35" + struct.pack("<I", flags | 0x100) for flags in range(256))
_LINK_REMOTE: Final = tuple(b"\x35" + struct.pack("<I", flags | 0x300) for flags in range(256))

_STATUS: Final = (b"\x7a\x00", b"\x7a\x02\x18\x01", b"\x7a\x02\x18\x02")


@final
class ProtobufForm:
    """Encodes for ``application/x-protobuf`` and gRPC.

    Attributes:
        values: Encodes the attributes, and counts what its memories dropped.
    """

    content_type: Final = "application/x-protobuf"
    separator: Final = b""
    step_bytes: Final = 6 * 1024

    __slots__ = ("_codes", "_kinds", "_names", "_state", "_state_bytes", "values")

    def __init__(self) -> None:
        self.values = Values()
        self._names: dict[str, bytes] = {}
        # By identity, with the object kept alive: an enumeration's hash and value are calls into Python.
        self._kinds: dict[int, tuple[object, int]] = {}
        self._codes: dict[int, tuple[object, int]] = {}
        self._state: object = None
        self._state_bytes = b""

    def span(self, span: SpanLike) -> bytes:
        """One span as a field of ``ScopeSpans``.

        Raises:
            Exception: Of any kind, when something about the span isn't as it should be.
        """
        values = self.values
        values.room = VALUES_LIMIT
        trace_id, span_id, flags, state, parent_id, remote = lineage(span)
        parts = [b"\x0a\x10", trace_id.to_bytes(16, "big"), b"\x12\x08", span_id.to_bytes(8, "big")]
        if state is not self._state:
            self._remember_state(state)
        parts.append(self._state_bytes)
        if parent_id:
            parts += (b"\x22\x08", parent_id.to_bytes(8, "big"))
        name = span.name
        parts.append(self._names.get(name) or self._name(name))
        kind = span.kind
        known = self._kinds.get(id(kind))
        number = self._kind(kind) if known is None else known[1]
        parts.append(_kind_and_times(0x30, number, 0x39, span.start_time or 0, 0x41, span.end_time or 0))
        dropped = span.dropped_attributes
        if attributes := span.attributes:
            dropped += values.add(parts, b"\x4a", attributes)
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
        self._status(parts, span)
        parts.append((_REMOTE if remote else _LOCAL)[flags & 0xFF])
        body = b"".join(parts)
        size = len(body)
        return b"\x12" + (LENGTHS[size] if size < _KEPT else varint(size)) + body

    def _remember_state(self, state: Any) -> None:  # noqa: ANN401 -- see ContextLike
        encoded = _text(b"\x1a", state.to_header()) if state else b""
        self._state, self._state_bytes = state, encoded

    def _kind(self, kind: Any) -> int:  # noqa: ANN401 -- see SpanLike.kind
        # OTLP counts kinds from 1; its 0 is "unspecified".
        number: int = getattr(kind, "value", kind) + 1
        if len(self._kinds) < IDENTITIES_LIMIT:
            self._kinds[id(kind)] = kind, number
        return number

    def _name(self, name: str) -> bytes:
        raw = utf8(name)
        encoded = b"\x2a" + length(len(raw)) + raw if raw else b""
        if len(raw) <= _NAME_BYTES:
            if len(self._names) >= NAMES_LIMIT:
                self._names.clear()
                self.values.emptied += 1
            self._names[name] = encoded
        return encoded

    def _events(self, parts: list[bytes], events: Iterable[Any]) -> int:
        """Append the events; how many were left out."""
        values = self.values
        affordable, left_out = values.afford(events)
        for event in affordable:
            if isinstance(event, tuple):
                name, at, attributes = event[:3]
            else:
                name, at, attributes = event.name, event.timestamp, event.attributes
            dropped = getattr(event, "dropped_attributes", 0)
            message = [b"\x09", at.to_bytes(8, "little")]
            if name:
                message.append(_text(b"\x12", name))
            if attributes:
                dropped += values.add(message, b"\x1a", attributes)
            if dropped:
                message += (b"\x20", length(dropped))
            _enclose(parts, b"\x5a", message)
        return left_out

    def _links(self, parts: list[bytes], links: Iterable[Any]) -> int:
        """Append the links; how many were left out."""
        values = self.values
        affordable, left_out = values.afford(links)
        for link in affordable:
            trace_id, span_id, remote, flags, state = _taken_apart(link.context)
            message = [b"\x0a\x10", trace_id.to_bytes(16, "big"), b"\x12\x08", span_id.to_bytes(8, "big")]
            if state:
                message.append(_text(b"\x1a", state.to_header()))
            dropped = getattr(link, "dropped_attributes", 0)
            if attributes := link.attributes:
                dropped += values.add(message, b"\x22", attributes)
            if dropped:
                message += (b"\x28", length(dropped))
            message.append((_LINK_REMOTE if remote else _LINK_LOCAL)[flags & 0xFF])
            _enclose(parts, b"\x6a", message)
        return left_out

    def _status(self, parts: list[bytes], span: SpanLike) -> None:
        code = getattr(span, "status_code", None)
        if code is None:
            status = span.status
            if status is None:
                return
            code = getattr(status, "status_code", status)
            description = getattr(status, "description", None) or getattr(span, "status_description", None)
        else:  # light spans make the object of the two only when it is asked for
            description = getattr(span, "status_description", None)
        known = self._codes.get(id(code))
        number = self._code(code) if known is None else known[1]
        if description:
            # An unset status has no code on the wire, as everything that is zero.
            message = _text(b"\x12", description) + (b"\x18" + length(number) if number else b"")
            parts += (b"\x7a", length(len(message)), message)
        else:
            parts.append(_STATUS[number])

    def _code(self, code: Any) -> int:  # noqa: ANN401 -- a member of StatusCode, or its value
        number: int = getattr(code, "value", code)
        if len(self._codes) < IDENTITIES_LIMIT:
            self._codes[id(code)] = code, number
        return number

    def resource(self, resource: Any) -> Described:  # noqa: ANN401 -- see SpanLike.resource
        """The resource as a field of ``ResourceSpans``, and what follows the scopes there."""
        message: list[bytes] = []
        attributes = getattr(resource, "attributes", None)
        if attributes:
            self._describe(message, b"\x0a", attributes, dropped_tag=b"\x10")
        head: list[bytes] = []
        _enclose(head, b"\x0a", message)
        return b"".join(head), _schema(resource)

    def scope(self, scope: Any) -> Described:  # noqa: ANN401 -- see SpanLike.instrumentation_scope
        """The scope as a field of ``ScopeSpans``, and what follows the spans there."""
        message: list[bytes] = []
        if scope is not None:
            if scope.name:
                message.append(_text(b"\x0a", scope.name))
            if scope.version:
                message.append(_text(b"\x12", scope.version))
            if attributes := getattr(scope, "attributes", None):
                self._describe(message, b"\x1a", attributes, dropped_tag=b"\x20")
        head: list[bytes] = []
        _enclose(head, b"\x0a", message)
        return b"".join(head), _schema(scope)

    def _describe(
        self, message: list[bytes], tag: bytes, attributes: Mapping[str, Any], *, dropped_tag: bytes
    ) -> None:
        self.values.room = VALUES_LIMIT
        if left_out := self.values.add(message, tag, attributes):
            message += (dropped_tag, length(left_out))

    @staticmethod
    def request(groups: Sequence[tuple[Described, Sequence[Scoped]]]) -> list[bytes]:
        """Enclose encoded spans into an ``ExportTraceServiceRequest``; its pieces, in order.

        Args:
            groups: Resources, each with its scopes, each with its encoded spans.
        """
        pieces: list[bytes] = []
        for (resource, resource_schema), scopes in groups:
            inner: list[bytes] = [resource]
            for (scope, scope_schema), spans in scopes:
                size = len(scope) + sum(map(len, spans)) + len(scope_schema)
                inner += (b"\x12" + length(size) + scope, *spans, scope_schema)
            inner.append(resource_schema)
            pieces.append(b"\x0a" + length(sum(map(len, inner))))
            pieces += inner
        return pieces


def _layout() -> type | None:
    """The API's class of contexts, if it is a tuple of this order; else nothing is taken for granted."""
    flags, state = TraceFlags(1), TraceState([("a", "b")])
    probe = tuple(SpanContext(3, 5, is_remote=True, trace_flags=flags, trace_state=state))
    return SpanContext if len(probe) == 6 and probe[:5] == (3, 5, True, flags, state) else None


_TUPLE: Final[Any] = _layout()


def _taken_apart(context: Any) -> tuple[int, int, bool, int, Any]:  # noqa: ANN401 -- a ContextLike
    """Ids, whether it is remote, flags, state; five properties cost more than the rest of a small span."""
    if context.__class__ is _TUPLE:
        fields: tuple[int, int, bool, int, Any] = context[:5]
        return fields
    return context.trace_id, context.span_id, context.is_remote, context.trace_flags, context.trace_state


def lineage(span: SpanLike) -> tuple[int, int, int, Any, int, bool]:
    """Who a span is: trace, id, flags, state, the parent's id (0 for none) and whether that is remote.

    A span with a method ``lineage`` tells it itself. Light spans make their contexts only for who asks:
    objects that stay, and that set off the garbage collector in the middle of a flush.
    """
    own = getattr(span, "lineage", None)
    if own is not None:
        told: tuple[int, int, int, Any, int, bool] = own()
        return told
    trace_id, span_id, _, flags, state = _taken_apart(span.context)
    parent = span.parent
    if parent is None:
        return trace_id, span_id, flags, state, 0, False
    _, parent_id, remote, _, _ = _taken_apart(parent)
    return trace_id, span_id, flags, state, parent_id, remote


def _text(tag: bytes, text: str) -> bytes:
    raw = utf8(text)
    return tag + length(len(raw)) + raw


def _enclose(parts: list[bytes], tag: bytes, message: list[bytes]) -> None:
    body = b"".join(message)
    parts += (tag, length(len(body)), body)


def _schema(described: object) -> bytes:
    address = getattr(described, "schema_url", None)
    return _text(b"\x1a", address) if address else b""
