"""One line of JSON per record.

The fields, in this order: ``timestamp`` (UTC, milliseconds), ``level``, ``service``, ``traceId`` and
``spanId`` (W3C hexadecimal; left out where no span is current), ``message``, ``exception`` (left out without
one: ``type``, ``message``, ``stackTrace``, perhaps ``code``, ``cause``, ``during``, ``exceptions``),
``context`` (``logger``, and whatever keys the caller gave).

A record holds plain data only, since ``redaction`` and ``failures`` made it; masking is applied here, in the
writer's thread. Every record gives exactly one line, whatever is in it, and no line is longer than a limit.
"""

from __future__ import annotations

from time import gmtime, strftime
from typing import Final, NamedTuple

import orjson

from seawall.telemetry.logs.levels import name_of
from seawall.telemetry.logs.masking import Masks
from seawall.telemetry.logs.redaction import Cut, Withheld

__all__ = ["JsonLines", "Limits", "Record", "mask_failure", "mask_value"]

Record = tuple[int, int, str, str, dict[str, object], dict[str, object] | None, int, int]
"""Wall clock in nanoseconds, level, logger, message, context, exception, trace id, span id. A plain tuple,
because making one costs a sixth of a named one."""

_STACK_SHARE: Final = 4
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
        mended: lines whose texts were no valid Unicode.
    """

    __slots__ = ("_limits", "_masks", "_second", "_service", "_stamp", "mended", "truncated")

    def __init__(self, service: str, masks: Masks, limits: Limits) -> None:
        self._service = service
        self._masks = masks
        self._limits = limits
        self._second = -1
        self._stamp = ""
        self.truncated = 0
        self.mended = 0

    def __call__(self, record: Record) -> bytes:
        """The line, with its line break."""
        at_ns, level, logger, message, context, failure, trace_id, span_id = record
        limits, masks = self._limits, self._masks
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
        return self._fitted(line, cut=_cut(message) or _cut_inside(context))

    def _fitted(self, line: dict[str, object], *, cut: bool) -> bytes:
        data = self._encoded(line)
        if len(data) > self._limits.line_bytes:
            cut = True
            self._shrink(line)
            data = self._encoded(line)
        self.truncated += cut
        return data

    def _encoded(self, line: dict[str, object]) -> bytes:
        try:
            return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:
            # Lone surrogates, as in the names of files that are no valid UTF-8.
            self.mended += 1
            return orjson.dumps(_mended(line), option=orjson.OPT_APPEND_NEWLINE)

    def _shrink(self, line: dict[str, object]) -> None:
        # Whatever a character becomes in JSON, it is no more than six bytes.
        share = self._limits.line_bytes // _STACK_SHARE // 6
        message = str(line["message"])
        line["message"] = message if len(message) <= share else message[:share] + "…"
        failure = line.get("exception")
        if isinstance(failure, dict):
            text = str(failure.get("message", ""))
            line["exception"] = {
                "type": failure["type"],
                "message": text[: share // 4],
                "stackTrace": str(failure.get("stackTrace", ""))[:share],
            }
        context = line["context"]
        assert isinstance(context, dict)
        line["context"] = {"logger": str(context["logger"])[: share // 4], "omitted": len(context) - 1}

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


def _cut(value: object) -> bool:
    return isinstance(value, Cut)


def _cut_inside(context: dict[str, object]) -> bool:
    return any(_cut(value) for value in context.values())


def _mended(value: object) -> object:
    if isinstance(value, Withheld | str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {str(_mended(key)): _mended(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_mended(each) for each in value]
    return value
