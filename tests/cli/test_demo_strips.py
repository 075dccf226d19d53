import pytest

from seawall.cli import demo_strips as strips
from seawall.cli.demo_story import Bucket


def test_bars_have_eight_heights_and_none_for_nothing() -> None:
    assert [strips.bar(level) for level in (0.0, -1.0, 0.01, 0.5, 1.0, 9.0)] == [" ", " ", "▁", "▅", "█", "█"]


def test_latencies_are_drawn_on_a_logarithmic_scale() -> None:
    assert strips.log_level(0.0) == 0.0
    assert strips.log_level(0.001) == 0.01
    assert strips.log_level(0.1) == pytest.approx(0.5)
    assert strips.log_level(5.0) == 1.0


@pytest.mark.parametrize("columns", [1, 7, 40, 80, 200])
def test_columns_never_move_once_they_are_drawn(columns) -> None:
    buckets = [Bucket(served=number) for number in range(40)]
    final = strips.columns_of(buckets, columns, 10.0)
    assert len(final) == columns
    assert all(final)
    for tenth in range(100):
        drawn = strips.columns_of(buckets, columns, tenth / 10.0)
        assert drawn == final[: len(drawn)]
    shown = {id(bucket) for group in final for bucket in group}
    assert shown == {id(bucket) for bucket in buckets}


def test_rates_are_per_second() -> None:
    group = [Bucket(served=10, lost=1), Bucket(served=20)]
    assert strips.rate(group, "served") == pytest.approx(60.0)
    assert strips.rate(group, "served", "lost") == pytest.approx(62.0)
    assert strips.rate([], "served") == 0.0


def test_the_last_second_leaves_out_what_is_not_over() -> None:
    buckets = [Bucket(served=number) for number in range(12)]
    assert strips.last_second(buckets, 0.1) == []
    assert [bucket.served for bucket in strips.last_second(buckets, 2.1)] == [4, 5, 6, 7]


def test_the_worst_p95_of_a_column() -> None:
    assert strips.p95_s([]) == 0.0
    assert strips.p95_s([Bucket(latencies_s=[0.1]), Bucket(latencies_s=[0.3])]) == 0.3


def test_the_axis_has_its_marks_in_place() -> None:
    assert strips.axis(30, 30.0).startswith("0 s  5    10   15")
    assert strips.axis(55, 11.0).split() == ["0", "s", "2", "4", "6", "8", "10"]


def test_wrapped_text_has_always_the_same_number_of_lines() -> None:
    assert strips.wrap("short", 40, rows=2) == ["short", ""]
    assert strips.wrap("word " * 60, 40, rows=2)[1].endswith(" …")
