"""Deadline: one absolute point in time that everything done for a request shares.

A timeout is relative and starts anew at each layer, so that layers of timeouts add up and work goes on for
callers who have long gone. A deadline is absolute (monotonic seconds), set once where the request comes in,
inherited by every call below through a context variable, and only ever shortened on the way down.

What it is not: a timer. It interrupts nothing; the guard compares it with the clock before each attempt and
gives the edge what remains as a timeout. And it is not valid on another host: the monotonic clocks of two
hosts share no origin, so the wire carries the time that remains (as gRPC's ``grpc-timeout`` does), rounded
down, and the time the message travels is a gift to the callee.

Called by the guard, and by servers and clients that read and write :data:`HEADER`.

Threads: no lock. A deadline never changes, and a context variable belongs to one thread or one task. A new
thread starts without a deadline; a new task, and ``asyncio.to_thread``, inherit it.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from math import isnan
from types import TracebackType
from typing import Final, final

from seawall.kernel.errors import UsageError

__all__ = [
    "HEADER",
    "MAX_HEADER_MS",
    "Deadline",
    "DeadlineScope",
    "current",
    "from_header",
    "remaining",
    "scope",
]

HEADER: Final = "seawall-timeout-ms"
"""Name of the header, in HTTP and in message properties: milliseconds that remain, in decimal digits."""

MAX_HEADER_MS: Final = 99_999_999
"""Most that the header can say, nearly 28 hours: eight digits, as in ``grpc-timeout``."""

_MAX_DIGITS: Final = len(str(MAX_HEADER_MS))


@final
@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """A point in time until which an answer is of use.

    Attributes:
        at: Monotonic seconds; infinity stands for no end.

    Raises:
        ValueError: ``at`` is not a number.
    """

    at: float

    def __post_init__(self) -> None:
        if isnan(self.at):
            raise ValueError(f"at = {self.at!r}: must be a point in monotonic seconds")

    def remaining(self, now: float) -> float:
        """Seconds left at ``now``; 0 when it is over."""
        return max(self.at - now, 0.0)

    def expired(self, now: float) -> bool:
        """Whether it is over at ``now``."""
        return now >= self.at

    def to_header(self, now: float) -> str:
        """What to send as :data:`HEADER`.

        Rounded down: the callee never believes it has longer than the caller waits. Less than a millisecond
        is "0", which the callee refuses at once.

        Args:
            now: Monotonic seconds.

        Returns:
            Milliseconds, at most :data:`MAX_HEADER_MS`.
        """
        left_ms = self.remaining(now) * 1000.0
        return str(MAX_HEADER_MS if left_ms >= MAX_HEADER_MS else int(left_ms))


class _Node:
    """A scope that was entered: what it set, and what it was entered in."""

    __slots__ = ("deadline", "left", "outer")

    def __init__(self, deadline: Deadline, outer: _Node | None) -> None:
        self.deadline = deadline
        self.outer = outer
        self.left = False


_CURRENT: Final[ContextVar[_Node | None]] = ContextVar("seawall_deadline", default=None)
# Scopes are not always left in the order or in the context in which they were entered: generators hold some,
# and the event loop closes abandoned ones elsewhere. So a scope that is left is marked, and whoever looks
# passes it over.

USED: Final[list[bool]] = []
"""Not empty from the first scope on: who never uses deadlines does not pay for looking one up."""


def _node() -> _Node | None:
    node = _CURRENT.get()
    while node is not None and node.left:
        node = node.outer
    return node


def current() -> Deadline | None:
    """The deadline of the running request; None if it has none."""
    node = _node()
    return None if node is None else node.deadline


def remaining(now: float) -> float | None:
    """Seconds left for the running request at ``now``: 0 when it is over, None if it has no deadline."""
    deadline = current()
    return None if deadline is None else deadline.remaining(now)


def from_header(text: str, now: float) -> Deadline:
    """Read what a caller sent as :data:`HEADER`.

    Args:
        text: The header's value.
        now: Monotonic seconds when it came in.

    Returns:
        The deadline by this host's clock.

    Raises:
        ValueError: It is not one to eight decimal digits. The text comes from outside, so it isn't trusted to
            be short.
    """
    if not (len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit()):
        raise ValueError(
            f"{HEADER} = {text[: 2 * _MAX_DIGITS]!r}: must be 1 to {_MAX_DIGITS} decimal digits,"
            f" milliseconds from 0 to {MAX_HEADER_MS}"
        )
    return Deadline(now + int(text) / 1000.0)


@final
class DeadlineScope:
    """Within the ``with`` block the deadline is the given one, or the one around it if that is earlier.

    Made by :func:`scope`; used once.
    """

    __slots__ = ("_deadline", "_entered")

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._entered: _Node | None = None

    def __enter__(self) -> Deadline:
        """Make the deadline the current one.

        Returns:
            The deadline that holds inside.

        Raises:
            UsageError: The scope was entered before.
        """
        if self._entered is not None:
            raise UsageError("a deadline scope is entered once: call deadline.scope() for each block")
        outer = _node()
        inner = self._deadline
        if outer is not None and outer.deadline <= inner:
            inner = outer.deadline
        self._entered = _Node(inner, outer)
        _CURRENT.set(self._entered)
        if not USED:
            USED.append(True)
        return inner

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Restore the deadline around the block."""
        node = self._entered
        if node is None:
            raise UsageError("a deadline scope is left without having been entered")
        node.left = True
        if _CURRENT.get() is node:
            _CURRENT.set(_node())

    def __repr__(self) -> str:
        state = "new" if self._entered is None else "entered"
        return f"<DeadlineScope at={self._deadline.at:g} {state}>"


def scope(at: float) -> DeadlineScope:
    """Give everything called within a ``with`` block a deadline; it can only shorten the one around it.

    A task that was started inside and outlives the block is no longer bound by it.

    Args:
        at: Monotonic seconds.

    Returns:
        A context manager, for ``with`` in plain and in async functions alike.
    """
    return DeadlineScope(Deadline(at))
