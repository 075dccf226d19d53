"""Seawall meets every case that ``python -m benchmarks.semantics`` puts to it and its rivals."""

from __future__ import annotations

import pytest

from benchmarks.conformance.cases import CASES
from benchmarks.conformance.seawall_subject import Seawall, SeawallBlocks, SeawallKeyed
from benchmarks.conformance.subject import Case, Subject


@pytest.mark.parametrize("kind", [Seawall, SeawallBlocks, SeawallKeyed], ids=["guard", "blocks", "keyed"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key.replace(" ", "-"))
def test_case(case: Case, kind: type[Subject]) -> None:
    found = case.run(kind)

    assert found.status == "pass", f"{case.must}: {found.evidence}"


def test_nothing_is_excused() -> None:
    assert not Seawall.lacks


def test_keys_are_unique() -> None:
    keys = [case.key for case in CASES]

    assert len(set(keys)) == len(keys) >= 25
