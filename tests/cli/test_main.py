import importlib.machinery
import json
import platform
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from seawall import __version__
from seawall.cli import exits, main


def invoke(*arguments: str):
    return CliRunner().invoke(main.app, list(arguments))


def test_the_version_tells_build_and_interpreter() -> None:
    answer = invoke("--version")
    assert answer.exit_code == exits.OK
    assert answer.stdout == main.version() + "\n"
    assert __version__ in answer.stdout
    assert platform.python_version() in answer.stdout
    assert f"({main.build()}, " in answer.stdout


@pytest.mark.parametrize(
    ("origin", "build"),
    [
        ("/site/breaker.py", "pure"),
        ("/site/breaker.cpython-311-x86_64-linux-gnu.so", "compiled"),
        (None, "pure"),
    ],
)
def test_the_build_is_known_by_the_breakers_file(monkeypatch, origin, build) -> None:
    spec = importlib.machinery.ModuleSpec("breaker", None, origin=origin)
    monkeypatch.setattr(main.PathFinder, "find_spec", lambda name, path: spec)
    assert main.build() == build


def test_the_version_loads_no_verb_and_no_terminal() -> None:
    program = (
        "import sys, json; from seawall.cli.main import app\n"
        "try: app(['--version'])\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = json.loads(answer.stdout.splitlines()[-1])
    heavy = ("rich", "asyncio", "seawall.cli.demo", "seawall.cli.explain", "seawall.resilience.guard")
    assert [name for name in loaded if name.startswith(heavy)] == []


def test_help_lists_every_verb_and_the_exit_codes() -> None:
    answer = invoke("--help")
    assert answer.exit_code == exits.OK
    for verb in main.VERBS:
        assert f" {verb} " in answer.stdout
    assert "Exit codes: 0" in answer.stdout
    assert "130" in answer.stdout


@pytest.mark.parametrize("verb", main.VERBS)
def test_each_verb_has_help(verb) -> None:
    answer = invoke(verb, "--help")
    assert answer.exit_code == exits.OK
    assert f"seawall {verb}" in answer.stdout


@pytest.mark.parametrize("arguments", [["dmeo"], ["demo", "--quick"], ["demo", "--seed", "x"], ["explain"]])
def test_a_wrong_command_line_exits_with_2(arguments) -> None:
    assert invoke(*arguments).exit_code == exits.USAGE


def test_the_program_runs_as_installed(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["seawall", "--version"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == exits.OK
    assert capsys.readouterr().out.startswith("seawall ")
