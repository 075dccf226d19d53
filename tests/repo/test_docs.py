"""What we print as code runs: the README's program, the examples, and no code in the docs but theirs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo import tree

FENCE = re.compile(r"^```\{?(?P<language>[\w-]*)\}?[^\n]*\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)

README_PROGRAM_LINES_MAX = 12
"""The first program a newcomer sees, blank lines not counted."""

EXAMPLES = sorted((tree.ROOT / "examples").glob("[0-9]*/main.py"))

INCLUDED = ("examples", "deploy")
"""What pages include: programs that the tests run, and configuration that the tests hold to the code."""

INCLUDE = re.compile(r"^```\{literalinclude\} (?P<path>\S+)", re.MULTILINE)


def blocks(text: str, *languages: str) -> list[str]:
    """The bodies of the fenced blocks written in one of some languages."""
    return [match["body"] for match in FENCE.finditer(text) if match["language"] in languages]


def undeclared_blocks(text: str, programs: list[str]) -> list[str]:
    """Python blocks that are no part of any example program."""
    return [
        body
        for body in blocks(text, "python", "py", "python3")
        if not any(body.strip() in p for p in programs)
    ]


def pages() -> list[Path]:
    """The pages of the documentation."""
    return sorted(path for path in (tree.ROOT / "docs").rglob("*.md") if "_build" not in path.parts)


def run(program: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program file, or the text of one, as a user would."""
    command = [sys.executable, str(program)] if isinstance(program, Path) else [sys.executable, "-c", program]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=15)


@pytest.fixture(scope="module")
def readme() -> str:
    return (tree.ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_program_of_the_readme_runs_when_copied(readme: str, tmp_path: Path) -> None:
    programs = blocks(readme, "python")
    assert programs or not EXAMPLES, "README.md shows no program, though examples/ has some"
    if programs:
        lines = [line for line in programs[0].splitlines() if line.strip()]
        assert len(lines) <= README_PROGRAM_LINES_MAX
        answer = run(programs[0], tmp_path)
        assert answer.returncode == 0, answer.stderr


def test_every_program_of_the_readme_is_part_of_an_example(readme: str) -> None:
    programs = [path.read_text(encoding="utf-8") for path in EXAMPLES]
    assert undeclared_blocks(readme, programs) == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(tree.ROOT).as_posix())
def test_a_page_includes_its_code_from_the_examples(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert blocks(text, "python", "py", "python3", "code-block", "code", "sourcecode") == []
    for match in INCLUDE.finditer(text):
        source = (page.parent / match["path"]).resolve()
        assert any(source.is_relative_to(tree.ROOT / folder) for folder in INCLUDED), match["path"]
        assert source.is_file(), f"{match['path']} doesn't exist"


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda program: program.parent.name)
def test_an_example_runs(program: Path) -> None:
    answer = run(program, program.parent)
    assert answer.returncode == 0, answer.stderr
    expected = program.with_name("expected.txt")
    if expected.exists():
        assert answer.stdout == expected.read_text(encoding="utf-8")


def test_a_program_that_is_no_example_is_found() -> None:
    text = "Look:\n\n```python\nimport seawall\n```\n\n```sh\nmake demo\n```\n"
    assert undeclared_blocks(text, ["import this\n"]) == ["import seawall\n"]
    assert undeclared_blocks(text, ["x = 1\nimport seawall\nprint(x)\n"]) == []


def test_a_program_that_fails_is_found(tmp_path: Path) -> None:
    assert run("raise SystemExit(3)", tmp_path).returncode == 3
