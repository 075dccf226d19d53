"""What all spans of one tracer have in common, so that a span holds one reference to it.

Here too: how a caller's attributes and links become ours. Nothing raises for what a caller gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, final

from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AnyValue
from opentelemetry.util.types import Attributes as GivenAttributes

from seawall.telemetry.tracing.attributes import SCALARS, Attributes, take_over
from seawall.telemetry.tracing.readable import BoundedLink, InstrumentationScope
from seawall.telemetry.tracing.segment import Segments
from seawall.telemetry.tracing.settings import Limits

__all__ = ["AnyResource", "Origin"]


class AnyResource(Protocol):
    """This package's resource, or the SDK's."""

    @property
    def attributes(self) -> Mapping[str, AnyValue] | None:
        """What is known about the process."""
        ...

    def to_json(self, indent: int | None = 4) -> str:
        """As JSON text."""
        ...


@final
class Origin:
    """What all spans of one tracer have in common.

    Args:
        segments: Where they are judged.
        limits: What is bounded in them.
        resource: The process.
        scope: The library that makes them.
        now_ns: The monotonic clock.
    """

    __slots__ = ("limits", "now_ns", "resource", "scope", "segment_spans", "segments", "value_length")

    def __init__(
        self,
        segments: Segments,
        *,
        limits: Limits,
        resource: AnyResource,
        scope: InstrumentationScope,
        now_ns: Callable[[], int],
    ) -> None:
        self.segments = segments
        self.limits = limits
        self.resource = resource
        self.scope = scope
        self.now_ns = now_ns
        self.segment_spans = limits.segment_spans
        self.value_length = limits.value_length

    def own(self, given: GivenAttributes, limit: int) -> Attributes | None:
        """Attributes taken over from a caller; ``None`` if they are none or not to be used."""
        if not given:
            return None
        try:
            if given.__class__ is dict and self.value_length is None and len(given) <= limit:
                # what most spans start with, checked without a step of Python per item: joining
                # raises for a key that is no text
                "".join(given)
                if SCALARS.issuperset(map(type, given.values())) and "" not in given:
                    return given.copy()
        except Exception:  # noqa: BLE001  # as below, where it is counted
            return self._own_slowly(given, limit)
        return self._own_slowly(given, limit)

    def _own_slowly(self, given: Mapping[str, AnyValue], limit: int) -> Attributes | None:
        try:
            return take_over(given, limit, self.value_length)
        except Exception:  # noqa: BLE001  # a mapping of the caller's may raise anything, and telemetry raises nothing
            self.segments.failed += 1
            return None

    def link(self, context: object, given: GivenAttributes) -> BoundedLink | None:
        """A link, or ``None`` if it leads nowhere and says nothing."""
        if not isinstance(context, SpanContext):
            self.segments.failed += 1
            return None
        attributes = self.own(given, self.limits.link_attributes)
        if not (context.is_valid or attributes is not None or context.trace_state):
            return None
        return BoundedLink(context, {} if attributes is None else attributes)
