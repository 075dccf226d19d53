"""The map of the shared block."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.errors import UsageError
from seawall.telemetry.metrics.cardinality import OVERFLOW
from seawall.telemetry.metrics.layout import (
    ENTRY_WORDS,
    ROW_WORDS,
    TABLE_WORDS,
    Head,
    Layout,
    cell_words,
    entry_words,
    key_bytes,
    key_values,
)
from seawall.telemetry.metrics.metric import Kind, Metric

CALLS = Metric(name="calls", kind=Kind.COUNTER, help="Calls.", labels=("path",))
UP = Metric(name="up", kind=Kind.GAUGE, help="Up.")


@given(st.booleans(), st.integers(0, (1 << 15) - 1), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF))
def test_a_head_is_one_word(live: bool, serial: int, metric: int, length: int) -> None:
    head = Head(live=live, serial=serial, metric=metric, length=length)
    assert 0 <= head.word < 1 << 64
    assert Head.of(head.word) == head


def test_the_serial_starts_again_when_it_is_used_up() -> None:
    assert Head.of(Head(live=True, serial=1 << 15, metric=3, length=4).word) == Head(True, 0, 3, 4)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5).map(tuple))
def test_label_values_come_back(values: tuple[str, ...]) -> None:
    assert key_values(key_bytes(values), len(values)) == values


@pytest.mark.parametrize(("key", "labels"), [(b"a\xffb", 1), (b"a", 2), (b"a", 0), (b"\xc3", 1)])
def test_bytes_that_are_no_label_values(key: bytes, labels: int) -> None:
    with pytest.raises(ValueError):
        key_values(key, labels)


def test_how_large_a_cell_is() -> None:
    words = [
        cell_words(
            Metric(
                name="x",
                kind=kind,
                help="",
                buckets=(1.0, 2.0) if kind is Kind.HISTOGRAM else (),
                states=("up",) if kind is Kind.STATE_SET else (),
            )
        )
        for kind in Kind
    ]
    assert words == [1, 1, 6, 1 + 2 * TABLE_WORDS, 1, 1]
    assert [entry_words(UP, length) - ENTRY_WORDS - 1 for length in (0, 1, 32, 33)] == [0, 4, 4, 8]


def test_what_every_row_begins_with() -> None:
    layout = Layout([UP, CALLS], rows=3, row_bytes=4096)
    assert [metric.name for metric in layout.metrics] == ["calls", "metric_overflow", "up"]
    assert [(position, values) for position, values, _ in layout.fixed] == [
        (0, (OVERFLOW,)),
        (1, (OVERFLOW,)),
        (1, ("calls",)),
        (1, ("metric_overflow",)),
        (1, ("up",)),
        (2, ()),
    ]
    begins = [at for _, _, at in layout.fixed]
    assert begins[0] == ROW_WORDS
    ends = [
        at + entry_words(layout.metrics[position], len(key_bytes(values)))
        for position, values, at in layout.fixed
    ]
    assert [*begins[1:], layout.fixed_words] == ends
    assert layout.row(1) - layout.row(0) == 512
    assert layout.size_bytes == (layout.row(2) + 512) * 8


def test_other_metrics_make_another_layout() -> None:
    layout = Layout([UP, CALLS], rows=3)
    assert layout.checksum == Layout([CALLS, UP], rows=3).checksum
    assert layout.checksum != Layout([UP], rows=3).checksum
    assert layout.checksum != Layout([UP, CALLS], rows=4).checksum


def test_numbers_out_of_range() -> None:
    with pytest.raises(UsageError, match="rows = 0"):
        Layout([UP], rows=0)
    with pytest.raises(UsageError, match="row_bytes = 0"):
        Layout([UP], rows=1, row_bytes=0)
    with pytest.raises(UsageError, match="before any label"):
        Layout([UP], rows=1, row_bytes=64)
    with pytest.raises(IndexError, match="rows 0 to 0"):
        Layout([UP], rows=1).row(1)
