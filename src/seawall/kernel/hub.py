"""The hub that carries signals from whoever publishes to whoever subscribed.

Who publishes does not know who listens: it tests :attr:`Hub.active`, so that nothing is built when nobody
does. A subscriber can be slow, dead or broken; the publisher neither waits for it nor hears of it.

It is no message broker: signals stay in this process, and a subscriber that lags loses the oldest, counted.
What the signals say is in ``signals``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from seawall.kernel.errors import UsageError
from seawall.kernel.tally import Tally

__all__ = [
    "DEFAULT_CAPACITY",
    "MAX_CAPACITY",
    "MAX_FAULTS",
    "MAX_ROUTES",
    "MAX_SUBSCRIBERS",
    "Hub",
    "HubStatistics",
    "Signal",
    "Subscription",
]

DEFAULT_CAPACITY: Final = 1_024
"""Signals that wait for one subscriber, unless it asks for another number."""
MAX_CAPACITY: Final = 1_048_576
MAX_SUBSCRIBERS: Final = 64
"""A publisher pays for each of them, so their number is bounded."""
MAX_FAULTS: Final = 100
"""A subscriber's ``on_signal`` that has raised so often is not called any more."""
MAX_ROUTES: Final = 256
"""Signal types whose subscribers are remembered; further types are looked up at every publication."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something that has happened.

    Attributes:
        at: When, in monotonic seconds of the publisher's clock.
        name: The guard (breaker, limit, …) that it happened to.
        key: The key inside a keyed guard; empty where there is none.
    """

    at: float
    name: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """Counts of a hub since it was made.

    Attributes:
        subscribers: Subscriptions that are open now.
        published: Signals that were handed to the hub while somebody listened to it.
        queued: Signals that wait in the open subscriptions.
        delivered: Signals that the open subscriptions took.
        dropped: Signals that the open subscriptions lost.
        errors: Exceptions that callbacks of the open subscriptions raised.
    """

    subscribers: int
    published: int
    queued: int
    delivered: int
    dropped: int
    errors: int


class Subscription:
    """A bounded queue of signals for one subscriber; made by :meth:`Hub.subscribe`.

    When the queue is full the *oldest* signal is dropped: who comes late wants to know how things stand
    now. Every signal that was offered is delivered, dropped or still queued. Several threads may take;
    they share the signals between them.
    """

    # fmt: off
    __slots__ = (
        "_bell", "_delivered", "_dropped", "_errors", "_faults", "_hub", "_offered", "_on_ready",
        "_on_signal", "_queue", "capacity", "types",
    )
    # fmt: on

    def __init__(
        self,
        hub: Hub,
        types: tuple[type[Signal], ...],
        capacity: int,
        on_ready: Callable[[], object] | None,
        on_signal: Callable[[Signal], Signal | None] | None,
    ) -> None:
        self.types = types
        self.capacity = capacity
        self._hub = hub
        self._on_ready = on_ready
        self._on_signal = on_signal
        self._queue: deque[Signal] = deque()
        # Holds one token while the subscriber has nothing to take: who gets the token calls on_ready.
        self._bell: deque[None] = deque((None,), maxlen=1)
        self._offered = Tally()
        self._delivered = Tally()
        self._dropped = Tally()
        self._errors = Tally()
        self._faults = Tally()

    def offer(self, signal: Signal) -> None:
        """Queue one signal; called by the hub. Never blocks, never raises, from any thread.

        ``append``, ``popleft`` and ``pop`` of a deque are single C calls that run no Python code, and the GIL
        makes each indivisible. What other threads do between two of them is harmless: publishers that find
        the queue too long each drop one signal, as many as made it too long; one that finds it emptied
        meanwhile drops none. So the queue exceeds its capacity only by the number of threads that are between
        these lines.
        """
        on_signal = self._on_signal
        if on_signal is not None:
            queued = self._shown(on_signal, signal)
            if queued is None:
                return
            signal = queued
        queue = self._queue
        self._offered.add()
        queue.append(signal)
        if len(queue) > self.capacity:
            try:
                queue.popleft()
            except IndexError:
                pass
            else:
                self._dropped.add()
        if self._on_ready is not None and self._bell:
            self._ring(self._on_ready)

    def take(self, limit: int | None = None) -> list[Signal]:
        """Take what is queued, oldest first.

        Args:
            limit: At most so many; all if ``None``. ``on_ready`` is not called for what a limit leaves.

        Returns:
            The signals; empty when there are none.
        """
        # First of all: what comes after this line rings, what came before it is found by the loop.
        self._bell.append(None)
        queue = self._queue
        taken: list[Signal] = []
        while limit is None or len(taken) < limit:
            try:
                signal = queue.popleft()
            except IndexError:
                break
            self._delivered.add()
            taken.append(signal)
        return taken

    @property
    def offered(self) -> int:
        """Signals that were to be queued: all for this subscriber but those that ``on_signal`` kept."""
        return self._offered.value

    @property
    def delivered(self) -> int:
        """Signals that it took."""
        return self._delivered.value

    @property
    def dropped(self) -> int:
        """Signals that it lost because its queue was full."""
        return self._dropped.value

    @property
    def errors(self) -> int:
        """Exceptions that its ``on_ready`` and ``on_signal`` raised."""
        return self._errors.value + self._faults.value

    @property
    def queued(self) -> int:
        """Signals that wait to be taken."""
        return len(self._queue)

    def close(self) -> None:
        """End the subscription; what is queued can still be taken. Closing twice does nothing."""
        self._hub.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _shown(self, on_signal: Callable[[Signal], Signal | None], signal: Signal) -> Signal | None:
        try:
            return on_signal(signal)
        except Exception:  # noqa: BLE001  # whatever a subscriber does wrong is its own affair
            self._faults.add()
            if self._faults.value >= MAX_FAULTS:
                # What fails every time would cost every publisher an exception.
                self._on_signal = None
            return signal

    def _ring(self, on_ready: Callable[[], object]) -> None:
        try:
            self._bell.pop()
        except IndexError:
            # Another publisher was faster, and rings.
            return
        try:
            on_ready()
        except Exception:  # noqa: BLE001  # whatever a subscriber does wrong is its own affair
            self._errors.add()
            # Nobody was woken, so the next signal has to try again.
            self._bell.append(None)


