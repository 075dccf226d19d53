"""The shared block: another process sees rows and topology; no other row is touched, no half text read."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy import shared
from seawall.proxy.shared import COLUMNS, ROW_WORDS, SIZE_BYTES, TOPOLOGY_BYTES, WORKERS_MAX, Block


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


def test_nothing_is_published_at_first():
    block = Block()
    assert block.generation == 0
    assert block.topology() == (0, b"")


def test_what_is_published_another_mapping_reads():
    block = Block()
    other = Block(block.descriptor)
    first = block.publish(b"one")
    assert other.generation == first
    assert other.topology() == (first, b"one")
    second = block.publish(b"longer than that")
    assert second > first
    assert other.topology() == (second, b"longer than that")
    third = block.publish(b"")
    assert other.topology() == (third, b"")


def test_a_generation_that_is_published_is_even():
    block = Block()
    assert [block.publish(b"x") % 2 for _ in range(3)] == [0, 0, 0]


def test_a_topology_has_room_for_what_is_allowed_and_no_more():
    block = Block()
    longest = b"x" * TOPOLOGY_BYTES
    generation = block.publish(longest)
    assert block.topology() == (generation, longest)
    with pytest.raises(ValueError, match=f"{TOPOLOGY_BYTES + 1} bytes; there is room for {TOPOLOGY_BYTES}"):
        block.publish(longest + b"x")
    assert block.topology() == (generation, longest)


def test_a_topology_touches_no_row():
    block = Block()
    block.row(WORKERS_MAX - 1).write(pid=7)
    block.publish(b"\xff" * TOPOLOGY_BYTES)
    assert block.row(WORKERS_MAX - 1).read()["pid"] == 7
    assert set(block.row(0).read().values()) == {0}


@pytest.mark.parametrize(
    ("word", "value"), [(0, 3), (2, 4711)], ids=["it is being written", "half of it is not there yet"]
)
def test_a_reader_never_takes_half_a_text(word, value):
    block = Block()
    generation = block.publish(b"whole")
    reader = Block(block.descriptor)
    assert reader.topology() == (generation, b"whole")
    block._words[shared._HEADER + word] = value
    block._bytes[shared._TEXT : shared._TEXT + 5] = b"torn!"
    assert reader.topology() == (generation, b"whole")
    assert Block(block.descriptor).topology() == (0, b"")


def test_who_publishes_again_after_an_interrupted_writing_mends_it():
    block = Block()
    block.publish(b"first")
    block._words[shared._HEADER] += 1
    generation = block.publish(b"second")
    assert generation % 2 == 0
    assert block.topology() == (generation, b"second")


WRITER = """
import itertools, sys
from seawall.proxy.shared import Block
block = Block(int(sys.argv[1]))
enough = block.row(0)
for number in itertools.count():
    generation = block.publish(str(number % 10).encode() * (1 + number % 2000))
    if enough.read()["pid"]:
        break
print(generation)
"""
DIFFERENT = 20


@pytest.mark.timeout(60)
def test_a_reader_sees_whole_texts_while_another_process_replaces_them():
    reader, seen = Block(), set()
    descriptor = reader.descriptor
    command = [sys.executable, "-c", WRITER, str(descriptor)]
    with subprocess.Popen(command, pass_fds=[descriptor], stdout=subprocess.PIPE) as writer:
        while len(seen) < DIFFERENT and writer.poll() is None:
            generation, text = reader.topology()
            assert generation % 2 == 0
            assert len(set(text)) == min(generation, 1)
            seen.add(generation)
        reader.row(0).write(pid=1)
        last, _ = writer.communicate()
    assert writer.returncode == 0
    assert reader.topology()[0] == int(last)
