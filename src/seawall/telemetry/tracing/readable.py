"""What surrounds spans: the process that makes them, the library that does, events, links.

Shaped as the OpenTelemetry SDK's classes of these names, so that exporters and tests written for those read
ours; nothing of the SDK is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple, final

from opentelemetry.trace import Link, SpanContext, format_span_id, format_trace_id
from opentelemetry.util.types import AnyValue

from seawall.telemetry.tracing.attributes import Attributes, dropped_of, take_over

__all__ = ["BoundedLink", "Event", "InstrumentationScope", "Resource"]

_ATTRIBUTES_MAX = 1_000
"""Of a resource or a scope. They are written by programmers, so this is against mistakes only."""


class Event(NamedTuple):
    """Something that happened at a moment within a span.

    Attributes:
        name: What.
        timestamp: When, in nanoseconds since 1970.
        attributes: More about it; not to be changed.
    """

    name: str
    timestamp: int
    attributes: Mapping[str, AnyValue]

    @property
    def dropped_attributes(self) -> int:
        """How many attributes could not be kept."""
        return dropped_of(self.attributes)


class BoundedLink(Link):
    """A link whose attributes were taken over and bounded."""

    @property
    def dropped_attributes(self) -> int:
        """How many attributes could not be kept."""
        return dropped_of(self.attributes)


@final
class Resource:
    """The process that makes the spans.

    Args:
        attributes: Such as ``service.name``.
        schema_url: The schema these follow.
    """

    __slots__ = ("_attributes", "_hash", "_schema_url")

    def __init__(
        self, attributes: Mapping[str, AnyValue] | None = None, schema_url: str | None = None
    ) -> None:
        self._attributes: Attributes = take_over(attributes or {}, _ATTRIBUTES_MAX, None)
        self._schema_url = schema_url or ""
        self._hash = hash((repr(sorted(self._attributes.items(), key=repr)), self._schema_url))

    @property
    def attributes(self) -> Mapping[str, AnyValue]:
        """What is known about the process."""
        return self._attributes

    @property
    def schema_url(self) -> str:
        """The schema of the attributes; empty if there is none."""
        return self._schema_url

    def merge(self, other: Resource) -> Resource:
        """A resource with both's attributes; ``other`` wins."""
        return Resource({**self._attributes, **other.attributes}, other.schema_url or self._schema_url)

    def to_json(self, indent: int | None = 4) -> str:
        """As JSON text."""
        return json.dumps(
            {"attributes": self._attributes, "schema_url": self._schema_url}, indent=indent, default=str
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Resource):
            return NotImplemented
        return self._attributes == other._attributes and self._schema_url == other._schema_url

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<Resource {dict(self._attributes)}>"


@final
class InstrumentationScope:
    """The library that a tracer speaks for.

    Args:
        name: Its name.
        version: Its version.
        schema_url: The schema that its attributes follow.
        attributes: More about it.
    """

    __slots__ = ("_hash", "attributes", "name", "schema_url", "version")

    def __init__(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, AnyValue] | None = None,
    ) -> None:
        self.name = name
        self.version = version or ""
        self.schema_url = schema_url or ""
        self.attributes: Attributes = take_over(attributes or {}, _ATTRIBUTES_MAX, None)
        self._hash = hash((self.name, self.version, self.schema_url))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InstrumentationScope):
            return NotImplemented
        return (self.name, self.version, self.schema_url, self.attributes) == (
            other.name,
            other.version,
            other.schema_url,
            other.attributes,
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<InstrumentationScope {self.name!r} {self.version}>"


def moment_text(unix_ns: int | None) -> str | None:
    """A moment as ISO 8601 text in UTC."""
    if not unix_ns:
        return None
    return datetime.fromtimestamp(unix_ns / 1e9, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def context_fields(context: SpanContext) -> dict[str, str]:
    """A span context as the fields of ``to_json``."""
    return {
        "trace_id": f"0x{format_trace_id(context.trace_id)}",
        "span_id": f"0x{format_span_id(context.span_id)}",
        "trace_state": repr(context.trace_state),
    }