class Hub:
    """Carries signals from whoever publishes to whoever subscribed.

    Attributes:
        active: Whether anybody subscribes; a plain attribute, tested before a signal is built.
    """

    __slots__ = ("_published", "_routes", "_subscriptions", "active")

    def __init__(self) -> None:
        self.active = False
        self._published = Tally()
        # A dict for its order and its atomic insertion and removal.
        self._subscriptions: dict[Subscription, None] = {}
        self._routes: dict[type[Signal], tuple[Subscription, ...]] = {}

    def publish(self, signal: Signal) -> None:
        """Tell everybody who subscribed to this type or to a base of it.

        Never blocks and never raises, from any thread; takes no lock. The subscribers of a type are a
        tuple, which nobody changes: a subscription replaces the table of tuples as a whole.
        """
        if not self.active:
            return
        self._published.add()
        kind = type(signal)
        # The table is read before the subscriptions: should somebody subscribe meanwhile, the stale tuple
        # is stored in a table that has been replaced already, and is forgotten with it.
        routes = self._routes
        targets = routes.get(kind)
        if targets is None:
            targets = self._targets(kind)
            if len(routes) < MAX_ROUTES:
                routes[kind] = targets
        for subscription in targets:
            subscription.offer(signal)

    def subscribe(
        self,
        *types: type[Signal],
        capacity: int = DEFAULT_CAPACITY,
        on_ready: Callable[[], object] | None = None,
        on_signal: Callable[[Signal], Signal | None] | None = None,
    ) -> Subscription:
        """Ask for signals.

        Args:
            *types: Signal classes, each with all that derive from it; every signal when none is given.
            capacity: Signals that may wait; the oldest is dropped when there are more.
            on_ready: Called in the publisher's thread when the queue has something to take, once until the
                next :meth:`Subscription.take`. It should only wake somebody up; what it raises is counted
                and goes no further.
            on_signal: Called in the publisher's thread with each signal; what it returns is queued in the
                signal's place, nothing if that is ``None``. For what only that thread knows, such as the
                current trace, and for what must not be dropped, such as counts. The publisher waits for it,
                so it is quick or left out. If it raises, that is counted and the signal is queued as it is;
                after :data:`MAX_FAULTS` times it is not called any more.

        Returns:
            The subscription; a context manager that closes itself.

        Raises:
            UsageError: If the capacity is out of range or there are :data:`MAX_SUBSCRIBERS` already.
        """
        if not 1 <= capacity <= MAX_CAPACITY:
            raise UsageError(f"capacity = {capacity!r}: allowed is 1 to {MAX_CAPACITY}")
        subscription = Subscription(self, types or (Signal,), capacity, on_ready, on_signal)
        self._subscriptions[subscription] = None
        if len(self._subscriptions) > MAX_SUBSCRIBERS:
            self.remove(subscription)
            raise UsageError(f"{MAX_SUBSCRIBERS} subscribers already: close some, or share one subscription")
        self._renew()
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """End a subscription; the same as its ``close()``."""
        self._subscriptions.pop(subscription, None)
        self._renew()

    def statistics(self) -> HubStatistics:
        """Counts at this moment."""
        subscriptions = tuple(self._subscriptions.copy())
        return HubStatistics(
            subscribers=len(subscriptions),
            published=self._published.value,
            queued=sum(each.queued for each in subscriptions),
            delivered=sum(each.delivered for each in subscriptions),
            dropped=sum(each.dropped for each in subscriptions),
            errors=sum(each.errors for each in subscriptions),
        )

    def _targets(self, kind: type[Signal]) -> tuple[Subscription, ...]:
        # A copy, since iterating over the dict itself fails when another thread subscribes.
        return tuple(each for each in self._subscriptions.copy() if issubclass(kind, each.types))

    def _renew(self) -> None:
        self._routes = {}
        # Two threads may write the flag in the wrong order; but whoever writes last looks again.
        while self.active is not bool(self._subscriptions):
            self.active = bool(self._subscriptions)
