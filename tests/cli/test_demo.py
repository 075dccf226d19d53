import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from seawall.cli import demo, demo_view, exits, main, proxy_demo
from seawall.cli.demo_stage import Stage
from seawall.embedded.errors import EngineNotFound
from seawall.testing import VirtualClock, run


@pytest.fixture
def invoke(monkeypatch):
    """``seawall demo --library`` on virtual time."""
    clock = VirtualClock()
    monkeypatch.setattr(demo, "Stage", lambda scenario, seed: Stage(scenario, seed=seed, clock=clock))
    monkeypatch.setattr(demo.asyncio, "run", lambda coroutine: run(coroutine, clock))
    return lambda *options: CliRunner().invoke(main.app, ["demo", "--library", *options])


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


@pytest.fixture
def played(monkeypatch):
    """What the proxy's demo was asked for; it is not played."""
    found = []
    monkeypatch.setattr(proxy_demo, "play", lambda **options: found.append(options) or exits.BROKEN)
    return found


def test_without_library_it_is_the_proxys_demo(played) -> None:
    answer = CliRunner().invoke(main.app, ["demo", "--fast", "--seed", "3"])
    assert answer.exit_code == exits.BROKEN
    assert played == [{"fast": True, "as_json": False, "live": False, "seed": 3}]


def test_what_keeps_the_demo_from_starting_is_told(monkeypatch) -> None:
    def play(**options):
        raise EngineNotFound("no PostgreSQL here: install one")

    monkeypatch.setattr(proxy_demo, "play", play)
    answer = CliRunner().invoke(main.app, ["demo"])
    assert answer.exit_code == exits.BROKEN
    assert "no PostgreSQL here: install one" in answer.stderr
    assert "Traceback" not in answer.output


@pytest.mark.parametrize(("package", "code"), [("uvloop", exits.USAGE), ("surprise", 1)])
def test_a_missing_package_is_told_by_its_extra(monkeypatch, package, code) -> None:
    def play(**options):
        raise ModuleNotFoundError(name=package)

    monkeypatch.setattr(proxy_demo, "play", play)
    answer = CliRunner().invoke(main.app, ["demo"])
    assert answer.exit_code == code
    assert ("seawall[proxy]" in answer.stderr) is (package == "uvloop")
