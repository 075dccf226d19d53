"""What the build, the changelog and the tree say about the package agrees."""

import re
import tomllib

import pytest

import seawall
from tests.repo import tidy, tree
from tests.repo.run_compiled import allow_list

PROJECT = tree.project()


def test_the_package_says_that_it_is_typed() -> None:
    assert (tree.ROOT / "src/seawall/py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]


def test_the_changelog_starts_with_this_version() -> None:
    changelog = (tree.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)\]?", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == seawall.__version__


def test_the_lowest_python_is_the_same_everywhere() -> None:
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {lowest}" in PROJECT["project"]["classifiers"]
    assert PROJECT["tool"]["mypy"]["python_version"] == lowest
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + lowest.replace(".", "")


def test_the_files_to_compile_exist_and_have_a_mirror_test() -> None:
    for path in allow_list():
        assert path.is_file(), f"{path} is on the allow-list of the mypyc hook but doesn't exist"
        package = path.relative_to(tree.ROOT / "src" / "seawall").parts[0]
        mirror = tree.ROOT / "tests" / package / f"test_{path.stem}.py"
        nested = mirror.parent / path.parent.name / mirror.name
        assert mirror.is_file() or nested.is_file(), f"{path} is compiled, so it needs {mirror}"


def test_no_interpreted_class_inherits_from_a_compiled_one() -> None:
    faults = tidy.interpreted_children(tree.ROOT, allow_list())
    assert not faults, "\n" + "\n".join(faults)


def test_the_compiled_build_is_off_unless_asked_for() -> None:
    assert (
        PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]["enable-by-default"] is False
    )


def test_no_build_left_its_output_in_the_source_tree() -> None:
    strays = [path for suffix in ("so", "c", "pyd") for path in (tree.ROOT / "src").rglob(f"*.{suffix}")]
    assert strays == [], (
        "an in-tree extension shadows every edit of its source: remove it, build with make wheel"
    )


def test_every_lint_exception_has_a_reason() -> None:
    text = (tree.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^ignore = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    assert [line for line in block[1].splitlines() if "#" not in line] == []


@pytest.mark.parametrize("path", sorted(tree.ROOT.glob("**/*.toml")), ids=lambda path: path.name)
def test_toml_files_can_be_read(path) -> None:
    if ".venv" not in path.parts:
        tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_license_is_the_one_that_the_package_names() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (tree.ROOT / "LICENSE").read_text(encoding="utf-8")[:200]
