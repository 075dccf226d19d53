"""Span processors of the OpenTelemetry SDK, called as the SDK calls them; it need not be installed itself.

They hear of every span, whatever is judged of its segment. What one of them raises is counted and goes no
further.
"""

from __future__ import annotations

from typing import Any, Protocol, final

from opentelemetry.context.context import Context

from seawall.telemetry.tracing.segment import Segments

__all__ = ["Processor", "Processors"]


class Processor(Protocol):
    """A span processor, as the SDK's."""

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:  # noqa: ANN401  # the SDK's span, or ours
        """A span has started."""
        ...

    def on_end(self, span: Any) -> None:  # noqa: ANN401  # as above
        """A span has ended."""
        ...

    def shutdown(self) -> object:
        """No more spans come."""
        ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended."""
        ...


@final
class Processors:
    """What is installed in one provider.

    Args:
        segments: Who counts what they raise.

    Attributes:
        installed: Who they are, in the order of their installation.
    """

    __slots__ = ("_segments", "installed")

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self.installed: tuple[Processor, ...] = ()

    def started(self, span: object, context: Context | None) -> None:
        """Tell them that a span has started."""
        for processor in self.installed:
            try:
                processor.on_start(span, parent_context=context)
            except Exception:  # noqa: BLE001  # somebody else's code on a caller's path
                self._segments.processor_errors += 1

    def ended(self, span: object) -> None:
        """Tell them that a span has ended."""
        for processor in self.installed:
            try:
                # the SDK's processors have this hook under a private name, older ones don't
                ending = getattr(processor, "_on_ending", None)
                if ending is not None:
                    ending(span)
                processor.on_end(span)
            except Exception:  # noqa: BLE001  # somebody else's code on a caller's path
                self._segments.processor_errors += 1
