"""The tidy rules: each reads a tree and returns one sentence per fault, so that each can be shown to bite.

The limits are figures of the codebases we learnt from: half of their files are under 250 lines and half of
their functions under 14. The rules are applied to this repository by test_tidy.py and to trees that break
them by test_tidy_bites.py.
"""

import ast
import re
from pathlib import Path

from tests.repo import tree

FILE_LINES_WARN = 500
"""A longer file is listed in long_files.txt, a list that may only get shorter."""

FILE_LINES_MAX = 900
"""No file is longer than this, listed or not."""

FUNCTION_LINES_MAX = 60
"""A function fits on a screen."""

FILE_BYTES_MAX = 1_000_000
"""What is larger doesn't belong in a repository that people clone."""

README_LINES_MAX = 120
"""A newcomer reads it in a minute."""

CODE_FOLDERS = ("src", "tests", "benchmarks", "examples", "docs")

VAGUE_MODULE_NAMES = frozenset({"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"})
"""Names that say nothing about what is inside, so that everything ends up there."""

# Spelt in pieces, so that this file doesn't find itself.
UNFINISHED = re.compile(r"\b(NotImplemented" + r"Error|TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
POSSESSIVE_GROUP = re.compile(r"(?:(?<!\\)\)[*+?]|\{[\d,]+\})\+(?=[^\s=])")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:ho" + r"me|ro" + r"ot|wo" + r"rk|Us" + r"ers)/\w+")
REFERENCE_WORDS = re.compile(r"\bse" + r"eds? 0\d+|\bse" + r"ed documents?\b", re.IGNORECASE)
BLANKET_IGNORE = re.compile(r"#\s*(?:type:\s*igno" + r"re(?!\[)|no" + r"qa(?!:\s*[A-Z]))")

