"""Spans as OTLP/JSON, for collectors that take nothing else; several times the work of Protocol Buffers.

The JSON mapping of Protocol Buffers with OTLP's exceptions (specification, "JSON Protobuf Encoding"): trace
and span ids in hexadecimal, enumerations as numbers, 64-bit integers as texts, keys in lowerCamelCase. Has
the same face as ``ProtobufForm`` and leaves out the same values.

Pure.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Any, Final, final

from seawall.telemetry.otlp.protobuf import Described, Scoped, lineage
from seawall.telemetry.otlp.shapes import ContextLike, SpanLike, Unencodable
from seawall.telemetry.otlp.values import DEPTH_LIMIT, VALUES_LIMIT, utf8

__all__ = ["JsonForm"]

_INT64: Final = 1 << 63
_IS_KNOWN, _IS_REMOTE = 0x100, 0x200
_dump: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


@final
class JsonForm:
    """Encodes for ``application/json``."""

    content_type: Final = "application/json"
    separator: Final = b","
    step_bytes: Final = 3 * 1024

    __slots__ = ("_room",)

    def __init__(self) -> None:
        self._room = VALUES_LIMIT

    def span(self, span: SpanLike) -> bytes:
        """One span as an element of ``spans``.

        Raises:
            Exception: Of any kind, when something about the span isn't as it should be.
        """
        self._room = VALUES_LIMIT
        trace_id, span_id, flags, state, parent_id, remote = lineage(span)
        kind: Any = span.kind
        message: dict[str, Any] = _identity(trace_id, span_id, state)
        if parent_id:
            message["parentSpanId"] = f"{parent_id:016x}"
        message |= {
            "name": _text(span.name),
            "kind": getattr(kind, "value", kind) + 1,
            "startTimeUnixNano": str(span.start_time or 0),
            "endTimeUnixNano": str(span.end_time or 0),
            "flags": flags & 0xFF | _IS_KNOWN | (_IS_REMOTE if remote else 0),
        }
        self._put_attributes(message, span)
        events, left_out = self._afford(span.events or ())
        if events:
            message["events"] = [self._event(event) for event in events]
        if dropped := left_out + span.dropped_events:
            message["droppedEventsCount"] = dropped
        links, left_out = self._afford(span.links or ())
        if links:
            message["links"] = [self._link(link) for link in links]
        if dropped := left_out + span.dropped_links:
            message["droppedLinksCount"] = dropped
        if (code := getattr(span, "status_code", None)) is not None or span.status is not None:
            message["status"] = _status(code, span)
        return utf8(_dump(message))

    def _put_attributes(self, message: dict[str, Any], owner: Any) -> None:  # noqa: ANN401 -- see SpanLike
        dropped = getattr(owner, "dropped_attributes", 0)
        if attributes := owner.attributes:
            self._put_pairs(message, attributes, dropped)
        elif dropped:
            message["droppedAttributesCount"] = dropped

    def _put_pairs(self, message: dict[str, Any], attributes: Mapping[str, Any], dropped: int) -> None:
        row, left_out = self._afford(attributes.items(), len(attributes))
        dropped += left_out
        pairs: list[dict[str, Any]] = []
        for key, value in row:
            try:
                if not isinstance(key, str) or not key:
                    raise Unencodable("a key is a text, and not empty")  # noqa: TRY301 -- counted below
                pairs.append({"key": _text(key), "value": self._any_value(value, DEPTH_LIMIT)})
            except Exception:  # noqa: BLE001 -- values are objects of strangers; the span goes on without it
                dropped += 1
        message["attributes"] = pairs
        if dropped:
            message["droppedAttributesCount"] = dropped

    def _afford(self, members: Iterable[Any], size: int | None = None) -> tuple[list[Any], int]:
        row = list(members) if size is None else list(islice(members, self._room))
        size = len(row) if size is None else size
        row = row[: self._room]
        self._room -= len(row)
        return row, size - len(row)

    def _event(self, event: Any) -> dict[str, Any]:  # noqa: ANN401 -- see SpanLike.events
        if isinstance(event, tuple):
            name, at, attributes = event[:3]
        else:
            name, at, attributes = event.name, event.timestamp, event.attributes
        message: dict[str, Any] = {"timeUnixNano": str(at), "name": _text(name)}
        dropped = getattr(event, "dropped_attributes", 0)
        if attributes:
            self._put_pairs(message, attributes, dropped)
        elif dropped:
            message["droppedAttributesCount"] = dropped
        return message

    def _link(self, link: Any) -> dict[str, Any]:  # noqa: ANN401 -- see SpanLike.links
        context: ContextLike = link.context
        message = _identity(context.trace_id, context.span_id, context.trace_state)
        message["flags"] = context.trace_flags & 0xFF | _IS_KNOWN | (_IS_REMOTE if context.is_remote else 0)
        self._put_attributes(message, link)
        return message

    def _any_value(self, value: object, depth: int) -> dict[str, Any]:
        if value is None:
            return {}
        if isinstance(value, bool):
            return {"boolValue": value}
        if isinstance(value, str):
            return {"stringValue": _text(value)}
        if isinstance(value, int):
            if not -_INT64 <= value < _INT64:
                raise Unencodable("more than 64 bits")
            return {"intValue": str(int(value))}
        if isinstance(value, float):
            return {"doubleValue": float(value) if isfinite(value) else _not_finite(value)}
        if isinstance(value, bytes | bytearray | memoryview):
            return {"bytesValue": b64encode(value).decode()}
        if depth <= 0:
            raise Unencodable("nested too deep")
        if isinstance(value, Mapping):
            self._spend(len(value))
            pairs = [{"key": _text(str(k)), "value": self._any_value(v, depth - 1)} for k, v in value.items()]
            return {"kvlistValue": {"values": pairs}}
        if isinstance(value, Sequence):
            self._spend(len(value))
            return {"arrayValue": {"values": [self._any_value(each, depth - 1) for each in value]}}
        raise Unencodable("of a type that the protocol doesn't know")

    def _spend(self, count: int) -> None:
        if count > self._room:
            raise Unencodable("more elements than one span may have")
        self._room -= count

    def resource(self, resource: Any) -> Described:  # noqa: ANN401 -- see SpanLike.resource
        """The resource as a member of a ``resourceSpans`` element, and what follows the scopes there."""
        self._room = VALUES_LIMIT
        message: dict[str, Any] = {}
        if attributes := getattr(resource, "attributes", None):
            self._put_pairs(message, attributes, 0)
        return b'"resource":' + utf8(_dump(message)), _schema(resource)

    def scope(self, scope: Any) -> Described:  # noqa: ANN401 -- see SpanLike.instrumentation_scope
        """The scope as a member of a ``scopeSpans`` element, and what follows the spans there."""
        self._room = VALUES_LIMIT
        message: dict[str, Any] = {}
        if scope is not None:
            message["name"] = _text(scope.name or "")
            if scope.version:
                message["version"] = _text(scope.version)
            if attributes := getattr(scope, "attributes", None):
                self._put_pairs(message, attributes, 0)
        return b'"scope":' + utf8(_dump(message)), _schema(scope)

    @staticmethod
    def request(groups: Sequence[tuple[Described, Sequence[Scoped]]]) -> list[bytes]:
        """Enclose encoded spans into an ``ExportTraceServiceRequest``; its pieces, in order.

        Args:
            groups: Resources, each with its scopes, each with its encoded spans.
        """
        pieces = [b'{"resourceSpans":[']
        for place, ((resource, resource_schema), scopes) in enumerate(groups):
            pieces += (b",{" if place else b"{", resource, b',"scopeSpans":[')
            for row, ((scope, scope_schema), spans) in enumerate(scopes):
                pieces += (
                    b",{" if row else b"{",
                    scope,
                    b',"spans":[',
                    b",".join(spans),
                    b"]",
                    scope_schema,
                    b"}",
                )
            pieces += (b"]", resource_schema, b"}")
        pieces.append(b"]}")
        return pieces


def _identity(trace_id: int, span_id: int, state: Any) -> dict[str, Any]:  # noqa: ANN401 -- see ContextLike
    message: dict[str, Any] = {"traceId": f"{trace_id:032x}", "spanId": f"{span_id:016x}"}
    if state:
        message["traceState"] = _text(state.to_header())
    return message


def _status(code: Any, span: SpanLike) -> dict[str, Any]:  # noqa: ANN401 -- a member of StatusCode, or its value
    description = getattr(span, "status_description", None)
    if code is None:
        status = span.status
        code = getattr(status, "status_code", status)
        description = getattr(status, "description", None) or description
    message: dict[str, Any] = {}
    if number := getattr(code, "value", code):
        message["code"] = number
    if description:
        message["message"] = _text(description)
    return message


def _text(text: str) -> str:
    # Through UTF-8 and back: half a surrogate pair would break the whole request, not just its own span.
    return text if text.isascii() else utf8(text).decode()


def _not_finite(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 -- NaN


def _schema(described: object) -> bytes:
    address = getattr(described, "schema_url", None)
    return b',"schemaUrl":' + utf8(_dump(_text(address))) if address else b""
