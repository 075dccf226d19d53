"""``seawall demo`` as a program: it keeps its promises on real servers, and leaves nothing behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.embedded.accounts import server_account
from seawall.embedded.directories import scratch_directory
from seawall.embedded.places import ANONYMOUS
from seawall.embedded.state import FILE_NAME

pytestmark = pytest.mark.timeout(60)

STOP_S = 20.0


@contextlib.contextmanager
def demo(temporary: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The program in a session of its own, as a terminal would give it, with its own temporary directory."""
    program = "from seawall.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "demo", "--fast", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def left_by(process: subprocess.Popen[str], temporary: Path, home: str) -> list[str]:
    """Processes of its session, temporary files and the servers' directory, as far as they are there."""
    found = [str(path) for path in temporary.iterdir()]
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ProcessLookupError):
            text = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            mine = os.getsid(int(path.name)) == process.pid or (home and home in text)
            # A dead one that init has not taken note of yet runs no more.
            dead = (path / "stat").read_text().rpartition(") ")[2].startswith("Z")
            if mine and not dead and int(path.name) != process.pid:
                found.append(f"{path.name} {text}")
    homes = {one for one in (home, home_of(process)) if one and Path(one).exists()}
    return found + sorted(homes)


def home_of(process: subprocess.Popen[str]) -> str:
    """The directory of the servers that belong to this process."""
    for path in scratch_directory(server_account()).glob(f"{ANONYMOUS}*/{FILE_NAME}"):
        with contextlib.suppress(OSError, ValueError):
            if json.loads(path.read_text())["owner"]["pid"] == process.pid:
                return str(path.parent)
    return ""


def until(process: subprocess.Popen[str], word: str) -> None:
    """Read what it says up to a line with a word."""
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(process.stderr.read())


def test_the_demo_keeps_its_promises_and_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path, "--json") as process:
        out, err = process.communicate(timeout=50)
        table = json.loads(out)
        assert [one for one in table["promises"] if not one["kept"]] == []
        assert process.returncode == 0, (table, err)
        assert table["kept"] is True
        assert table["figures"]["clients_hit"] > 0
        assert table["audit"]["acknowledged"] == table["figures"]["transactions"] > 100
        assert "killed (SIGKILL)" in err
        figures = table["figures"]
        assert figures["replayed"] > 0
        assert figures["failover_errors"] == figures["switchover_errors"] == 0
        assert table["audit"]["orders"] >= table["audit"]["acknowledged"]
        assert left_by(process, tmp_path, "") == []


@pytest.mark.parametrize(
    "moment",
    ["starting PostgreSQL", "starting the proxy", "tx/s", "SIGKILL", "the primary", "SWITCHOVER", "drains"],
)
def test_ctrl_c_leaves_nothing_behind_whenever_it_comes(tmp_path: Path, moment: str) -> None:
    with demo(tmp_path) as process:
        until(process, moment)
        home = home_of(process)
        assert home or moment == "starting PostgreSQL"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=STOP_S)
        assert process.returncode == 130, (out, err)
        assert "Traceback" not in err
        assert left_by(process, tmp_path, home) == []
