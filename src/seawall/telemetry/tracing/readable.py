"""What surrounds spans: the process that makes them, the library that does, events, links.

Shaped as the OpenTelemetry SDK's classes of these names, so that exporters and tests written for those read
ours; nothing of the SDK is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

from opentelemetry.trace import Link
from opentelemetry.util.types import AnyValue

from seawall._version import __version__
from seawall.telemetry.tracing.attributes import Attributes, dropped_of, take_over

__all__ = ["BoundedLink", "Event", "InstrumentationScope", "Resource", "process_resource"]

_ATTRIBUTES_MAX = 1_000
_LENGTH_MAX = 1_000_000
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
        schema_url: The schema these follow; empty if there is none.
    """

    __slots__ = ("attributes", "schema_url")

    def __init__(self, attributes: Mapping[str, AnyValue] | None = None, schema_url: str = "") -> None:
        self.attributes: Attributes = take_over(attributes or {}, _ATTRIBUTES_MAX, _LENGTH_MAX)
        self.schema_url = schema_url

    def __repr__(self) -> str:
        return f"<Resource {self.attributes}>"


def process_resource(attributes: Mapping[str, AnyValue] | None = None) -> Resource:
    """What is said of a process, and what OpenTelemetry wants to be said of every one.

    Args:
        attributes: What is known; it wins.
    """
    return Resource(
        {
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "seawall",
            "telemetry.sdk.version": __version__,
            "service.name": "unknown_service",
            **(attributes or {}),
        }
    )


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
        self.attributes: Attributes = take_over(attributes or {}, _ATTRIBUTES_MAX, _LENGTH_MAX)
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
