"""One line of JSON per record.

The fields, in this order: ``timestamp`` (UTC, milliseconds), ``level``, ``service``, ``traceId`` and
``spanId`` (W3C hexadecimal; left out where no span is current), ``message``, ``exception`` (left out without
one: ``type``, ``message``, ``stackTrace``, perhaps ``code``, ``cause``, ``during``, ``exceptions``),
``context`` (``logger``, and whatever keys the caller gave).

A record holds plain data only, since ``redaction`` and ``failures`` made it; masking is applied here, in the
writer's thread. Every record gives exactly one line, whatever is in it, and no line is longer than a limit.
"""

from __future__ import annotations

import re
from time import gmtime, strftime
from typing import Final, NamedTuple

import orjson

from seawall.telemetry.logs.levels import name_of
from seawall.telemetry.redaction.masking import Masks
from seawall.telemetry.redaction.withholding import Cut

__all__ = ["CONTROL", "JsonLines", "Limits", "Record", "mask_failure", "mask_value"]

Record = tuple[int, int, str, str, dict[str, object], dict[str, object] | None, int, int]
"""Wall clock in nanoseconds, level, logger, message, context, exception, trace id, span id. A plain tuple,
because making one costs a sixth of a named one."""

CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What ends a line, drives a terminal or turns the direction of a text: C0, DEL, C1, separators, marks; and
surrogates, which no encoding has."""

_LONGEST: Final = 6
"""Bytes of one character in JSON, at most: an escape."""

_SHARE: Final = 4
"""A line that is too long keeps this part of its limit for the stack, and as much for the message."""


class Limits(NamedTuple):
    """What one line may hold.

    Attributes:
        message_chars: characters of the message, and of an exception's.
        value_chars: characters of one text in the context.
        line_bytes: bytes of the whole line.
    """

    message_chars: int
    value_chars: int
    line_bytes: int


class JsonLines:
    """Renders records as lines of JSON.

    Args:
        service: the value of ``service``.
        masks: what is applied to every text.
        limits: what a line may hold.

    Attributes:
        truncated: lines from which something was left out for its size.
    """

    __slots__ = ("_limits", "_masks", "_second", "_service", "_stamp", "truncated")

    def __init__(self, service: str, masks: Masks, limits: Limits) -> None:
        self._service = service
        self._masks = masks
        self._limits = limits
        self._second = -1
        self._stamp = ""
        self.truncated = 0

    def __call__(self, record: Record) -> bytes:
        """The line, with its line break."""
        at_ns, level, logger, message, context, failure, trace_id, span_id = record
        limits, masks = self._limits, self._masks
        shortened = masks.shortened
        line: dict[str, object] = {
            "timestamp": self._timestamp(at_ns),
            "level": name_of(level),
            "service": self._service,
        }
        if trace_id:
            line["traceId"] = f"{trace_id:032x}"
            line["spanId"] = f"{span_id:016x}"
        line["message"] = masks.text(message, limits.message_chars)
        if failure is not None:
            line["exception"] = mask_failure(failure, masks, limits.message_chars)
        shown: dict[str, object] = {"logger": masks.known(logger)}
        for key, value in context.items():
            if key != "logger":
                shown[masks.known(key)] = mask_value(value, masks, limits.value_chars)
        line["context"] = shown
        data = _encoded(line)
        fits = len(data) <= limits.line_bytes
        self.truncated += not fits or masks.shortened != shortened
        return data if fits else _encoded(self._shrunk(line, len(context)))

    def _shrunk(self, line: dict[str, object], keys: int) -> dict[str, object]:
        """The line without its context, and with the beginnings of its texts."""
        share = self._limits.line_bytes // _SHARE // _LONGEST
        message, failure, context = str(line["message"]), line.get("exception"), line["context"]
        shrunk = line | {"message": message if len(message) <= share else message[:share] + "…"}
        if isinstance(failure, dict):
            room = {"type": share // 2, "message": share // 4, "code": share // 4, "stackTrace": share}
            shrunk["exception"] = {
                key: str(failure[key])[:chars] for key, chars in room.items() if key in failure
            }
        assert isinstance(context, dict)
        shrunk["context"] = {"logger": str(context["logger"])[: share // 4], "omitted": keys}
        return shrunk

    def _timestamp(self, at_ns: int) -> str:
        second, rest = divmod(at_ns, 1_000_000_000)
        if second != self._second:
            self._stamp = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
            self._second = second
        return f"{self._stamp}.{rest // 1_000_000:03d}Z"


def mask_value(value: object, masks: Masks, chars: int) -> object:
    """A value of a context with its texts masked."""
    kind = type(value)
    if kind is str or kind is Cut:
        return masks.text(value, chars)  # type: ignore[arg-type]  # it is one
    if kind is dict:
        assert isinstance(value, dict)
        return {masks.known(key): mask_value(each, masks, chars) for key, each in value.items()}
    if kind is list:
        assert isinstance(value, list)
        return [mask_value(each, masks, chars) for each in value]
    return value


def mask_failure(failure: dict[str, object], masks: Masks, chars: int) -> dict[str, object]:
    """An exception's description with its texts masked."""
    told: dict[str, object] = {}
    for key, value in failure.items():
        if key == "message":
            told[key] = masks.text(value, chars) if isinstance(value, str) else value
        elif isinstance(value, dict):
            told[key] = mask_failure(value, masks, chars)
        elif isinstance(value, list):
            told[key] = [mask_failure(each, masks, chars) for each in value]
        else:
            told[key] = masks.known(value) if isinstance(value, str) else value
    return told


def _encoded(line: dict[str, object]) -> bytes:
    try:
        data = orjson.dumps(line)
    except TypeError:
        data = orjson.dumps(_valid(line))  # lone surrogates, as in names of files that are no valid UTF-8
    if not data.isascii() or b"\x7f" in data:
        # JSON may hold these as they are, but people look at lines in terminals.
        data = CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", data.decode()).encode()
    return data + b"\n"


def _valid(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_valid(key): _valid(each) for key, each in value.items()}
    return [_valid(each) for each in value] if isinstance(value, list) else value
