"""Writes down the signals of a stretch of code, so that a test can say what has to be announced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from seawall.kernel.signals import Hub, Signal, Subscription
from seawall.resilience.system import HUB

S = TypeVar("S", bound=Signal)

SIGNALS_MAX: Final = 100_000
"""So many are kept; later ones are only counted."""


class RecordedSignals(list[Signal]):
    """Signals in the order of their publication; grows while the recording lasts.

    Attributes:
        dropped: signals that came after the first :data:`SIGNALS_MAX`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dropped = 0

    def of(self, kind: type[S]) -> list[S]:
        """Those of one kind; subclasses count."""
        return [signal for signal in self if isinstance(signal, kind)]

    def take_from(self, subscription: Subscription) -> None:
        """Keep what waits in ``subscription``."""
        signals = subscription.take()
        room = max(SIGNALS_MAX - len(self), 0)
        self.extend(signals[:room])
        self.dropped += len(signals[room:])


@contextmanager
def record_signals(*types: type[Signal], hub: Hub = HUB) -> Iterator[RecordedSignals]:
    """Record what is published within the block.

    Args:
        types: signal classes; all, if none is named.
        hub: whose signals; by default the one that guards use by default.

    Example:
        >>> from seawall import guard
        >>> from seawall.testing import force
        >>> with record_signals() as signals, force(guard("db"), "open"):
        ...     [type(signal).__name__ for signal in signals]
        ['BreakerForced']
    """
    recorded = RecordedSignals()
    # The publisher's own thread hands over, so a signal is in the list as soon as it was published.
    with hub.subscribe(*types, on_ready=lambda: recorded.take_from(subscription)) as subscription:
        yield recorded
