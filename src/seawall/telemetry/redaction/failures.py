"""What a line says about an exception: its type, its frames, its causes, and seldom its text.

The text of an exception is where data travels: a duplicate key quotes the row, a parser quotes its input. So
it becomes its length, unless its class was declared. What never holds data is always told: SQLSTATE, the
name of an ``errno`` and the C library's sentence for it. Frames are functions, files and line numbers, the
innermost first; no locals, no source.

An exception is read in the caller's thread and not kept: a traceback holds the locals of every frame, and a
queue full of them would hold a process's memory. It is no formatter of tracebacks for people; ``console``
indents what this module says.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from types import TracebackType
from typing import Final

from seawall.telemetry.redaction.withholding import Withheld, cut, type_name, withheld

__all__ = ["FRAMES_MAX", "LINKS_MAX", "MEMBERS_MAX", "Failures", "exception_of", "qualified", "stack_of"]

FRAMES_MAX: Final = 40
"""Frames of one traceback; of more, the innermost are shown and the others counted."""

LINKS_MAX: Final = 16
"""Exceptions of one line: the one that was logged, its causes, and the members of groups."""

MEMBERS_MAX: Final = 8
"""Members of one group."""

FRAME_CHARS: Final = 200
"""Characters of a function's and of a file's name."""

_WALK_MAX: Final = 10_000
"""Frames that are counted: a deep recursion is not walked to its end in a caller's time."""

_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}", re.ASCII)

# The slots themselves: an exception's class may put properties before them.
_ARGS: Final = BaseException.__dict__["args"]
_CAUSE: Final = BaseException.__dict__["__cause__"]
_CONTEXT: Final = BaseException.__dict__["__context__"]
_SUPPRESS: Final = BaseException.__dict__["__suppress_context__"]
_TRACEBACK: Final = BaseException.__dict__["__traceback__"]
_ERRNO: Final = OSError.__dict__["errno"]
_MEMBERS: Final = BaseExceptionGroup.__dict__["exceptions"]


def exception_of(exc_info: object) -> BaseException | None:
    """The exception that the argument ``exc_info`` of a log call means.

    By types alone: proxies claim to be of another class, and exceptions may be false or have a length of 0.
    """
    if type(exc_info) is tuple and len(exc_info) == 3:
        exc_info = exc_info[1]
    elif type(exc_info) in {bool, int}:
        exc_info = sys.exc_info()[1] if exc_info else None
    return exc_info if issubclass(type(exc_info), BaseException) else None  # type: ignore[return-value]


class Failures:
    """Turns exceptions into plain data by the rules of one configuration.

    Args:
        shown: qualified names of classes whose text is shown, masked; so is that of their subclasses.
        text_chars: characters of such a text that are shown.
    """

    __slots__ = ("_shown", "_text_chars")

    def __init__(self, shown: frozenset[str], text_chars: int) -> None:
        self._shown = shown
        self._text_chars = text_chars

    def describe(self, error: BaseException) -> dict[str, object]:
        """The value of a line's ``exception``."""
        return self._describe(error, set())

    def _describe(self, error: BaseException, seen: set[int]) -> dict[str, object]:
        seen.add(id(error))
        told: dict[str, object] = {"type": qualified(type(error)), "message": self.message(error)}
        if (code := _code(error)) is not None:
            told["code"] = code
        told["stackTrace"] = stack_of(error)
        cause, context = _CAUSE.__get__(error), _CONTEXT.__get__(error)
        if cause is not None:
            self._link(told, "cause", cause, seen)
        elif context is not None and not _SUPPRESS.__get__(error):
            self._link(told, "during", context, seen)
        if issubclass(type(error), BaseExceptionGroup):
            self._members(told, _MEMBERS.__get__(error), seen)
        return told

    def _link(self, told: dict[str, object], key: str, error: BaseException, seen: set[int]) -> None:
        if id(error) not in seen and len(seen) < LINKS_MAX:
            told[key] = self._describe(error, seen)
        else:
            told[key] = {"type": qualified(type(error))}

    def _members(self, told: dict[str, object], members: tuple[BaseException, ...], seen: set[int]) -> None:
        shown: list[dict[str, object]] = []
        for member in members[:MEMBERS_MAX]:
            if len(seen) >= LINKS_MAX or id(member) in seen:
                break
            shown.append(self._describe(member, seen))
        told["exceptions"] = shown
        if len(members) > len(shown):
            told["omitted"] = len(members) - len(shown)

    def message(self, error: BaseException) -> str:
        """What may be shown of its text."""
        if any(qualified(kind) in self._shown for kind in type(error).__mro__):
            try:
                text = str(error)
            except Exception:  # noqa: BLE001 -- it is somebody's code
                return Withheld("<unreadable>")
            return cut(text, self._text_chars)
        number = _errno(error)
        if number is not None:
            return Withheld(os.strerror(number))
        arguments = _ARGS.__get__(error)
        return withheld(arguments[0]) if len(arguments) == 1 else withheld(arguments)


def qualified(kind: type) -> str:
    """The name of a class with its module, unless that says nothing."""
    name, module = type_name(kind), kind.__dict__.get("__module__")
    if type(module) is not str or module in {"builtins", "__main__"}:
        return name
    dotted = len(module) <= FRAME_CHARS and module.replace(".", "").isidentifier()
    return f"{module}.{name}" if dotted else name


def _errno(error: BaseException) -> int | None:
    """The number of the C library's list; other lists (of TLS, of resolvers) come with texts of their own."""
    if not issubclass(type(error), OSError) or type(error).__str__ is not OSError.__str__:
        return None
    number = _ERRNO.__get__(error)
    return number if type(number) is int and number in errno.errorcode else None


def _code(error: BaseException) -> str | None:
    """A name for what happened that comes from a closed list: SQLSTATE or errno."""
    if (number := _errno(error)) is not None:
        return errno.errorcode[number]
    try:
        state = getattr(error, "sqlstate", None)
    except Exception:  # noqa: BLE001 -- it may be a property
        return None
    return state if type(state) is str and _SQLSTATE.fullmatch(state) is not None else None


def stack_of(error: BaseException) -> str:
    """The frames of its traceback, the innermost first: functions, files and lines, no values, no source."""
    traceback: TracebackType | None = _TRACEBACK.__get__(error)
    frames: list[tuple[TracebackType, int]] = []
    count = 0
    while traceback is not None and count < _WALK_MAX:
        count += 1
        frames.append((traceback, traceback.tb_lineno))
        if len(frames) > 2 * FRAMES_MAX:
            del frames[:FRAMES_MAX]
        traceback = traceback.tb_next
    shown = frames[-FRAMES_MAX:]
    lines = [_frame(each, line) for each, line in reversed(shown)]
    if count > len(shown):
        lines.append(f"… {count - len(shown)} more")
    return "\n".join(lines)


def _frame(traceback: TracebackType, line: int) -> str:
    code = traceback.tb_frame.f_code
    return f"at {code.co_qualname[:FRAME_CHARS]} in {code.co_filename[-FRAME_CHARS:]}:line {line}"
