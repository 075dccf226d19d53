import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from seawall.cli import demo, demo_view, exits, main
from seawall.cli.demo_stage import Stage
from seawall.testing import VirtualClock, run


@pytest.fixture
def invoke(monkeypatch):
    """``seawall demo`` on virtual time."""
    clock = VirtualClock()
    monkeypatch.setattr(demo, "Stage", lambda scenario, seed: Stage(scenario, seed=seed, clock=clock))
    monkeypatch.setattr(demo.asyncio, "run", lambda coroutine: run(coroutine, clock))
    return lambda *options: CliRunner().invoke(main.app, ["demo", *options])


def test_the_demo_logs_and_reports(invoke) -> None:
    answer = invoke()
    assert answer.exit_code == exits.OK
    assert "closed -> open" in answer.stdout
    assert "4 of 4 promises kept" in answer.stdout


def test_json_is_alone_on_stdout(invoke) -> None:
    answer = invoke("--fast", "--json", "--seed", "3")
    table = json.loads(answer.stdout)
    assert answer.exit_code == exits.OK
    assert (table["scenario"], table["seed"], table["kept"]) == ("fast", 3, True)
    assert "closed -> open" in answer.stderr


def test_a_broken_promise_is_exit_code_1(invoke, monkeypatch) -> None:
    monkeypatch.setattr("seawall.cli.demo_report.DETECTION_MAX_S", 0.001)
    assert invoke("--fast").exit_code == exits.BROKEN


def test_ctrl_c_is_exit_code_130(invoke, monkeypatch) -> None:
    async def interrupted(self, audience) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stage, "play", interrupted)
    answer = invoke("--fast")
    assert answer.exit_code == exits.INTERRUPTED
    assert "stopped" in answer.stderr


def test_a_terminal_gets_the_picture(invoke, monkeypatch) -> None:
    made = []

    class Screen(demo_view.Log):
        def __init__(self) -> None:
            made.append(self)
            super().__init__(demo.sys.stderr)

    monkeypatch.setattr(demo_view, "Screen", Screen)
    monkeypatch.setattr(demo, "live", lambda as_json: True)
    assert invoke("--fast").exit_code == exits.OK
    assert made


@pytest.mark.parametrize(
    ("tty", "encoding", "term", "as_json", "expected"),
    [
        (True, "utf-8", "xterm", False, True),
        (False, "utf-8", "xterm", False, False),
        (True, "ascii", "xterm", False, False),
        (True, "utf-8", "dumb", False, False),
        (True, "utf-8", "xterm", True, False),
    ],
)
def test_the_picture_needs_a_terminal_that_can_show_it(
    monkeypatch, tty, encoding, term, as_json, expected
) -> None:
    monkeypatch.setattr(demo.sys, "stdout", SimpleNamespace(isatty=lambda: tty, encoding=encoding))
    monkeypatch.setenv("TERM", term)
    assert demo.live(as_json=as_json) is expected
