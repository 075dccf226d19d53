"""The repository seen as files: what the tidy rules read, and nothing they decide."""

import ast
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository these tests are part of."""

SKIPPED_DIRECTORIES = frozenset(
    {".venv", ".git", "build", "dist", "_build", "__pycache__", ".hypothesis"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".import_linter_cache"}
)
"""Never searched when there is no git to ask: all of it is made by tools."""


@dataclass(frozen=True)
class Module:
    """One Python file with its syntax tree."""

    path: Path
    root: Path

    @cached_property
    def name(self) -> str:
        """The path as a message shows it, relative to the tree's root."""
        return self.path.relative_to(self.root).as_posix()

    @cached_property
    def text(self) -> str:
        """The source text."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def syntax(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, filename=self.name)

    def definitions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
        """Every function and class with its dotted name inside the module."""
        yield from _definitions(self.syntax, "")


def _definitions(
    node: ast.AST, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{child.name}"
            yield name, child
            # What is defined inside a function is "function.<locals>.inner": private, whatever it is called.
            inner = f"{name}." if isinstance(child, ast.ClassDef) else f"{name}.<locals>."
            yield from _definitions(child, inner)
        else:
            yield from _definitions(child, prefix)


def modules(root: Path, *folders: str) -> list[Module]:
    """The Python files under some folders of a tree, in path order."""
    found = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            if not SKIPPED_DIRECTORIES.intersection(path.relative_to(root).parts):
                found.append(Module(path, root))
    return found


def files(root: Path) -> list[Path]:
    """Every file that git tracks or would track; where git can't say, every file that no tool made."""
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        answer = subprocess.run(command, cwd=root, capture_output=True, check=False)
        if answer.returncode == 0:  # git refuses to look at a tree that belongs to somebody else
            names = answer.stdout.decode().split("\0")
            return [path for name in names if name and (path := root / name).is_file()]
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and not SKIPPED_DIRECTORIES.intersection(path.relative_to(root).parts)
    ]


def project(root: Path = ROOT) -> dict:
    """The tree's pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
