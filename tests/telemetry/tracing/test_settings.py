"""Settings report all that is wrong with them at once, and know their defaults."""

import math

import pytest

from seawall.kernel.errors import PolicyError
from seawall.telemetry.tracing.settings import RANDOM_BITS, Limits, Sampling, TracingSettings


def test_the_defaults_are_ten_percent_and_a_second_and_a_half():
    assert (Sampling().ratio, Sampling().slow_s) == (0.10, 1.5)


def test_the_high_volume_profile_keeps_one_in_a_hundred():
    assert Sampling.high_volume() == Sampling(ratio=0.01)


@pytest.mark.parametrize(("ratio", "threshold"), [(1.0, 0), (0.0, 1 << RANDOM_BITS), (0.5, 1 << 55)])
def test_the_threshold_is_a_share_of_the_random_bits(ratio, threshold):
    assert Sampling(ratio=ratio).threshold == threshold


def test_a_smaller_ratio_keeps_a_part_of_what_a_larger_one_keeps():
    assert Sampling(ratio=0.01).threshold > Sampling(ratio=0.1).threshold


def test_all_mistakes_of_sampling_are_reported_at_once():
    with pytest.raises(PolicyError) as raised:
        Sampling(ratio=1.5, slow_s=0.0, breaker_events=("",))
    assert [problem.key for problem in raised.value.problems] == [
        "sampling.ratio",
        "sampling.slow_s",
        "sampling.breaker_events",
    ]


@pytest.mark.parametrize("ratio", [-0.1, math.nan, math.inf])
def test_a_ratio_is_a_share(ratio):
    with pytest.raises(PolicyError, match=r"sampling\.ratio"):
        Sampling(ratio=ratio)


def test_infinity_turns_the_rule_for_slowness_off():
    assert Sampling(slow_s=math.inf).slow_s == math.inf


def test_all_mistakes_of_limits_are_reported_at_once():
    with pytest.raises(PolicyError) as raised:
        Limits(open_spans=0, segment_spans=0, attributes=-1, lane_reserve=1.0, value_length=-5)
    assert [problem.key for problem in raised.value.problems] == [
        "limits.open_spans",
        "limits.segment_spans",
        "limits.attributes",
        "limits.value_length",
        "limits.lane_reserve",
    ]


def test_a_provider_is_one_of_three():
    with pytest.raises(PolicyError, match=r"tracing\.provider"):
        TracingSettings(provider="jaeger")


def test_a_lane_has_room_for_a_whole_segment():
    with pytest.raises(
        PolicyError, match=r"limits\.lane_spans = 100: allowed is at least limits\.segment_spans"
    ):
        Limits(lane_spans=100)
    assert Limits(lane_spans=100, segment_spans=100).lane_spans == 100
