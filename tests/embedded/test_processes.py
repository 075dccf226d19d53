import contextlib
import mmap
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.embedded import processes
from seawall.embedded.processes import Process, parse_stat
from tests.embedded.servers import until

pytestmark = pytest.mark.timeout(30)

numbers = st.integers(0, 2**63)


@given(st.text(max_size=15), st.sampled_from("RSDTtZX"), numbers, numbers)
def test_a_stat_line_is_read_whatever_the_program_is_called(name, state, parent, started) -> None:
    rest = " ".join(["0"] * 17)
    text = f"7 ({name}) {state} {parent} {rest} {started} 0 0\n"
    assert parse_stat(7, text) == Process(7, parent, state, started)


@given(st.text())
def test_any_text_is_read_or_refused(text) -> None:
    found = parse_stat(7, text)
    assert found is None or found.pid == 7


@pytest.fixture
def sleeper():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as started:
        try:
            yield started
        finally:
            started.kill()


def look(pid: int) -> str:
    found = parse_stat(pid, Path(f"/proc/{pid}/stat").read_text())
    return "" if found is None else found.state


def test_a_process_is_known_by_its_start(sleeper) -> None:
    tick = processes.start_tick(sleeper.pid)
    assert tick > 0
    assert processes.is_alive(sleeper.pid, tick)
    assert not processes.is_alive(sleeper.pid, tick + 1)


def test_a_zombie_is_dead(sleeper) -> None:
    assert processes.is_alive(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)
    until(lambda: look(sleeper.pid) == "Z")
    os.kill(sleeper.pid, 0)  # which is why a signal of 0 proves nothing
    assert not processes.is_alive(sleeper.pid)
    assert processes.start_tick(sleeper.pid) == 0


def test_a_signal_reaches_the_process_that_was_meant(sleeper) -> None:
    tick = processes.start_tick(sleeper.pid)
    stranger = Process(sleeper.pid, 1, "S", tick + 1)
    assert not processes.send(stranger, signal.SIGKILL)
    assert processes.send(Process(sleeper.pid, 1, "S", tick), signal.SIGKILL)
    assert sleeper.wait() == -signal.SIGKILL
    assert not processes.send(stranger, signal.SIGKILL)


def test_who_merely_works_in_a_directory_is_no_server(tmp_path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as visitor:
        try:
            assert processes.members(tmp_path) == []
            assert processes.kill(tmp_path) == 0
            assert processes.freeze(tmp_path) == []
            assert processes.postmaster(tmp_path, visitor.pid) is None
            assert visitor.poll() is None
        finally:
            visitor.kill()


def test_the_whole_server_is_seen_parents_first(server) -> None:
    (node,) = server.nodes
    found = processes.members(node.data_directory)
    assert found[0].pid == node.pid
    assert all(process.parent == node.pid for process in found[1:])
    titles = [Path(f"/proc/{process.pid}/cmdline").read_bytes() for process in found]
    assert any(b"checkpointer" in title for title in titles)


@pytest.mark.parametrize("pid", [None, 0, -1, 1, os.getpid(), 2**22 + 1])
def test_a_wrong_pid_doesnt_hide_a_running_server(server, pid) -> None:
    (node,) = server.nodes
    found = processes.postmaster(node.data_directory, pid)
    assert found is not None
    assert found.pid == node.pid


def test_shared_memory_is_what_is_mapped_and_what_the_control_segment_names(tmp_path, monkeypatch) -> None:
    contents = {
        7: struct.pack("=5I", processes.CONTROL_MAGIC, 2, 64, 99, 98),
        8: struct.pack("=3I", 1, 97, 0),  # mapped, but names nothing: its first word is another one
        99: b"pinned, and mapped by nobody",
        97: b"another server's",
    }
    for number, content in contents.items():
        (tmp_path / f"PostgreSQL.{number}").write_bytes(content)
    (tmp_path / "PostgreSQL.odd").touch()
    monkeypatch.setattr(processes, "SEGMENTS", tmp_path)
    monkeypatch.setattr(processes, "SEGMENT", re.compile(rf"{re.escape(str(tmp_path))}/PostgreSQL\.\d+"))
    with contextlib.ExitStack() as stack:
        for number in (7, 8):
            file = stack.enter_context((tmp_path / f"PostgreSQL.{number}").open("rb"))
            stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        found = processes.shared_memory([os.getpid(), 2**22 + 1])
    assert {path.name for path in found} == {"PostgreSQL.7", "PostgreSQL.8", "PostgreSQL.99"}


def test_a_running_servers_control_segment_is_found(server) -> None:
    (node,) = server.nodes
    found = processes.shared_memory([node.pid])
    first = [path.read_bytes()[:4] for path in found]
    assert struct.pack("=I", processes.CONTROL_MAGIC) in first
