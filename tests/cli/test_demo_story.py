from itertools import pairwise

import pytest

from seawall.cli import demo_story
from seawall.cli.demo_scenario import FULL, Phase
from seawall.cli.demo_story import Answer, Kind, Story, Tally
from seawall.kernel.signals import BreakerChanged, RampMoved, Signal


def changed(at: float, old: str, new: str, evidence: object = None) -> BreakerChanged:
    return BreakerChanged(at=at, name="prices", old=old, new=new, reason=f"why {new}", evidence=evidence)


def test_counts_go_to_their_quarter_second() -> None:
    tally = Tally(2.0)
    tally.answer(0.1, 0.3, Answer.SERVICE)
    tally.answer(0.2, 0.3, Answer.REJECTED)
    tally.answer(0.0, 1.5, Answer.FAILED)
    tally.answer(1.0, 99.0, None)
    tally.attempt(0.1, 0.2)
    tally.stands(0.3, "open", 0.0)
    second = tally.buckets[1]
    assert (second.served, second.rejected, second.state) == (1, 1, "open")
    assert tally.buckets[6].failed == 1
    assert tally.buckets[-1].lost == 1
    assert tally.buckets[0].latencies_s == [0.2]
    assert tally.total("lost") == 1
    assert tally.longest_wait_s == 98.0


def test_a_buckets_p95() -> None:
    tally = Tally(1.0)
    assert tally.buckets[0].p95_s == 0.0
    for number in range(100):
        tally.attempt(0.0, number / 100.0)
    assert tally.buckets[0].p95_s == pytest.approx(0.94)


def test_a_tally_has_a_bucket_however_short_the_play() -> None:
    assert len(Tally(0.0).buckets) == 1
    assert Tally(0.0).at(-5.0) is not None


def test_the_story_tells_phases_and_signals_in_order() -> None:
    story = Story(FULL, origin_s=100.0)
    assert [moment.new for moment in story.pass_time(0.0, [])] == ["HEALTHY"]
    fresh = story.pass_time(5.0, [changed(104.2, "closed", "open", "evidence")])
    assert [(moment.kind, moment.at_s) for moment in fresh] == [
        (Kind.SERVICE, 4.0),
        (Kind.BREAKER, pytest.approx(4.2)),
    ]
    assert story.reason == "why open"
    assert fresh[1].what == "closed -> open"
    assert story.phase_began(Phase.HANGS) == 4.0
    assert story.phase_began(Phase.COLD) is None


def test_the_reason_is_the_verdicts_and_not_a_failed_probes() -> None:
    story = Story(FULL, 0.0)
    story.pass_time(1.0, [changed(0.5, "closed", "open", "evidence"), changed(0.9, "half_open", "open")])
    assert story.reason == "why open"
    assert [moment.old for moment in story.changes(new="open")] == ["closed", "half_open"]
    assert [moment.at_s for moment in story.changes(old="closed")] == [0.5]


def test_the_ramp_is_told_in_quarters_and_at_its_first_step_back() -> None:
    story = Story(FULL, 0.0)
    shares = [0.05, 0.04, 0.03, 0.24, 0.28, 0.8]
    moves = [
        RampMoved(at=float(number), name="prices", old=old, share=share)
        for number, (old, share) in enumerate(pairwise(shares))
    ]
    told = [m.what for m in story.pass_time(0.0, moves) if m.kind is Kind.RAMP]
    assert told == [
        "back to 4% of the traffic",
        "28% of the traffic",
        "80% of the traffic",
        "80% of the traffic",
    ]
    assert story.step_backs == 2


def test_other_signals_are_no_moments() -> None:
    story = Story(FULL, 0.0)
    assert [m.kind for m in story.pass_time(0.0, [Signal(at=0.0, name="prices")])] == [Kind.SERVICE]


def test_a_flapping_breaker_cant_fill_the_memory(monkeypatch) -> None:
    monkeypatch.setattr(demo_story, "MOMENTS_MAX", 3)
    story = Story(FULL, 0.0)
    story.pass_time(0.0, [changed(0.0, "closed", "open") for _ in range(5)])
    assert len(story.moments) == 3
    assert story.untold == 3
