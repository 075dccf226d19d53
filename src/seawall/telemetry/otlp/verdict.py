"""What an attempt to send came to, and how long to wait for the next. Pure: time and dice are parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, final

__all__ = ["ASKED_LIMIT_S", "FAILURE_REASONS", "Answer", "Backoff", "Verdict"]

ASKED_LIMIT_S: Final = 300.0
"""A collector may ask for a longer wait; it gets this one."""

FAILURE_REASONS: Final = (
    "timeout",
    "connection",
    "tls",
    "throttled",
    "unavailable",
    "refused",
    "garbled",
    "fault",
)
"""How an attempt failed; the last is an error of our own."""


class Answer(Enum):
    """What to do with a request."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    """Nobody took it; the same request may be taken later."""
    REFUSED = "refused"
    """The collector will not take this request, now or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One attempt.

    Attributes:
        answer: What to do with the request.
        reason: What failed, one of :data:`FAILURE_REASONS`; empty if nothing did.
        rejected: Spans that an accepting collector did not keep.
        retry_after_s: The wait that the collector asks for.
        text: What the collector or the network complains about, as it came: long, and maybe with secrets.
    """

    answer: Answer
    reason: str = ""
    rejected: int = 0
    retry_after_s: float | None = None
    text: str = ""


@final
class Backoff:
    """The wait after a failure, as the OpenTelemetry Protocol specification wants it ("Failures").

    It doubles with every failure and is spread by chance; the one that a collector asks for is kept. It
    belongs to the collector and not to a request, so that one that is down is asked once per wait.

    Args:
        base_s: The first wait is between half of this and this.
        max_s: The longest wait that the collector didn't ask for.

    Attributes:
        troubles: Failures in a row.
    """

    __slots__ = ("_asked", "_base_s", "_max_s", "_opens_at", "troubles")

    def __init__(self, *, base_s: float, max_s: float) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._opens_at = float("-inf")
        self._asked = False
        self.troubles = 0

    def failed(self, now: float, rng: Callable[[], float], *, asked_s: float | None = None) -> None:
        """Wait from ``now`` on.

        Args:
            now: The time.
            rng: Uniform random numbers in [0, 1).
            asked_s: The wait that the collector asks for.
        """
        if asked_s is None:
            longest = min(self._max_s, self._base_s * 2.0 ** min(self.troubles, 60))
            self._opens_at = now + longest * (0.5 + 0.5 * rng())
        else:
            self._opens_at = now + min(asked_s, ASKED_LIMIT_S) + self._base_s * rng()
        self._asked = asked_s is not None
        self.troubles += 1

    def answered(self) -> None:
        """The collector is there."""
        self._opens_at = float("-inf")
        self.troubles = 0

    def hurry(self) -> None:
        """Once, for those who end: don't wait, unless the collector asked for it."""
        if not self._asked:
            self._opens_at = float("-inf")

    def wait_s(self, now: float) -> float:
        """How long still; 0 or less if the next attempt may begin."""
        return self._opens_at - now
