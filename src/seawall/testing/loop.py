"""An asyncio event loop whose time is a ``VirtualClock``: waiting costs nothing and happens in a fixed order.

Theory of operation
-------------------
An event loop asks its selector to wait for I/O until the next timer is due. Here the selector looks whether
some I/O is ready *now*; if not, it moves the clock to that timer instead of waiting. So ``asyncio.sleep``,
``asyncio.timeout`` and ``wait_for`` behave as ever, in the same order, in no time. When no timer is set, only
I/O or another thread can go on, and the selector really waits.

Threads and sockets work, but they live in real time and take none of the virtual: while a task waits for a
worker thread *and* a timer is set, the clock would jump to the timer long before the thread is done.
``idle_s`` gives the outside so many real seconds to come up with something before every jump.

It is not for production, and not uvloop.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypeVar

from seawall.testing.clock import VirtualClock

T = TypeVar("T")


class _JumpingSelector(selectors.BaseSelector):
    """A real selector that jumps where it would wait."""

    def __init__(self, clock: VirtualClock, idle_s: float) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; if nothing is, the clock shows the end of ``timeout`` afterwards."""
        if timeout is None or timeout <= 0.0:
            return self._real.select(timeout)
        ready = self._real.select(self._idle_s)
        if not ready:
            self._clock.advance(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401 -- as its base
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:  # noqa: ANN401 -- as its base
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401 -- as its base
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time.

    Most tests want :func:`run`. A test framework that makes loops itself takes this class as its factory.

    Args:
        clock: its time; a new one if none is given.
        idle_s: real seconds that threads and sockets get before each jump of the clock.

    Attributes:
        clock: the same.
    """

    def __init__(self, clock: VirtualClock | None = None, *, idle_s: float = 0.0) -> None:
        self.clock: Final = VirtualClock() if clock is None else clock
        super().__init__(_JumpingSelector(self.clock, idle_s))

    def time(self) -> float:
        """The clock's time, which is what timers go by."""
        return self.clock.monotonic()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 -- as its base
        """Wait for the worker threads for as long as they take: a timeout would be over at once."""
        await super().shutdown_default_executor()


def run(main: Coroutine[Any, Any, T], clock: VirtualClock | None = None, *, idle_s: float = 0.0) -> T:
    """Run ``main`` to its end on virtual time, as ``asyncio.run`` does on real time.

    Args:
        main: a coroutine.
        clock: the loop's time, usually also the guards'; a new one if none is given.
        idle_s: see :class:`VirtualLoop`.

    Example:
        >>> clock = VirtualClock()
        >>> run(asyncio.sleep(3600.0, "an hour later"), clock)
        'an hour later'
        >>> clock.monotonic()
        3600.0
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock, idle_s=idle_s)) as runner:
        return runner.run(main)
