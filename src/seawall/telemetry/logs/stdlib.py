"""The standard library's ``logging`` into the same lines, whoever's loggers they are.

The bridge is a handler of the root logger that hands records to the intake: no formatting, no lock. A
record's template is code and passes; its arguments are data and do not, unless its logger was declared.
Attributes that ``extra`` put on it are its context, under the same allow-list.

Loggers that bring handlers of their own (uvicorn's) lose them, and asyncio's keep the first line of what they
say: the others hold ``repr`` of futures, and those hold results and exceptions. Everything is put back at the
end. Servers that configure ``logging`` themselves have to be told not to (uvicorn: ``log_config=None``).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Final

from seawall.telemetry.logs.intake import Intake

__all__ = ["TAMED", "Bridge", "Installation"]

TAMED: Final = ("asyncio", "uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error")
"""Loggers whose records take the root's way, and no other."""

FIRST_LINE_ONLY: Final = frozenset({"asyncio"})

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_ACCESS: Final = ("client", "method", "path", "http_version", "status")


class Bridge(logging.Handler):
    """Hands records to the intake.

    Args:
        intake: takes them.
    """

    def __init__(self, intake: Intake) -> None:
        super().__init__()
        self._intake = intake

    def createLock(self) -> None:  # noqa: N802 -- the name is the standard library's
        """There is nothing to lock: the intake takes from all threads."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit, without the lock that the original takes."""
        passed: object = self.filter(record)  # since Python 3.12 it may be another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one record over; never raises."""
        try:
            self._emit(record)
        except Exception:  # noqa: BLE001 -- records may be of any class, with any attributes
            self._intake.errors.add()

    def _emit(self, record: logging.LogRecord) -> None:
        name, event, args = record.name, record.msg, record.args
        context = {key: value for key, value in vars(record).items() if key not in _OWN}
        if name == "uvicorn.access" and isinstance(args, tuple) and len(args) == len(_ACCESS):
            context |= dict(zip(_ACCESS, args, strict=True))
            # The path is data, and so is what comes behind its question mark.
            event, args = "request", ()
        elif name in FIRST_LINE_ONLY and isinstance(event, str):
            event = event.partition("\n")[0]
        self._intake.take(record.levelno, name, event, args, context, record.exc_info)


class Installation:
    """The bridge under the root logger, and what was there before it.

    Args:
        intake: takes the records.
        default: threshold of the root.
        levels: thresholds by logger.
    """

    def __init__(self, intake: Intake, default: int, levels: Mapping[str, int]) -> None:
        self._former: dict[logging.Logger, tuple[int, bool, list[logging.Handler], bool]] = {}
        self._bridge = Bridge(intake)
        root = self._touched("root")
        # What writes to the same terminal would say everything twice; others are of tests, or go elsewhere.
        root.handlers = [each for each in root.handlers if not _writes_to_console(each)]
        root.addHandler(self._bridge)
        for name in TAMED:
            tamed = self._touched(name)
            tamed.handlers = []
            tamed.propagate = True
            tamed.setLevel(logging.NOTSET)
        for name, level in {"root": default, **levels}.items():
            self.set_level(name, level)

    def set_level(self, name: str, level: int) -> None:
        """Change the threshold of a logger; of the root by ``root``."""
        self._touched(name).setLevel(level)

    def remove(self) -> None:
        """Put everything back as it was."""
        for logger, (level, propagate, handlers, disabled) in self._former.items():
            logger.handlers = handlers
            logger.propagate = propagate
            logger.disabled = disabled
            logger.setLevel(level)

    def _touched(self, name: str) -> logging.Logger:
        logger = logging.getLogger(None if name in {"", "root"} else name)
        former = (logger.level, logger.propagate, logger.handlers[:], logger.disabled)
        self._former.setdefault(logger, former)
        return logger


def _writes_to_console(handler: logging.Handler) -> bool:
    streams = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return type(handler) is logging.StreamHandler and handler.stream in streams
