"""What a reader of a single cell finds when it comes at the wrong moment."""

from typing import Any

import pytest

from seawall.telemetry.metrics import locks, shared_cells
from seawall.telemetry.metrics.layout import NUMBER, TABLE_WORDS
from seawall.telemetry.metrics.native import BUCKETS_MAX
from seawall.telemetry.metrics.shared_cells import READS_MAX, read_histogram, read_native
from tests.telemetry.metrics.host import TIME, WAIT, Host, Turning, cell


class Stopping:
    """Words whose writer is stopped after so many stores: the others never arrive."""

    left: int | None = None

    def __init__(self, words: memoryview) -> None:
        self.words = words

    @classmethod
    def wrap(cls, words: Any) -> None:
        cls.left = None
        words.signed, words.doubles = cls(words.signed), cls(words.doubles)

    def __getitem__(self, index: int | slice) -> Any:
        return self.words[index]

    def __setitem__(self, index: int, value: float) -> None:
        cls = type(self)
        if cls.left == 0:
            return
        self.words[index] = value
        if cls.left is not None:
            cls.left -= 1


def words_of(count: int) -> Any:
    return shared_cells.scrap(count)


@pytest.mark.parametrize("stores", range(4))
def test_a_histogram_whose_writer_stopped_after_any_store_has_a_sum_that_fits_its_counts(stores: int) -> None:
    words = words_of(6)
    Stopping.wrap(words)
    wait = shared_cells.SharedHistogram((0.1, 1.0), words, 0)
    for value, left in ((0.5, None), (2.0, stores)):
        Stopping.left = left
        wait.observe(value)
    Stopping.left = None
    taken = read_histogram(words, 0, 3)
    assert taken == ((0.5, [0, 1, 0]) if stores < 2 else (2.5, [0, 1, 1]))
    again = shared_cells.SharedHistogram((0.1, 1.0), words, 0)
    again.observe(0.5)
    assert read_histogram(words, 0, 3) == (taken[0] + 0.5, [0, 2, taken[1][2]])


@pytest.mark.parametrize("stores", range(6))
def test_many_observations_are_seen_all_at_once_or_not_at_all(stores: int) -> None:
    words = words_of(6)
    Stopping.wrap(words)
    wait = shared_cells.SharedHistogram((0.1, 1.0), words, 0)
    wait.observe(0.5)
    Stopping.left = stores
    wait.add([4, 2, 1], 9.0)
    Stopping.left = None
    before, after = (0.5, [0, 1, 0]), (9.5, [4, 3, 1])
    assert read_histogram(words, 0, 3) == (before if stores == 0 else None)
    wait.add([0, 0, 0], 0.0)
    assert read_histogram(words, 0, 3) == after


def test_many_that_do_not_fit_leave_the_block_alone() -> None:
    words = words_of(6)
    wait = shared_cells.SharedHistogram((0.1, 1.0), words, 0)
    wait.observe(0.5)
    wait.add([1], 1.0)
    assert (read_histogram(words, 0, 3), wait.refused) == ((0.5, [0, 1, 0]), 1)


def test_a_histogram_is_read_again_when_an_observation_came_in_between() -> None:
    words = words_of(6)
    # Bucket 0 was read before its observation came, bucket 1 after: alone, the sum of counts would fit.
    words.signed[2], words.signed[3], words.doubles[0], words.doubles[1] = 1, 2, 2.0, 1.0
    words.signed = Turning(words.signed, 2, [1, 2, 2, 2])
    assert read_histogram(words, 0, 3) == (2.0, [2, 0, 0])
    assert words.signed.values == []


def test_a_native_histogram_is_read_again_when_another_table_holds() -> None:
    host = Host(rows=1)
    time = cell(host.worker(0), TIME)
    time.observe(2.0)
    words, at = time._words, time._at
    era = words.signed[at]
    other = at + 1 + (1 - (era & 1)) * TABLE_WORDS
    words.signed[other + NUMBER] = 0

    plain = words.signed
    words.signed = Turning(plain, at, [era + 1, era, era, era])
    state = read_native(words, at)
    words.signed = plain
    assert state == time.snapshot()
    host.block.close()


def test_a_native_histogram_whose_writer_was_killed_while_lowering_is_what_it_was() -> None:
    host = Host(rows=1)
    time = cell(host.worker(0), TIME)
    time.observe(2.0)
    before = time.snapshot()
    other = time._at + 1 + (1 - (time._words.signed[time._at] & 1)) * TABLE_WORDS
    for word in range(other, other + TABLE_WORDS):
        time._words.signed[word] = 77
    assert read_native(time._words, time._at) == before
    assert host.seen(TIME).snapshot() == before
    host.block.close()


@pytest.mark.parametrize("value", [2.0, 5.0, 0.0])
def test_a_native_histogram_whose_writer_stopped_after_any_store_has_a_sum_that_fits_its_counts(
    value: float,
) -> None:
    seen = []
    for stores in range(6):
        words = words_of(1 + 2 * TABLE_WORDS)
        Stopping.wrap(words)
        time = shared_cells.SharedNativeHistogram(3, words, 0, None)
        time.observe(2.0)
        Stopping.left = stores
        time.observe(value)
        Stopping.left = None
        state = read_native(words, 0)
        assert state is not None
        assert state.sum == (2.0 if state.count == 1 else 2.0 + value)
        seen.append(state.count)
    assert seen == sorted(seen)
    assert {seen[0], seen[-1]} == {1, 2}


def test_a_reader_gives_up_on_a_writer_that_is_too_fast() -> None:
    host = Host(rows=1)
    wait, time = (cell(host.worker(0), metric) for metric in (WAIT, TIME))
    for each, at, read in (
        (wait, wait._at + 2, lambda: read_histogram(host.block.words, wait._at, 3)),
        (time, time._table + NUMBER, lambda: read_native(host.block.words, time._at)),
    ):
        each.observe(0.5)
        assert read() is not None
        plain, number = host.block.words.signed, host.block.words.signed[at]
        host.block.words.signed = Turning(plain, at, list(range(10, 10 + 2 * READS_MAX)))
        assert read() is None
        host.block.words.signed = plain
        plain[at] = number
    host.block.close()


def test_a_native_histogram_that_cannot_be_lowered_at_once_is_written_when_it_can() -> None:
    host = Host(rows=1)
    time = cell(host.worker(0), TIME)
    number = 0
    while len(time.positive) < BUCKETS_MAX:
        number += 1
        time.observe(1.0 + number / 100)
    full = host.seen(TIME).snapshot()
    # Whoever reads it in this process holds the lock, here for as long as two new buckets take to come.
    with locks.FOLDING:
        time.observe(1e6)
        time.observe(2e6)
        assert len(time.positive) == BUCKETS_MAX + 2
        assert read_native(host.block.words, time._at) == full
    time.observe(1e6)
    assert time.schema < TIME.schema
    assert host.seen(TIME).snapshot() == time.snapshot()
    assert host.seen(TIME).count == full.count + 3
    host.block.close()
