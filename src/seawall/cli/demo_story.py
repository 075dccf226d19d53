"""What the demo remembers: counts per quarter of a second, and what happened when.

Pure: times are seconds since the curtain and come in as arguments. ``demo`` fills it, ``demo_view`` draws it,
``demo_report`` judges it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from seawall.cli.demo_scenario import Phase, Scenario
from seawall.kernel.signals import BreakerChanged, RampMoved, Signal

BUCKET_S: Final = 0.25
RAMP_MARKS: Final = (0.25, 0.5, 0.75)
"""Shares of traffic whose passing is told; the ramp moves in many small steps."""
MOMENTS_MAX: Final = 500
"""A breaker that flaps must not fill the memory; what comes later is counted in ``untold``."""


class Answer(Enum):
    """Where a client's answer came from."""

    SERVICE = "service"
    REJECTED = "fallback, because the breaker rejected the call"
    FAILED = "fallback, because the call failed"


@dataclass(slots=True)
class Bucket:
    """What happened in a quarter of a second."""

    served: int = 0
    rejected: int = 0
    failed: int = 0
    lost: int = 0
    latencies_s: list[float] = field(default_factory=list)
    state: str = ""
    share: float = 0.0

    @property
    def p95_s(self) -> float:
        """95 % of the calls that reached the service took at most this long; 0 if there were none."""
        ranked = sorted(self.latencies_s)
        return ranked[int(0.95 * (len(ranked) - 1))] if ranked else 0.0


class Tally:
    """Counts per quarter of a second, over the whole play.

    Args:
        length_s: how long it lasts; what comes later is counted in the last bucket.

    Attributes:
        buckets: all of them, from the start.
        lag_s: the longest that the event loop was late, which adds to every latency.
        longest_wait_s: the longest that a client waited for its answer.
    """

    def __init__(self, length_s: float) -> None:
        self.buckets: Final = [Bucket() for _ in range(max(1, round(length_s / BUCKET_S)))]
        self.lag_s = 0.0
        self.longest_wait_s = 0.0

    def at(self, elapsed_s: float) -> Bucket:
        """The bucket of a moment."""
        return self.buckets[min(max(int(elapsed_s / BUCKET_S), 0), len(self.buckets) - 1)]

    def attempt(self, started_s: float, latency_s: float) -> None:
        """A call reached the service and ended, one way or another."""
        self.at(started_s).latencies_s.append(latency_s)

    def answer(self, asked_s: float, now_s: float, source: Answer | None) -> None:
        """A client got an answer, or an error if ``source`` is ``None``."""
        bucket = self.at(now_s)
        if source is Answer.SERVICE:
            bucket.served += 1
        elif source is Answer.REJECTED:
            bucket.rejected += 1
        elif source is Answer.FAILED:
            bucket.failed += 1
        else:
            bucket.lost += 1
        self.longest_wait_s = max(self.longest_wait_s, now_s - asked_s)

    def stands(self, elapsed_s: float, state: str, share: float) -> None:
        """Where the breaker stands."""
        bucket = self.at(elapsed_s)
        bucket.state, bucket.share = state, share

    def total(self, name: str) -> int:
        """The sum of one counter."""
        return sum(getattr(bucket, name) for bucket in self.buckets)


class Kind(Enum):
    """What a moment is about."""

    SERVICE = "service"
    BREAKER = "breaker"
    RAMP = "ramp"


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline.

    Attributes:
        at_s: when, in seconds since the curtain.
        kind: what it is about.
        what: what happened, in a few words.
        why: the reason, if there is one.
        old: the state that the breaker left.
        new: the state that it is in, or the service's phase.
    """

    at_s: float
    kind: Kind
    what: str
    why: str = ""
    old: str = ""
    new: str = ""


class Story:
    """What happened when, told by the scenario and by the guard's signals.

    Args:
        scenario: the play.
        origin_s: what the guard's clock showed at the curtain.

    Attributes:
        moments: in the order of their happening.
        untold: moments beyond the limit.
        step_backs: times that the ramp shrank.
        reason: why the breaker last opened.
    """

    def __init__(self, scenario: Scenario, origin_s: float) -> None:
        self.moments: list[Moment] = []
        self.untold = 0
        self.step_backs = 0
        self.reason = ""
        self._origin_s: Final = origin_s
        self._ahead: Final = list(scenario.phases())

    def pass_time(self, elapsed_s: float, signals: Iterable[Signal]) -> list[Moment]:
        """Take in what happened up to now; gives the new moments, in order."""
        fresh = [moment for signal in signals for moment in self._told_by(signal)]
        while self._ahead and self._ahead[0][0] <= elapsed_s:
            at_s, phase = self._ahead.pop(0)
            fresh.append(Moment(at_s, Kind.SERVICE, phase.value, new=phase.name))
        fresh.sort(key=lambda moment: moment.at_s)
        room = max(MOMENTS_MAX - len(self.moments), 0)
        self.moments.extend(fresh[:room])
        self.untold += len(fresh[room:])
        return fresh

    def _told_by(self, signal: Signal) -> Iterator[Moment]:
        at_s = signal.at - self._origin_s
        if isinstance(signal, BreakerChanged):
            if signal.evidence is not None:
                self.reason = signal.reason
            what = f"{_words(signal.old)} -> {_words(signal.new)}"
            yield Moment(at_s, Kind.BREAKER, what, signal.reason, signal.old, signal.new)
        elif isinstance(signal, RampMoved):
            if signal.share < signal.old:
                self.step_backs += 1
                if self.step_backs == 1:
                    yield Moment(
                        at_s, Kind.RAMP, f"back to {signal.share:.0%} of the traffic", "the service is slow"
                    )
            for mark in RAMP_MARKS:
                if signal.old < mark <= signal.share:
                    yield Moment(at_s, Kind.RAMP, f"{signal.share:.0%} of the traffic")

    def changes(self, old: str | None = None, new: str | None = None) -> list[Moment]:
        """The breaker's moves, between the given states."""
        return [
            moment
            for moment in self.moments
            if moment.kind is Kind.BREAKER and old in {None, moment.old} and new in {None, moment.new}
        ]

    def phase_began(self, phase: Phase) -> float | None:
        """When a phase began, or ``None`` if it did not."""
        for moment in self.moments:
            if moment.kind is Kind.SERVICE and moment.new == phase.name:
                return moment.at_s
        return None


def _words(state: str) -> str:
    return state.replace("_", " ")
