"""In the supervisor: what the proxy publishes, counted and written down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from seawall.app.observation.gauges import Gauges
from seawall.kernel.proxy_signals import FailoverEnded
from seawall.kernel.signals import Hub, Signal

__all__ = ["News"]

LOGGER: Final = "seawall.proxy"


class News:
    """A subscription to a proxy's signals.

    Args:
        hub: Where they are published.
        gauges: Where they are counted.
        also: Called with each of them.
    """

    def __init__(self, hub: Hub, gauges: Gauges, also: Callable[[Signal], None]) -> None:
        self._gauges = gauges
        self._also = also
        self._loop = asyncio.get_running_loop()
        self._logger = logging.getLogger(LOGGER)
        self._subscription = hub.subscribe(on_ready=self._ready)
        self.errors = 0
        """How often something here failed at a signal; the others were told all the same."""

    def _ready(self) -> None:
        # The publisher is a step of the conductor, which has better things to do than to write logs.
        self._loop.call_soon(self._take)

    def _take(self) -> None:
        for signal in self._subscription.take():
            for tell in (self._write, self._gauges.note, self._also):
                try:
                    tell(signal)
                except Exception:  # noqa: BLE001 -- telemetry must not be what stops a supervisor
                    self.errors += 1

    def _write(self, signal: Signal) -> None:
        if isinstance(signal, FailoverEnded):
            self._logger.warning(
                "%s failover of %s to %s: %s in %.3f s, clients waited %.3f s",
                signal.kind,
                signal.old_primary or "nobody",
                signal.new_primary or "nobody",
                signal.outcome,
                signal.took_s,
                signal.held_s,
            )

    def close(self) -> None:
        """Take what is left, and listen no more."""
        self._subscription.close()
        self._take()
