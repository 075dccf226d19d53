"""What may be set about tracing: how segments are judged, what is bounded, and whose provider is used.

Pure values, checked when they are made; all that is wrong with one is reported at once. The provider reads
them, a configuration makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Final, Literal, Self

from seawall.kernel.errors import PolicyError, Problem

__all__ = ["Limits", "Sampling", "TracingSettings"]

RATIO_DEFAULT: Final = 0.10
RATIO_HIGH_VOLUME: Final = 0.01
SLOW_S_DEFAULT: Final = 1.5
BREAKER_EVENTS_DEFAULT: Final = ("breaker", "circuit_breaker")

RANDOM_BITS: Final = 56
"""The low bits of a trace id that W3C Trace Context level 2 calls random."""

_ATTRIBUTES_MAX: Final = 128
"""The default count of OpenTelemetry's limits for attributes, events and links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Which finished segments are kept.

    A segment is the part of a trace that runs in this process: a local root and its local children. All of it
    is recorded; when the local root ends it is kept if one of its spans failed, if the root was slow, if it
    holds a breaker event, and otherwise by the ratio.

    Attributes:
        ratio: Share of the remaining segments that is kept, from 0 to 1. Decided by the random bits of the
            trace id, so that every process with the same ratio keeps the same traces, and one with a smaller
            ratio a part of them.
        slow_s: A local root that took so long is kept; infinity turns the rule off.
        breaker_events: An event whose name begins with one of these is a breaker event.
    """

    ratio: float = RATIO_DEFAULT
    slow_s: float = SLOW_S_DEFAULT
    breaker_events: tuple[str, ...] = BREAKER_EVENTS_DEFAULT

    def __post_init__(self) -> None:
        problems = []
        if not (isfinite(self.ratio) and 0.0 <= self.ratio <= 1.0):
            problems.append(Problem("sampling.ratio", self.ratio, "a number from 0 to 1"))
        if not self.slow_s > 0.0:
            problems.append(
                Problem(
                    "sampling.slow_s", self.slow_s, "seconds above 0", "math.inf keeps nothing for slowness"
                )
            )
        if not all(self.breaker_events):
            problems.append(
                Problem("sampling.breaker_events", self.breaker_events, "texts of at least one character")
            )
        if problems:
            raise PolicyError(problems, "tracing")

    @classmethod
    def high_volume(cls) -> Self:
        """The profile for many requests: one segment in a hundred, and all that is worth a look."""
        return cls(ratio=RATIO_HIGH_VOLUME)

    @property
    def threshold(self) -> int:
        """The lowest value of a trace id's random bits that is kept; above all of them when the ratio is 0.

        The direction (high values are kept) is that of OpenTelemetry's consistent probability sampling, so
        that its samplers, in this process or elsewhere, agree with this one.
        """
        return round((1.0 - self.ratio) * (1 << RANDOM_BITS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is bounded; whatever a bound turns away is counted.

    Attributes:
        open_spans: Spans of all segments whose local root has not ended; to make room the oldest segment is
            judged early. This is what bounds the memory of record-then-keep.
        segment_spans: Spans of one segment; it is then judged early, and what starts in it afterwards is
            judged on its own.
        lane_spans: Spans that wait for an exporter; no less than ``segment_spans``, for segments wait whole.
        lane_reserve: Share of the lane that only segments with an error may use.
        tracers: Instrumentation scopes; further ones share a tracer.
        attributes: Attributes of one span; the oldest goes.
        event_attributes: Attributes of one event.
        link_attributes: Attributes of one link.
        events: Events of one span; the oldest goes.
        links: Links of one span; the oldest goes.
        value_length: Characters of one text, bytes of one value of bytes; the rest is cut.
    """

    open_spans: int = 65_536
    segment_spans: int = 512
    lane_spans: int = 8_192
    lane_reserve: float = 0.10
    tracers: int = 1_000
    attributes: int = _ATTRIBUTES_MAX
    event_attributes: int = _ATTRIBUTES_MAX
    link_attributes: int = _ATTRIBUTES_MAX
    events: int = _ATTRIBUTES_MAX
    links: int = _ATTRIBUTES_MAX
    value_length: int = 16_384

    def __post_init__(self) -> None:
        problems = [
            Problem(f"limits.{key}", value, f"a whole number from {least} up")
            for key, least in (
                ("open_spans", 1),
                ("segment_spans", 1),
                ("lane_spans", 1),
                ("tracers", 1),
                ("attributes", 0),
                ("event_attributes", 0),
                ("link_attributes", 0),
                ("events", 0),
                ("links", 0),
                ("value_length", 0),
            )
            if not isinstance(value := getattr(self, key), int) or value < least
        ]
        if not 0.0 <= self.lane_reserve < 1.0:
            problems.append(Problem("limits.lane_reserve", self.lane_reserve, "a share from 0 to below 1"))
        if not problems and self.lane_spans < self.segment_spans:
            problems.append(
                Problem(
                    "limits.lane_spans",
                    self.lane_spans,
                    f"at least limits.segment_spans ({self.segment_spans})",
                    "a segment waits whole or not at all",
                )
            )
        if problems:
            raise PolicyError(problems, "tracing")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingSettings:
    """Whose provider makes the spans, and how.

    Attributes:
        provider: ``"light"`` is this package's; ``"sdk"`` is the OpenTelemetry SDK's own, which decides at
            the start of a trace by the same ratio and knows no rule for errors or slowness; ``"off"`` records
            nothing.
        resource: Attributes of the process, such as ``service.name``.
        sampling: How segments are judged.
        limits: What is bounded.
        exceptions: Whether texts of exceptions are recorded: ``"withheld"``, since they quote what callers
            were given, or ``"shown"``. The SDK's provider always shows them.
    """

    provider: Literal["light", "sdk", "off"] = "light"
    resource: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    exceptions: Literal["withheld", "shown"] = "withheld"

    def __post_init__(self) -> None:
        if self.exceptions not in {"withheld", "shown"}:
            raise PolicyError(
                [Problem("tracing.exceptions", self.exceptions, '"withheld" or "shown"')], "tracing"
            )
        if self.provider not in {"light", "sdk", "off"}:
            raise PolicyError(
                [Problem("tracing.provider", self.provider, '"light", "sdk" or "off"')], "tracing"
            )
