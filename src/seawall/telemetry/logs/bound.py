"""Loggers: what programs hold, with or without structlog's front door.

A :class:`Logger` is one of structlog's bound loggers, so ``bind``, ``unbind`` and ``new`` are as everywhere,
and after ``configure`` ``structlog.get_logger`` gives the same. A call below the threshold reads two
attributes and returns. Loggers may be made long before anything is configured; they say nothing until then.

Thresholds live in a :class:`Channel` per name, so that they can be changed under loggers in use. Who takes
what passes is the channels' business, not the loggers'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from structlog import BoundLoggerBase

from seawall.telemetry.logs.intake import Intake
from seawall.telemetry.logs.levels import (
    CRITICAL,
    DEBUG,
    ERROR,
    INFO,
    OFF,
    WARNING,
    level_for,
    parse_level,
)

__all__ = ["CHANNELS", "CHANNELS_MAX", "Channel", "Channels", "Logger", "get_logger"]

CHANNELS_MAX: Final = 4_096
"""Names of loggers; whoever makes more of them out of data gets one that is called ``other``."""

OTHER: Final = "other"

ROOT: Final = "root"
"""The logger without a name."""


class Channel:
    """One logger's name, threshold and way out.

    Attributes:
        name: as it is written into lines.
        threshold: the least level that passes.
        intake: takes what passes; ``None`` until something is configured.
    """

    __slots__ = ("intake", "name", "threshold")

    def __init__(self, name: str) -> None:
        self.name = name
        self.threshold = OFF
        self.intake: Intake | None = None

    def __repr__(self) -> str:
        return f"<Channel {self.name} threshold={self.threshold}>"


class Channels:
    """All channels of a process, and the thresholds they follow."""

    __slots__ = ("_channels", "_default", "_intake", "_levels", "_other")

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._other = Channel(OTHER)
        self._intake: Intake | None = None
        self._default = OFF
        self._levels: dict[str, int] = {}

    def get(self, name: str) -> Channel:
        """The channel of a name."""
        channel = self._channels.get(name)
        if channel is not None:
            return channel
        if len(self._channels) >= CHANNELS_MAX:
            return self._other
        channel = self._channels.setdefault(name, Channel(name))
        self._renew(channel)
        return channel

    def connect(self, intake: Intake, default: int, levels: Mapping[str, int]) -> None:
        """Lead all loggers to an intake, by these thresholds."""
        self._intake = intake
        self._default = default
        self._levels = dict(levels)
        self._renew_all()

    def disconnect(self) -> None:
        """Have all loggers say nothing."""
        self._intake = None
        self._renew_all()

    def set_level(self, name: str, level: int) -> None:
        """Change the threshold of a logger and of those below it that have none of their own."""
        if name in {"", ROOT}:
            self._default = level
        else:
            self._levels = {**self._levels, name: level}
        self._renew_all()

    def threshold(self, name: str) -> int:
        """The threshold of a logger."""
        return OFF if self._intake is None else level_for(name, self._default, self._levels)

    def _renew_all(self) -> None:
        for channel in (*self._channels.copy().values(), self._other):
            self._renew(channel)

    def _renew(self, channel: Channel) -> None:
        # In this order: a logger in use between the two lines finds an intake, or is told to say nothing.
        if self._intake is None:
            channel.threshold = OFF
            channel.intake = None
        else:
            channel.intake = self._intake
            channel.threshold = self.threshold(channel.name)


CHANNELS: Final = Channels()
"""This process's channels."""


class Logger(BoundLoggerBase):
    """A bound logger of structlog whose calls cost an append, or next to nothing below their threshold."""

    _logger: Channel

    def __repr__(self) -> str:
        """Names the logger; the values that were bound are not for everybody."""
        return f"<Logger {self._logger.name} keys={sorted(map(str, self._context))}>"

    def debug(self, event: object = "", *args: object, **values: object) -> None:
        """Say something that only matters to who looks for a fault."""
        if self._logger.threshold > DEBUG:
            return
        self._say(DEBUG, event, args, values)

    def info(self, event: object = "", *args: object, **values: object) -> None:
        """Say what happened, as it should."""
        if self._logger.threshold > INFO:
            return
        self._say(INFO, event, args, values)

    def warning(self, event: object = "", *args: object, **values: object) -> None:
        """Say that something is worse than it should be."""
        if self._logger.threshold > WARNING:
            return
        self._say(WARNING, event, args, values)

    def error(self, event: object = "", *args: object, **values: object) -> None:
        """Say that something failed."""
        if self._logger.threshold > ERROR:
            return
        self._say(ERROR, event, args, values)

    def critical(self, event: object = "", *args: object, **values: object) -> None:
        """Say that the program cannot do its work."""
        if self._logger.threshold > CRITICAL:
            return
        self._say(CRITICAL, event, args, values)

    def exception(self, event: object = "", *args: object, **values: object) -> None:
        """Say that something failed, with the exception that is being handled."""
        if self._logger.threshold > ERROR:
            return
        values.setdefault("exc_info", True)
        self._say(ERROR, event, args, values)

    def log(self, level: int | str, event: object = "", *args: object, **values: object) -> None:
        """Say something at a level that is given; at INFO, if it is no level."""
        number = parse_level(level)
        number = INFO if number is None else number
        if self._logger.threshold > number:
            return
        self._say(number, event, args, values)

    # What else structlog's filtering loggers offer; an append needs no other thread, so nothing is awaited.

    warn = warning
    fatal = critical
    msg = info

    async def adebug(self, event: object = "", *args: object, **values: object) -> None:
        """As :meth:`debug`."""
        self.debug(event, *args, **values)

    async def ainfo(self, event: object = "", *args: object, **values: object) -> None:
        """As :meth:`info`."""
        self.info(event, *args, **values)

    async def awarning(self, event: object = "", *args: object, **values: object) -> None:
        """As :meth:`warning`."""
        self.warning(event, *args, **values)

    async def aerror(self, event: object = "", *args: object, **values: object) -> None:
        """As :meth:`error`."""
        self.error(event, *args, **values)

    async def acritical(self, event: object = "", *args: object, **values: object) -> None:
        """As :meth:`critical`."""
        self.critical(event, *args, **values)

    async def aexception(self, event: object = "", *args: object, **values: object) -> None:
        """As :meth:`exception`."""
        self.exception(event, *args, **values)

    async def alog(self, level: int | str, event: object = "", *args: object, **values: object) -> None:
        """As :meth:`log`."""
        self.log(level, event, *args, **values)

    awarn = awarning
    afatal = acritical
    amsg = ainfo

    def is_enabled_for(self, level: int) -> bool:
        """Whether a line of this level would pass."""
        return level >= self._logger.threshold

    def get_effective_level(self) -> int:
        """The threshold."""
        return self._logger.threshold

    def _say(self, level: int, event: object, args: tuple[object, ...], values: dict[str, Any]) -> None:
        channel = self._logger
        intake = channel.intake
        if intake is None:
            return
        exc_info = values.pop("exc_info", None) if "exc_info" in values else None
        context = {**self._context, **values} if self._context else values
        intake.take(level, channel.name, event, args, context, exc_info)


def get_logger(name: str = ROOT, **bound: object) -> Logger:
    """A logger; the same as structlog's after ``configure``, and quicker when it has nothing to say.

    Args:
        name: by dots, as modules are; thresholds go by it.
        **bound: values for the context of every line.
    """
    return Logger(CHANNELS.get(name), (), dict(bound))
