"""When a suite is within its limits, and what a reason has to say."""

import pytest

from tests.conformance.peers import reasons
from tests.conformance.peers.__main__ import UNSTEADY as UNSTEADY_ALLOWED
from tests.conformance.peers.__main__ import Suite, catalogue, judge
from tests.conformance.peers.arena import Address
from tests.conformance.peers.material import NoMaterialError
from tests.conformance.peers.outcomes import FAILED, PASSED, SKIPPED, UNSTEADY, Comparison
from tests.conformance.peers.reasons import Reason, load, why

KNOWN = (Reason("some", frozenset({"session"}), frozenset({"a::one", "a::two"}), "pooling"),)


def verdict(direct, through, *, mode="session", same_counts=False, limit=2):
    suite = Suite(lambda visit: {}, "1.0", same_counts=same_counts, limits={"session": limit})
    return judge("some", suite, mode, Comparison(direct, through), KNOWN).ok


def test_no_difference_is_within_the_limits():
    assert verdict({"a::one": PASSED}, {"a::one": PASSED}, same_counts=True)


def test_a_failure_with_a_reason_counts_against_the_limit():
    direct = {"a::one[x]": PASSED, "a::two": PASSED}
    through = {"a::one[x]": FAILED, "a::two": FAILED}
    assert verdict(direct, through)
    assert not verdict(direct, through, limit=1)


def test_a_failure_without_a_reason_is_beyond_them():
    assert not verdict({"a::three": PASSED}, {"a::three": FAILED})


def test_a_reason_is_for_its_modes_only():
    suite = Suite(lambda visit: {}, "1.0", same_counts=False, limits={"transaction": 9})
    found = Comparison({"a::one": PASSED}, {"a::one": FAILED})
    assert not judge("some", suite, "transaction", found, KNOWN).ok
    assert why(KNOWN, suite="another", mode="session", test="a::one") is None


def test_a_vanished_test_is_a_failure():
    assert not verdict({"a::three": PASSED}, {})


def test_other_counts_are_beyond_the_limits_where_they_have_to_be_the_same():
    assert not verdict({"a::one": PASSED}, {"a::one": SKIPPED}, same_counts=True)
    assert verdict({"a::one": PASSED}, {"a::one": SKIPPED})


def test_unsteady_tests_are_tolerated_up_to_a_number():
    names = [f"a::{number}" for number in range(UNSTEADY_ALLOWED + 1)]
    direct = dict.fromkeys(names, PASSED)
    assert verdict(direct, {**direct, **dict.fromkeys(names[1:], UNSTEADY)})
    assert not verdict(direct, dict.fromkeys(names, UNSTEADY))
    explained = [f"a::one[{number}]" for number in range(UNSTEADY_ALLOWED + 1)]
    assert verdict(dict.fromkeys(explained, PASSED), dict.fromkeys(explained, UNSTEADY))


def test_the_committed_reasons_can_be_read_and_name_real_suites():
    known = catalogue("")
    for reason in load():
        assert reason.suite in known
        assert reason.modes <= {"session", "transaction"}
        assert not any("[" in test for test in reason.tests), "names are without parameters"


@pytest.mark.parametrize(
    "text",
    [
        '[[reason]]\nsuite = "psycopg"',
        '[[reason]]\nsuite = "psycopg"\nmodes = ["session"]\ntests = ["a"]\nbecause = ""',
        '[[reason]]\nsuite = "psycopg"\nmodes = ["session"]\ntests = ["a"]\nbecause = "x"\nmore = 1',
    ],
)
def test_a_reason_without_a_because_is_refused(tmp_path, text):
    path = tmp_path / "reasons.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="reason 1"):
        reasons.load(path)


def test_addresses():
    assert Address.parse("127.0.0.1:6432") == Address("127.0.0.1", 6432)
    for odd in ("6432", "host:", "host:port", ":1"):
        with pytest.raises(NoMaterialError, match="host:port"):
            Address.parse(odd)
