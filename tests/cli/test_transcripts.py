"""What the pages show of a terminal is what the verbs print."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seawall.cli import exits, main, proxy_orders
from tests.proxy.consoles import FAILOVER, TOPOLOGY, FakeRescue, FakeSupervisor, RunningConsole

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("how-to/fail-over.md", "how-to/switch-over.md", "how-to/follow-patroni.md")
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)

SAFE = {
    "pid": 1048577,
    "user": "shop",
    "database": "shop",
    "worker": 0,
    "backend": None,
    "would": "migrate",
    "because": "it has no server just now",
}
HURT = {**SAFE, "pid": 1048579, "would": "lost", "because": "it has been open for 31 s, longer than 30 s"}
SERVING = {**TOPOLOGY, "primary": "primary-1", "reason": "primary-1 accepts writes on timeline 1"}
REPLAYING = "replica-1 has replaced primary-1; what was lost with that is replayed first"


def transcripts():
    """Every command of the pages with what the page says that it prints."""
    for page in PAGES:
        for block in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, printed = part.partition("\n")
                yield pytest.param(command, printed, id=f"{Path(page).stem}: {command}")


@pytest.fixture
def console(tmp_path):
    supervisor = FakeSupervisor()
    supervisor.topologies = [
        SERVING,
        {**SERVING, "phase": "paused", "reason": "switchover from primary-1 to replica-1"},
        {**SERVING, "phase": "paused", "primary": None, "reason": "primary-1 is being replaced"},
        {**SERVING, "phase": "replaying", "primary": "replica-1", "reason": REPLAYING},
        {**SERVING, "primary": "replica-1", "reason": "replica-1 accepts writes on timeline 2"},
    ]
    supervisor.gate.clear()
    supervisor.answers["switchover"] = {"done": True, "pause_s": 0.0938, "primary": "replica-1"}
    supervisor.rows["failovers"] = [
        {
            **FAILOVER,
            "at": "2026-03-01T12:00:00.120+00:00",
            "old_primary": "primary-1",
            "new_primary": "replica-1",
            "reason": "replica-1 accepts writes on timeline 2",
        }
    ]
    with RunningConsole(tmp_path, supervisor, rescue=FakeRescue(SAFE, HURT, SAFE)) as made:
        yield made


@pytest.mark.parametrize(("command", "printed"), list(transcripts()))
def test_a_page_shows_what_is_printed(console, command, printed, monkeypatch):
    program, *arguments = shlex.split(command)
    if "switchover" not in arguments:
        monkeypatch.setattr(proxy_orders, "LOOK_S", 60.0)  # on a busy machine an order may take a moment
    assert program == "seawall"
    answer = CliRunner().invoke(main.app, [*arguments, "--port", str(console.port)])
    assert answer.exit_code in {exits.OK, exits.BROKEN}
    assert [line.rstrip() for line in answer.output.splitlines()] == printed.splitlines()


def test_there_are_transcripts_on_pages():
    assert len(list(transcripts())) >= 6
