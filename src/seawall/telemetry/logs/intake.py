"""From a log call to a record: everything that has to happen in the caller's thread, and no more.

That is: the current trace, the exception (its traceback would keep every frame's locals alive), and the
allow-list (what was not declared must not travel, and what was may change meanwhile). Masking, rendering and
writing are the writer's. Loggers of both kinds, structlog's and the standard library's, end here.

Nothing that a call does or gives can raise out of :meth:`Intake.take`, and whatever it runs of others
(processors, spans, texts of exceptions) may log itself without going round in circles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from threading import local
from time import time_ns
from typing import Any, Final

from opentelemetry.trace import get_current_span
from structlog.exceptions import DropEvent
from structlog.typing import Processor

from seawall.kernel.tally import Tally
from seawall.telemetry.logs.levels import name_of
from seawall.telemetry.logs.schema import Record
from seawall.telemetry.redaction.failures import Failures, exception_of
from seawall.telemetry.redaction.withholding import MARGIN, Cut, Redaction, cut, withheld

__all__ = ["ARGUMENTS_MAX", "Intake", "current_ids"]

ARGUMENTS_MAX: Final = 32
"""Positional arguments that are put into one message."""

NESTED_MAX: Final = 2
"""Log calls inside each other: what a call runs may log, and what that runs may not."""

RECORD_COST: Final = 256
"""What a record without texts counts for in the queue's bound."""

FAILURE_COST: Final = 4_096
"""What an exception counts for."""

_TRACE_BOUND: Final = 1 << 128
_SPAN_BOUND: Final = 1 << 64

_DIRECTIVE: Final = re.compile(
    r"%(?:\((?P<key>[^)]{0,64})\))?[-#0 +]{0,5}(?:\*|\d{0,4})(?:\.(?:\*|\d{0,4}))?[hlL]?"
    r"(?P<kind>[diouxXeEfFgGcrsa%])"
)

_CALLS: Final = local()

Offer = Callable[[Record, int], bool]


