"""``traceparent``, ``tracestate`` and ``baggage`` in one propagator, on OpenTelemetry's interface.

It follows W3C's text where OpenTelemetry's own propagators don't: a ``traceparent`` that comes twice is none,
``tracestate`` has the grammar of level 2 and survives a key that comes twice, flags that nobody knows are
cleared, baggage in several fields is one, its plus signs are plus signs and its properties stay properties.

Whatever a carrier, a getter or a setter does wrong stays here and is counted: a request that loses its trace
is still a request. Nothing is logged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from opentelemetry.baggage import set_baggage
from opentelemetry.context.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace import DEFAULT_TRACE_STATE, NonRecordingSpan, TraceState

from seawall.telemetry.propagation.baggage import to_entries, to_mapping
from seawall.telemetry.propagation.state import CarriedState
from seawall.telemetry.tracing import span_context
from seawall.telemetry.tracing.current import SPAN_KEY, get_current
from seawall.telemetry.tracing.span_context import make_remote
from seawall.wire.tracecontext.baggage import format_baggage, parse_baggage
from seawall.wire.tracecontext.traceparent import (
    FLAG_TEXTS,
    KNOWN_FLAGS,
    format_traceparent,
    parse_traceparent,
)
from seawall.wire.tracecontext.tracestate import format_tracestate

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
BAGGAGE: Final = "baggage"

BAGGAGE_KEY: Final = next(iter(set_baggage("name", "value", Context())))
"""Under which key a context holds its baggage; the API has no other way to say it."""

_ROOT: Final = Context()


@dataclass(frozen=True, slots=True)
class PropagationStatistics:
    """What did not get through.

    Attributes:
        rejected: ``traceparent`` fields that were there and could not be read: traces that started anew.
        baggage_dropped: Members of baggage that broke the grammar or a limit, in or out.
        failures: Carriers, getters, setters, spans or values of baggage that raised.
    """

    rejected: int
    baggage_dropped: int
    failures: int


class Propagator(TextMapPropagator):
    """Writes the current trace and baggage into carriers, and reads them from there.

    One does for a whole process, and for all its threads.
    """

    def __init__(self) -> None:
        self._rejected = 0
        self._baggage_dropped = 0
        self._failures = 0

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Write the trace and the baggage of a context into a carrier; nothing if it has none.

        Args:
            carrier: What ``setter`` writes to: a dict, if there is none.
            context: The current one, if none is given.
            setter: One of ``carriers``, or any of OpenTelemetry's.
        """
        try:
            if context is None:
                context = get_current()
            span: Any = context.get(SPAN_KEY)
            if span is not None:
                parts = span.get_span_context()
                if type(parts) is not span_context.TUPLE:
                    parts = _checked(span_context.take_apart(parts))
                trace_id, span_id, _, flags, state, valid = parts
                if valid:
                    # format_traceparent, without the call and without another look at the ids
                    trace = trace_id.to_bytes(16).hex()
                    text = f"00-{trace}-{span_id.to_bytes(8).hex()}{FLAG_TEXTS[flags & KNOWN_FLAGS]}"
                    if setter is default_setter:
                        carrier[TRACEPARENT] = text  # type: ignore[index]  # what the default setter does
                    else:
                        setter.set(carrier, TRACEPARENT, text)
                    if state is not DEFAULT_TRACE_STATE:
                        _inject_state(carrier, state, setter)
            if BAGGAGE_KEY in context:
                held = context[BAGGAGE_KEY]
                if held and isinstance(held, dict):
                    self._inject_baggage(carrier, held, setter)
        except Exception:  # noqa: BLE001  # foreign code, and no caller of ours may suffer from it
            self._failures += 1

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """Read the trace and the baggage of a carrier.

        Args:
            carrier: What ``getter`` reads: a dict with names in lower case, if there is none.
            context: What they are added to; an empty one, if none is given.
            getter: One of ``carriers``, or any of OpenTelemetry's.

        Returns:
            The context with what was found; the same one, if nothing was.
        """
        if context is None:
            context = _ROOT
        span = baggage = None
        try:
            # The default getter asks what kind of thing a value is, which takes longer than reading it.
            get: Callable[[str], Any] = (
                carrier.get if getter is default_getter else partial(getter.get, carrier)  # type: ignore[attr-defined]  # a mapping
            )
            value = get(TRACEPARENT)
            if value:
                ids = parse_traceparent(value if type(value) is str else _only(value))
                if ids is None:
                    self._rejected += 1
                else:
                    trace_id, span_id, flags = ids
                    value = get(TRACESTATE)
                    span = NonRecordingSpan(
                        make_remote(trace_id, span_id, flags, CarriedState(_all(value)))
                        if value
                        else make_remote(trace_id, span_id, flags, DEFAULT_TRACE_STATE)
                    )
            value = get(BAGGAGE)
            if value:
                baggage = self._read_baggage(value, context)
        except Exception:  # noqa: BLE001  # foreign code, and no caller of ours may suffer from it
            self._failures += 1
        if context or baggage is not None:
            return _with(context, span, baggage)
        return context if span is None else Context({SPAN_KEY: span})

    @property
    def fields(self) -> set[str]:
        """The names that :meth:`inject` writes."""
        return {TRACEPARENT, TRACESTATE, BAGGAGE}

    def statistics(self) -> PropagationStatistics:
        """What did not get through so far."""
        return PropagationStatistics(self._rejected, self._baggage_dropped, self._failures)

    def __repr__(self) -> str:
        return (
            f"<Propagator rejected={self._rejected} baggage_dropped={self._baggage_dropped}"
            f" failures={self._failures}>"
        )

    def _inject_baggage(self, carrier: CarrierT, held: dict[str, object], setter: Setter[CarrierT]) -> None:
        text, dropped = format_baggage(to_entries(held))
        self._baggage_dropped += dropped
        if text:
            setter.set(carrier, BAGGAGE, text)

    def _read_baggage(self, value: object, context: Context) -> dict[str, object] | None:
        """The baggage of a field beside what the context has; ``None`` if there is none in the field."""
        entries, dropped = parse_baggage(_all(value))
        self._baggage_dropped += dropped
        if not entries:
            return None
        held = context.get(BAGGAGE_KEY)
        mapping = to_mapping(entries)
        return {**held, **mapping} if isinstance(held, dict) else mapping


