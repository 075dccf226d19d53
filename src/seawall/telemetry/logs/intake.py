"""From a log call to a record: everything that has to happen in the caller's thread, and no more.

That is: the current trace, the exception (its traceback would keep every frame's locals alive), and the
allow-list (what was not declared must not travel, and what was may change meanwhile). Masking, rendering and
writing are the writer's. Loggers of both kinds, structlog's and the standard library's, end here.

Nothing that a call does or gives can raise out of :meth:`Intake.take`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from threading import local
from time import monotonic_ns, time_ns
from typing import Any, Final

from structlog.exceptions import DropEvent
from structlog.typing import Processor

from seawall.kernel.tally import Tally
from seawall.telemetry.logs.correlation import current_ids
from seawall.telemetry.logs.failures import Failures, exception_of
from seawall.telemetry.logs.levels import name_of
from seawall.telemetry.logs.redaction import MARGIN, Cut, Redaction, cut, withheld
from seawall.telemetry.logs.repeats import TEXT_CHARS, Repeats
from seawall.telemetry.logs.schema import Record

__all__ = ["ARGUMENTS_MAX", "Intake"]

ARGUMENTS_MAX: Final = 32
"""Positional arguments that are put into one message."""

RECORD_COST: Final = 256
"""What a record without texts counts for in the queue's bound."""

FAILURE_COST: Final = 4_096
"""What an exception counts for."""

_DIRECTIVE: Final = re.compile(
    r"%(?:\((?P<key>[^)]{0,64})\))?[-#0 +]{0,5}(?:\*|\d{0,4})(?:\.(?:\*|\d{0,4}))?[hlL]?"
    r"(?P<kind>[diouxXeEfFgGcrsa%])"
)

_BUSY: Final = local()

Offer = Callable[[Record, int], bool]


class Intake:
    """Makes records by the rules of one configuration.

    Args:
        offer: takes a record and its size.
        redaction: the allow-list.
        failures: the rules for exceptions.
        repeats: the limit of repetitions.
        processors: structlog's, run on the event first.
        argument_loggers: loggers whose positional arguments are shown.
        message_chars: characters of a message that are shown.
    """

    # fmt: off
    __slots__ = (
        "_argument_loggers", "_failures", "_message_chars", "_offer", "_processors", "_read_chars",
        "_redaction", "_repeats", "errors",
    )
    # fmt: on

    def __init__(
        self,
        offer: Offer,
        *,
        redaction: Redaction,
        failures: Failures,
        repeats: Repeats,
        processors: Iterable[Processor],
        argument_loggers: Iterable[str],
        message_chars: int,
    ) -> None:
        self._offer = offer
        self._redaction = redaction
        self._failures = failures
        self._repeats = repeats
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
        try:
            self._take(level, logger, event, args, context, exc_info)
        except Exception:  # noqa: BLE001 -- a log call does not raise, whatever it was given
            self.errors.add()

    def report_repeats(self, now_ns: int) -> None:
        """Say what was suppressed, if a window is over by then (monotonic nanoseconds)."""
        for (logger, level, text), lost in self._repeats.roll(now_ns):
            context: dict[str, object] = {
                "repeated_logger": logger,
                "repeated_level": name_of(level),
                "suppressed": lost,
            }
            # A text of full length may be the beginning of a longer one, and end inside a secret.
            said = "repeated" if len(text) >= TEXT_CHARS else f"repeated: {text}"
            record: Record = (time_ns(), level, "seawall.telemetry.logs", said, context, None, 0, 0)
            self._offer(record, RECORD_COST + len(said))

    def _take(
        self, level: int, logger: str, event: object, args: object, context: dict[str, Any], exc_info: object
    ) -> None:
        if self._processors:
            processed = self._processed(level, event, context)
            if processed is None:
                return
            event, context = processed
        text = event if type(event) is str else withheld(event)
        self.report_repeats(monotonic_ns())
        if not self._repeats.passes(logger, level, text):
            return
        message = self._message(logger, text, args) if args else cut(text, self._message_chars)
        failure = None
        size = RECORD_COST + len(message)
        error = exception_of(exc_info or event)
        if error is not None:
            failure = self._failures.describe(error)
            size += FAILURE_COST
        admitted, cost = self._redaction.admit(context) if context else ({}, 0)
        trace_id, span_id = current_ids()
        self._offer((time_ns(), level, logger, message, admitted, failure, trace_id, span_id), size + cost)

    def _processed(
        self, level: int, event: object, context: dict[str, Any]
    ) -> tuple[object, dict[str, Any]] | None:
        """What structlog's processors make of the event; None if one of them dropped it."""
        if getattr(_BUSY, "inside", False):
            return event, context  # a processor logs
        _BUSY.inside = True
        try:
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
        finally:
            _BUSY.inside = False

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
        if directive["key"] is None and "*" not in directive.group():
            try:
                return directive.group() % (value,)
            except (TypeError, ValueError, OverflowError):
                return str(withheld(value))
        return str(value) if kind is not int else f"{value:d}"

    def _shows_arguments(self, logger: str) -> bool:
        while logger:
            if logger in self._argument_loggers:
                return True
            logger = logger.rpartition(".")[0]
        return False
