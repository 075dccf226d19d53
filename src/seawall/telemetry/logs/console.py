"""The same records for people: one line each, in columns, coloured if the terminal wants that.

``12:30:45.128  WARNING  proxy.pool    nobody is left to ask        backend=eu-1 waited=0.2  trace=4bf92f35``

What a record holds is data: control characters are spelt out, or a log line could drive the terminal.
Colours obey ``NO_COLOR`` (https://no-color.org), then ``FORCE_COLOR`` (https://force-color.org), then whether
somebody is looking. It is no place for tables and spinners, and needs no library for terminals.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import localtime, strftime
from typing import Final
from unicodedata import combining, east_asian_width

from seawall.telemetry.logs.levels import CRITICAL, ERROR, INFO, WARNING, name_of
from seawall.telemetry.logs.schema import CONTROL, Limits, Record, mask_failure, mask_value
from seawall.telemetry.redaction.masking import Masks
from seawall.telemetry.redaction.withholding import Withheld

__all__ = ["ConsoleLines", "wants_colour"]

LOGGER_WIDTH: Final = 22
MESSAGE_WIDTH: Final = 44
"""A longer message is not cut, it only pushes what follows."""

TRACE_CHARS: Final = 8
"""Enough of a trace id to find the other lines of it on a screen."""

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_KEY: Final = "\x1b[36m"
_COLOURS: Final = (
    (CRITICAL, "\x1b[1;37;41m"),
    (ERROR, "\x1b[1;31m"),
    (WARNING, "\x1b[33m"),
    (INFO, "\x1b[32m"),
)


def wants_colour(environment: Mapping[str, str], *, terminal: bool) -> bool:
    """Whether to colour: by ``NO_COLOR``, ``FORCE_COLOR``, ``TERM``, and whether it is a terminal."""
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return terminal and environment.get("TERM") != "dumb"


class ConsoleLines:
    """Renders records for a terminal.

    Args:
        masks: what is applied to every text.
        limits: what a line may hold.
        colour: whether to use colours.

    Attributes:
        truncated: lines from which something was left out for its size.
    """

    __slots__ = ("_colour", "_limits", "_masks", "truncated")

    def __init__(self, masks: Masks, limits: Limits, *, colour: bool) -> None:
        self._masks = masks
        self._limits = limits
        self._colour = colour
        self.truncated = 0

    def __call__(self, record: Record) -> bytes:
        """The line, and the lines of an exception below it, with line breaks."""
        at_ns, level, logger, message, context, failure, trace_id, _ = record
        masks, limits = self._masks, self._limits
        shortened = masks.shortened
        second, rest = divmod(at_ns, 1_000_000_000)
        clock = f"{strftime('%H:%M:%S', localtime(second))}.{rest // 1_000_000:03d}"
        name = _shortened(_plain(masks.known(logger)), LOGGER_WIDTH)
        parts = [
            self._in(_DIM, clock),
            self._in(_level_colour(level), f"{name_of(level):<8}"),
            self._in(_DIM, _padded(name, LOGGER_WIDTH)),
        ]
        pairs = [
            f"{self._in(_KEY, _plain(masks.known(key)))}={self._value(value)}"
            for key, value in context.items()
        ]
        if trace_id:
            pairs.append(self._in(_DIM, f"trace={trace_id:032x}"[: len("trace=") + TRACE_CHARS]))
        text = _plain(masks.text(message, limits.message_chars))
        if level >= WARNING:
            parts.append(self._in(_BOLD, _padded(text, MESSAGE_WIDTH) if pairs else text))
        else:
            parts.append(_padded(text, MESSAGE_WIDTH) if pairs else text)
        lines = ["  ".join([*parts, *([" ".join(pairs)] if pairs else [])])]
        if failure is not None:
            lines += self._failure(mask_failure(failure, masks, limits.message_chars), "", 1)
        data = "\n".join(lines).encode()
        fits = len(data) < limits.line_bytes
        self.truncated += not fits or masks.shortened != shortened
        if not fits:
            end = (_RESET if self._colour else "") + "…"
            data = data[: limits.line_bytes - 16].decode("utf-8", "ignore").encode() + end.encode()
        return data + b"\n"

    def _failure(self, told: dict[str, object], label: str, depth: int) -> list[str]:
        indent = "    " * depth
        code = f" [{told['code']}]" if "code" in told else ""
        head = f"{label}{told.get('type')}{code}: {told.get('message', '…')}"
        lines = [indent + self._in("\x1b[31m", _plain(head))]
        stack = str(told.get("stackTrace", ""))
        lines += [f"{indent}  {self._in(_DIM, _plain(line))}" for line in stack.split("\n") if line]
        for key, words in (("cause", "because of "), ("during", "while handling ")):
            if isinstance(linked := told.get(key), dict):
                lines += self._failure(linked, words, depth)
        members = told.get("exceptions")
        for member in members if isinstance(members, list) else ():
            lines += self._failure(member, "- ", depth + 1)
        return lines

    def _value(self, value: object) -> str:
        if isinstance(value, Withheld):
            return self._in(_DIM, _plain(str(value)))
        shown = mask_value(value, self._masks, self._limits.value_chars)
        text = _plain(shown if isinstance(shown, str) else repr(shown))
        return repr(text) if isinstance(shown, str) and (not text or " " in text or "=" in text) else text

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour and colour else text


def _level_colour(level: int) -> str:
    for least, colour in _COLOURS:
        if level >= least:
            return colour
    return _DIM


def _plain(text: str) -> str:
    return CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def _padded(text: str, width: int) -> str:
    return text + " " * max(0, width - _width(text))


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else "…" + name[1 - width :]
