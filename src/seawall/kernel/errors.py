"""One tree of errors; each says whose fault it is.

The whole tree::

    SeawallError
    ├── FunctionError                 tier 1: the function answered, and the answer is "no"
    │   ├── ValidationError           the arguments are wrong
    │   ├── BusinessRuleError         the arguments are right, a rule forbids the operation
    │   ├── AuthorizationError        the caller may not do this
    │   ├── NotFoundError             the thing asked for does not exist
    │   ├── ConflictError             it exists already, or has changed meanwhile
    │   ├── RateLimitedError          the callee asks for fewer calls
    │   ├── FunctionTimeoutError      the function ran out of its own time
    │   └── InternalError             the function is broken
    ├── AvailabilityError             tier 2: the service did not answer
    │   ├── ServiceUnavailable        it says so, or nobody is there
    │   ├── CallRejected              this process did not send the call at all
    │   │   ├── BreakerOpen
    │   │   ├── BulkheadFull
    │   │   └── RateExceeded
    │   └── DeadlineExceeded          (also a TimeoutError) the caller's time is over
    ├── InfrastructureError           tier 3: what services stand on is gone
    │   ├── DatabaseUnavailable
    │   └── BrokerUnavailable
    ├── PolicyError                   (also a ValueError) a policy is wrong; lists every problem
    ├── UnitError                     (also a ValueError) text that is no duration, ratio, rate or size
    └── UsageError                    (also a RuntimeError) the API is used wrongly

It is not a logger and no place for retry logic; what an error means on a wire is told in ``outcomes``. Every
package raises these errors, and users catch them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

__all__ = [
    "AuthorizationError",
    "AvailabilityError",
    "BreakerOpen",
    "BrokerUnavailable",
    "BulkheadFull",
    "BusinessRuleError",
    "CallRejected",
    "ConflictError",
    "DatabaseUnavailable",
    "DeadlineExceeded",
    "FunctionError",
    "FunctionTimeoutError",
    "InfrastructureError",
    "InternalError",
    "NotFoundError",
    "Outcome",
    "PolicyError",
    "Problem",
    "RateExceeded",
    "RateLimitedError",
    "SeawallError",
    "ServiceUnavailable",
    "Tier",
    "UnitError",
    "UsageError",
    "ValidationError",
]


class Tier(Enum):
    """Whose fault an error is, and so who hears of it."""

    FUNCTION = 1
    AVAILABILITY = 2
    INFRASTRUCTURE = 3


class Outcome(IntEnum):
    """What one call says about the party that was called.

    ``OK`` is zero, so that the hot path can test an outcome by its truth value.
    """

    OK = 0
    FAILED = 1
    """The callee answered with a fault of its own, or the caller's timeout ended the wait."""
    SLOW = 2
    """A good answer, later than the slow bound; derived from the duration, never reported."""
    IGNORED = 3
    """A proper refusal (tier 1): says nothing about the callee's health."""
    UNREACHABLE = 4
    """No connection, or the callee is going down."""
    THROTTLED = 5
    """The callee lives and asks for less."""
    VOID = 6
    """Nothing was learnt: cancelled from outside, or never sent."""


class SeawallError(Exception):
    """The root: ``except SeawallError`` catches whatever this library raises on purpose."""

    __slots__ = ()


# --- tier 1 -------------------------------------------------------------------------------------------------


class FunctionError(SeawallError):
    """Tier 1: a function refused or failed; goes straight back to its caller and to nobody else.

    Args:
        message: Text the caller may read (``InternalError`` is the exception: its text stays on this host).
    """

    __slots__ = ("message",)

    def __init__(self, message: str = "") -> None:
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type[FunctionError], tuple[object, ...]]:
        """Rebuild from the constructor's arguments, so that errors cross process borders."""
        return type(self), (self.message,)


class ValidationError(FunctionError):
    """The arguments do not fit the function's schema."""

    __slots__ = ()


