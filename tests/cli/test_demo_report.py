from dataclasses import replace

import pytest

from seawall.cli.demo_report import Counters, Figures, promises, report
from seawall.cli.demo_scenario import FULL, Phase
from seawall.cli.demo_story import Answer, Story, Tally
from seawall.kernel.signals import BreakerChanged

GOOD = Figures(
    calls=10,
    served=5,
    protected=5,
    failed=0,
    lost=0,
    rejected=5,
    felt=1,
    felt_of=6,
    detected_ms=200.0,
    reason="it hangs",
    ramp_ms=500.0,
    closed_ms=3000.0,
    false_opens=0,
    reopened=0,
    step_backs=0,
    longest_wait_ms=1000.0,
    retries=1,
    retries_refused=0,
    loop_lag_ms=1.0,
)
COUNTERS = Counters(
    rejected=1, retries=2, retries_refused=3, sent=dict.fromkeys(Phase, 4), asked_while_ill=50
)


def told(*changes: tuple[float, str, str], until: float = 30.0) -> Story:
    story = Story(FULL, 0.0)
    story.pass_time(
        until,
        [
            BreakerChanged(at=at, name="prices", old=old, new=new, reason="because", evidence=old)
            for at, old, new in changes
        ],
    )
    return story


RECOVERY = [
    (4.2, "closed", "open"),
    (11.2, "open", "half_open"),
    (11.5, "half_open", "ramping"),
    (20.0, "ramping", "closed"),
]


def test_a_good_play_keeps_every_promise() -> None:
    tally = Tally(30.0)
    tally.answer(1.0, 1.1, Answer.SERVICE)
    tally.answer(5.0, 5.0, Answer.REJECTED)
    tally.lag_s = 0.02
    result = report(FULL, told(*RECOVERY), tally, COUNTERS)
    assert result.kept
    figures = result.figures
    assert figures.detected_ms == pytest.approx(200.0)
    assert (figures.ramp_ms, figures.closed_ms) == (500.0, 9000.0)
    assert (figures.calls, figures.felt, figures.felt_of, figures.loop_lag_ms) == (2, 12, 50, 20.0)
    assert result.as_table()["figures"]["reason"] == "because"
    assert all(promise["kept"] for promise in result.as_table()["promises"])


def test_nothing_played_is_nothing_kept() -> None:
    result = report(FULL, Story(FULL, 0.0), Tally(30.0), replace(COUNTERS, rejected=0))
    assert not result.kept
    assert result.figures.detected_ms is None
    assert result.figures.closed_ms is None


def test_an_opening_in_health_is_false_and_no_detection() -> None:
    result = report(FULL, told((2.0, "closed", "open"), (25.0, "closed", "open")), Tally(30.0), COUNTERS)
    assert result.figures.false_opens == 2
    assert result.figures.reason == "because"
    assert result.figures.detected_ms == pytest.approx(21_000.0)


def test_a_broken_off_recovery_is_counted() -> None:
    story = told(*RECOVERY[:3], (12.0, "ramping", "open"), (13.0, "open", "half_open"))
    result = report(FULL, story, Tally(30.0), COUNTERS)
    assert result.figures.reopened == 1
    assert not result.promises[2].kept


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"detected_ms": 1000.1}, 0),
        ({"detected_ms": None}, 0),
        ({"false_opens": 1}, 1),
        ({"closed_ms": None}, 2),
        ({"rejected": 6}, 3),
        ({"lost": 1}, 3),
        ({"rejected": 0, "protected": 0}, 3),
    ],
)
def test_each_promise_can_be_broken(change, broken) -> None:
    assert all(promise.kept for promise in promises(GOOD, "closed"))
    kept = [promise.kept for promise in promises(replace(GOOD, **change), "closed")]
    assert kept == [number != broken for number in range(4)]


def test_closed_once_but_open_at_the_end_is_not_back() -> None:
    assert not promises(GOOD, "open")[2].kept
