"""Verdicts: the arithmetic against its definition, and every rule with the evidence it gives."""

import math
import pickle

import pytest

from seawall.kernel.errors import Outcome
from seawall.resilience.detector import (
    LOOKS_PER_HOUR,
    MIN_BAD,
    RUN_MAX,
    RUN_MIN,
    Detector,
    Evidence,
    Rule,
    confidence_for,
    run_limit,
    wilson_lower,
)
from seawall.resilience.windows import Window


def detector(
    *,
    errors: float = 0.0,
    slow: float = 0.0,
    slower: float = 0.0,
    throttled: float = 0.0,
    consecutive: int = 0,
    minimum_requests: int = 0,
    static: bool = False,
) -> Detector:
    return Detector(
        z=4.0,
        errors=errors,
        slow=slow,
        slower=slower,
        throttled=throttled,
        slow_s=0.5,
        slower_s=2.0,
        consecutive=consecutive,
        minimum_requests=minimum_requests,
        static=static,
    )


def window(good: int = 0, failed: int = 0, slow: int = 0, slower: int = 0) -> Window:
    made = Window(0.0, 0.5, 2.0)
    for _ in range(good):
        made.reported(ok=True, latency_s=0.1)
    for _ in range(failed):
        made.reported(ok=False, latency_s=0.1)
    for _ in range(slow):
        made.reported(ok=True, latency_s=1.0)
    for _ in range(slower):
        made.reported(ok=True, latency_s=3.0)
    return made


def test_wilson_s_bound_has_the_textbook_s_values() -> None:
    # Wilson score interval, 95 %, from E. B. Wilson 1927 as tabulated for 8 of 10 and 1 of 29.
    assert wilson_lower(8, 10, 1.959964) == pytest.approx(0.4901625, abs=1e-6)
    assert wilson_lower(1, 29, 1.959964) == pytest.approx(0.0061133, abs=1e-6)
    assert wilson_lower(0, 10, 1.96) == 0.0
    assert wilson_lower(0, 0, 1.96) == 0.0
    assert wilson_lower(3, 10, 0.0) == pytest.approx(0.3)


def test_a_share_on_its_limit_is_not_above_it() -> None:
    rule = Rule("errors", 0.05, 4.0, 0.0)
    assert not rule.exceeded(5, 100)
    assert not rule.exceeded(0, 0)
    assert not rule.exceeded(8, 100), "three percent more are within the doubt"
    assert rule.exceeded(15, 100)


def test_confidence_answers_the_rate_asked_for() -> None:
    z = confidence_for(1.0)
    assert 0.5 * math.erfc(z / math.sqrt(2.0)) == pytest.approx(1.0 / LOOKS_PER_HOUR)
    assert confidence_for(1e-6) > confidence_for(1.0) > confidence_for(1000.0) > 1.0


@pytest.mark.parametrize("rate", [0.0, -1.0, LOOKS_PER_HOUR / 2, math.inf, math.nan])
def test_a_rate_that_no_confidence_gives_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"false_opens_per_hour = .*: allowed is a number above 0 and below"):
        confidence_for(rate)


@pytest.mark.parametrize(
    ("errors", "run"),
    [(0.0, RUN_MAX), (1.0, RUN_MAX), (0.05, 6), (0.001, RUN_MIN), (0.9, RUN_MAX), (0.5, 26)],
)
def test_the_longest_run_suits_the_limit(errors: float, run: int) -> None:
    assert run_limit(errors) == run


def test_a_few_bad_calls_are_an_anecdote() -> None:
    judge = detector(errors=0.05)
    assert judge.judge(window(failed=MIN_BAD - 1), 0.5) is None
    assert judge.judge(window(failed=MIN_BAD), 0.5) is not None


@pytest.mark.parametrize(
    ("rule", "seen", "latency_s"),
    [
        ("errors", window(good=80, failed=20), 0.0),
        ("slow", window(good=80, slow=20), 0.5),
        ("slower", window(good=80, slower=20), 2.0),
    ],
)
def test_each_rule_opens_and_says_why(rule: str, seen: Window, latency_s: float) -> None:
    judge = detector(**{rule: 0.05})
    evidence = judge.judge(seen, 0.5)
    assert evidence is not None
    assert (evidence.rule, evidence.bad, evidence.total, evidence.limit) == (rule, 20, 100, 0.05)
    assert (evidence.window_s, evidence.latency_s, evidence.at) == (1.0, latency_s, 0.5)
    assert evidence.bound == wilson_lower(20, 100, 4.0) > 0.05
    assert detector(**{rule: 0.05}).judge(window(good=100), 0.5) is None
    others = {"errors", "slow", "slower", "throttled"} - {rule, "slow" if rule == "slower" else rule}
    assert detector(**dict.fromkeys(others, 0.05)).judge(seen, 0.5) is None


def test_throttled_calls_have_a_rule_of_their_own() -> None:
    seen = window(good=40)
    seen.cohort.started += 60
    for _ in range(60):
        seen.settle(seen.cohort, Outcome.THROTTLED, 0.1)
    evidence = detector(errors=0.05, throttled=0.2).judge(seen, 0.5)
    assert evidence is not None
    assert (evidence.rule, evidence.bad, evidence.total) == ("throttled", 60, 100)


def test_the_long_window_finds_what_the_short_one_is_too_short_for() -> None:
    seen = Window(0.0)
    now = 0.0
    for _ in range(80):
        for _ in range(9):
            seen.reported(ok=True, latency_s=0.01)
        seen.reported(ok=False, latency_s=0.01)
        now += 0.1
        seen.roll(now)
    judge = detector(errors=0.05)
    evidence = judge.judge(seen, now)
    assert evidence is not None
    assert evidence.window_s == 10.0


