"""``import seawall`` costs what the core costs: no terminal, no network, no test kit comes with it."""

import json
import subprocess
import sys

import pytest

HEAVY = [
    "click",
    "hypothesis",
    "importlib.metadata",
    "msgspec",
    "opentelemetry",
    "orjson",
    "pydantic",
    "pytest",
    "rich",
    "sqlalchemy",
    "starlette",
    "structlog",
    "typer",
    "uvicorn",
]
"""What a library that guards a call has no business loading before it is asked to."""

ON_DEMAND = ["asyncio", "concurrent.futures", "logging", "socket", "ssl", "subprocess", "tomllib"]
"""What the awaiting edge and the TOML reader bring; whoever only wants an error class doesn't pay for it."""


def loaded_by(statement: str) -> set[str]:
    """The modules that a statement adds to a bare interpreter's."""
    program = (
        f"import json, sys; before = set(sys.modules); {statement};"
        " print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(answer.stdout))


@pytest.fixture(scope="module", params=["import seawall", "from seawall import Breaker, Retry, guard"])
def loaded(request) -> set[str]:
    return loaded_by(request.param)


def test_nothing_heavy_is_imported(loaded: set[str]) -> None:
    assert sorted(loaded.intersection(HEAVY)) == []


def test_the_package_alone_brings_no_event_loop_and_no_parser() -> None:
    assert sorted(loaded_by("import seawall").intersection(ON_DEMAND)) == []


def test_neither_the_command_line_nor_the_test_kit_is_imported(loaded: set[str]) -> None:
    assert [name for name in sorted(loaded) if name.startswith(("seawall.cli", "seawall.testing"))] == []


def test_nothing_outside_the_standard_library_is_imported(loaded: set[str]) -> None:
    roots = {name.partition(".")[0] for name in loaded}
    assert sorted(roots - set(sys.stdlib_module_names) - {"seawall"}) == []


def test_the_measurement_sees_an_import() -> None:
    assert "logging" in loaded_by("import logging")
