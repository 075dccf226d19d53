"""tests/typing is read by mypy as a user's code would be: a right use passes, a wrong one is refused.

A wrong use stands there with ``# type: ignore[code]``, and strict mode reports an ignore that hides nothing:
so a use that stops being refused fails here.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo import tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def mypy(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Run the project's mypy configuration over some files."""
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", *map(str, paths)],
        cwd=tree.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_users_code_is_typed_as_promised() -> None:
    folder = tree.ROOT / "tests/typing"
    assert list(folder.glob("*.py")), "tests/typing has no file: the promise of types is untested"
    answer = mypy(folder)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_wrong_use_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        'import seawall\n\nversion: int = seawall.__version__\nprint("fine")  # type: ignore[misc]\n'
    )
    answer = mypy(wrong)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "[assignment]" in answer.stdout
    assert "[unused-ignore]" in answer.stdout
