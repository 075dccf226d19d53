"""What a span says of an exception: all of it, or its class and its frames.

The text of an exception is where data travels: a duplicate key quotes the row, a parser quotes its input. So
it is withheld unless it is asked for; then it is what OpenTelemetry's SDK would say.
"""

from __future__ import annotations

import traceback
from typing import Final

from seawall.telemetry.redaction.failures import Failures, stack_of

__all__ = ["CHAIN_MAX", "DESCRIPTION_MAX", "FRAMES_MAX", "SHOWN_TYPES", "described", "message_of", "trace_of"]

FRAMES_MAX: Final = 32
"""Of a stack trace, the innermost: formatting reads source files while the caller waits."""
CHAIN_MAX: Final = 8
"""Exceptions that led to one another; of a longer chain only the last is told."""
DESCRIPTION_MAX: Final = 4_096
"""Characters of the description of a status, the rest is cut."""
SHOWN_TYPES: Final = ("seawall.kernel.errors.CallRejected", "seawall.kernel.errors.DeadlineExceeded")
"""Exceptions whose texts are built from names of the configuration."""

_FAILURES: Final = Failures(frozenset(SHOWN_TYPES), DESCRIPTION_MAX)


def message_of(exception: BaseException, *, shown: bool) -> str:
    """What an exception says, or what may be said of that; its own ``__str__`` may be broken."""
    if not shown:
        return str(_FAILURES.message(exception))
    try:
        return str(exception)
    except Exception:  # noqa: BLE001  # whatever it raises, and telemetry raises nothing
        return f"<{type(exception).__name__} without text>"


def described(exception: BaseException, *, shown: bool) -> str:
    """An exception as a status' description."""
    return f"{type(exception).__name__}: {message_of(exception, shown=shown)}"


def trace_of(exception: BaseException, *, shown: bool) -> str:
    """Where it came from: as the interpreter tells it, or frames alone."""
    if not shown:
        return stack_of(exception)
    earlier: BaseException | None = exception
    for _ in range(CHAIN_MAX):
        if earlier is None:
            break
        earlier = earlier.__context__ if earlier.__cause__ is None else earlier.__cause__
    lines = traceback.format_exception(exception, limit=-FRAMES_MAX, chain=earlier is None)
    return "".join(lines)
