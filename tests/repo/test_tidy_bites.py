"""Each tidy rule, applied to a small tree that breaks it: a rule that can't fail is no rule."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.repo import tidy

TIDY = '"""A module."""\n\n\ndef call(value: int) -> int:\n    """Return it."""\n    return value\n'


@pytest.fixture
def plant(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_a_tidy_tree_has_no_faults(plant: Callable[[str, str], Path]) -> None:
    root = plant("src/seawall/kernel/clock.py", TIDY)
    plant("tests/kernel/test_clock.py", TIDY)
    plant("README.md", "# Seawall\n")
    rules = [
        tidy.long_functions,
        tidy.missing_docstrings,
        tidy.missing_annotations,
        tidy.empty_bodies,
        tidy.vague_names,
        tidy.leftovers,
        tidy.large_files,
        tidy.root_imports,
        tidy.readme_length,
    ]
    assert [fault for rule in rules for fault in rule(root)] == []
    assert tidy.long_files(root, frozenset()) == []
    assert tidy.missing_mirrors(root, "kernel") == []


@pytest.mark.parametrize(
    ("rule", "name", "text", "said"),
    [
        (tidy.long_functions, "src/seawall/a.py", "def f():\n" + "    f()\n" * 60, "61 lines"),
        (tidy.missing_docstrings, "src/seawall/a.py", "x = 1\n", "no docstring"),
        (tidy.missing_docstrings, "src/seawall/a.py", '"""A."""\nclass B:\n    x = 1\n', "a.py:2 B has no"),
        (
            tidy.missing_docstrings,
            "src/seawall/a.py",
            '"""A."""\nclass B:\n    """B."""\n    def c(self): return 1\n',
            "B.c has no",
        ),
        (tidy.missing_annotations, "src/seawall/a.py", "def f(a, *, b: int) -> None: ...\n", "no type for a"),
        (tidy.missing_annotations, "src/seawall/a.py", "def f(): ...\n", "no type for the return"),
        (tidy.empty_bodies, "src/seawall/a.py", "def f():\n    pass\n", "does nothing"),
        (tidy.vague_names, "src/seawall/utils.py", TIDY, "'utils' says nothing"),
        (tidy.vague_names, "src/seawall/common/a.py", TIDY, "'common' says nothing"),
        (tidy.leftovers, "src/seawall/a.py", "raise NotImplemented" + "Error\n", "unfinished"),
        (tidy.leftovers, "docs/a.md", "TO" + "DO: write\n", "docs/a.md:1"),
        (tidy.leftovers, "src/seawall/a.py", "x = '/ho" + "me/anna/x'\n", "somebody's machine"),
        (tidy.leftovers, "docs/a.md", "as se" + "ed 003 says\n", "say 'reference'"),
        (tidy.leftovers, "src/seawall/a.py", "import x  # type: igno" + "re\n", "name the ignored rule"),
        (tidy.leftovers, "src/seawall/a.py", "import x  # no" + "qa\n", "name the ignored rule"),
        (tidy.possessive_groups, "src/seawall/a.py", "x = rb'(?:a|b)*+c'\n", "a.py:1 repeats"),
        (tidy.possessive_groups, "src/seawall/a.py", "x = rb'(?:a){0,3}+'\n", "a.py:1 repeats"),
        (tidy.large_files, "docs/a.md", "x" * 1_000_001, "1000001 bytes"),
        (
            tidy.root_imports,
            "src/seawall/kernel/a.py",
            "from seawall import guard\n",
            "imports from 'seawall'",
        ),
        (tidy.readme_length, "README.md", "line\n" * 121, "121 lines"),
    ],
)
def test_a_fault_is_found(
    plant: Callable[[str, str], Path],
    rule: Callable[[Path], list[str]],
    name: str,
    text: str,
    said: str,
) -> None:
    faults = rule(plant(name, text))
    assert len(faults) >= 1
    assert said in "\n".join(faults)


def test_a_named_ignore_and_a_random_seed_are_fine(plant: Callable[[str, str], Path]) -> None:
    root = plant("src/seawall/a.py", "import x  # type: ignore[import]  # noqa: F401\nseed = 7\n")
    assert tidy.leftovers(root) == []


def test_a_long_file_must_be_listed_and_a_listed_file_must_be_long(plant: Callable[[str, str], Path]) -> None:
    root = plant("src/seawall/a.py", "x = 1\n" * 501)
    assert "more than 500" in tidy.long_files(root, frozenset())[0]
    assert tidy.long_files(root, frozenset({"src/seawall/a.py"})) == []
    assert "take it out" in tidy.long_files(root, frozenset({"src/seawall/a.py", "src/seawall/b.py"}))[0]


def test_a_very_long_file_fails_even_when_listed(plant: Callable[[str, str], Path]) -> None:
    root = plant("src/seawall/a.py", "x = 1\n" * 901)
    assert "the limit is 900" in tidy.long_files(root, frozenset({"src/seawall/a.py"}))[0]


def test_a_module_without_a_mirror_is_found(plant: Callable[[str, str], Path]) -> None:
    root = plant("src/seawall/kernel/clock.py", TIDY)
    assert "tests/kernel/test_clock.py" in tidy.missing_mirrors(root, "kernel")[0]


def test_an_interpreted_child_of_a_compiled_class_is_found(plant: Callable[[str, str], Path]) -> None:
    root = plant("src/seawall/a.py", "from seawall.b import Ticket\n\n\nclass Probe(Ticket):\n    x = 1\n")
    plant("src/seawall/b.py", "class Ticket:\n    x = 1\n")
    a, b = root / "src/seawall/a.py", root / "src/seawall/b.py"
    assert "Probe inherits from seawall.b" in tidy.interpreted_children(root, [b])[0]
    assert tidy.interpreted_children(root, [a, b]) == []
    assert tidy.interpreted_children(root, [a]) == []
