"""The ratio: the same answer everywhere, whether an id is drawn before the verdict or after it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.tracing.ratio import Ratio
from seawall.telemetry.tracing.settings import RANDOM_BITS, Sampling
from tests.telemetry.tracing.world import KEEP_BITS, World, remote

THRESHOLDS = st.floats(0.0, 1.0).map(lambda ratio: Sampling(ratio=ratio).threshold)


def bits_of(value: int) -> Callable[[int], int]:
    """As many bits of a value as are asked for."""
    return lambda bits: value & (1 << bits) - 1


@given(threshold=THRESHOLDS, chance=st.integers(0, (1 << 53) - 1), further=st.integers(0, (1 << 128) - 1))
def test_an_id_is_kept_if_the_chance_is_that_it_is_made_of(threshold, chance, further):
    ratio = Ratio(threshold)
    made = ratio.id_with(chance / (1 << 53), bits_of(further))
    assert 0 < made < 1 << 128
    assert ratio.keeps(made) is (chance / (1 << 53) >= ratio.share)
    assert (made & KEEP_BITS) >> 3 == chance or made == 1


@given(threshold=THRESHOLDS, beside=st.integers(-20, 20), further=st.integers(0, (1 << 128) - 1))
def test_so_it_is_right_beside_the_threshold(threshold, beside, further):
    ratio = Ratio(threshold)
    chance = min(max(threshold + beside, 0), KEEP_BITS) >> 3
    made = ratio.id_with(chance / (1 << 53), bits_of(further))
    assert ratio.keeps(made) is (chance / (1 << 53) >= ratio.share)


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, False), (1.0, True)])
@pytest.mark.parametrize("trace_id", [1, KEEP_BITS, 1 << RANDOM_BITS])
def test_none_and_all_are_none_and_all(ratio, kept, trace_id):
    one = Ratio(Sampling(ratio=ratio).threshold)
    assert one.keeps(trace_id) is kept
    assert (one.chance_of(trace_id) >= one.share) is kept
    assert (one.share <= 0.0) is (one.share <= (1.0 - 2**-53)) is kept


@given(threshold=THRESHOLDS, trace_id=st.integers(1, (1 << 128) - 1))
def test_a_known_id_has_a_chance_that_says_the_same(threshold, trace_id):
    ratio = Ratio(threshold)
    assert (ratio.chance_of(trace_id) >= ratio.share) is ratio.keeps(trace_id)


@given(ratio=st.floats(0.0, 1.0), beside=st.integers(-20, 20) | st.none(), bits=st.integers(0, KEEP_BITS))
def test_an_id_that_is_asked_for_late_says_what_the_verdict_was(ratio, beside, bits):
    sampling = Sampling(ratio=ratio)
    world = World(sampling=sampling)
    if beside is not None:
        bits = min(max(sampling.threshold + beside, 0), KEEP_BITS)
    world.dice.bits = bits
    root = world.root()
    root.end()
    kept = bool(world.taken())
    random = root.trace_id & KEEP_BITS
    assert (random >= sampling.threshold) is kept
    assert root.context.trace_flags.sampled is kept
    assert random == bits or bits & -8 <= random < bits, "at most the bits that were not drawn are others"


def test_two_processes_with_one_ratio_keep_the_same_traces_and_a_stricter_one_a_part():
    ids = [number * 0x9E37_79B9_7F4A_7C15 + (1 << 100) for number in range(1, 400)]
    kept = []
    for ratio in (0.3, 0.3, 0.1):
        world = World(sampling=Sampling(ratio=ratio))
        for trace_id in ids:
            world.child(remote(trace_id)).end()
        kept.append({span.trace_id for span in world.taken()})
    assert kept[0] == kept[1]
    assert kept[2] < kept[0]
    assert 0.2 < len(kept[0]) / len(ids) < 0.4
