"""The shared block: rows of words that another process sees, and nobody else's row is touched."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy.shared import COLUMNS, ROW_WORDS, SIZE_BYTES, WORKERS_MAX, Block


def test_there_is_room_for_every_column():
    assert len(COLUMNS) <= ROW_WORDS
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_a_new_block_is_all_zeros_and_as_long_as_it_has_to_be():
    block = Block()
    assert os.fstat(block.descriptor).st_size == SIZE_BYTES
    assert set(block.row(WORKERS_MAX - 1).read().values()) == {0}


def test_what_one_mapping_writes_another_reads():
    block = Block()
    block.row(3).write(clients=7, beat=2**63)
    other = Block(block.descriptor)
    seen = other.row(3).read()
    assert (seen["clients"], seen["beat"], seen["servers"]) == (7, 2**63, 0)


@pytest.mark.parametrize("number", [-1, WORKERS_MAX])
def test_a_row_that_is_not_there_is_refused(number):
    with pytest.raises(IndexError, match=f"worker {number}; there are rows 0 to {WORKERS_MAX - 1}"):
        Block().row(number)


def test_a_column_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="not in tuple"):
        Block().row(0).write(nothing=1)


@given(
    st.lists(
        st.tuples(st.integers(0, WORKERS_MAX - 1), st.sampled_from(COLUMNS), st.integers(0, 2**64 - 1)),
        max_size=30,
    )
)
def test_rows_do_not_overlap(writes):
    block = Block()
    expected = {}
    for number, name, value in writes:
        block.row(number).write(**{name: value})
        expected[number, name] = value
    for number in {number for number, _, _ in writes}:
        for name, value in block.row(number).read().items():
            assert value == expected.get((number, name), 0)
