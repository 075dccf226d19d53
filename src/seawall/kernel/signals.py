"""Facts that parts of Seawall tell each other, and the hub that carries them.

A signal is a frozen record of something that has happened: never an order (``commands`` are), never a
request. Who publishes does not know who listens: it tests :attr:`Hub.active`, so that nothing is built when
nobody does. A subscriber can be slow, dead or broken; the publisher neither waits for it nor hears of it.

It is no message broker: signals stay in this process, and a subscriber that lags loses the oldest, counted.
The resilience core publishes; telemetry, logs, the command line and tests subscribe.
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
    "MAX_ROUTES",
    "MAX_SUBSCRIBERS",
    "BreakerChanged",
    "BreakerForced",
    "BreakerRefused",
    "BreakerReleased",
    "BulkheadRefused",
    "CallRefused",
    "DeadlineExpired",
    "EvictedKey",
    "FallbackUsed",
    "Hub",
    "HubStatistics",
    "PolicyChange",
    "PolicyReloaded",
    "RampMoved",
    "RateRefused",
    "RetryRefused",
    "RetryScheduled",
    "Signal",
    "Subscription",
]

DEFAULT_CAPACITY: Final = 1_024
"""Signals that wait for one subscriber, unless it asks for another number."""
MAX_CAPACITY: Final = 1_048_576
MAX_SUBSCRIBERS: Final = 64
"""A publisher pays for each of them, so their number is bounded."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Signal):
    """A circuit breaker moved from one state to another.

    Attributes:
        old: The state it left.
        new: The state it is in.
        reason: The rule that moved it, such as ``"errors"`` or ``"probes passed"``.
        evidence: Window, counts, bound and threshold behind it; ``str()`` explains, nobody else has to.
        generation: Number of the new state; results of calls from older generations do not count.
    """

    old: str
    new: str
    reason: str
    evidence: object = None
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerForced(Signal):
    """An operator took the decision out of the breaker's hands.

    Attributes:
        mode: What it is forced to: ``"open"``, ``"closed"``, ``"disabled"`` or ``"shadow"``.
        owner: Who did it.
        reason: Why.
        until: When it ends by itself, in monotonic seconds.
    """

    mode: str
    owner: str
    reason: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerReleased(Signal):
    """A forced breaker decides for itself again.

    Attributes:
        mode: What it was forced to.
        owner: Who released it; empty when the time was over.
    """

    mode: str
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RampMoved(Signal):
    """The share of traffic admitted after a recovery changed.

    Attributes:
        old: Share before, 0 to 1.
        share: Share now, 0 to 1.
        reason: Why it moved.
    """

    old: float
    share: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(Signal):
    """A failed attempt will be repeated.

    Attributes:
        attempt: Number of the attempt that comes next; the first call is 1.
        delay_s: Seconds until then.
        reason: What the last attempt ended with.
    """

    attempt: int
    delay_s: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRefused(Signal):
    """A failed attempt could have been repeated, but is not.

    Attributes:
        attempt: Number of the attempt that failed.
        reason: What forbids it, such as ``"budget"``, ``"deadline"`` or ``"attempts"``.
    """

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRefused(Signal):
    """A call was not sent; subscribe to this type for every kind of refusal.

    Attributes:
        reason: Why, in few words.
        retry_after_s: Seconds after which a call may be admitted, when known.
    """

    reason: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRefused(CallRefused):
    """The circuit breaker did not admit a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadRefused(CallRefused):
    """No slot was free, and the queue was full or the wait too long.

    Attributes:
        in_flight: Calls that hold a slot.
        waiting: Calls that wait for one.
    """

    in_flight: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRefused(CallRefused):
    """The local rate limit was used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineExpired(Signal):
    """The caller's time was over before an answer came.

    Attributes:
        timeout_s: The time that was given, in seconds.
        stage: Where the time ran out: ``"queue"``, ``"attempt"``, ``"backoff"``, …
    """

    timeout_s: float
    stage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackUsed(Signal):
    """The caller got the fallback's value instead of an error.

    Attributes:
        error: Name of the error's class; never its text, which may hold data.
    """

    error: str


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """One key that a reload changed.

    Attributes:
        key: Path of the key, such as ``breaker.errors``.
        old: The value before.
        new: The value now.
    """

    key: str
    old: object
    new: object


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReloaded(Signal):
    """A guard works by a new policy.

    Attributes:
        changes: What is different; empty when the reload changed nothing.
        owner: Who asked for it.
    """

    changes: tuple[PolicyChange, ...]
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictedKey(Signal):
    """A keyed guard forgot its least recently used key to stay within its limit.

    Attributes:
        limit: Keys it may hold.
    """

    limit: int


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """Counts of a hub since it was made.

    Attributes:
        subscribers: Subscriptions that are open now.
        published: Signals that were handed to the hub while somebody listened to it.
        queued: Signals that wait in the open subscriptions.
        delivered: Signals that the open subscriptions took.
        dropped: Signals that the open subscriptions lost.
        errors: Exceptions that ``on_ready`` callbacks of the open subscriptions raised.
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
        "_bell", "_delivered", "_dropped", "_errors", "_hub", "_offered", "_on_ready", "_queue",
        "capacity", "types",
    )
    # fmt: on

    def __init__(
        self, hub: Hub, types: tuple[type[Signal], ...], capacity: int, on_ready: Callable[[], object] | None
    ) -> None:
        self.types = types
        self.capacity = capacity
        self._hub = hub
        self._on_ready = on_ready
        self._queue: deque[Signal] = deque()
        # Holds one token while the subscriber has nothing to take: who gets the token calls on_ready.
        self._bell: deque[None] = deque((None,), maxlen=1)
        self._offered = Tally()
        self._delivered = Tally()
        self._dropped = Tally()
        self._errors = Tally()

    def offer(self, signal: Signal) -> None:
        """Queue one signal; called by the hub. Never blocks, never raises, from any thread.

        ``append``, ``popleft`` and ``pop`` of a deque are single C calls that run no Python code, and the GIL
        makes each indivisible. What other threads do between two of them is harmless: publishers that find
        the queue too long each drop one signal, as many as made it too long; one that finds it emptied
        meanwhile drops none. So the queue exceeds its capacity only by the number of threads that are between
        these lines.
        """
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
        """Signals that were published for this subscriber."""
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
        """Exceptions that its ``on_ready`` raised."""
        return self._errors.value

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
    ) -> Subscription:
        """Ask for signals.

        Args:
            *types: Signal classes, each with all that derive from it; every signal when none is given.
            capacity: Signals that may wait; the oldest is dropped when there are more.
            on_ready: Called in the publisher's thread when the queue has something to take, once until the
                next :meth:`Subscription.take`. It should only wake somebody up; what it raises is counted
                and goes no further.

        Returns:
            The subscription; a context manager that closes itself.

        Raises:
            UsageError: If the capacity is out of range or there are :data:`MAX_SUBSCRIBERS` already.
        """
        if not 1 <= capacity <= MAX_CAPACITY:
            raise UsageError(f"capacity = {capacity!r}: allowed is 1 to {MAX_CAPACITY}")
        subscription = Subscription(self, types or (Signal,), capacity, on_ready)
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
