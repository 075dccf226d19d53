"""What a suite said about each of its tests, and what differs between two runs of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

PASSED, FAILED, SKIPPED, EXPECTED = "passed", "failed", "skipped", "failed as expected"
UNSTEADY = "failed, then passed"
MISSING = "missing"
WORST_FIRST = (FAILED, PASSED, EXPECTED, SKIPPED)
"""A test that passed and whose teardown failed is in the report twice: the first of these counts."""

Outcomes = Mapping[str, str]
"""A test's name to one of the words above."""


class SuiteFailedError(Exception):
    """A suite did not run to its end, so there is nothing to compare; the text says what it printed."""


def worst(found: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return one outcome per test, the worst of those it has."""
    kept: dict[str, str] = {}
    for name, outcome in found:
        before = kept.get(name)
        if before is None or WORST_FIRST.index(outcome) < WORST_FIRST.index(before):
            kept[name] = outcome
    return kept


def from_junit(path: Path) -> dict[str, str]:
    """Read the XML report that pytest writes with ``--junitxml``.

    Raises:
        SuiteFailedError: There is none, or it holds no test.
    """
    try:
        root = ET.parse(path).getroot()
    except (OSError, ET.ParseError) as error:
        raise SuiteFailedError(f"no report: {error}") from error
    found = worst(
        (f"{case.get('classname')}::{case.get('name')}", _outcome(case)) for case in root.iter("testcase")
    )
    if not found:
        raise SuiteFailedError(f"{path.name} holds no test")
    return found


def _outcome(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return FAILED
    skipped = case.find("skipped")
    if skipped is None:
        return PASSED
    return EXPECTED if skipped.get("type") == "pytest.xfail" else SKIPPED


def from_json(path: Path) -> dict[str, str]:
    """Read a JSON object of names and outcomes.

    Raises:
        SuiteFailedError: There is none, or it holds something else.
    """
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SuiteFailedError(f"no report: {error}") from error
    return _checked(document, path.name)


def from_lines(text: str) -> dict[str, str]:
    """Read what the small programs print: one JSON object with ``case`` and ``ok`` per line.

    Raises:
        SuiteFailedError: A line is something else, or there is none.
    """
    found = []
    for line in text.splitlines():
        try:
            told = json.loads(line)
            found.append((str(told["case"]), PASSED if told["ok"] is True else FAILED))
        except (ValueError, KeyError, TypeError) as error:
            raise SuiteFailedError(f"not a case: {line[:200]!r}") from error
    return _checked(worst(found), "the program's output")


def _checked(document: object, name: str) -> dict[str, str]:
    if not isinstance(document, dict) or not document:
        raise SuiteFailedError(f"{name} holds no test")
    odd = {str(value) for value in document.values()} - set(WORST_FIRST)
    if odd:
        raise SuiteFailedError(f"{name} holds unknown outcomes: {sorted(odd)}")
    return {str(key): str(value) for key, value in document.items()}


def with_second_run(first: Outcomes, second: Outcomes) -> dict[str, str]:
    """Return the first run's outcomes, where what failed and passed when run again is called unsteady."""
    return {
        name: UNSTEADY if outcome == FAILED and second.get(name) == PASSED else outcome
        for name, outcome in first.items()
    }


@dataclass(frozen=True)
class Comparison:
    """Two runs of one suite."""

    direct: Outcomes
    through: Outcomes

    def new_failures(self) -> list[str]:
        """Return the tests that failed or vanished through the proxy and did neither without it."""
        return sorted(
            name
            for name, outcome in self.direct.items()
            if outcome != FAILED and self.through.get(name, MISSING) in {FAILED, MISSING}
        ) + sorted(
            name for name, outcome in self.through.items() if outcome == FAILED and name not in self.direct
        )

    def unsteady(self) -> list[str]:
        """Return the tests that failed through the proxy the first time only."""
        return sorted(name for name, outcome in self.through.items() if outcome == UNSTEADY)

    def same_counts(self) -> bool:
        """Whether both runs have as many tests of each outcome."""
        return Counter(self.direct.values()) == Counter(self.through.values())

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many tests had which outcome, per run."""
        return {
            "direct": dict(sorted(Counter(self.direct.values()).items())),
            "through": dict(sorted(Counter(self.through.values()).items())),
        }
