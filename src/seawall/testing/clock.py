"""A clock for tests: it moves when it is told to, and when somebody sleeps by it.

Give it to ``guard(clock=...)``, and to ``run`` for what is async. It is not the machine's time and never
becomes it.
"""

from __future__ import annotations

from seawall.kernel.clock import ManualClock


class VirtualClock(ManualClock):
    """Time that passes at the test's word.

    ``monotonic()`` reads it, ``advance(seconds)`` moves it. A synchronous guard that waits between two
    attempts calls :meth:`sleep`, which moves it too, so that a retry takes no real time. Threads share one
    clock: the sleep of each moves the time of all.

    Args:
        start_s: what it shows at first, in seconds.

    Example:
        >>> clock = VirtualClock()
        >>> clock.sleep(1.5)
        >>> clock.monotonic()
        1.5
    """

    __slots__ = ()

    def sleep(self, seconds: float, /) -> None:
        """Let ``seconds`` pass at once; none for a negative number, as an event loop does.

        Raises:
            UsageError: ``seconds`` is infinite or not a number.
        """
        self.advance(max(seconds, 0.0))

    def __repr__(self) -> str:
        return f"<VirtualClock {self.monotonic():g} s>"
