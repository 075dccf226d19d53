"""The examples are programs: each runs, prints what it promises, and passes the tests that it brings."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDERS = sorted((Path(__file__).parents[2] / "examples").glob("[0-9]*"))
TESTED = [folder for folder in FOLDERS if list(folder.glob("test_*.py"))]
CODE_LINES_MAX = 12
"""Of the first example, which the README shows: blank lines not counted."""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=15
    )


def name(folder: Path) -> str:
    return folder.name


def test_there_are_examples_numbered_without_a_gap() -> None:
    assert [int(folder.name[:2]) for folder in FOLDERS] == list(range(1, len(FOLDERS) + 1))
    assert len(FOLDERS) >= 8


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_an_example_prints_what_it_promises(folder: Path) -> None:
    answer = python(folder, "main.py")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert answer.stdout == (folder / "expected.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_an_example_is_explained_and_listed(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"({folder.name}/)" in (folder.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", TESTED, ids=name)
def test_an_examples_own_tests_pass(folder: Path) -> None:
    answer = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_some_example_has_tests() -> None:
    assert TESTED


def test_the_first_example_is_short() -> None:
    lines = (FOLDERS[0] / "main.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= CODE_LINES_MAX


def test_the_policy_file_is_explained_with_its_contradictions() -> None:
    (file,) = FOLDERS[5].glob("*.toml")
    answer = python(file.parent, "-c", "from seawall.cli.main import main; main()", "explain", file.name)
    assert answer.returncode == 1, answer.stderr
    assert "2 guards, 2 contradictions" in answer.stdout
