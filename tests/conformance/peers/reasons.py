"""The committed reasons: failures that pooling can't avoid or that we accept, each with its because."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

REASONS = Path(__file__).parent / "reasons.toml"
KEYS = {"suite", "modes", "tests", "because"}


@dataclass(frozen=True)
class Reason:
    """Why some tests of a suite fail in some pool modes."""

    suite: str
    modes: frozenset[str]
    tests: frozenset[str]
    """Names without their parameters."""
    because: str


def load(path: Path = REASONS) -> tuple[Reason, ...]:
    """Read the reasons.

    Raises:
        ValueError: An entry lacks a key, has an unknown one, or says nothing; the text names entry and key.
    """
    entries = tomllib.loads(path.read_text()).get("reason", [])
    found = []
    for number, entry in enumerate(entries, start=1):
        if set(entry) != KEYS or not all(entry.values()):
            raise ValueError(f"{path.name}, reason {number}: needs {sorted(KEYS)}, none empty; has {entry}")
        found.append(
            Reason(entry["suite"], frozenset(entry["modes"]), frozenset(entry["tests"]), entry["because"])
        )
    return tuple(found)


def why(reasons: tuple[Reason, ...], *, suite: str, mode: str, test: str) -> str | None:
    """Return why a test may fail, None when nobody has said so."""
    bare = test.partition("[")[0]
    for reason in reasons:
        if reason.suite == suite and mode in reason.modes and bare in reason.tests:
            return reason.because
    return None
