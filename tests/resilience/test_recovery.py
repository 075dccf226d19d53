"""The way back: leases that end, rounds that decide, and a share that is kept to the call."""

import math

import pytest

from seawall.resilience.recovery import (
    BASELINE_SAMPLES_MIN,
    GATE_CALLS_MIN,
    GATE_FLOOR,
    GATE_GROWTH,
    GATE_GROWTH_RESTORED,
    GATE_INTERVAL_S,
    GATE_PATIENCE_S,
    GATE_SHRINK,
    GATE_START,
    Baseline,
    ProbeRound,
    Ramp,
    RampRules,
)

NORMAL_S = 0.02


def round_of(needed: int = 10, successes: int = 10, concurrency: int = 3) -> ProbeRound:
    return ProbeRound(needed, successes, concurrency, 2.0)


def play(round_: ProbeRound, results: str) -> None:
    for result in results:
        probe = round_.lease(0, 0.0)
        assert probe is not None
        round_.settle(probe, ok=result == "+")


def test_only_so_many_probes_are_out_at_once() -> None:
    round_ = round_of()
    out = [round_.lease(4, 1.0) for _ in range(5)]
    assert [probe is not None for probe in out] == [True, True, True, False, False]
    first = out[0]
    assert first is not None
    assert (first.generation, first.expires_at, round_.next_expiry) == (4, 3.0, 3.0)
    round_.settle(first, ok=True)
    assert round_.lease(4, 1.0) is not None


def test_no_more_probes_are_leased_than_the_round_needs() -> None:
    round_ = round_of(needed=2, successes=2)
    play(round_, "+")
    assert round_.lease(0, 0.0) is not None
    assert round_.lease(0, 0.0) is None


@pytest.mark.parametrize(
    ("needed", "successes", "results", "accepted", "refused"),
    [
        (10, 10, "+++++++++", False, False),
        (10, 10, "++++++++++", True, False),
        (10, 10, "-", False, True),
        (10, 5, "+++++", True, False),
        (10, 5, "-----++++", False, False),
        (10, 5, "----+-++-", False, True),
        (1, 1, "+", True, False),
    ],
)
def test_a_round_ends_as_soon_as_it_is_decided(
    needed: int, successes: int, results: str, accepted: bool, refused: bool
) -> None:
    round_ = round_of(needed, successes)
    play(round_, results)
    assert (round_.accepted, round_.refused) == (accepted, refused)
    if refused:
        assert round_.lease(0, 0.0) is None


def test_a_lease_that_ends_is_a_failed_probe() -> None:
    round_ = round_of(10, 5)
    hung = round_.lease(0, 0.0)
    assert hung is not None
    round_.expire(1.999)
    assert round_.failures == 0
    assert round_.lease(0, 2.0) is not None, "leasing looks for ended leases first"
    assert (round_.failures, round_.expired, len(round_.out)) == (1, 1, 1)
    round_.settle(hung, ok=True)
    round_.give_back(hung)
    assert (round_.successes, round_.failures) == (0, 1), "its answer comes too late to count"


def test_a_probe_settles_once() -> None:
    round_ = round_of()
    probe = round_.lease(0, 0.0)
    assert probe is not None
    round_.settle(probe, ok=True)
    round_.settle(probe, ok=True)
    round_.settle(probe, ok=False)
    assert (round_.successes, round_.failures) == (1, 0)
    assert round_.next_expiry == math.inf


def test_a_probe_that_proved_nothing_is_given_to_somebody_else() -> None:
    round_ = round_of(1, 1, 1)
    probe = round_.lease(0, 0.0)
    assert probe is not None
    assert round_.lease(0, 0.0) is None
    round_.give_back(probe)
    assert round_.lease(0, 0.0) is not None
    assert (round_.successes, round_.failures) == (0, 0)


def test_calls_without_a_lease_can_decide_a_round() -> None:
    round_ = round_of(2, 1)
    round_.report(ok=False)
    assert not round_.accepted
    round_.report(ok=True)
    assert round_.accepted


def test_a_baseline_is_silent_until_it_has_seen_enough() -> None:
    baseline = Baseline()
    for _ in range(BASELINE_SAMPLES_MIN - 1):
        baseline.sample(NORMAL_S)
    assert baseline.typical_s == 0.0
    baseline.sample(NORMAL_S)
    assert baseline.typical_s == pytest.approx(NORMAL_S)


def test_a_baseline_is_a_geometric_mean_that_one_outlier_hardly_moves() -> None:
    baseline = Baseline()
    for _ in range(500):
        baseline.sample(NORMAL_S)
    baseline.sample(100 * NORMAL_S)
    assert baseline.typical_s == pytest.approx(NORMAL_S * 100**0.02)
    baseline.sample(0.0)
    assert baseline.typical_s > 0.0


@pytest.mark.parametrize("share", [0.01, 0.1, 1 / 3, 0.5, 0.9, 1.0])
def test_the_admitted_share_is_exact_to_one_call(share: float) -> None:
    ramp = Ramp(RampRules("fixed", 120.0, share), 0.0, 0.05, 0.0)
    admitted = 0
    for calls in range(1, 1001):
        admitted += ramp.admit()
        assert abs(admitted - share * calls) <= 1.0


