"""Descriptors that are blocked, broken or full: real ones, where there are such."""

import errno
import os
import select

import pytest

from seawall.telemetry.logs import outlet as module
from seawall.telemetry.logs.outlet import Outlet, open_path


def never(_):
    raise AssertionError("nothing was in the way, and it waited")


def impatient(_):
    return False


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    out = Outlet(os.dup(writer), None)
    os.close(writer)
    yield reader, out
    out.close()
    os.close(reader)


def fill(out):
    """Fill a pipe to its last byte, and show that the next byte would block."""
    os.set_blocking(out._fd, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(out._fd, b"x" * 4_096)
    os.set_blocking(out._fd, True)
    asked = select.poll()  # there may be more descriptors than select() takes
    asked.register(out._fd, select.POLLOUT)
    assert asked.poll(0) == []


def drain(reader):
    os.set_blocking(reader, False)
    data = b""
    while True:
        try:
            more = os.read(reader, 65_536)
        except BlockingIOError:
            return data
        if not more:
            return data
        data += more


def test_lines_arrive_whole_and_in_order(pipe):
    reader, out = pipe
    lines = [b"%d " % number + b"x" * (number % 300) + b"\n" for number in range(200)]
    assert out.write(lines, never) == 200
    assert drain(reader) == b"".join(lines)


def test_a_pipe_gets_whole_lines_that_fit_into_one_atomic_write(pipe, monkeypatch):
    _, out = pipe
    writes = []
    monkeypatch.setattr(module.os, "write", lambda _, data: writes.append(bytes(data)) or len(data))
    assert out.write([b"x" * 1_500 + b"\n"] * 7, never) == 7
    assert all(len(data) <= select.PIPE_BUF and data.endswith(b"\n") for data in writes)
    assert len(writes) == 4


def test_a_blocked_pipe_costs_patience_and_no_more(pipe):
    reader, out = pipe
    fill(out)
    asked = []

    def patient(wait_s):
        asked.append(wait_s)
        if len(asked) == 2:
            drain(reader)
        return True

    assert out.write([b"late\n"], patient) == 1
    assert len(asked) == 2
    assert drain(reader) == b"late\n"


def test_impatience_ends_at_a_blocked_pipe(pipe):
    reader, out = pipe
    fill(out)
    assert out.write([b"a\n", b"b\n"], impatient) == 0
    assert b"a" not in drain(reader)
    assert out.write([b"c\n"], never) == 1
    assert drain(reader) == b"c\n"


def test_a_line_that_was_torn_off_is_ended_before_the_next(pipe):
    reader, out = pipe
    fill(out)
    os.read(reader, 4_096)  # room for the first piece of a long line
    assert out.write([b"y" * 10_000 + b"\n"], impatient) == 0
    drain(reader)
    assert out.write([b"next\n"], never) == 1
    assert drain(reader) == b"\nnext\n"


def test_a_reader_that_went_away():
    reader, writer = os.pipe()
    out = Outlet(writer, None)
    os.close(reader)
    assert out.write([b"a\n", b"b\n"], never) == 0
    assert out.errors == {"EPIPE": 1}
    assert out.write([b"c\n"], never) == 0
    assert out.errors == {"EPIPE": 2}
    out.close()


def test_a_full_disk_is_tried_again():
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):
        os.write(fd, b"x")
    out = Outlet(fd, None)
    waits = []
    assert out.write([b"a\n"], lambda wait_s: waits.append(wait_s) is not None or len(waits) < 3) == 0
    assert waits == [module.RETRY_S] * 3
    assert out.errors == {"ENOSPC": 3}
    out.close()


def test_space_that_comes_back_ends_the_torn_line(tmp_path, monkeypatch):
    path = tmp_path / "log"
    out = Outlet(open_path(str(path)), str(path))
    real, answers = os.write, ["part", "full"]

    def write(fd, data):
        answer = answers.pop(0) if answers else "fine"
        if answer == "full":
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data[:5]) if answer == "part" else real(fd, data)

    monkeypatch.setattr(module.os, "write", write)
    assert out.write([b"one\n", b"two\n"], impatient) == 1
    assert out.write([b"three\n"], never) == 1
    assert path.read_bytes() == b"one\nt\nthree\n"
    out.close()


def test_a_file_is_opened_again_before_the_next_line(tmp_path):
    path, moved = tmp_path / "log", tmp_path / "log.1"
    out = Outlet(open_path(str(path)), str(path))
    out.write([b"before\n"], never)
    path.rename(moved)
    out.write([b"still\n"], never)
    out.reopen()
    assert out.stale
    out.write([b"after\n"], never)
    assert (moved.read_bytes(), path.read_bytes()) == (b"before\nstill\n", b"after\n")
    assert out.reopened == 1
    assert path.stat().st_mode & 0o007 == 0
    out.close()


def test_a_path_that_is_gone_leaves_the_former_file(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "log"
    out = Outlet(open_path(str(path)), str(path))
    moved = tmp_path / "moved"
    folder.rename(moved)
    out.reopen()
    out.refresh()
    assert out.write([b"x\n"], never) == 1
    assert (moved / "log").read_bytes() == b"x\n"
    assert out.errors == {"ENOENT": 1}
    out.close()


def test_what_waits_at_a_full_disk_goes_into_the_new_file(tmp_path, monkeypatch):
    path = tmp_path / "log"
    out = Outlet(open_path(str(path)), str(path))
    real, full = os.write, [True]

    def write(fd, data):
        if full:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data)

    def patient(_):
        full.clear()
        path.rename(tmp_path / "old")
        out.reopen()
        return True

    monkeypatch.setattr(module.os, "write", write)
    assert out.write([b"a\n", b"b\n"], patient) == 2
    assert path.read_bytes() + (tmp_path / "old").read_bytes() == b"a\nb\n"
    out.close()


def test_a_stream_without_a_path_is_never_stale(pipe):
    _, out = pipe
    out.reopen()
    assert not out.stale


def test_a_fifo_without_a_reader_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device"):
        open_path(str(tmp_path / "fifo"))