TEXT_SUFFIXES = frozenset({"", ".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".cfg", ".sh", ".rst"})


def long_files(root: Path, listed: frozenset[str]) -> list[str]:
    """Files over the limit, long files that the ratchet does not list, and entries no longer needed."""
    faults = []
    long_names = set()
    for module in tree.modules(root, *CODE_FOLDERS):
        lines = len(module.text.splitlines())
        if lines > FILE_LINES_MAX:
            faults.append(
                f"{module.name} has {lines} lines, the limit is {FILE_LINES_MAX}: split it by concept"
            )
        if lines > FILE_LINES_WARN:
            long_names.add(module.name)
            if module.name not in listed:
                faults.append(
                    f"{module.name} has {lines} lines, more than {FILE_LINES_WARN}: split it by concept"
                    " (tests/repo/long_files.txt lists the tolerated ones and may only get shorter)"
                )
    faults += [
        f"{name} is listed in tests/repo/long_files.txt but isn't long any more: take it out"
        for name in sorted(listed - long_names)
    ]
    return faults


def long_functions(root: Path) -> list[str]:
    """Functions that don't fit on a screen, docstring included."""
    faults = []
    for module in tree.modules(root, *CODE_FOLDERS):
        for name, node in module.definitions():
            if isinstance(node, ast.ClassDef) or node.end_lineno is None:
                continue
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                faults.append(
                    f"{module.name}:{node.lineno} {name} has {lines} lines, the limit is {FUNCTION_LINES_MAX}"
                )
    return faults


def missing_docstrings(root: Path) -> list[str]:
    """Modules anywhere in src without a docstring, and public functions and classes there without one."""
    faults = []
    for module in tree.modules(root, "src"):
        if not ast.get_docstring(module.syntax):
            faults.append(f"{module.name} has no docstring: what is it, what is it not, who calls it?")
        for name, node in module.definitions():
            public = not any(part.startswith(("_", "<")) for part in name.split("."))
            if public and not ast.get_docstring(node) and not _is_overload(node):
                faults.append(f"{module.name}:{node.lineno} {name} has no docstring")
    return faults


def _is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any(name in {"overload", "typing.overload"} or name.endswith((".setter",)) for name in decorators)


def missing_annotations(root: Path) -> list[str]:
    """Functions in src with an argument or a return that has no type."""
    faults = []
    for module in tree.modules(root, "src"):
        for name, node in module.definitions():
            if isinstance(node, ast.ClassDef):
                continue
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            arguments += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in {"self", "cls"}]
            if bare or node.returns is None:
                what = ", ".join(bare) or "the return"
                faults.append(f"{module.name}:{node.lineno} {name} has no type for {what}")
    return faults


def empty_bodies(root: Path) -> list[str]:
    """Functions in src whose whole body is `pass`: a promise instead of code."""
    return [
        f"{module.name}:{node.lineno} {name} does nothing: write it or leave it out"
        for module in tree.modules(root, "src")
        for name, node in module.definitions()
        if isinstance(node.body[-1], ast.Pass)
    ]


def vague_names(root: Path) -> list[str]:
    """Modules and packages whose name says nothing."""
    faults = set()
    for module in tree.modules(root, *CODE_FOLDERS):
        for part in module.path.relative_to(root).with_suffix("").parts:
            if part.lstrip("_") in VAGUE_MODULE_NAMES:
                faults.add(f"{module.name}: '{part}' says nothing; name the thing that is inside")
    return sorted(faults)


def leftovers(root: Path) -> list[str]:
    """Unfinished work, paths of one machine, private names of reference documents, blanket ignores."""
    rules = [
        (UNFINISHED, "unfinished work: do it or leave it out"),
        (MACHINE_PATHS, "a path of somebody's machine"),
        (REFERENCE_WORDS, "say 'reference'"),
    ]
    faults = []
    for path in tree.files(root):
        if path.suffix not in TEXT_SUFFIXES or path.name == "LICENSE":
            continue
        name = path.relative_to(root).as_posix()
        checks = [*rules, (BLANKET_IGNORE, "name the ignored rule")] if path.suffix == ".py" else rules
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for pattern, advice in checks:
                if match := pattern.search(line):
                    faults.append(f"{name}:{number} has '{match.group()}': {advice}")
    return faults


def possessive_groups(root: Path) -> list[str]:
    """Regular expressions in src that repeat a group possessively.

    CPython before 3.11.5 matches them wrongly (gh-106052): functions that a text calls were not found.
    An atomic group, ``(?>(?:...)*)``, means the same and is matched rightly by all versions.
    """
    return [
        f"{module.name}:{number} repeats a group possessively: use an atomic group"
        for module in tree.modules(root, "src")
        for number, line in enumerate(module.path.read_text(encoding="utf-8").splitlines(), start=1)
        if POSSESSIVE_GROUP.search(line)
    ]


def large_files(root: Path) -> list[str]:
    """Files too large for a repository that people clone."""
    return [
        f"{path.relative_to(root).as_posix()} has {size} bytes, the limit is {FILE_BYTES_MAX}"
        for path in tree.files(root)
        if (size := path.stat().st_size) > FILE_BYTES_MAX
    ]


def root_imports(root: Path) -> list[str]:
    """Modules of src that import names from the package's own front door: that would knot it all together."""
    faults = []
    for module in tree.modules(root, "src"):
        inside = module.path.relative_to(root / "src" / "seawall").as_posix()
        if inside.startswith(("cli/", "testing/")):
            continue  # these two are users of the front door like anybody else
        for node in ast.walk(module.syntax):
            plain = isinstance(node, ast.Import) and any(alias.name == "seawall" for alias in node.names)
            if plain or (isinstance(node, ast.ImportFrom) and node.module == "seawall"):
                faults.append(
                    f"{module.name}:{node.lineno} imports from 'seawall' itself: import the module meant"
                )
    return faults


def interpreted_children(root: Path, compiled: list[Path]) -> list[str]:
    """Classes of interpreted modules that inherit from a compiled class, which fails when one is made."""
    dotted = {".".join(path.relative_to(root / "src").with_suffix("").parts) for path in compiled}
    faults = []
    for module in tree.modules(root, "src"):
        if module.path in compiled:
            continue
        imported = {
            alias.asname or alias.name: node.module
            for node in ast.walk(module.syntax)
            if isinstance(node, ast.ImportFrom) and node.module in dotted
            for alias in node.names
        }
        for name, node in module.definitions():
            for base in getattr(node, "bases", []):
                if (origin := imported.get(ast.unparse(base))) is not None:
                    faults.append(
                        f"{module.name}:{node.lineno} {name} inherits from {origin}, a compiled file:"
                        " the mypyc hook in pyproject.toml has to name both files or neither"
                    )
    return faults


def missing_mirrors(root: Path, *packages: str) -> list[str]:
    """Modules of a package that have no test file of their own."""
    faults = []
    for package in packages:
        for module in tree.modules(root, f"src/seawall/{package}"):
            if module.path.name == "__init__.py":
                continue
            mirror = f"tests/{package}/test_{module.path.stem.lstrip('_')}.py"
            if not (root / mirror).exists():
                faults.append(f"{module.name} has no mirror test {mirror}")
    return faults


def readme_length(root: Path) -> list[str]:
    """A README that nobody would read to the end."""
    lines = len((root / "README.md").read_text(encoding="utf-8").splitlines())
    return (
        [f"README.md has {lines} lines, the limit is {README_LINES_MAX}"] if lines > README_LINES_MAX else []
    )
