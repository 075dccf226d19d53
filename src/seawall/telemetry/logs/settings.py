"""What a program says about its logs; checked as a whole, with every mistake named at once.

The values are plain, so that a configuration file can hold them. Nothing here opens or changes anything:
``configure`` does that with a checked record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from structlog.contextvars import merge_contextvars
from structlog.typing import Processor

from seawall.kernel.errors import PolicyError, Problem
from seawall.telemetry.logs.levels import INFO, parse_level
from seawall.telemetry.redaction.masking import SECRET_CHARS_MIN, SECRETS_MAX

__all__ = ["DEFAULT_KEYS", "DEFAULT_LEVELS", "FORMATS", "LogSettings"]

FORMATS: Final = ("auto", "json", "console")

DEFAULT_KEYS: Final = frozenset(
    {"attempt", "backend", "breaker", "component", "count", "duration_s", "function", "guard", "listener"}
    | {"method", "pid", "port", "state", "status", "timeout_s", "worker"}
)
"""Context keys that this library gives and that hold no data of users."""

DEFAULT_LEVELS: Final[Mapping[str, str]] = {"asyncio": "WARNING", "uvicorn.access": "WARNING"}
"""Loggers that say too much by default; ``levels`` overrides them."""

DEFAULT_SHOWN: Final = ("seawall.kernel.errors.CallRejected", "seawall.kernel.errors.DeadlineExceeded")
"""Exceptions whose texts are built from names of the configuration."""

KEYS_MAX: Final = 64
"""Context keys of one line; more are counted."""

_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "capacity": (16, 1_000_000),
    "capacity_bytes": (1 << 20, 1 << 32),
    "message_chars": (64, 65_536),
    "value_chars": (16, 65_536),
    "line_bytes": (4_096, 1 << 20),
    "batch_s": (0, 1),
    "close_timeout_s": (0, 60),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How a process logs.

    Attributes:
        service: name of the program, in every line.
        level: threshold of loggers that ``levels`` doesn't name.
        levels: thresholds by logger; a name stands for all below it by dots.
        format: ``json``, ``console``, or ``auto``: console if the destination is a terminal.
        destination: ``stderr``, ``stdout``, an open descriptor, or the path of a file to append to.
        context_keys: keys whose values are shown, in place of the default ones. Others become type and
            length, and so do those of mappings inside of a value that is shown.
        argument_loggers: loggers (and those below them) whose positional arguments are shown, masked. Those
            of others become type and length.
        exception_messages: qualified names of exception classes whose text is shown, masked.
        secrets: values to mask wherever they occur; they need four characters.
        processors: structlog's, run before anything is left out; one that fails is skipped and counted.
        bridge: whether records of the standard library's ``logging`` come along.
        colour: for the console; ``None`` decides by the environment and the terminal.
        capacity: records that may wait for the writer.
        capacity_bytes: bytes that their texts may have, roughly.
        message_chars: characters of a message that are shown.
        value_chars: characters of a context's text that are shown.
        line_bytes: bytes of a whole line.
        batch_s: how long the writer lets lines gather, in seconds.
        close_timeout_s: how long the end of the program waits for the writer, in seconds.
    """

    service: str
    level: str | int = "INFO"
    levels: Mapping[str, str | int] = field(default_factory=dict)
    format: str = "auto"
    destination: str | int | os.PathLike[str] = "stderr"
    context_keys: Collection[str] = DEFAULT_KEYS
    argument_loggers: Collection[str] = ("uvicorn.error",)
    exception_messages: Collection[str] = DEFAULT_SHOWN
    secrets: Collection[str] = field(default=(), repr=False)
    processors: Collection[Processor] = (merge_contextvars,)
    bridge: bool = True
    colour: bool | None = None
    capacity: int = 8_192
    capacity_bytes: int = 8 << 20
    message_chars: int = 4_096
    value_chars: int = 1_024
    line_bytes: int = 32_768
    batch_s: float = 0.02
    close_timeout_s: float = 2.0

    def __post_init__(self) -> None:
        """Check everything; the message of a problem never holds a secret."""
        problems = [*_text_problems(self), *_level_problems(self), *_collection_problems(self)]
        for key, (low, high) in _RANGES.items():
            value = getattr(self, key)
            kinds = int | float if key.endswith("_s") else int
            fits = isinstance(value, kinds) and not isinstance(value, bool)
            if not fits or not low <= value <= high:
                kind = "a number" if key.endswith("_s") else "a whole number"
                problems.append(Problem(key, value, f"{kind} from {low:,} to {high:,}"))
        if problems:
            raise PolicyError(problems, "logs")

    @property
    def threshold(self) -> int:
        """The number behind ``level``."""
        level = parse_level(self.level)
        return INFO if level is None else level

    @property
    def thresholds(self) -> dict[str, int]:
        """The numbers behind ``levels``, with the defaults for loggers that say too much."""
        merged = {**DEFAULT_LEVELS, **self.levels}
        return {name: level for name, value in merged.items() if (level := parse_level(value)) is not None}


def _text_problems(settings: LogSettings) -> list[Problem]:
    problems = []
    service: Any = settings.service
    if not isinstance(service, str) or not 0 < len(service) <= 128 or not service.isprintable():
        problems.append(Problem("service", service, "a name of 1 to 128 printable characters"))
    if settings.format not in FORMATS:
        problems.append(Problem("format", settings.format, ", ".join(FORMATS)))
    where: Any = settings.destination
    fits = isinstance(where, str | os.PathLike | int) and not isinstance(where, bool)
    if not fits or where == "" or (isinstance(where, int) and where < 0):
        problems.append(Problem("destination", where, "stderr, stdout, a path, or an open descriptor"))
    return problems


def _level_problems(settings: LogSettings) -> list[Problem]:
    allowed = "DEBUG, INFO, WARNING, ERROR, CRITICAL, OFF, or a number from 0 to 1000"
    problems = []
    if parse_level(settings.level) is None:
        problems.append(Problem("level", settings.level, allowed))
    levels: Any = settings.levels
    if not isinstance(levels, Mapping):
        return [*problems, Problem("levels", levels, "a table of logger = level")]
    problems += [
        Problem(f"levels.{name}", value, allowed)
        for name, value in levels.items()
        if parse_level(value) is None
    ]
    return problems


def _collection_problems(settings: LogSettings) -> list[Problem]:
    problems = []
    checks: dict[str, Callable[[object], bool]] = {
        "context_keys": lambda each: isinstance(each, str),
        "argument_loggers": lambda each: isinstance(each, str),
        "exception_messages": lambda each: isinstance(each, str),
        "secrets": _can_be_masked,
        "processors": callable,
    }
    for key, fits in checks.items():
        values: Any = getattr(settings, key)
        # A single text is a collection too, of its letters.
        if isinstance(values, str) or not isinstance(values, Collection) or not all(map(fits, values)):
            what = {
                "processors": "a list of functions",
                "secrets": f"a list of texts of {SECRET_CHARS_MIN} characters or more",
            }
            shown = "(hidden)" if key == "secrets" else values
            problems.append(Problem(key, shown, what.get(key, "a list of texts")))
        elif key == "secrets" and len(values) > SECRETS_MAX:
            problems.append(Problem(key, len(values), f"up to {SECRETS_MAX} texts"))
    return problems


def _can_be_masked(secret: object) -> bool:
    return isinstance(secret, str) and len(secret) >= SECRET_CHARS_MIN
