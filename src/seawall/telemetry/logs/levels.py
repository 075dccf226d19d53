"""Levels: five names, and the numbers that the standard library gave them.

It decides nothing about what is written; loggers, settings and the two renderings read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "INFO",
    "NAMES",
    "OFF",
    "WARNING",
    "level_for",
    "name_of",
    "parse_level",
]

DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
CRITICAL: Final = 50
OFF: Final = 1_000
"""Above every level: a logger with this threshold says nothing."""

NAMES: Final[Mapping[str, int]] = {
    "DEBUG": DEBUG,
    "INFO": INFO,
    "WARNING": WARNING,
    "ERROR": ERROR,
    "CRITICAL": CRITICAL,
}

_WORDS: Final[Mapping[str, int]] = {**NAMES, "WARN": WARNING, "FATAL": CRITICAL, "TRACE": DEBUG, "OFF": OFF}


def name_of(level: int) -> str:
    """The name that a reader filters by: of several steps between two names, the lower name."""
    if level < INFO:
        return "DEBUG"
    if level < WARNING:
        return "INFO"
    if level < ERROR:
        return "WARNING"
    return "ERROR" if level < CRITICAL else "CRITICAL"


def parse_level(value: object) -> int | None:
    """The number behind a name in any case, or behind a number; None if it is neither."""
    if isinstance(value, str):
        return _WORDS.get(value.upper())
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= OFF:
        return value
    return None


def level_for(name: str, default: int, levels: Mapping[str, int]) -> int:
    """The threshold of a logger: its own, or that of the nearest logger above it by dots, or the default."""
    while name:
        if (level := levels.get(name)) is not None:
            return level
        name = name.rpartition(".")[0]
    return default
