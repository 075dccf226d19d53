"""What results add up to, and what may be read of them."""

import pickle

import pytest

from seawall.kernel.errors import PolicyError
from seawall.telemetry.serving.health import (
    DETAILS_MAX,
    TEXT_MAX_CHARACTERS,
    Check,
    CheckFailed,
    CheckResult,
    Probe,
    Report,
    Status,
    judge,
)


def result(name="database", *, healthy=True, critical=True, reason="", details=None, at=10.0):
    return CheckResult(
        name=name,
        critical=critical,
        healthy=healthy,
        reason=reason,
        details=details or {},
        at=at,
        duration_s=0.25,
    )


def report(*results, holds=()):
    return Report(probe=Probe.READINESS, results=results, holds=holds, now=12.5, uptime_s=60.0)


@pytest.mark.parametrize(
    ("results", "holds", "status", "http"),
    [
        ([], (), Status.HEALTHY, 200),
        ([result()], (), Status.HEALTHY, 200),
        ([result(), result("cache", healthy=False, critical=False)], (), Status.DEGRADED, 200),
        ([result(healthy=False), result("cache", healthy=False, critical=False)], (), Status.UNHEALTHY, 503),
        ([result()], ("draining",), Status.UNHEALTHY, 503),
    ],
)
def test_the_table(results, holds, status, http) -> None:
    seen = report(*results, holds=holds)
    assert (seen.status, seen.http_status) == (status, http)


def test_the_document_names_each_check() -> None:
    seen = report(result(healthy=False, reason="no answer within 1s", details={"pool": 3})).document(
        full=True
    )
    assert seen == {
        "status": "unhealthy",
        "probe": "readiness",
        "uptime_s": 60.0,
        "checks": {
            "database": {
                "status": "unhealthy",
                "critical": True,
                "age_s": 2.5,
                "duration_s": 0.25,
                "reason": "no answer within 1s",
                "details": {"pool": 3},
            }
        },
    }


def test_strangers_see_no_reasons_and_no_figures() -> None:
    seen = report(result(healthy=False, reason="why", details={"pool": 3}), holds=("draining",)).document(
        full=False
    )
    assert seen["checks"] == {"database": {"status": "unhealthy", "critical": True, "age_s": 2.5}}
    assert seen["holds"] == ["draining"]


def test_a_result_from_a_later_reading_has_no_negative_age() -> None:
    assert result(at=99.0).document(12.5, full=False)["age_s"] == 0.0


@pytest.mark.parametrize(
    ("answer", "error", "verdict"),
    [
        (None, None, (True, "", {})),
        (True, None, (True, "", {})),
        ({"lag_s": 0.5}, None, (True, "", {"lag_s": 0.5})),
        (False, None, (False, "the check says no", {})),
        (3, None, (False, "the check returned int, not None, a bool or a mapping", {})),
        (None, CheckFailed("no primary", {"seen": 0}), (False, "no primary", {"seen": 0})),
    ],
)
def test_what_an_answer_means(answer, error, verdict) -> None:
    assert judge(answer, error) == verdict


def test_a_foreign_exceptions_text_stays_here() -> None:
    assert judge(None, OSError("postgresql://app:hunter2@db")) == (False, "the check raised OSError", {})


def test_texts_and_figures_are_bounded() -> None:
    healthy, reason, details = judge(
        None, CheckFailed("a\n b" + "x" * 500, {f"k{n}": "y" * 500 for n in range(99)})
    )
    assert not healthy
    assert reason.startswith("a bx")
    assert len(reason) == TEXT_MAX_CHARACTERS
    assert len(details) == DETAILS_MAX
    assert {len(value) for value in details.values()} == {TEXT_MAX_CHARACTERS}


class Hostile:
    def _never(self, *_):
        raise AssertionError("a method of a value was called")

    __str__ = __repr__ = __format__ = _never


def test_only_plain_figures_are_shown() -> None:
    given = {
        "up": True,
        "lag_s": 0.5,
        "none": None,
        "dsn": Hostile(),
        "raw": b"x",
        Hostile(): 1,
        "bad": "\udc80",
    }
    shown = {
        "up": True,
        "lag_s": 0.5,
        "none": None,
        "dsn": "<Hostile>",
        "raw": "<bytes>",
        "<Hostile>": 1,
        "bad": "?",
    }
    assert judge(given, None) == (True, "", shown)
    assert judge(None, CheckFailed(Hostile())) == (False, "<Hostile>", {})


def test_all_mistakes_of_a_check_are_named() -> None:
    with pytest.raises(PolicyError) as caught:
        Check(name="No Name", call=bool, timeout_s=float("nan"), max_age_s=-1.0, probes=frozenset())
    assert [problem.key for problem in caught.value.problems] == [
        "check.name",
        "check.timeout_s",
        "check.max_age_s",
        "check.probes",
    ]


def test_a_failure_crosses_processes() -> None:
    twin = pickle.loads(pickle.dumps(CheckFailed("no primary", {"seen": 0})))
    assert (str(twin), twin.details) == ("no primary", {"seen": 0})
