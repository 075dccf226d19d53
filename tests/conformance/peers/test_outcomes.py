"""What is read from suites' reports, and what counts as different."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conformance.peers.outcomes import (
    EXPECTED,
    FAILED,
    PASSED,
    SKIPPED,
    UNSTEADY,
    WORST_FIRST,
    Comparison,
    SuiteFailedError,
    from_json,
    from_junit,
    from_lines,
    with_second_run,
    worst,
)

REPORT = """<testsuites><testsuite>
<testcase classname="a" name="good"/>
<testcase classname="a" name="bad"><failure message="no"/></testcase>
<testcase classname="a" name="broken"><error message="setup"/></testcase>
<testcase classname="a" name="left out"><skipped type="pytest.skip"/></testcase>
<testcase classname="a" name="known"><skipped type="pytest.xfail"/></testcase>
<testcase classname="a" name="teardown"/>
<testcase classname="a" name="teardown"><error message="teardown"/></testcase>
</testsuite></testsuites>"""

outcomes = st.dictionaries(st.text(max_size=5), st.sampled_from(WORST_FIRST), max_size=8)


def test_a_junit_report_gives_one_outcome_per_test(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert from_junit(report) == {
        "a::good": PASSED,
        "a::bad": FAILED,
        "a::broken": FAILED,
        "a::left out": SKIPPED,
        "a::known": EXPECTED,
        "a::teardown": FAILED,
    }


@pytest.mark.parametrize("text", ["", "<testsuites>", "<testsuites/>", "no xml"])
def test_a_report_without_tests_is_no_result(tmp_path, text):
    report = tmp_path / "report.xml"
    report.write_text(text)
    with pytest.raises(SuiteFailedError):
        from_junit(report)


def test_a_missing_report_is_no_result(tmp_path):
    with pytest.raises(SuiteFailedError):
        from_junit(tmp_path / "nothing.xml")
    with pytest.raises(SuiteFailedError):
        from_json(tmp_path / "nothing.json")


@pytest.mark.parametrize("document", ["[]", "{}", '{"a": "splendid"}', "{", '{"a": 1}'])
def test_odd_json_is_no_result(tmp_path, document):
    report = tmp_path / "report.json"
    report.write_text(document)
    with pytest.raises(SuiteFailedError):
        from_json(report)


@given(st.text(max_size=200))
def test_any_output_of_a_program_is_read_or_refused(text):
    try:
        found = from_lines(text)
    except SuiteFailedError:
        return
    assert found
    assert set(found.values()) <= set(WORST_FIRST)


def test_a_programs_lines():
    lines = [json.dumps({"case": "a", "ok": True, "detail": ""}), json.dumps({"case": "b", "ok": False})]
    assert from_lines("\n".join(lines)) == {"a": PASSED, "b": FAILED}


def test_a_case_is_good_only_when_it_says_so():
    assert from_lines('{"case": "a", "ok": 1}') == {"a": FAILED}


@given(outcomes)
def test_a_suite_compared_with_itself_is_the_same(found):
    comparison = Comparison(found, dict(found))
    assert comparison.new_failures() == []
    assert comparison.same_counts()


@given(outcomes, outcomes)
def test_new_failures_are_those_that_were_not_there_directly(direct, through):
    new = set(Comparison(direct, through).new_failures())
    for name in direct.keys() | through.keys():
        lost = direct.get(name) != FAILED and name in direct and name not in through
        failed = through.get(name) == FAILED and direct.get(name) != FAILED
        assert (name in new) == (lost or failed)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(WORST_FIRST))))
def test_one_failure_is_never_hidden_by_another_entry(found):
    kept = worst(found)
    assert {name for name, outcome in found if outcome == FAILED} == {
        name for name, outcome in kept.items() if outcome == FAILED
    }


@given(outcomes, outcomes)
def test_only_what_passed_the_second_time_is_unsteady(first, second):
    found = with_second_run(first, second)
    assert found.keys() == first.keys()
    for name, outcome in found.items():
        if outcome == UNSTEADY:
            assert (first[name], second[name]) == (FAILED, PASSED)
        else:
            assert outcome == first[name]
            assert outcome != FAILED or second.get(name) != PASSED
    assert set(Comparison({}, found).unsteady()) == {n for n, outcome in found.items() if outcome == UNSTEADY}
