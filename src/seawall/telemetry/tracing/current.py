"""The current span, in the context that all OpenTelemetry code shares.

Reads and sets the API's own context variable without the API's two calls around each access, and leaves a
context without the API's log line: a generator that is closed in another context than it was entered in can't
be put back, which is nobody's fault and no error. Whoever leaves is told, and counts.

With a context implementation other than ``contextvars`` it goes through that implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from typing import Final

from opentelemetry import context as api
from opentelemetry.context.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace import Span
from opentelemetry.trace.propagation import _SPAN_KEY

__all__ = ["SPAN_KEY", "enter", "get_current", "leave"]

SPAN_KEY: Final = _SPAN_KEY
"""Under which key a context holds its span."""

_runtime = api._RUNTIME_CONTEXT  # noqa: SLF001  # the public functions are two calls each, on every span

get_current: Callable[[], Context]
_set: Callable[[Context], Token[Context]]
_reset: Callable[[Token[Context]], None]
if type(_runtime) is ContextVarsRuntimeContext:
    get_current = _runtime._current_context.get  # noqa: SLF001  # as above
    _set = _runtime._current_context.set  # noqa: SLF001  # as above
    _reset = _runtime._current_context.reset  # noqa: SLF001  # as above
else:
    get_current, _set, _reset = _runtime.get_current, _runtime.attach, _runtime.detach


def enter(span: Span) -> Token[Context]:
    """Make ``span`` the current one; everything else in the context stays.

    Returns:
        What :func:`leave` takes.
    """
    return _set(Context({**get_current(), SPAN_KEY: span}))


def leave(token: Token[Context]) -> bool:
    """Put the context back as it was before :func:`enter`.

    Returns:
        Whether it was the same context; in another one nothing is changed.
    """
    try:
        _reset(token)
    except Exception:  # noqa: BLE001  # of contextvars ValueError and RuntimeError, of others who knows
        return False
    return True
