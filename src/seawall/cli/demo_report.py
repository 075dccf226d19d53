"""Judges a played demo: which promises were kept, and by what figures.

Pure. A promise that could not be tested, because the play was cut short, counts as broken.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from seawall.cli.demo_scenario import Phase, Scenario
from seawall.cli.demo_story import Story, Tally

DETECTION_MAX_S: Final = 1.0
FAULTY: Final = (Phase.HANGS, Phase.SLOW, Phase.ERRORS)


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise of the library, with what was measured."""

    promise: str
    measured: str
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured; times are ``None`` where the thing never happened.

    Attributes:
        calls: calls that clients made.
        served: answered by the service.
        protected: rejected by the breaker and answered by the fallback at once.
        failed: failed, and answered by the fallback all the same.
        lost: ended with an error for the client.
        rejected: what the breaker rejected, by its own count.
        felt: calls that reached the service while it was ill, of those that clients made then.
        felt_of: the calls that clients made while it was ill.
        detected_ms: from the hang to the opening.
        reason: what the breaker said when it opened.
        ramp_ms: from the repair to the first traffic beyond probes.
        closed_ms: from the repair to full traffic.
        false_opens: openings of a closed breaker while the service was well.
        reopened: recoveries that were broken off after the repair.
        step_backs: times that the ramp shrank.
        longest_wait_ms: the longest that a client waited.
        retries: retries that the budget granted.
        retries_refused: retries that it did not.
        loop_lag_ms: the longest that this program itself was late.
    """

    calls: int
    served: int
    protected: int
    failed: int
    lost: int
    rejected: int
    felt: int
    felt_of: int
    detected_ms: float | None
    reason: str
    ramp_ms: float | None
    closed_ms: float | None
    false_opens: int
    reopened: int
    step_backs: int
    longest_wait_ms: float
    retries: int
    retries_refused: int
    loop_lag_ms: float


@dataclass(frozen=True, slots=True)
class Report:
    """The demo's result."""

    scenario: str
    figures: Figures
    promises: tuple[Promise, ...]

    @property
    def kept(self) -> bool:
        """Whether all promises were kept."""
        return all(promise.kept for promise in self.promises)

    def as_table(self) -> dict[str, Any]:
        """For a program."""
        return {
            "scenario": self.scenario,
            "kept": self.kept,
            "promises": [asdict(promise) for promise in self.promises],
            "figures": asdict(self.figures),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What the guard and the service counted by themselves."""

    rejected: int
    retries: int
    retries_refused: int
    sent: dict[Phase, int]
    asked_while_ill: int


def report(scenario: Scenario, story: Story, tally: Tally, counters: Counters) -> Report:
    """Work out the figures, and from them the promises."""
    hung_s, repaired_s = story.phase_began(Phase.HANGS), story.phase_began(Phase.COLD)
    opened = story.changes(old="closed", new="open")
    seen = None if hung_s is None else next((m for m in opened if m.at_s >= hung_s), None)
    served, lost = tally.total("served"), tally.total("lost")
    protected, failed = tally.total("rejected"), tally.total("failed")
    figures = Figures(
        calls=served + protected + failed + lost,
        served=served,
        protected=protected,
        failed=failed,
        lost=lost,
        rejected=counters.rejected,
        felt=sum(counters.sent[phase] for phase in FAULTY),
        felt_of=counters.asked_while_ill,
        detected_ms=None if seen is None or hung_s is None else _ms(seen.at_s - hung_s),
        reason="" if seen is None else seen.why,
        ramp_ms=_after(story, "ramping", repaired_s),
        closed_ms=_after(story, "closed", repaired_s),
        false_opens=sum(1 for m in opened if not _ill(scenario, m.at_s)),
        reopened=sum(
            1
            for m in story.changes(new="open")
            if m.old != "closed" and repaired_s is not None and m.at_s > repaired_s
        ),
        step_backs=story.step_backs,
        longest_wait_ms=_ms(tally.longest_wait_s),
        retries=counters.retries,
        retries_refused=counters.retries_refused,
        loop_lag_ms=_ms(tally.lag_s),
    )
    stands = story.changes()[-1].new if story.changes() else "closed"
    return Report(scenario.name, figures, promises(figures, stands))


def promises(figures: Figures, stands: str) -> tuple[Promise, ...]:
    """What was promised, and whether it was kept.

    Args:
        figures: what was measured.
        stands: the breaker's state at the end.
    """
    detected, closed = figures.detected_ms, figures.closed_ms
    return (
        Promise(
            f"opens within {DETECTION_MAX_S * 1000:.0f} ms of the hang",
            "never opened" if detected is None else f"{detected:.0f} ms",
            detected is not None and detected <= DETECTION_MAX_S * 1000.0,
        ),
        Promise(
            "does not open while the service is well",
            f"{figures.false_opens} times" if figures.false_opens else "never",
            not figures.false_opens,
        ),
        Promise(
            "comes back by itself after the repair",
            "did not close" if closed is None else f"closed after {closed / 1000.0:.1f} s",
            closed is not None and stands == "closed",
        ),
        Promise(
            "every rejected call gets an answer",
            f"{figures.protected} of {figures.rejected}, {figures.lost} errors",
            0 < figures.rejected == figures.protected and not figures.lost,
        ),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 1)


def _ill(scenario: Scenario, elapsed_s: float) -> bool:
    return scenario.phase_at(elapsed_s) in FAULTY


def _after(story: Story, state: str, repaired_s: float | None) -> float | None:
    """Milliseconds from the repair until the breaker last came into a state."""
    if repaired_s is None:
        return None
    times = [moment.at_s for moment in story.changes(new=state) if moment.at_s > repaired_s]
    return _ms(times[-1] - repaired_s) if times else None
