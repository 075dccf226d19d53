"""W3C's own cases, as far as they are about text: which parent is read, and which members."""

import pytest

from seawall.wire.tracecontext.traceparent import parse_traceparent
from seawall.wire.tracecontext.tracestate import format_tracestate, parse_tracestate
from tests.wire.tracecontext.w3c_cases import PARENTS, REPEATED, SPAN, STATES, SUITE_TESTS, TRACE, Case


def values(case: Case, name: str) -> list[str]:
    return [value for header, value in case.sent if header.lower() == name]


def test_no_test_of_the_suite_is_missing() -> None:
    names = {case.name.split()[0] for case in (*PARENTS, *STATES, *REPEATED)}
    assert len(names) == SUITE_TESTS


@pytest.mark.parametrize("case", [*PARENTS, *STATES, *REPEATED], ids=lambda case: case.name)
def test_reads_the_parent(case: Case) -> None:
    parents = values(case, "traceparent")
    read = parse_traceparent(parents[0]) if len(parents) == 1 else None
    expected = (int(TRACE, 16), int(SPAN, 16), case.flags) if case.continued else None
    assert read == expected


@pytest.mark.parametrize("case", [case for case in STATES if case.continued], ids=lambda case: case.name)
def test_reads_the_members(case: Case) -> None:
    members = parse_tracestate(values(case, "tracestate"))
    assert tuple(members.items()) == case.state
    assert parse_tracestate([format_tracestate(members)]) == members
