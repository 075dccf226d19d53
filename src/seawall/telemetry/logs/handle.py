"""Puts the parts together for a process, and takes them apart again.

One configuration at a time: what it touches (structlog, the root logger) is the process's. It opens the
destination at once, so that a wrong path is an error of the start and not of a log call, and starts no thread
before the first line.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import structlog

from seawall.kernel.errors import PolicyError, Problem, UsageError
from seawall.kernel.tally import Tally
from seawall.telemetry.logs.bound import CHANNELS, ROOT, Logger
from seawall.telemetry.logs.console import ConsoleLines, wants_colour
from seawall.telemetry.logs.intake import Intake
from seawall.telemetry.logs.levels import parse_level
from seawall.telemetry.logs.outlet import Outlet, open_path
from seawall.telemetry.logs.schema import JsonLines, Limits
from seawall.telemetry.logs.settings import KEYS_MAX, LogSettings
from seawall.telemetry.logs.sink import Sink
from seawall.telemetry.logs.stdlib import Installation
from seawall.telemetry.redaction.failures import Failures
from seawall.telemetry.redaction.masking import Masks
from seawall.telemetry.redaction.withholding import Redaction

__all__ = ["LogHandle", "LogStatistics", "configure"]

_STREAMS: Final = {"stdout": 1, "stderr": 2}
_ACTIVE: Final[list[LogHandle]] = []


@dataclass(frozen=True, slots=True)
class LogStatistics:
    """Counts since the configuration, or since the fork in a child process.

    Attributes:
        offered: records that callers had: ``accepted + dropped``.
        accepted: records that found room: ``written + failed + queued``.
        dropped: records that found none.
        queued: records that wait.
        queued_bytes: what they count for in the bound.
        written: lines that the destination took whole.
        failed: records that were lost behind the queue: broken destination, no time left, unrenderable.
        errors: log calls that were cut short by what they were given, and processors that failed.
        masked: texts in which something was masked.
        truncated: lines from which something was left out for its size.
        reopened: times that the file was opened again.
        write_errors: what went wrong in writing, by the name of its ``errno``.
    """

    offered: int
    accepted: int
    dropped: int
    queued: int
    queued_bytes: int
    written: int
    failed: int
    errors: int
    masked: int
    truncated: int
    reopened: int
    write_errors: tuple[tuple[str, int], ...]


class LogHandle:
    """A running configuration; close it, or use it as a context manager.

    Args:
        settings: what it is made of.

    Attributes:
        settings: as given.

    Raises:
        PolicyError: the destination cannot be opened.
        UsageError: logs are configured already.
    """

    def __init__(self, settings: LogSettings) -> None:
        if _ACTIVE:
            raise UsageError("logs are configured already: close the handle that configure() gave first")
        self.settings = settings
        fd, path = _opened(settings)
        limits = Limits(settings.message_chars, settings.value_chars, settings.line_bytes)
        self._masks = Masks(settings.secrets)
        self._render = _renderer(settings, fd, self._masks, limits)
        self._sink = Sink(
            Outlet(fd, path),
            self._render,
            capacity=settings.capacity,
            capacity_bytes=settings.capacity_bytes,
            batch_s=settings.batch_s,
            on_fork=self._forked,
        )
        self._intake = Intake(
            self._sink.offer,
            redaction=Redaction(
                frozenset(settings.context_keys), value_chars=settings.value_chars, keys_max=KEYS_MAX
            ),
            failures=Failures(frozenset(settings.exception_messages), settings.message_chars),
            processors=settings.processors,
            argument_loggers=settings.argument_loggers,
            message_chars=settings.message_chars,
        )
        self._closed = False
        self._restore_structlog = _configure_structlog()
        thresholds = (settings.threshold, settings.thresholds)
        self._bridge = Installation(self._intake, *thresholds) if settings.bridge else None
        CHANNELS.connect(self._intake, *thresholds)
        atexit.register(self.close)
        _ACTIVE.append(self)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<LogHandle {self.settings.service} {state} queued={self._sink.queued}>"

    def statistics(self) -> LogStatistics:
        """Counts at this moment."""
        sink, outlet = self._sink, self._sink.outlet
        return LogStatistics(
            offered=sink.offered,
            accepted=sink.accepted,
            dropped=sink.dropped,
            queued=sink.queued,
            queued_bytes=sink.queued_bytes,
            written=sink.written,
            failed=sink.failed,
            errors=self._intake.errors.value,
            masked=self._masks.masked,
            truncated=self._render.truncated,
            reopened=outlet.reopened,
            write_errors=tuple(sorted(outlet.errors.copy().items())),
        )

    def protect(self, *secrets: str) -> int:
        """Mask these values from now on.

        Returns:
            How many of them cannot be masked, because they are too short or too many.
        """
        return self._masks.protect(*secrets)

    def set_level(self, name: str, level: str | int) -> None:
        """Change the threshold of a logger while it is in use, and of those below it.

        Args:
            name: by dots; ``root`` for all that have no threshold of their own.
            level: a name or a number.

        Raises:
            UsageError: it is no level, or the handle is closed.
        """
        number = parse_level(level)
        if number is None:
            raise UsageError(f"level = {level!r}: allowed is DEBUG, INFO, WARNING, ERROR, CRITICAL or OFF")
        if self._closed:
            raise UsageError("these logs are closed: configure them again first")
        CHANNELS.set_level(name, number)
        if self._bridge is not None:
            self._bridge.set_level(name, number)

    def reopen(self) -> None:
        """Open the file again before the next line, for who rotates it; safe in a handler of SIGHUP."""
        self._sink.reopen()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until what was logged before has been written or lost; for tests and the like.

        Args:
            timeout_s: how long to wait; as long as ``close`` does by default.

        Returns:
            Whether that happened in time.
        """
        return self._sink.flush(self.settings.close_timeout_s if timeout_s is None else timeout_s)

    def close(self) -> None:
        """Put everything back, write what is queued (for a limited time), and end; twice does nothing."""
        if self._closed:
            return
        self._closed = True
        CHANNELS.disconnect()
        if self._bridge is not None:
            self._bridge.remove()
        self._restore_structlog()
        _ACTIVE.remove(self)
        self._sink.close(self.settings.close_timeout_s)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _forked(self) -> None:
        self._masks.masked = 0
        self._render.truncated = 0
        self._intake.errors = Tally()