def _checked(parts: tuple[int, int, bool, int, TraceState, bool]) -> tuple[Any, ...]:
    """The same parts; raises if the ids are none, whatever their context says of itself."""
    trace_id, span_id, *_, valid = parts
    if valid:
        format_traceparent(trace_id, span_id)
    return parts


def _with(context: Context, span: object, baggage: object) -> Context:
    """The context with what was found; the same one, if nothing was."""
    found: dict[str, object] = {}
    if span is not None:
        found[SPAN_KEY] = span
    if baggage is not None:
        found[BAGGAGE_KEY] = baggage
    return Context({**context, **found}) if found else context


def _inject_state(carrier: CarrierT, state: TraceState, setter: Setter[CarrierT]) -> None:
    text = format_tracestate(state)
    if text:
        setter.set(carrier, TRACESTATE, text)


def _only(value: Any) -> str:  # noqa: ANN401  # whatever a getter gives
    """The one piece of a field that may come once; nothing that can be read, if it came more often."""
    pieces = _all(value)
    return pieces[0] if len(pieces) == 1 else ""


def _all(value: Any) -> tuple[str, ...]:  # noqa: ANN401  # whatever a getter gives
    """The pieces of a field that may come in several."""
    return (value,) if isinstance(value, str) else tuple(map(str, value))


PROPAGATOR: Final = Propagator()
"""For those who don't need one of their own."""
