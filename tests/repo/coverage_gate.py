"""Demands full branch coverage of the pure packages by their own tests; shows each module's too.

A package counts only what ``tests/<package>`` reaches: code that is run by accident, from a test that checks
something else, isn't tested. ``--each`` makes the second figure fatal too: what of a module
``test_<module>.py`` alone reaches.
"""

import io
import subprocess
import sys
from pathlib import Path

import coverage
import pytest

from tests.repo import tree

PACKAGES = ("kernel", "resilience")


def data_file(package: str) -> Path:
    """Where the measurement of a package is kept."""
    return tree.ROOT / "build" / f"coverage-{package}"


def measure(package: str) -> int:
    """Run a package's own tests under coverage, remembering which test reached what; pytest's exit status."""
    measured = coverage.Coverage(
        data_file=str(data_file(package)),
        branch=True,
        source=[f"seawall.{package}"],
        config_file="pyproject.toml",
    )
    measured.set_option("run:dynamic_context", "test_function")
    measured.erase()
    measured.start()
    try:
        return pytest.main(["-q", f"tests/{package}"])
    finally:
        measured.stop()
        measured.save()


def report(package: str, include: str = "*", contexts: str | None = None) -> tuple[float, str]:
    """Branch coverage in percent and its table, by all tests of a package or by those of some contexts."""
    measured = coverage.Coverage(data_file=str(data_file(package)), config_file="pyproject.toml")
    measured.load()
    table = io.StringIO()
    chosen = [contexts] if contexts else None
    share = measured.report(
        include=[include],
        contexts=chosen,
        show_missing=True,
        skip_covered=True,
        file=table,
        ignore_errors=False,
    )
    return share, table.getvalue()


def own_share(package: str, path: Path) -> float:
    """What of a module its mirror test reaches, the lines run by importing it included."""
    stem = path.stem.lstrip("_")
    return report(package, include=str(path), contexts=rf"^$|\btest_{stem}(_\w+)?\.")[0]


def main(arguments: list[str]) -> int:
    """Measure every pure package and judge; 1 when one isn't fully covered."""
    if arguments[:1] == ["--measure"]:
        return measure(arguments[1])
    data_file("any").parent.mkdir(exist_ok=True)
    faults = []
    for package in PACKAGES:
        command = [sys.executable, "-m", "tests.repo.coverage_gate", "--measure", package]
        if status := subprocess.run(command, cwd=tree.ROOT, check=False).returncode:
            return status
        share, table = report(package)
        print(table)
        if share < 100:
            faults.append(f"{package} is covered to {share:.2f} % by tests/{package}, 100 % is demanded")
        for path in sorted((tree.ROOT / "src/seawall" / package).glob("*.py")):
            if path.stem == "__init__" or (own := own_share(package, path)) == 100:
                continue
            print(f"{package}/{path.name}: {own:.1f} % by its mirror test alone")
            if "--each" in arguments:
                faults.append(f"{package}/{path.name} is covered to {own:.2f} % by its mirror test")
    for fault in faults:
        print(f"coverage gate: {fault}", file=sys.stderr)
    print("coverage gate: " + ("failed" if faults else "passed"))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