def configure(settings: LogSettings) -> LogHandle:
    """Have this process log by these settings: its own loggers, structlog's, the standard library's.

    Returns:
        The handle; whoever holds it closes it. The end of the program does so too.

    Raises:
        PolicyError: the destination cannot be opened.
        UsageError: logs are configured already.
    """
    return LogHandle(settings)


def _opened(settings: LogSettings) -> tuple[int, str | None]:
    where = settings.destination
    try:
        if isinstance(where, str) and where in _STREAMS:
            # A copy: should somebody close number 2, the next socket that gets it will not be logged into.
            return os.dup(_STREAMS[where]), None
        if isinstance(where, int):
            return os.dup(where), None
        path = os.path.abspath(os.fspath(where))
        return open_path(path), path
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no path"
        problem = Problem(
            "destination", str(where), "what can be opened to append to", why or "cannot be opened"
        )
        raise PolicyError([problem], "logs") from error


def _renderer(settings: LogSettings, fd: int, masks: Masks, limits: Limits) -> JsonLines | ConsoleLines:
    terminal = os.isatty(fd)
    if settings.format == "json" or (settings.format == "auto" and not terminal):
        return JsonLines(settings.service, masks, limits)
    colour = settings.colour
    if colour is None:
        colour = wants_colour(os.environ, terminal=terminal)
    return ConsoleLines(masks, limits, colour=colour)


def _configure_structlog() -> Callable[[], None]:
    former, was_configured = structlog.get_config(), structlog.is_configured()

    def channel(*names: object) -> object:
        return CHANNELS.get(names[0] if names and isinstance(names[0], str) else ROOT)

    structlog.configure(
        processors=[],
        wrapper_class=Logger,
        context_class=dict,
        logger_factory=channel,
        cache_logger_on_first_use=True,
    )

    def restore() -> None:
        if was_configured:
            structlog.configure(**former)
        else:
            structlog.reset_defaults()

    return restore