class BusinessRuleError(FunctionError):
    """The arguments are well formed, but a rule of the business forbids the operation."""

    __slots__ = ()


class AuthorizationError(FunctionError):
    """The caller is not allowed to do this."""

    __slots__ = ()


class NotFoundError(FunctionError):
    """The thing that was asked for does not exist."""

    __slots__ = ()


class ConflictError(FunctionError):
    """The thing exists already, or somebody changed it meanwhile."""

    __slots__ = ()


class RateLimitedError(FunctionError):
    """The callee refused because this caller calls too often.

    Args:
        message: Text the caller may read.
        retry_after_s: Seconds after which a call is welcome again, when the callee said so.
    """

    __slots__ = ("retry_after_s",)

    def __init__(self, message: str = "", retry_after_s: float | None = None) -> None:
        self.message = message
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[RateLimitedError], tuple[object, ...]]:
        return type(self), (self.message, self.retry_after_s)


class FunctionTimeoutError(FunctionError):
    """The function ran out of the time that it gives itself."""

    __slots__ = ()


class InternalError(FunctionError):
    """The function is broken; the message is for the operator and never reaches a client."""

    __slots__ = ()


# --- tier 2 -------------------------------------------------------------------------------------------------


class AvailabilityError(SeawallError):
    """Tier 2: the service gave no answer; its caller and the cluster's error topic hear of it."""

    __slots__ = ()


class ServiceUnavailable(AvailabilityError):
    """A service says that it cannot serve, or nobody serves at all.

    Args:
        name: The service.
        reason: Why, for the operator.
        retry_after_s: Seconds after which it is worth asking again, when known.
    """

    __slots__ = ("name", "reason", "retry_after_s")

    def __init__(self, name: str, reason: str = "", retry_after_s: float | None = None) -> None:
        self.name = name
        self.reason = reason
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return _sentence(self.name, self.reason or "unavailable", self.retry_after_s, None)

    def __reduce__(self) -> tuple[type[ServiceUnavailable], tuple[object, ...]]:
        return type(self), (self.name, self.reason, self.retry_after_s)


class CallRejected(AvailabilityError):
    """This process refused to send the call; the callee was not touched.

    A rejection must cost next to nothing, because it is what an overloaded system does most: the constructor
    stores four references, and the text is built only when somebody reads it.

    Args:
        name: The guard (or breaker, bulkhead, limit) that refused.
        reason: Why, in few words; a constant, not a formatted text.
        retry_after_s: Seconds after which a call may be admitted, when that is known.
        detail: Anything whose ``str()`` explains the refusal; formatted lazily.
    """

    __slots__ = ("detail", "name", "reason", "retry_after_s")

    def __init__(
        self, name: str, reason: str = "", retry_after_s: float | None = None, detail: object = None
    ) -> None:
        self.name = name
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.detail = detail

    def __str__(self) -> str:
        return _sentence(self.name, self.reason or "call rejected", self.retry_after_s, self.detail)

    def __reduce__(self) -> tuple[type[CallRejected], tuple[object, ...]]:
        return type(self), (self.name, self.reason, self.retry_after_s, self.detail)


class BreakerOpen(CallRejected):
    """The circuit breaker does not admit calls at present."""

    __slots__ = ()


class BulkheadFull(CallRejected):
    """All slots are taken, and the queue is full or the wait was too long."""

    __slots__ = ()


class RateExceeded(CallRejected):
    """The local rate limit is used up."""

    __slots__ = ()


class DeadlineExceeded(AvailabilityError, TimeoutError):
    """The time that the caller gave is over; ``except TimeoutError`` catches it as well.

    Args:
        name: The guard whose deadline it was.
        timeout_s: The time given, in seconds, when known.
        reason: Where the time ran out (``"attempt"``, ``"queue"``, …).
    """

    __slots__ = ("name", "reason", "timeout_s")

    def __init__(self, name: str, timeout_s: float | None = None, reason: str = "") -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.reason = reason

    def __str__(self) -> str:
        text = f"{self.name}: deadline exceeded"
        if self.timeout_s is not None:
            text += f" after {_seconds(self.timeout_s)}"
        return f"{text} ({self.reason})" if self.reason else text

    def __reduce__(self) -> tuple[type[DeadlineExceeded], tuple[object, ...]]:
        return type(self), (self.name, self.timeout_s, self.reason)


