"""``traceparent``, ``tracestate`` and ``baggage`` in one propagator, on OpenTelemetry's interface.

It follows W3C's text where OpenTelemetry's own propagators don't: a ``traceparent`` that comes twice is none,
``tracestate`` has the grammar of level 2 and survives a key that comes twice, flags that nobody knows are
cleared, baggage in several fields is one, its plus signs are plus signs and its properties stay properties.

Whatever a carrier, a getter or a setter does wrong stays here and is counted: a request that loses its trace
is still a request. Nothing is logged.

Interpreter time is what it is written for: a context is a dict and a span context a tuple, and both are used
as that where that is known to hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import context as api
from opentelemetry.baggage import set_baggage
from opentelemetry.context.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    INVALID_SPAN,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from seawall.telemetry.propagation.baggage import to_entries, to_mapping
from seawall.telemetry.propagation.state import CarriedState
from seawall.wire.tracecontext.baggage import format_baggage, parse_baggage
from seawall.wire.tracecontext.traceparent import KNOWN_FLAGS, format_traceparent, parse_ids
from seawall.wire.tracecontext.tracestate import CHARACTERS_MAX, format_tracestate

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
BAGGAGE: Final = "baggage"

# Under which keys a context holds its span and its baggage; the API has no other way to say it.
SPAN_KEY: Final = next(iter(set_span_in_context(INVALID_SPAN, Context())))
BAGGAGE_KEY: Final = next(iter(set_baggage("name", "value", Context())))

_ROOT: Final = Context()
_FLAGS: Final = tuple(TraceFlags(flags) for flags in range(KNOWN_FLAGS + 1))
_FLAG_TEXTS: Final = tuple(f"{flags:02x}" for flags in range(KNOWN_FLAGS + 1))


# The public function is two calls of Python's, on every request.
_runtime: Final = api._RUNTIME_CONTEXT  # noqa: SLF001  # see above
_current: Final[Callable[[], Context]] = (
    _runtime._current_context.get  # noqa: SLF001  # see above
    if type(_runtime) is ContextVarsRuntimeContext
    else _runtime.get_current
)


class _NoTuple:
    """Stands for a span context that is built otherwise than expected: nothing is one."""


def _is_tuple() -> bool:
    made: object = SpanContext(1, 2, is_remote=True, trace_flags=_FLAGS[3], trace_state=DEFAULT_TRACE_STATE)
    return isinstance(made, tuple) and tuple(made) == (1, 2, True, _FLAGS[3], DEFAULT_TRACE_STATE, True)


def _fast_remote(trace_id: int, span_id: int, flags: int, state: TraceState) -> SpanContext:
    return tuple.__new__(SpanContext, (trace_id, span_id, True, _FLAGS[flags], state, True))


def _slow_remote(trace_id: int, span_id: int, flags: int, state: TraceState) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=_FLAGS[flags], trace_state=state)


# The API's class is a tuple of its attributes and of whether they are valid; making one without proving that
# again is much faster.
_TUPLE: Final[type[Any]] = SpanContext if _is_tuple() else _NoTuple
_remote: Final[Callable[[int, int, int, TraceState], SpanContext]] = (
    _fast_remote if _is_tuple() else _slow_remote
)


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

    Args:
        baggage: Whether baggage is passed on too; without, it neither leaves nor enters.
    """

    def __init__(self, *, baggage: bool = True) -> None:
        self.baggage: Final = baggage
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
                context = _current()
            span: Any = context.get(SPAN_KEY)
            if span is not None:
                span_context = span.get_span_context()
                if type(span_context) is _TUPLE:
                    trace_id, span_id, _, flags, state, valid = span_context
                    if valid:
                        # What format_traceparent does, without its checks.
                        text = (
                            f"00-{trace_id.to_bytes(16, 'big').hex()}-{span_id.to_bytes(8, 'big').hex()}"
                            f"-{_FLAG_TEXTS[flags & KNOWN_FLAGS]}"
                        )
                        if setter is default_setter:
                            carrier[TRACEPARENT] = text  # type: ignore[index]  # what the default setter does
                        else:
                            setter.set(carrier, TRACEPARENT, text)
                        if state is not DEFAULT_TRACE_STATE:
                            _inject_state(carrier, state, setter)
                elif span_context.is_valid:
                    _inject_slowly(carrier, span_context, setter)
            held = context.get(BAGGAGE_KEY)
            if held and self.baggage:
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
        found: dict[str, object] = {}
        if context is None:
            context = _ROOT
        try:
            # The default getter asks what kind of thing a value is, which takes longer than reading it.
            get: Any = carrier.get if getter is default_getter else None  # type: ignore[attr-defined]  # a mapping
            value = get(TRACEPARENT) if get is not None else getter.get(carrier, TRACEPARENT)
            if value:
                ids = parse_ids(value if type(value) is str else _only(value))
                if ids is None:
                    self._rejected += 1
                else:
                    value = get(TRACESTATE) if get is not None else getter.get(carrier, TRACESTATE)
                    state = DEFAULT_TRACE_STATE if not value else CarriedState(_all(value))
                    found[SPAN_KEY] = NonRecordingSpan(_remote(ids[0], ids[1], ids[2], state))
            if self.baggage:
                value = get(BAGGAGE) if get is not None else getter.get(carrier, BAGGAGE)
                if value:
                    self._extract_baggage(found, value, context)
        except Exception:  # noqa: BLE001  # foreign code, and no caller of ours may suffer from it
            self._failures += 1
        if not found:
            return context
        return Context({**context, **found} if context else found)

    @property
    def fields(self) -> set[str]:
        """The names that :meth:`inject` writes."""
        return {TRACEPARENT, TRACESTATE, BAGGAGE} if self.baggage else {TRACEPARENT, TRACESTATE}

    def statistics(self) -> PropagationStatistics:
        """What did not get through so far."""
        return PropagationStatistics(self._rejected, self._baggage_dropped, self._failures)

    def __repr__(self) -> str:
        return (
            f"<Propagator fields={','.join(sorted(self.fields))} rejected={self._rejected}"
            f" baggage_dropped={self._baggage_dropped} failures={self._failures}>"
        )

    def _inject_baggage(self, carrier: CarrierT, held: object, setter: Setter[CarrierT]) -> None:
        if isinstance(held, dict):
            text, dropped = format_baggage(to_entries(held))
            self._baggage_dropped += dropped
            if text:
                setter.set(carrier, BAGGAGE, text)

    def _extract_baggage(self, found: dict[str, object], value: object, context: Context) -> None:
        entries, dropped = parse_baggage(_all(value))
        self._baggage_dropped += dropped
        if entries:
            held = context.get(BAGGAGE_KEY)
            mapping = to_mapping(entries)
            found[BAGGAGE_KEY] = {**held, **mapping} if isinstance(held, dict) else mapping


def _inject_state(carrier: CarrierT, state: TraceState, setter: Setter[CarrierT]) -> None:
    text = state.to_header()
    if len(text) > CHARACTERS_MAX:
        text = format_tracestate(tuple(state.items()))
    if text:
        setter.set(carrier, TRACESTATE, text)


def _inject_slowly(carrier: CarrierT, context: SpanContext, setter: Setter[CarrierT]) -> None:
    setter.set(
        carrier, TRACEPARENT, format_traceparent(context.trace_id, context.span_id, context.trace_flags)
    )
    if context.trace_state:
        _inject_state(carrier, context.trace_state, setter)


def _only(value: Any) -> str:  # noqa: ANN401  # whatever a getter gives
    """The one piece of a field that may come once; nothing that can be read, if it came more often."""
    return str(value[0]) if len(value) == 1 else ""


def _all(value: Any) -> tuple[str, ...]:  # noqa: ANN401  # whatever a getter gives
    """The pieces of a field that may come in several."""
    return (value,) if isinstance(value, str) else tuple(map(str, value))


PROPAGATOR: Final = Propagator()
"""For those who don't need one of their own."""
