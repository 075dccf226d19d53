import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.cli.proxy_demo_load import BUCKET_S, LOSSES_MAX, NOBODY, SAMPLES_MAX, Loss, Tally, percentile_s


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_percentile_is_a_sample_with_enough_below_it(samples, share) -> None:
    found = percentile_s(samples, share)
    assert found in samples
    assert sum(one <= found for one in samples) >= share * len(samples) - 1e-6
    assert sum(one < found for one in samples) <= share * len(samples) + 1e-6


def test_percentiles_of_a_hundred() -> None:
    samples = [float(number) for number in range(1, 101)]
    assert [percentile_s(samples, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]
    assert percentile_s([], 0.5) == 0.0


def test_checkouts_are_counted_by_time_and_worker() -> None:
    tally = Tally(2)
    tally.done(0.1, 0, 0.001)
    tally.done(3 * BUCKET_S, 1, 0.002)
    tally.done(3 * BUCKET_S, 1, 0.004)
    assert [bucket.done() for bucket in tally.buckets] == [1, 0, 0, 2]
    assert [bucket.done(1) for bucket in tally.buckets] == [0, 0, 0, 2]
    assert tally.buckets[3].p95_s() == pytest.approx(0.004)
    assert tally.between(BUCKET_S, 3 * BUCKET_S) == tally.buckets[1:]


def test_what_is_kept_is_bounded() -> None:
    tally = Tally(1)
    for _ in range(SAMPLES_MAX + 5):
        tally.done(0.0, 0, 0.001)
    assert tally.buckets[0].done() == SAMPLES_MAX
    for _ in range(LOSSES_MAX + 5):
        tally.lost(Loss(0.0, 0, "08006", in_transaction=False, connected_s=0.0))
    assert len(tally.losses) == LOSSES_MAX
    assert tally.buckets[0].losses == [LOSSES_MAX + 5]


def test_who_was_not_let_in_yet_is_lost_to_no_worker() -> None:
    tally = Tally(2)
    tally.lost(Loss(0.0, NOBODY, "08006", in_transaction=False, connected_s=0.0))
    assert len(tally.losses) == 1
    assert tally.buckets == []


def test_a_pause_is_the_longest_time_without_a_checkout() -> None:
    tally = Tally(1)
    for at_s in (0.5, 1.0, 1.1, 3.0, 3.1):
        tally.done(at_s, 0, 0.001)
    assert tally.pause_s(1.0, 5.0) == pytest.approx(1.9)
    assert tally.pause_s(0.7, 1.2) == pytest.approx(0.3)
    assert tally.pause_s(3.5, 5.0) is None
