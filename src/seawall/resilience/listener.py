"""Delivers signals to a callback on a thread of its own, for users who want to log or count them.

The publisher never waits: signals queue up to a limit, and the oldest are dropped and counted.  A callback
that raises is counted and called again with the next signal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

from seawall.kernel.signals import DEFAULT_CAPACITY, Hub, Signal
from seawall.resilience.system import HUB

JOIN_TIMEOUT_S: Final = 5.0
"""``close`` waits this long for a callback that is running."""


class Listener:
    """A running delivery; close it, or use it as a context manager.

    Attributes:
        failures: times the callback raised.
    """

    def __init__(
        self, callback: Callable[[Signal], object], hub: Hub, types: tuple[type[Signal], ...], capacity: int
    ) -> None:
        self._callback = callback
        # True: there is something to take; False: the end. Its ``put`` may run inside its own ``get``, as
        # when a finalizer on this thread publishes; an Event would lock itself out.
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._subscription = hub.subscribe(*types, capacity=capacity, on_ready=lambda: self._bell.put(True))
        self.failures = 0
        self._thread = threading.Thread(target=self._run, name="seawall-listener", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        going_on = True
        while going_on:
            going_on = self._bell.get()
            self._deliver()

    def _deliver(self) -> None:
        for signal in self._subscription.take():
            try:
                self._callback(signal)
            except Exception:  # noqa: BLE001 -- a broken callback must not end the delivery
                self.failures += 1

    @property
    def dropped(self) -> int:
        """Signals that did not fit into the queue."""
        return self._subscription.dropped

    def close(self) -> None:
        """Deliver what is queued and end."""
        self._subscription.close()
        self._bell.put(False)
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def listen(
    callback: Callable[[Signal], object],
    *types: type[Signal],
    hub: Hub = HUB,
    capacity: int = DEFAULT_CAPACITY,
) -> Listener:
    """Call ``callback`` with every signal of ``types`` (all, if none is named) from now on.

    Args:
        callback: called on a thread of its own, one signal at a time, in order.
        types: signal classes; subclasses count.
        hub: whose signals.
        capacity: signals that may wait for the callback.

    Example:
        >>> with listen(print):  # doctest: +SKIP
        ...     ...
    """
    return Listener(callback, hub, types, capacity)
