"""Repetitions: the first of a window pass, the rest is counted to the last one."""

import threading

from hypothesis import example, given
from hypothesis import strategies as st

from seawall.telemetry.logs.repeats import EVERY, KEYS_MAX, Repeats


def test_the_first_pass_then_every_hundredth():
    repeats = Repeats(3, 1_000)
    passed = [number for number in range(1, 300) if repeats.passes("a", 20, "x")]
    assert passed == [1, 2, 3, 3 + EVERY, 3 + 2 * EVERY]
    assert repeats.suppressed.value == 299 - 5


def test_messages_are_told_apart():
    repeats = Repeats(1, 1_000)
    keys = [("a", 20, "x"), ("a", 30, "x"), ("b", 20, "x"), ("a", 20, "y")]
    assert [repeats.passes(*key) for key in keys] == [True] * 4
    assert [repeats.passes(*key) for key in keys] == [False] * 4


def test_zero_is_no_limit():
    repeats = Repeats(0, 1_000)
    assert all(repeats.passes("a", 20, "x") for _ in range(500))
    assert repeats.roll(10**18) == []


def test_the_end_of_a_window_says_what_was_lost():
    repeats = Repeats(2, 1_000)
    assert repeats.roll(100) == []
    for _ in range(10):
        repeats.passes("a", 20, "x")
    repeats.passes("a", 20, "y")
    assert repeats.roll(1_099) == []
    assert repeats.roll(1_100) == [(("a", 20, "x"), 8)]
    assert repeats.passes("a", 20, "x")
    assert repeats.roll(5_000) == []


@given(st.lists(st.integers(0, 3), max_size=400), st.integers(1, 5))
@example([0] * 350, 2)
def test_the_reports_add_up_to_the_counter(said, burst):
    repeats = Repeats(burst, 1_000)
    repeats.roll(0)
    passed = sum(repeats.passes("a", 20, str(number)) for number in said)
    lost = sum(count for _, count in repeats.roll(10_000))
    assert passed + lost == len(said)
    assert lost == repeats.suppressed.value


def test_a_full_table_limits_nobody_new():
    repeats = Repeats(1, 1_000)
    for number in range(KEYS_MAX):
        assert repeats.passes("a", 20, str(number))
    assert all(repeats.passes("a", 20, "new") for _ in range(5))
    assert repeats.unlimited.value == 5
    assert not repeats.passes("a", 20, "3")


def test_threads_share_the_limit_exactly():
    repeats = Repeats(50, 1_000)
    passed = []

    def say():
        passed.append(sum(repeats.passes("a", 20, "x") for _ in range(1_000)))

    threads = [threading.Thread(target=say) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 50 + (6_000 - 50) // EVERY
    assert repeats.suppressed.value == 6_000 - sum(passed)
