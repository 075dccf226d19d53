"""Facts that parts of Seawall tell each other.

A signal is a frozen record of something that has happened: never an order (``commands`` are), never a
request. The hub that carries them is in ``hub``; whoever uses signals finds all its names here as well.

The resilience core publishes; telemetry, logs, the command line and tests subscribe.
"""

from __future__ import annotations

from dataclasses import dataclass

from seawall.kernel.hub import (
    DEFAULT_CAPACITY,
    MAX_CAPACITY,
    MAX_FAULTS,
    MAX_ROUTES,
    MAX_SUBSCRIBERS,
    Hub,
    HubStatistics,
    Signal,
    Subscription,
)

__all__ = [
    "DEFAULT_CAPACITY",
    "MAX_CAPACITY",
    "MAX_FAULTS",
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
