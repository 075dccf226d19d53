"""Keeps one message that is said over and over from burying all others.

Of one message (by logger, level and text before arguments are put in) the first ``burst`` of a window pass,
then every hundredth; the rest is suppressed and counted, and a line at the window's end says how many. The
table of messages is bounded: those that find it full are not limited, but counted. Threads share it without a
lock: each message has a counter whose step is one C call.

It reads no clock. ``intake`` asks it before anything of a line is made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final

from seawall.kernel.tally import Tally

__all__ = ["EVERY", "KEYS_MAX", "TEXT_CHARS", "Key", "Repeats"]

KEYS_MAX: Final = 1_024
"""Messages that one window tells apart."""

EVERY: Final = 100
"""Beyond its burst, so many of a message become one line."""

TEXT_CHARS: Final = 256
"""Characters by which messages are told apart."""

Key = tuple[str, int, str]
"""Logger, level, text."""


class Repeats:
    """The repetitions of one configuration.

    Args:
        burst: lines of one message per window that pass; 0 turns the limit off.
        window_ns: length of a window.
    """

    __slots__ = ("_burst", "_ends", "_table", "_turn", "_window_ns", "suppressed", "unlimited")

    def __init__(self, burst: int, window_ns: int) -> None:
        self._burst = burst
        self._window_ns = window_ns
        self.begin()

    def begin(self) -> None:
        """Forget everything, as a child process does."""
        self._ends = 0
        self._table: dict[Key, Callable[[], int]] = {}
        # Holds one token: of threads that find the window over, one ends it.
        self._turn: deque[None] = deque((None,), maxlen=1)
        self.suppressed = Tally()
        self.unlimited = Tally()

    def passes(self, name: str, level: int, text: str) -> bool:
        """Whether this message becomes a line."""
        if not self._burst:
            return True
        table = self._table
        key = (name, level, text[:TEXT_CHARS])
        step = table.get(key)
        if step is None:
            if len(table) >= KEYS_MAX:
                self.unlimited.add()
                return True
            # Of two threads that come here at once, both get the counter that was stored first.
            step = table.setdefault(key, count(1).__next__)
        number = step()
        if number <= self._burst or (number - self._burst) % EVERY == 0:
            return True
        self.suppressed.add()
        return False

    def roll(self, now_ns: int) -> list[tuple[Key, int]]:
        """Begin a new window if this one is over.

        Args:
            now_ns: monotonic nanoseconds.

        Returns:
            What the ended window suppressed, message by message.
        """
        if now_ns < self._ends or not self._burst:
            return []
        try:
            self._turn.pop()
        except IndexError:
            return []  # another thread is at it
        try:
            if now_ns < self._ends:
                return []
            self._ends = now_ns + self._window_ns
            table, self._table = self._table, {}
        finally:
            self._turn.append(None)
        return [(key, lost) for key, step in table.items() if (lost := self._lost(step() - 1)) > 0]

    def _lost(self, said: int) -> int:
        beyond = said - self._burst
        return beyond - beyond // EVERY if beyond > 0 else 0