# --- tier 3 -------------------------------------------------------------------------------------------------


class InfrastructureError(SeawallError):
    """Tier 3: something that services stand on is gone; broadcast to the whole cluster.

    Args:
        component: Which part of the infrastructure.
        reason: Why, for the operator.
        critical: Whether the emergency topic hears of it too.
    """

    __slots__ = ("component", "critical", "reason")

    def __init__(self, component: str, reason: str = "", *, critical: bool = False) -> None:
        self.component = component
        self.reason = reason
        self.critical = critical

    def __str__(self) -> str:
        return _sentence(self.component, self.reason or "unavailable", None, None)

    def __reduce__(self) -> tuple[object, ...]:
        # ``critical`` is keyword-only, so it travels as state.
        return type(self), (self.component, self.reason), {"critical": self.critical}


class DatabaseUnavailable(InfrastructureError):
    """No database can be reached."""

    __slots__ = ()


class BrokerUnavailable(InfrastructureError):
    """The message broker cannot be reached."""

    __slots__ = ()


# --- errors outside the tiers: the program is written or configured wrongly ---------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong value in a policy.

    Attributes:
        key: Path of the key, such as ``breaker.errors``.
        value: What was given.
        allowed: The range or the choices that are allowed.
        fix: What to write instead.
    """

    key: str
    value: object
    allowed: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.key} = {_shortened(self.value)}: allowed is {self.allowed}"
        return f"{text}; {self.fix}" if self.fix else text


class PolicyError(SeawallError, ValueError):
    """A policy is wrong; every problem is named at once, one per line.

    Args:
        problems: All that is wrong, in the order of the keys.
        source: Where the policy comes from (a file, a guard's name), for the first line.
    """

    __slots__ = ("problems", "source")

    def __init__(self, problems: Sequence[Problem], source: str = "policy") -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.source = source

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{self.source}: {count} problem{'' if count == 1 else 's'}"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])

    def __reduce__(self) -> tuple[type[PolicyError], tuple[object, ...]]:
        return type(self), (self.problems, self.source)


class UnitError(SeawallError, ValueError):
    """A text or number that is no duration, ratio, rate or size in the allowed range.

    Args:
        value: What was given.
        allowed: What is allowed, with its range.
        fix: What to write instead.
    """

    __slots__ = ("allowed", "fix", "value")

    def __init__(self, value: object, allowed: str, fix: str) -> None:
        self.value = value
        self.allowed = allowed
        self.fix = fix

    def __str__(self) -> str:
        return f"{_shortened(self.value)}: allowed is {self.allowed}; {self.fix}"

    def __reduce__(self) -> tuple[type[UnitError], tuple[object, ...]]:
        return type(self), (self.value, self.allowed, self.fix)

    def problem(self, key: str) -> Problem:
        """The same complaint as a line of a :class:`PolicyError`."""
        return Problem(key, self.value, self.allowed, self.fix)


class UsageError(SeawallError, RuntimeError):
    """The API is used in a way that cannot work; the message says how to use it."""

    __slots__ = ()


def _sentence(name: str, reason: str, retry_after_s: float | None, detail: object) -> str:
    text = f"{name}: {reason}"
    if retry_after_s is not None:
        text += f"; retry after {_seconds(retry_after_s)}"
    return text if detail is None else f"{text}; {detail}"


def _seconds(seconds: float) -> str:
    # Milliseconds are enough for a reader, and exponents are too much for one.
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"


_SHOWN_CHARACTERS: Final = 60


def _shortened(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:
        # CPython refuses to print integers of more than 4 300 digits.
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
