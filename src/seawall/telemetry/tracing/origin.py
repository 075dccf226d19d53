"""What all spans of one tracer have in common, so that a span holds one reference to it.

Here too: how a caller's attributes and links become ours. Nothing raises for what a caller gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, final

from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AnyValue
from opentelemetry.util.types import Attributes as GivenAttributes

from seawall.telemetry.tracing.attributes import PLAIN, Attributes, dropped_of, take_over
from seawall.telemetry.tracing.processors import Processors
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


@final
class Origin:
    """What all spans of one tracer have in common.

    Args:
        segments: Where they are judged.
        limits: What is bounded in them.
        resource: The process.
        scope: The library that makes them.
        now_ns: The monotonic clock.
        shows_exceptions: Whether texts of exceptions are recorded.

    Attributes:
        processors: Who hears of them; ``None`` as long as nobody does.
    """

    __slots__ = (
        "attributes_max",
        "limits",
        "now_ns",
        "processors",
        "resource",
        "scope",
        "segments",
        "shows_exceptions",
        "value_length",
    )

    def __init__(
        self,
        segments: Segments,
        *,
        limits: Limits,
        resource: AnyResource,
        scope: InstrumentationScope,
        now_ns: Callable[[], int],
        shows_exceptions: bool = False,
    ) -> None:
        self.segments = segments
        self.limits = limits
        self.resource = resource
        self.scope = scope
        self.now_ns = now_ns
        self.shows_exceptions = shows_exceptions
        self.attributes_max = limits.attributes
        self.value_length = limits.value_length
        self.processors: Processors | None = None

    def own(self, given: GivenAttributes, limit: int) -> Attributes | None:
        """Attributes taken over from a caller; ``None`` if they can't be used."""
        try:
            if type(given) is dict:
                # what most spans start with needs no copy of its values
                length = self.value_length
                for key, value in given.items():
                    if type(key) is not str:
                        break
                    kind = type(value)
                    if kind is str:
                        if len(value) > length:
                            break
                    elif kind is not int and kind not in PLAIN:
                        break
                else:
                    if len(given) <= limit and "" not in given:
                        return given.copy()
            return take_over(given, limit, self.value_length) if given else None
        except Exception:  # noqa: BLE001  # a mapping of the caller's may raise anything, and telemetry raises nothing
            self.segments.failed += 1
            return None

    def link(self, context: object, given: GivenAttributes) -> BoundedLink | None:
        """A link, or ``None`` if it leads nowhere and says nothing."""
        if not isinstance(context, SpanContext):
            self.segments.failed += 1
            return None
        attributes = self.own(given, self.limits.link_attributes)
        if not (context.is_valid or attributes or dropped_of(attributes) or context.trace_state):
            return None
        return BoundedLink(context, {} if attributes is None else attributes)
