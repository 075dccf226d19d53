"""Structured logs: one JSON line per event, no secrets in it, and nobody waits for the disk.

``configure(LogSettings(service="orders"))`` leads this library's loggers, structlog's and the standard
library's to one bounded sink and returns the handle that counts and closes it. Importing configures nothing;
until then loggers say nothing.

It rotates no files (``LogHandle.reopen`` is for who does) and ships nothing: that is an agent's work.
"""

from seawall.telemetry.logs.bound import Logger, get_logger
from seawall.telemetry.logs.handle import LogHandle, LogStatistics, configure
from seawall.telemetry.logs.settings import DEFAULT_KEYS, LogSettings

__all__ = ["DEFAULT_KEYS", "LogHandle", "LogSettings", "LogStatistics", "Logger", "configure", "get_logger"]
