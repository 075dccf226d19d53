"""Runs the compiled files' own tests against the compiled wheel, where ``src`` is out of reach.

``make wheel`` comes first. The tests are copied away from the tree, so that what they import can only be the
wheel, and that the compiled files really are compiled is the first thing checked.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.repo import tree

PLACE = tree.ROOT / "build" / "compiled"


def allow_list() -> list[Path]:
    """The files that the mypyc hook compiles."""
    hook = tree.project()["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]
    return [tree.ROOT / name for name in hook["include"]]


def mirror_tests(root: Path = tree.ROOT) -> list[Path]:
    """The test files of the compiled files: test_breaker.py, test_breaker_forced.py, and so on."""
    found = []
    for path in allow_list():
        folder = root / "tests" / path.relative_to(tree.ROOT / "src" / "seawall").parts[0]
        for place in (folder, folder / path.parent.name):
            found += [
                *sorted(place.glob(f"test_{path.stem}.py")),
                *sorted(place.glob(f"test_{path.stem}_*.py")),
            ]
    return found


def compiled_wheel() -> Path:
    """The one wheel in dist/ that is made for a platform."""
    wheels = [
        path for path in sorted((tree.ROOT / "dist").glob("*.whl")) if not path.name.endswith("-any.whl")
    ]
    if len(wheels) != 1:
        sys.exit(
            f"expected one compiled wheel in dist/, found {[path.name for path in wheels]}: run make wheel"
        )
    return wheels[0]


def copy_tests() -> Path:
    """The tests with all they import but the package itself."""
    place = PLACE / "tree"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in ("tests", "benchmarks", "examples"):
        if (tree.ROOT / name).is_dir():
            shutil.copytree(tree.ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(tree.ROOT / "pyproject.toml", place)
    return place


def fresh_environment() -> Path:
    """A virtual environment with the compiled wheel and the test group; its interpreter."""
    place = PLACE / "venv"
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    python = place / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "pip>=25.1"], check=True)
    # The data path needs what its extra brings, and tests of what is observed of it another one.
    subprocess.run(
        [*pip, f"{compiled_wheel()}[proxy,telemetry]", "--group", "test"], cwd=tree.ROOT, check=True
    )
    return python


CHECK = """
import importlib, sys
interpreted = [name for name in sys.argv[1:] if importlib.import_module(name).__file__.endswith(".py")]
print(f"{len(sys.argv) - 1 - len(interpreted)} compiled modules")
sys.exit(f"not compiled: {interpreted}" if interpreted else 0)
"""


def main(arguments: list[str]) -> int:
    """Install the wheel, check that it is compiled, run the tests; pytest's exit status."""
    python = fresh_environment()
    place = copy_tests()
    names = [".".join(path.relative_to(tree.ROOT / "src").with_suffix("").parts) for path in allow_list()]
    subprocess.run([str(python), "-c", CHECK, *names], cwd=place, check=True)
    tests = [str(path.relative_to(place)) for path in mirror_tests(place)]
    command = [str(python), "-m", "pytest", "-m", "not interpreted", *tests, *arguments]
    return subprocess.run(command, cwd=place, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
