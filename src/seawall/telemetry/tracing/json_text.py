"""A span as JSON text, laid out as the OpenTelemetry SDK's ``ReadableSpan.to_json``.

For people who look at spans while they develop: the SDK's ``ConsoleSpanExporter`` prints this, and tests of
instrumentations do. What is exported to a collector is written by ``otlp``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

__all__ = ["json_of"]


def json_of(span: Any, indent: int | None) -> str:  # noqa: ANN401  # the module of spans imports this one
    """What there is to read of a span, ended or not.

    Args:
        span: One that has the attributes of the SDK's ``ReadableSpan``.
        indent: Spaces per level; ``None`` for a single line.
    """
    parent, status, resource = span.parent, span.status, span.resource
    described = {"status_code": status.status_code.name}
    if status.description:
        described["description"] = status.description
    document = {
        "name": span.name,
        "context": _context(span.context),
        "kind": str(span.kind),
        "parent_id": None if parent is None else f"0x{format_span_id(parent.span_id)}",
        "start_time": _time(span.start_time),
        "end_time": _time(span.end_time),
        "status": described,
        "attributes": span.attributes,
        "events": [
            {"name": event.name, "timestamp": _time(event.timestamp), "attributes": event.attributes}
            for event in span.events
        ],
        "links": [{"context": _context(link.context), "attributes": link.attributes} for link in span.links],
        "resource": {
            "attributes": resource.attributes,
            "schema_url": getattr(resource, "schema_url", ""),
        },
    }
    return json.dumps(document, indent=indent, default=_plain)


def _context(context: SpanContext) -> dict[str, str]:
    return {
        "trace_id": f"0x{format_trace_id(context.trace_id)}",
        "span_id": f"0x{format_span_id(context.span_id)}",
        "trace_state": repr(context.trace_state),
    }


def _time(ns: int | None) -> str | None:
    if not ns:
        return None
    return datetime.fromtimestamp(ns / 1e9, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _plain(value: object) -> object:
    """What JSON has no words for: read-only mappings, bytes."""
    if isinstance(value, Mapping):
        return dict(value)
    return value.hex() if isinstance(value, bytes) else str(value)
