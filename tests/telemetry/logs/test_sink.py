"""The queue: bounded, counted, never in a caller's way; a writer behind it that survives everything."""

import os
import threading

import pytest

from seawall.telemetry.logs.outlet import Outlet, open_path
from seawall.telemetry.logs.sink import Sink


def record(text, level=20):
    return (0, level, "a", text, {}, None, 0, 0)


def render(entry):
    if entry[3] == "unrenderable":
        raise ValueError(entry[3])
    return entry[3].encode() + b"\n"


def sink_to(fd, path=None, **bounds):
    options = {"capacity": 64, "capacity_bytes": 1 << 20, "batch_s": 0} | bounds
    return Sink(Outlet(fd, path), render, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def sink(path):
    made = sink_to(open_path(str(path)), str(path))
    yield made
    made.close(5)


def blocked_pipe():
    """A pipe that takes not a byte more."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4_096)
    os.set_blocking(writer, True)
    return reader, writer


def balanced(sink):
    assert sink.offered == sink.accepted + sink.dropped
    assert sink.accepted == sink.written + sink.failed + sink.queued
    return True


def test_lines_are_written_in_order(sink, path):
    for number in range(50):
        assert sink.offer(record(str(number)), 1)
    assert sink.flush(10)
    assert path.read_text().split() == [str(number) for number in range(50)]
    assert balanced(sink)
    assert (sink.written, sink.queued, sink.queued_bytes) == (50, 0, 0)


def test_no_thread_before_the_first_line(path):
    before = threading.active_count()
    sink = sink_to(open_path(str(path)))
    assert threading.active_count() == before
    sink.close(1)
    assert threading.active_count() == before


def test_one_line_that_cannot_be_rendered_is_lost_alone(sink, path):
    for text in ("a", "unrenderable", "b"):
        sink.offer(record(text), 1)
    assert sink.flush(10)
    assert path.read_text().split() == ["a", "b"]
    assert (sink.written, sink.failed) == (2, 1)
    assert balanced(sink)


def test_a_blocked_pipe_drops_and_counts_and_blocks_nobody():
    reader, writer = blocked_pipe()
    sink = sink_to(writer)
    took = [sink.offer(record(f"line {number}"), 1) for number in range(500)]
    assert sink.offered == 500
    assert sink.dropped == took.count(False) > 0
    # What the writer holds in its hands is no longer in the queue.
    assert sink.accepted <= 500 - sink.dropped
    assert sink.queued <= 64

    def read(wanted):
        data = b""
        while data.count(b"\n") < wanted:
            data += os.read(reader, 65_536)
        return data

    data = read(sink.accepted)
    assert sink.flush(10)
    assert data.count(b"line ") == sink.written == sink.accepted
    assert balanced(sink)
    sink.close(5)
    os.close(reader)


def test_warnings_have_room_that_lesser_lines_cannot_take():
    reader, writer = blocked_pipe()
    sink = sink_to(writer)
    while sink.offer(record("info"), 1):
        assert sink.offered < 1_000
    assert sink.offer(record("error", 40), 1)
    assert not sink.offer(record("info"), 1)
    sink.close(0)
    os.close(reader)


def test_bytes_are_a_bound_too():
    reader, writer = blocked_pipe()
    sink = sink_to(writer, capacity_bytes=1_000)
    assert not sink.offer(record("huge", 40), 1_001)
    assert sink.dropped == 1
    while sink.offer(record("big", 40), 400):
        assert sink.offered < 1_000
    assert 0 < sink.queued_bytes <= 1_000
    sink.close(0)
    assert sink.queued_bytes == 0
    assert balanced(sink)
    os.close(reader)


def test_closing_before_a_blocked_pipe_ends_in_time_and_counts():
    reader, writer = blocked_pipe()
    sink = sink_to(writer)
    for number in range(20):
        sink.offer(record(str(number)), 1)
    sink.close(0.1)
    assert (sink.accepted, sink.written, sink.failed, sink.queued) == (20, 0, 20, 0)
    assert balanced(sink)
    assert not sink.offer(record("after the end"), 1)
    assert sink.flush(0)
    os.close(reader)


def test_a_broken_pipe_loses_lines_and_the_writer_goes_on():
    reader, writer = os.pipe()
    os.close(reader)
    sink = sink_to(writer)
    for _ in range(3):
        assert sink.offer(record("x"), 1)
        assert sink.flush(10)
    assert (sink.written, sink.failed) == (0, 3)
    assert sink.outlet.errors["EPIPE"] == 3
    sink.close(5)


def test_a_full_disk_holds_up_the_writer_only():
    sink = sink_to(os.open("/dev/full", os.O_WRONLY))
    for _ in range(200):
        sink.offer(record("x"), 1)
    assert sink.dropped > 0
    sink.close(0.1)
    assert sink.outlet.errors["ENOSPC"] >= 1
    assert (sink.written, sink.failed) == (0, sink.accepted)
    assert balanced(sink)


def test_threads_lose_nothing_uncounted(path):
    sink = sink_to(open_path(str(path)), capacity=128)
    start = threading.Barrier(8)

    def work(name):
        start.wait()
        for number in range(400):
            sink.offer(record(f"{name}-{number}-" + "x" * 40), 50)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sink.flush(15)
    assert sink.offered == 3_200
    assert balanced(sink)
    lines = path.read_text().splitlines()
    assert len(lines) == sink.written == sink.accepted
    assert all(line.endswith("-" + "x" * 40) for line in lines)
    by_thread = {
        name: [int(line.split("-")[1]) for line in lines if line.startswith(f"{name}-")] for name in range(8)
    }
    assert all(numbers == sorted(numbers) for numbers in by_thread.values())
    assert sink.queued_bytes == 0
    sink.close(5)


def test_reopening_needs_no_line(sink, path):
    sink.offer(record("a"), 1)
    assert sink.flush(10)
    path.rename(path.with_suffix(".1"))
    sink.reopen()
    assert sink.flush(10)
    assert path.read_bytes() == b""
    assert sink.outlet.reopened == 1


@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)  # since Python 3.12
def test_a_child_begins_anew_and_its_parent_goes_on(sink, path):
    for number in range(5):
        sink.offer(record(f"parent {number}"), 1)
    child = os.fork()
    if child == 0:
        try:
            fresh = (sink.offered, sink.accepted, sink.dropped, sink.queued, sink.written) == (0, 0, 0, 0, 0)
            sink.offer(record("child"), 1)
            os._exit(0 if fresh and sink.flush(10) and sink.written == 1 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    sink.offer(record("parent 5"), 1)
    assert sink.flush(10)
    assert sorted(path.read_text().splitlines()) == ["child", *(f"parent {number}" for number in range(6))]
    assert balanced(sink)


def test_a_child_of_closed_logs_stays_closed(path):
    sink = sink_to(open_path(str(path)))
    sink.close(1)
    sink.forked()
    assert not sink.offer(record("x"), 1)


def test_a_thread_that_cannot_be_had_is_asked_for_again(sink, path, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            sink.offer(record("a"), 1)
    sink.offer(record("b"), 1)
    assert sink.flush(10)
    assert path.read_text().split() == ["a", "b"]


def test_what_cannot_be_written_at_the_end_is_counted_and_raises_nothing(path, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sink = sink_to(open_path(str(path)))
    with pytest.raises(RuntimeError):
        sink.offer(record("a"), 1)
    sink.close(1)
    assert (sink.accepted, sink.failed) == (1, 1)
    assert balanced(sink)


def test_reopening_starts_no_thread_and_holds_for_the_first_line(path):
    sink = sink_to(open_path(str(path)), str(path))
    path.rename(path.with_suffix(".1"))
    before = threading.active_count()
    sink.reopen()
    assert threading.active_count() == before
    sink.offer(record("a"), 1)
    assert sink.flush(10)
    assert path.read_text() == "a\n"
    sink.close(5)
