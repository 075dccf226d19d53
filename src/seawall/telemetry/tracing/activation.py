"""A span around a block of code or around a function.

What ``start_as_current_span`` and ``span`` return. Made for speed where OpenTelemetry's own is a generator:
entering starts the span and makes it the current one, leaving puts the context back and ends it. One object
is entered once at a time; as a decorator it makes one of its kind per call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import Token
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar, cast, final

from opentelemetry.context.context import Context
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import Status, StatusCode
from opentelemetry.trace import Tracer as ApiTracer

from seawall.telemetry.tracing.current import enter, leave
from seawall.telemetry.tracing.failing import described
from seawall.telemetry.tracing.span import Span

__all__ = ["Activation"]

Function = TypeVar("Function", bound=Callable[..., Any])


@final
class Activation:
    """A span that is current while a block runs.

    Args:
        tracer: Who starts it; any tracer of OpenTelemetry's API.
        arguments: All those of ``start_span``, in their order.
        end_on_exit: Whether the span ends with the block.
    """

    __slots__ = ("_arguments", "_end_on_exit", "_span", "_token", "_tracer")

    _span: ApiSpan
    _token: Token[Context]

    def __init__(
        self,
        tracer: ApiTracer,
        arguments: tuple[Any, ...],
        end_on_exit: bool,  # noqa: FBT001  # built on the hot path, where a keyword costs
    ) -> None:
        self._tracer = tracer
        self._arguments = arguments
        self._end_on_exit = end_on_exit

    def __enter__(self) -> ApiSpan:
        """Start the span and make it the current one."""
        self._span = span = self._tracer.start_span(*self._arguments)
        self._token = enter(span)
        return span

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Put the context back; record what went wrong; end the span."""
        span = self._span
        if not leave(self._token) and isinstance(span, Span):
            span.segments.detached_elsewhere += 1
        if exc_val is not None:
            self._failed(span, exc_val)
        if self._end_on_exit:
            span.end()

    def _failed(self, span: ApiSpan, exception: BaseException) -> None:
        *_, record, mark = self._arguments
        if isinstance(span, Span):
            span.fail(exception, record=record, escaped=False, mark=mark)
        elif isinstance(exception, Exception) and span.is_recording():
            if record:
                span.record_exception(exception)
            if mark:
                span.set_status(Status(StatusCode.ERROR, described(exception, shown=True)))

    def __call__(self, function: Function) -> Function:
        """Put a span around each call of ``function``; of a coroutine function, around all of its run."""
        another = (self._tracer, self._arguments, self._end_on_exit)
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # whatever the function takes and gives
                with Activation(*another):
                    return await function(*args, **kwargs)

        else:

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # whatever the function takes and gives
                with Activation(*another):
                    return function(*args, **kwargs)

        return cast("Function", call)

    def __repr__(self) -> str:
        return f"<Activation of {self._arguments[0]!r}>"