def test_failures_whose_cohort_has_not_matured_count_in_the_total() -> None:
    seen = Window(0.0, 0.5)
    seen.cohort.started += 20
    for _ in range(20):
        seen.settle(seen.cohort, Outcome.FAILED, 1.0)
    evidence = detector(errors=0.05).judge(seen, 1.0)
    assert evidence is not None
    assert (evidence.bad, evidence.total) == (20, 20)


def test_no_share_is_judged_on_fewer_calls_than_asked_for() -> None:
    judge = detector(errors=0.05, minimum_requests=100)
    assert judge.judge(window(failed=99), 0.5) is None
    assert judge.judge(window(failed=100), 0.5) is not None


def test_static_mode_compares_raw_shares_on_the_long_window() -> None:
    judge = detector(errors=0.05, static=True, minimum_requests=20)
    assert judge.judge(window(failed=19), 0.5) is None
    assert judge.judge(window(good=95, failed=5), 0.5) is None
    evidence = judge.judge(window(good=94, failed=6), 0.5)
    assert evidence is not None
    assert (evidence.bound, evidence.window_s) == (0.06, 10.0)


def test_static_mode_needs_calls_that_are_known() -> None:
    judge = detector(errors=0.05, static=True)
    seen = Window(0.0, 0.5)
    seen.cohort.started += 1
    seen.settle(seen.cohort, Outcome.FAILED, 1.0)
    assert judge.judge(seen, 1.0) is None, "one failure of no call is no share"


def fail(judge: Detector, seen: Window, times: int) -> None:
    for _ in range(times):
        seen.reported(ok=False, latency_s=0.1)
        judge.failed(seen)


def test_failures_in_a_row_open_at_once() -> None:
    judge, seen = detector(consecutive=6), window(good=10_000)
    fail(judge, seen, 5)
    assert judge.judge(seen, 0.5) is None
    fail(judge, seen, 1)
    evidence = judge.judge(seen, 0.5)
    assert evidence is not None
    assert (evidence.rule, evidence.bad, evidence.limit) == ("consecutive", 6, 6.0)
    judge.reset()
    assert judge.judge(seen, 0.5) is None


def test_one_good_answer_ends_the_row() -> None:
    judge, seen = detector(consecutive=6), window()
    fail(judge, seen, 5)
    seen.reported(ok=True, latency_s=0.1)
    fail(judge, seen, 5)
    assert judge.judge(seen, 0.5) is None


def test_a_row_that_nobody_judged_in_time_is_history_after_a_good_answer() -> None:
    judge, seen = detector(consecutive=6), window()
    fail(judge, seen, 9)
    seen.reported(ok=True, latency_s=0.1)
    assert judge.judge(seen, 0.5) is None


def test_slow_calls_in_a_row_open_too() -> None:
    judge, seen = detector(slow=0.05, consecutive=6), window(good=1000)
    seen.slow_run = 6
    evidence = judge.judge(seen, 0.5)
    assert evidence is not None
    assert (evidence.rule, evidence.bad, evidence.latency_s) == ("consecutive", 6, 0.5)
    assert detector(errors=0.05, consecutive=6).judge(seen, 0.5) is None, "without a latency rule"


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        (
            Evidence("errors", 1.0, 20, 100, 0.0912, 0.05, 0.0, 5.0),
            "20 of 100 calls failed in the last 1 s; the bad share is at least 9.1%, the limit is 5.0%",
        ),
        (
            Evidence("slow", 10.0, 20, 100, 0.0912, 0.05, 0.5, 5.0),
            (
                "20 of 100 calls took longer than 500 ms in the last 10 s; "
                "the bad share is at least 9.1%, the limit is 5.0%"
            ),
        ),
        (
            Evidence("slower", 10.0, 20, 100, 0.0912, 0.01, 2.0, 5.0),
            (
                "20 of 100 calls took longer than 2000 ms in the last 10 s; "
                "the bad share is at least 9.1%, the limit is 1.0%"
            ),
        ),
        (
            Evidence("throttled", 10.0, 60, 100, 0.5, 0.2, 0.0, 5.0),
            (
                "60 of 100 calls were throttled in the last 10 s; the bad share is at least 50.0%, "
                "the limit is 20.0%"
            ),
        ),
        (Evidence("consecutive", 0.0, 6, 6, 1.0, 6.0, 0.0, 5.0), "6 failures in a row (limit 6)"),
        (
            Evidence("consecutive", 0.0, 6, 6, 1.0, 6.0, 0.5, 5.0),
            "6 calls slower than 500 ms in a row (limit 6)",
        ),
        (
            Evidence("saturation", 1.0, 0, 0, 0.97, 0.9, 0.0, 5.0),
            "97% of the capacity was in use for 1 s (limit 90%)",
        ),
        (
            Evidence("probe", 0.0, 1, 1, 1.0, 0.0, 0.15, 5.0),
            "calls were left unanswered for 150 ms and the active probe failed",
        ),
    ],
    ids=lambda value: value.rule if isinstance(value, Evidence) else "",
)
def test_evidence_explains_itself_to_a_person(evidence: Evidence, text: str) -> None:
    assert evidence.explain() == str(evidence) == text
    assert repr(evidence) == f"<Evidence {evidence.rule}: {text}>"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_evidence_crosses_process_borders(protocol: int) -> None:
    evidence = Evidence("errors", 1.0, 5, 8, 0.138, 0.05, 0.0, 7.0)
    assert repr(pickle.loads(pickle.dumps(evidence, protocol))) == repr(evidence)
