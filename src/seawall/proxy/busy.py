"""Polling without sleep: a worker asks for new data again and again for as long as queries keep coming.

A process that waits for data sleeps, its core too, and to wake both up takes tens of microseconds, in a
virtual machine easily a hundred: more than the proxy's own work for a query. Who would rather spend a core
than that time switches this on (``proxy.busy_poll``); HAProxy has it as ``busy-polling``, the kernel as
``net.core.busy_poll``. Nothing of it is on the path of a query: the sweeper notices that queries come and
starts the polling, which ends itself when none has come for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

CLOCK_STEP_S: Final = 0.001
"""The loop's clock is no finer, so a shorter patience would be none."""


class BusyPolling:
    """Keeps a loop from sleeping while there are queries.

    Args:
        patience_s: how long after the last query it goes on; 0 is never.
        queries: how many there have been.
        loop: whose sleep it prevents.
    """

    __slots__ = ("_loop", "_patience_s", "_queries", "_seen", "_until", "polling", "rounds")

    def __init__(
        self, patience_s: float, queries: Callable[[], int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._patience_s = max(patience_s, CLOCK_STEP_S) if patience_s else 0.0
        self._queries = queries
        self._loop = loop
        self._seen = queries()
        self._until = 0.0
        self.polling = False
        self.rounds = 0
        """How often the loop was kept from sleeping."""

    def look(self) -> None:
        """Start polling if there were queries since the last look; called by the sweeper."""
        if self.polling or not self._patience_s:
            return
        if self._more():
            self.polling = True
            self._until = self._loop.time() + self._patience_s
            self._loop.call_soon(self._poll)

    def _more(self) -> bool:
        queries = self._queries()
        more = queries != self._seen
        self._seen = queries
        return more

    def _poll(self) -> None:
        now = self._loop.time()
        if now >= self._until:
            if not self._more():
                self.polling = False
                return
            self._until = now + self._patience_s
        self.rounds += 1
        self._loop.call_soon(self._poll)