class Intake:
    """Makes records by the rules of one configuration.

    Args:
        offer: takes a record and its size.
        redaction: the allow-list.
        failures: the rules for exceptions.
        processors: structlog's, run on the event first.
        argument_loggers: loggers whose positional arguments are shown.
        message_chars: characters of a message that are shown.
    """

    # fmt: off
    __slots__ = (
        "_argument_loggers", "_failures", "_message_chars", "_offer", "_processors", "_read_chars",
        "_redaction", "errors",
    )
    # fmt: on

    def __init__(
        self,
        offer: Offer,
        *,
        redaction: Redaction,
        failures: Failures,
        processors: Iterable[Processor],
        argument_loggers: Iterable[str],
        message_chars: int,
    ) -> None:
        self._offer = offer
        self._redaction = redaction
        self._failures = failures
        self._processors = tuple(processors)
        self._argument_loggers = frozenset(argument_loggers)
        self._message_chars = message_chars
        # What is cut off here lies behind the margin that is cut off later.
        self._read_chars = message_chars + 2 * MARGIN
        self.errors = Tally()

    def take(
        self, level: int, logger: str, event: object, args: object, context: dict[str, Any], exc_info: object
    ) -> None:
        """Make and queue the record of one call.

        Args:
            level: as the standard library numbers it.
            logger: the logger's name.
            event: what was said; anything but a text becomes its type.
            args: positional arguments for a message with ``%`` in it, a tuple or a mapping.
            context: what was bound and given, a mapping of the callee's own.
            exc_info: as log calls take it.
        """
        depth = getattr(_CALLS, "depth", 0)
        if depth >= NESTED_MAX:
            self.errors.add()
            return
        _CALLS.depth = depth + 1
        try:
            self._take(level, logger, event, args, context, exc_info, nested=depth > 0)
        except Exception:  # noqa: BLE001 -- a log call does not raise, whatever it was given
            self.errors.add()
        finally:
            _CALLS.depth = depth

    def _take(
        self,
        level: int,
        logger: str,
        event: object,
        args: object,
        context: dict[str, Any],
        exc_info: object,
        *,
        nested: bool,
    ) -> None:
        if self._processors and not nested:
            processed = self._processed(level, event, context)
            if processed is None:
                return
            event, context = processed
        text = event if type(event) is str else withheld(event)
        message = self._message(logger, text, args) if args else cut(text, self._message_chars)
        size = RECORD_COST + len(message)
        error = exception_of(exc_info)
        if error is None and issubclass(type(event), BaseException):
            error = exception_of(event)  # `log.error(error)`
        failure = None
        if error is not None:
            failure = self._failures.describe(error)
            size += FAILURE_COST
        admitted, cost = self._redaction.admit(context) if context else ({}, 0)
        trace_id, span_id = (0, 0) if nested else current_ids()
        self._offer((time_ns(), level, logger, message, admitted, failure, trace_id, span_id), size + cost)

    def _processed(
        self, level: int, event: object, context: dict[str, Any]
    ) -> tuple[object, dict[str, Any]] | None:
        """What structlog's processors make of the event; None if one of them dropped it."""
        events: Any = {**context, "event": event}
        for processor in self._processors:
            try:
                made = processor(None, name_of(level).lower(), events)
            except DropEvent:
                return None
            except Exception:  # noqa: BLE001 -- a broken processor costs its part of the line, not the line
                self.errors.add()
                continue
            if isinstance(made, Mapping):
                events = dict(made)
            else:
                self.errors.add()  # a renderer: rendering is not for processors here
        return events.pop("event", ""), events

    def _message(self, logger: str, text: str, args: object) -> str:
        """The text with its arguments, or with their types and lengths, put in."""
        shown = self._shows_arguments(logger)
        by_name = args[0] if isinstance(args, tuple) and len(args) == 1 else args
        mapping = by_name if type(by_name) is dict else {}
        values = iter(args[:ARGUMENTS_MAX] if isinstance(args, tuple) else ())

        def put(directive: re.Match[str]) -> str:
            if directive["kind"] == "%":
                return "%"
            key = directive["key"]
            if key is not None:
                return self._argument(directive, mapping[key], shown=shown) if key in mapping else "<missing>"
            if "*" in directive.group():
                next(values, None)
            try:
                return self._argument(directive, next(values), shown=shown)
            except StopIteration:
                return "<missing>"

        message = _DIRECTIVE.sub(put, text[: self._read_chars])
        if len(text) <= self._read_chars and len(message) <= self._message_chars:
            return message
        return Cut(message[: self._message_chars + MARGIN])

    def _argument(self, directive: re.Match[str], value: object, *, shown: bool) -> str:
        kind = type(value)
        if not shown or not (kind is str or kind is int or kind is float or kind is bool or value is None):
            return withheld(value)
        if kind is str:
            assert isinstance(value, str)
            return value[: self._read_chars]
        try:
            if directive["key"] is None and "*" not in directive.group():
                return directive.group() % (value,)
            return str(value)
        except (TypeError, ValueError, OverflowError):
            return withheld(value)

    def _shows_arguments(self, logger: str) -> bool:
        while logger:
            if logger in self._argument_loggers:
                return True
            logger = logger.rpartition(".")[0]
        return False


def current_ids() -> tuple[int, int]:
    """Trace id and span id of the span that is current here; two zeros without a valid one.

    By OpenTelemetry's own context, in which every provider keeps its spans. A context is of a task: in the
    writer's thread it would be another.
    """
    try:
        context = get_current_span().get_span_context()
        trace_id, span_id = context.trace_id, context.span_id
        if 0 < trace_id < _TRACE_BOUND and 0 < span_id < _SPAN_BOUND:
            return trace_id, span_id
    except Exception:  # noqa: BLE001 -- a span of somebody else's making must not lose a line
        return 0, 0
    return 0, 0
