"""The tidy rules, applied to this repository."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.repo import tidy, tree


@pytest.mark.parametrize(
    "rule",
    [
        tidy.long_functions,
        tidy.missing_docstrings,
        tidy.missing_annotations,
        tidy.empty_bodies,
        tidy.vague_names,
        tidy.leftovers,
        tidy.possessive_groups,
        tidy.large_files,
        tidy.root_imports,
        tidy.readme_length,
    ],
    ids=lambda rule: rule.__name__,
)
def test_the_repository_is_tidy(rule: Callable[[Path], list[str]]) -> None:
    faults = rule(tree.ROOT)
    assert not faults, "\n" + "\n".join(faults)


def test_files_are_short_and_the_list_of_exceptions_only_shrinks() -> None:
    lines = (tree.ROOT / "tests/repo/long_files.txt").read_text(encoding="utf-8").splitlines()
    listed = frozenset(line for line in lines if line and not line.startswith("#"))
    faults = tidy.long_files(tree.ROOT, listed)
    assert not faults, "\n" + "\n".join(faults)


def test_each_pure_module_has_a_test_file_of_its_own() -> None:
    faults = tidy.missing_mirrors(tree.ROOT, "kernel", "resilience")
    assert not faults, "\n" + "\n".join(faults)
