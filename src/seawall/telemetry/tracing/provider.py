"""The tracer provider: what an application installs, and what forks.

Makes tracers, one per instrumentation scope, and holds what they share: segments, lane, limits, processors.
The clock of the machine is read and its dice are thrown here by default and nowhere else in the package.

Forks. Before one, the current span gets its id, so that parent and child process mean the same by it. In the
child the ids that follow are seeded anew, open segments are abandoned and the lane is emptied, all counted:
the parent has the same spans and exports them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, final
from weakref import WeakSet

from opentelemetry import trace as api
from opentelemetry.util.types import Attributes as GivenAttributes

from seawall.telemetry.tracing.current import SPAN_KEY, get_current
from seawall.telemetry.tracing.lane import Lane, LaneStatistics
from seawall.telemetry.tracing.origin import AnyResource, Origin
from seawall.telemetry.tracing.processors import Processor, Processors
from seawall.telemetry.tracing.readable import InstrumentationScope, process_resource
from seawall.telemetry.tracing.segment import Segments, SegmentStatistics
from seawall.telemetry.tracing.settings import Limits, Sampling
from seawall.telemetry.tracing.span import Span
from seawall.telemetry.tracing.tracer import Tracer

__all__ = ["TracerProvider", "TracingStatistics"]

OTHER_SCOPE: Final = "__other__"
"""The scope of the tracer that is shared once there are too many."""


@dataclass(frozen=True, slots=True)
class TracingStatistics:
    """One moment of a provider.

    Attributes:
        segments: What became of segments and spans.
        lane: What waits for export.
        tracers: Instrumentation scopes known.
        tracers_shared: Requests for a tracer that got the shared one.
    """

    segments: SegmentStatistics
    lane: LaneStatistics
    tracers: int
    tracers_shared: int


@final
class TracerProvider(api.TracerProvider):
    """Light spans behind OpenTelemetry's API.

    Args:
        resource: The process; this package's record or the SDK's. One of an unknown service, if left out.
        sampling: How segments are judged.
        limits: What is bounded.
        exceptions: ``"withheld"`` records the classes and frames of exceptions, ``"shown"`` their texts too.
        dice: Where ids come from. They identify and protect nothing, so a fast generator that the system has
            seeded is enough; what matters is that two processes never share its state.
        now_ns: The monotonic clock.
        wall_ns: Nanoseconds since 1970.

    Attributes:
        lane: Where finished spans wait.
        segments: Where they are judged.
        resource: As given.
    """

    def __init__(
        self,
        *,
        resource: AnyResource | None = None,
        sampling: Sampling | None = None,
        limits: Limits | None = None,
        exceptions: Literal["withheld", "shown"] = "withheld",
        dice: Random | None = None,
        now_ns: Callable[[], int] = time.perf_counter_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._limits = limits if limits is not None else Limits()
        self._dice = dice if dice is not None else Random()  # noqa: S311  # ids are no secrets
        self._now_ns = now_ns
        self._shows_exceptions = exceptions == "shown"
        self.resource: AnyResource = resource if resource is not None else process_resource()
        self.lane: Lane[Span] = Lane(self._limits.lane_spans, reserve=self._limits.lane_reserve)
        self.segments = Segments(
            self.lane,
            sampling=sampling if sampling is not None else Sampling(),
            limits=self._limits,
            random_bits=self._dice.getrandbits,
            wall_ns=wall_ns,
        )
        self._processors = Processors(self.segments)
        self._tracers: dict[InstrumentationScope, Tracer] = {}
        self._shared = self._make(InstrumentationScope(OTHER_SCOPE))
        self._tracers_shared = 0
        _living.add(self)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: GivenAttributes = None,
    ) -> Tracer:
        """The tracer of one instrumentation scope; the same one each time.

        Args:
            instrumenting_module_name: The library that makes spans.
            instrumenting_library_version: Its version.
            schema_url: The schema its spans follow.
            attributes: More about it.

        Returns:
            Its tracer, or a shared one if there are too many or the arguments make no scope.
        """
        try:
            scope = InstrumentationScope(
                str(instrumenting_module_name or ""), instrumenting_library_version, schema_url, attributes
            )
            tracer = self._tracers.get(scope)
        except Exception:  # noqa: BLE001  # arguments of strangers, and telemetry raises nothing
            self.segments.failed += 1
        else:
            if tracer is not None:
                return tracer
            if len(self._tracers) < self._limits.tracers:
                return self._tracers.setdefault(scope, self._make(scope))
        self._tracers_shared += 1
        return self._shared

    def _make(self, scope: InstrumentationScope) -> Tracer:
        origin = Origin(
            self.segments,
            limits=self._limits,
            resource=self.resource,
            scope=scope,
            now_ns=self._now_ns,
            shows_exceptions=self._shows_exceptions,
        )
        if self._processors.installed:
            origin.processors = self._processors
        return Tracer(origin)

    def add_span_processor(self, span_processor: Processor) -> None:
        """Install a span processor of the SDK. It runs in the path of callers, who pay for it."""
        self._processors.installed += (span_processor,)
        for tracer in [*self._tracers.values(), self._shared]:
            tracer.origin.processors = self._processors

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Let the installed span processors export; the lane is its exporter's business.

        Args:
            timeout_millis: For all of them together.

        Returns:
            Whether all have said that they are done.
        """
        until = self._now_ns() + timeout_millis * 1_000_000
        done = True
        for processor in self._processors.installed:
            left = max(until - self._now_ns(), 0) // 1_000_000
            try:
                done = processor.force_flush(left) is not False and done
            except Exception:  # noqa: BLE001  # somebody else's code
                self.segments.processor_errors += 1
                done = False
        return done

    def shutdown(self) -> None:
        """Close the lane and shut the installed span processors down. What waits can still be taken."""
        self.lane.close()
        for processor in self._processors.installed:
            try:
                processor.shutdown()
            except Exception:  # noqa: BLE001  # somebody else's code
                self.segments.processor_errors += 1

    def before_fork(self) -> None:
        """Give the current span its id, which both processes will use."""
        span = get_current().get(SPAN_KEY)
        if isinstance(span, Span):
            span.get_span_context()  # looking at it makes it

    def after_fork_in_child(self) -> None:
        """Draw other ids than the parent from now on, and leave to it what it has."""
        self._dice.seed()
        self.segments.abandon(self._now_ns())
        self.lane.forget()

    def statistics(self) -> TracingStatistics:
        """Counters of segments and lane."""
        return TracingStatistics(
            segments=self.segments.statistics(),
            lane=self.lane.statistics(),
            tracers=len(self._tracers),
            tracers_shared=self._tracers_shared,
        )

    def __repr__(self) -> str:
        return f"<TracerProvider {len(self._tracers)} tracers, {self.segments!r}, {self.lane!r}>"


_living: WeakSet[TracerProvider] = WeakSet()
"""Whom a fork concerns. The system keeps its fork hooks for ever, so it gets two for all providers."""


def _before_fork() -> None:
    for provider in list(_living):
        provider.before_fork()


def _after_fork_in_child() -> None:
    for provider in list(_living):
        provider.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
