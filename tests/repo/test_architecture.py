"""The layers hold, every module has declared what it is, and the contracts bite when they are broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo import tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EDGES = {
    "aio": "awaits",
    "listener": "has a thread of its own that hands signals to a callback",
    "system": "reads the clock and throws dice",
    "threads": "parks threads",
}
"""The files of ``resilience`` that touch the world, with what they are there for."""

CLOCKS_AND_LOOPS = frozenset(
    {"asyncio", "concurrent", "logging", "random", "select", "selectors", "socket", "ssl", "subprocess"}
    | {"threading", "time"}
)


LINT_IMPORTS = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(no_cache=True, no_logo=True))
"""


def contracts() -> dict[str, dict]:
    """The import contracts of pyproject.toml by their id."""
    return {contract["id"]: contract for contract in tree.project()["tool"]["importlinter"]["contracts"]}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts against the package under a root's ``src``."""
    return subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contracts_hold() -> None:
    answer = lint_imports(tree.ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("victim", "line", "contract"),
    [
        ("kernel/units.py", "import seawall.resilience", "Upper packages import lower ones"),
        ("kernel/units.py", "import asyncio", "The kernel reads no clock"),
        ("resilience/windows.py", "import time", "Resilience is told the time"),
        ("resilience/windows.py", "import seawall.resilience.aio", "Resilience is told the time"),
        ("resilience/guard.py", "import threading", "What composes the edges"),
        ("resilience/aio.py", "import rich", "The core stands on the standard library"),
        ("kernel/errors.py", "import seawall.kernel.signals", "Inside the kernel"),
        ("resilience/windows.py", "import seawall.resilience.breaker", "Inside resilience"),
        ("telemetry/subscribers/reading.py", "import seawall.resilience", "Upper packages import lower ones"),
        (
            "telemetry/subscribers/standing.py",
            "import seawall.telemetry.subscribers.lines",
            "Inside subscribers",
        ),
    ],
)
def test_a_contract_bites(tmp_path: Path, victim: str, line: str, contract: str) -> None:
    shutil.copytree(tree.ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(tree.ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "src/seawall" / victim
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    answer = lint_imports(tmp_path)
    broken = [text for text in answer.stdout.splitlines() if text.rstrip().endswith("BROKEN")]
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert any(contract in text for text in broken), answer.stdout


def test_every_module_of_resilience_has_declared_what_it_is() -> None:
    prefix = "seawall.resilience."
    pure = {name.removeprefix(prefix) for name in contracts()["pure-resilience"]["source_modules"]}
    composed = {name.removeprefix(prefix) for name in contracts()["composed-resilience"]["source_modules"]}
    present = {module.path.stem for module in tree.modules(tree.ROOT, "src/seawall/resilience")} - {
        "__init__"
    }
    undeclared = present - pure - composed - set(EDGES)
    assert not undeclared, (
        f"{sorted(undeclared)}: add each to 'pure-resilience' in pyproject.toml,"
        " or, when it has to await or read a clock, say why in EDGES here"
    )
    assert not pure & set(EDGES)
    assert set(EDGES) <= present


@pytest.mark.parametrize("name", ["pure-kernel", "pure-resilience", "composed-resilience"])
def test_the_purity_contracts_forbid_every_clock_and_loop(name: str) -> None:
    assert set(contracts()[name]["forbidden_modules"]) >= CLOCKS_AND_LOOPS


def test_no_contract_has_an_exception_without_a_reason() -> None:
    excepted = [name for name, contract in contracts().items() if contract.get("ignore_imports")]
    assert excepted == []


@pytest.mark.parametrize("name", ["layers", "kernel-layers", "resilience-layers"])
def test_layers_are_exhaustive(name: str) -> None:
    assert contracts()[name]["exhaustive"] is True
