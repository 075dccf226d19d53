"""What a span looks like to the encoders: attributes that are read, and nothing else.

Both this library's light spans and those of the OpenTelemetry SDK have them, so neither is named here.
Nothing is promised about an object that lacks one: the encoder counts it as unencodable and goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

__all__ = ["ContextLike", "SpanLike", "Unencodable"]


class Unencodable(ValueError):
    """A value that the protocol can't carry, or one of a size that would hold the event loop."""


class ContextLike(Protocol):
    """A span context, as ``opentelemetry.trace.SpanContext``."""

    @property
    def trace_id(self) -> int:
        """128 bits."""
        ...

    @property
    def span_id(self) -> int:
        """64 bits."""
        ...

    @property
    def trace_flags(self) -> int:
        """Eight bits of W3C Trace Context."""
        ...

    @property
    def trace_state(self) -> Any:  # noqa: ANN401 -- a mapping with to_header(), or None
        """Other vendors' entries."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether it came from another process."""
        ...


class SpanLike(Protocol):
    """A finished span.

    Events are ``(name, time_ns, attributes)`` tuples, or objects with ``name``, ``timestamp``, ``attributes``
    and maybe ``dropped_attributes``. Links have ``context``, ``attributes`` and maybe
    ``dropped_attributes``. The status is an object with ``status_code`` and ``description``, or a code alone
    with the description in the span's ``status_description``.
    """

    @property
    def name(self) -> str:
        """What was done."""
        ...

    @property
    def context(self) -> ContextLike | None:
        """Its own identity."""
        ...

    @property
    def parent(self) -> ContextLike | None:
        """Whose child it is; None for a root."""
        ...

    @property
    def kind(self) -> object:
        """A member of ``SpanKind``, or its value."""
        ...

    @property
    def start_time(self) -> int | None:
        """Nanoseconds since 1970."""
        ...

    @property
    def end_time(self) -> int | None:
        """Nanoseconds since 1970."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any] | None:
        """Names and values."""
        ...

    @property
    def events(self) -> Iterable[Any] | None:
        """What happened meanwhile."""
        ...

    @property
    def links(self) -> Iterable[Any] | None:
        """Other spans it belongs to."""
        ...

    @property
    def status(self) -> object:
        """How it ended."""
        ...

    @property
    def resource(self) -> Any:  # noqa: ANN401 -- an object with attributes and schema_url, or None
        """The process that it happened in."""
        ...

    @property
    def instrumentation_scope(self) -> Any:  # noqa: ANN401 -- with name, version, attributes, schema_url, or None
        """The library that recorded it."""
        ...

    @property
    def dropped_attributes(self) -> int:
        """Attributes that its limits kept out."""
        ...

    @property
    def dropped_events(self) -> int:
        """Events that its limits kept out."""
        ...

    @property
    def dropped_links(self) -> int:
        """Links that its limits kept out."""
        ...