def test_the_fixed_ramp_climbs_by_the_clock() -> None:
    ramp = Ramp(RampRules("fixed", 120.0, 0.1), NORMAL_S, 0.05, 1000.0)
    assert ramp.share == 0.1
    shares = []
    for second in range(12, 121, 12):
        moved = ramp.step(1000.0 + second - 0.001)
        assert not moved
        ramp.step(1000.0 + second)
        shares.append(round(ramp.share, 3))
    assert shares == [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0]
    assert ramp.complete


@pytest.mark.parametrize("step", [0.001, 0.03, 0.07, 0.15, 0.3, 0.7, 1.0])
def test_every_step_size_gets_there_in_its_time(step: float) -> None:
    ramp = Ramp(RampRules("fixed", 60.0, step), 0.0, 0.05, 0.0)
    ramp.step(60.0)
    assert ramp.complete


def gated(baseline_s: float = NORMAL_S, limit: float = 0.05) -> Ramp:
    return Ramp(RampRules("gated", 120.0, 0.1), baseline_s, limit, 0.0)


def interval(ramp: Ramp, number: int, calls: int = 100, latency_s: float = NORMAL_S, bad: int = 0) -> bool:
    for index in range(calls):
        ramp.observe(ok=index >= bad, latency_s=latency_s)
    return ramp.step(number * GATE_INTERVAL_S)


def test_the_gated_ramp_grows_while_all_is_well() -> None:
    ramp = gated()
    assert ramp.share == GATE_START
    assert interval(ramp, 1)
    assert ramp.share == pytest.approx(GATE_START * GATE_GROWTH_RESTORED)
    number = 1
    while not ramp.complete:
        number += 1
        assert interval(ramp, number)
    assert ramp.share == 1.0
    assert number * GATE_INTERVAL_S < 40.0
    assert ramp.shrinks == 0


def test_the_gated_ramp_shrinks_on_errors_beyond_doubt() -> None:
    ramp = gated()
    interval(ramp, 1, bad=7)
    assert ramp.shrinks == 0, "within one standard error"
    before = ramp.share
    interval(ramp, 2, bad=30)
    assert ramp.shrinks == 1
    assert ramp.share == pytest.approx(before * GATE_SHRINK)


def test_the_gated_ramp_shrinks_when_calls_hang() -> None:
    ramp = gated()
    ramp.overdue(50)
    interval(ramp, 1)
    assert ramp.shrinks == 1


def test_the_gated_ramp_shrinks_on_latency_above_its_reference() -> None:
    ramp = gated()
    interval(ramp, 1, latency_s=NORMAL_S)
    before = ramp.share
    interval(ramp, 2, latency_s=10 * NORMAL_S)
    assert ramp.share == pytest.approx(before * GATE_SHRINK)


def test_the_gated_ramp_holds_between_good_and_bad() -> None:
    ramp = gated()
    interval(ramp, 1)
    before = ramp.share
    assert not interval(ramp, 2, latency_s=NORMAL_S * 1.13)
    assert ramp.share == before


def test_the_gated_ramp_never_shuts() -> None:
    ramp = gated()
    for number in range(1, 60):
        interval(ramp, number, bad=100)
    assert ramp.share == GATE_FLOOR


def test_the_gated_ramp_waits_for_time_and_for_calls() -> None:
    ramp = gated()
    assert not interval(ramp, 1, calls=GATE_CALLS_MIN - 1)
    ramp.observe(ok=True, latency_s=NORMAL_S)
    assert ramp.step(GATE_INTERVAL_S * 1.5), "enough calls came in the end"
    for _ in range(100):
        ramp.observe(ok=True, latency_s=NORMAL_S)
    assert not ramp.step(GATE_INTERVAL_S * 2.0), "the interval starts with the last move"


def test_without_a_baseline_only_errors_and_the_ramp_s_own_latency_gate() -> None:
    ramp = gated(baseline_s=0.0)
    assert interval(ramp, 1, latency_s=3.0)
    assert ramp.share == pytest.approx(GATE_START * GATE_GROWTH)
    before = ramp.share
    assert interval(ramp, 2, latency_s=6.0)
    assert ramp.share == pytest.approx(before * GATE_SHRINK)


def test_the_gated_ramp_grows_slower_on_a_backend_that_came_back_slow() -> None:
    ramp = gated()
    interval(ramp, 1, latency_s=5 * NORMAL_S)
    assert ramp.share == pytest.approx(GATE_START * GATE_GROWTH)
    assert ramp.shrinks == 0


def test_a_quiet_key_ramps_on_patience_instead_of_on_numbers() -> None:
    ramp, now, steps = gated(), 0.0, 0
    while not ramp.complete:
        now += 1.0
        if ramp.admit():
            ramp.observe(ok=True, latency_s=NORMAL_S)
        steps += ramp.step(now)
    assert steps > 5
    assert now < 60.0, "one call a second is back in a minute"


def test_a_few_calls_are_not_believed_about_latency() -> None:
    ramp = gated()
    ramp.observe(ok=True, latency_s=2.5 * NORMAL_S)
    assert ramp.step(GATE_PATIENCE_S)
    assert ramp.shrinks == 0, "a single slower call is no resistance"
    ramp.observe(ok=True, latency_s=50 * NORMAL_S)
    assert ramp.step(2 * GATE_PATIENCE_S)
    assert ramp.shrinks == 1, "one that is fifty times slower is"


def test_a_ramp_that_nobody_asks_stays_where_it_is() -> None:
    ramp = gated()
    assert not ramp.step(100 * GATE_PATIENCE_S)
    assert ramp.share == GATE_START
