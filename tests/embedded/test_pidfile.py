import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.embedded import pidfile
from seawall.embedded.pidfile import PidFile

WHOLE = """4711
/var/lib/data
1700000000
5433
/run/socket
127.0.0.1
   917509    163840
ready{spaces}
""".replace("{spaces}", "   ")


def test_a_running_servers_file() -> None:
    assert pidfile.parse(WHOLE) == PidFile(pid=4711, port=5433, shared_memory_id=163840, status="ready")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (1, PidFile(4711)),
        (4, PidFile(4711, port=5433)),
        (7, PidFile(4711, port=5433, shared_memory_id=163840)),
    ],
)
def test_a_starting_server_has_written_less(lines, expected) -> None:
    assert pidfile.parse("".join(WHOLE.splitlines(keepends=True)[:lines])) == expected


def test_a_single_user_server_has_a_negative_pid() -> None:
    noted = pidfile.parse("-4711\n/var/lib/data\n")
    assert noted is not None
    assert noted.pid == -4711


@pytest.mark.parametrize("text", ["", "\n", "pid\n", "0\n", "4711.0\n", "٣\n", "-\n", "9" * 30])
def test_what_names_no_process_is_no_pid_file(text) -> None:
    assert pidfile.parse(text) is None


@given(st.text())
def test_any_text_is_read_or_refused(text) -> None:
    noted = pidfile.parse(text)
    assert noted is None or (noted.pid != 0 and noted.port >= -(10**19))


@given(
    st.integers(1, 2**22), st.integers(1, 65535), st.integers(0, 2**31), st.sampled_from(["ready", "standby"])
)
def test_what_a_server_writes_is_read_back(pid, port, segment, status) -> None:
    text = f"{pid}\n/d\n17\n{port}\n/s\n*\n{12345:>9} {segment:>9}\n{status:8}\n"
    assert pidfile.parse(text) == PidFile(pid, port, segment, status)


def test_a_link_is_not_followed(tmp_path) -> None:
    (tmp_path / "elsewhere").write_text(WHOLE)
    (tmp_path / pidfile.NAME).symlink_to(tmp_path / "elsewhere")
    assert pidfile.read(tmp_path) is None


def test_neither_is_a_pipe_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / pidfile.NAME)
    assert pidfile.read(tmp_path) is None


def test_a_file_is_forgotten_once(tmp_path) -> None:
    (tmp_path / pidfile.NAME).write_text(WHOLE)
    assert pidfile.read(tmp_path) is not None
    assert pidfile.forget(tmp_path)
    assert not pidfile.forget(tmp_path)
    assert pidfile.read(tmp_path) is None
