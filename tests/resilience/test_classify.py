"""Endings and what they mean, by the shape of foreign exceptions."""

import asyncio
import errno
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from seawall.kernel.errors import (
    BreakerOpen,
    ConflictError,
    DatabaseUnavailable,
    DeadlineExceeded,
    NotFoundError,
    Outcome,
    RateLimitedError,
    ServiceUnavailable,
    UsageError,
    ValidationError,
)
from seawall.resilience.classify import GROUP_LEAVES_MAX, RETRY_AFTER_MAX_S, Classifier, Verdict, by_shape


def error(**attributes: Any) -> Exception:
    made = Exception("foreign")
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def response(status: Any, **headers: str) -> SimpleNamespace:
    return SimpleNamespace(
        status_code=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def meant(verdict: Verdict | None) -> tuple[Outcome, bool, float | None] | None:
    return None if verdict is None else (verdict.outcome, verdict.retryable, verdict.retry_after_s)


FAILED = (Outcome.FAILED, False, None)


@pytest.mark.parametrize(
    ("raised", "verdict"),
    [
        (ValidationError("x"), (Outcome.IGNORED, False, None)),
        (ConflictError("x"), (Outcome.IGNORED, False, None)),
        (RateLimitedError("x", 3.0), (Outcome.THROTTLED, True, 3.0)),
        (ServiceUnavailable("db", "x", 4.0), (Outcome.UNREACHABLE, True, 4.0)),
        (DatabaseUnavailable("db"), (Outcome.UNREACHABLE, True, None)),
        (DeadlineExceeded("db"), (Outcome.FAILED, True, None)),
        (BreakerOpen("db", "open", 5.0), (Outcome.VOID, False, 5.0)),
        (error(sqlstate="57P01"), (Outcome.UNREACHABLE, True, None)),
        (error(pgcode="23505"), (Outcome.IGNORED, False, None)),
        (error(sqlstate="40001"), (Outcome.IGNORED, True, None)),
        (error(sqlstate=None, pgcode="53300"), (Outcome.THROTTLED, True, None)),
        (error(response=response(503)), (Outcome.UNREACHABLE, True, None)),
        (error(response=response(429, Retry_After="7")), (Outcome.THROTTLED, True, 7.0)),
        (error(response=response(404)), (Outcome.IGNORED, False, None)),
        (error(response=response(200)), (Outcome.FAILED, False, None)),
        (error(response=SimpleNamespace(status=500)), (Outcome.FAILED, False, None)),
        (error(status=429, headers={"retry-after": "2"}), (Outcome.THROTTLED, True, 2.0)),
        (error(response=None, status=429, headers={"Retry-After": "2"}), (Outcome.THROTTLED, True, 2.0)),
        (error(code=502), (Outcome.UNREACHABLE, True, None)),
        (error(code=lambda: SimpleNamespace(value=(14, "unavailable"))), (Outcome.UNREACHABLE, True, None)),
        (error(code=lambda: SimpleNamespace(value=5)), (Outcome.IGNORED, False, None)),
        (TimeoutError(), (Outcome.FAILED, True, None)),
        (ConnectionResetError(), (Outcome.UNREACHABLE, True, None)),
        (error(), None),
        (error(status=True), None),
        (error(status=99), None),
        (error(code=1006), None),
        (error(sqlstate=5), None),
        (error(code=lambda: SimpleNamespace(value=())), None),
        (error(code=lambda: SimpleNamespace(value=True)), None),
        (error(code=lambda: None), None),
        (error(code=lambda needed: needed), None),
    ],
)
def test_an_exception_is_known_by_its_shape(
    raised: Exception, verdict: tuple[Outcome, bool, float | None] | None
) -> None:
    assert meant(by_shape(raised)) == verdict
    assert meant(Classifier().error(raised)) == (verdict or FAILED)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("86400", 86_400.0),
        ("999999", RETRY_AFTER_MAX_S),
        ("9999999", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("", None),
    ],
)
def test_only_a_plausible_retry_after_is_believed(header: str, seconds: float | None) -> None:
    verdict = by_shape(error(response=response(503, Retry_After=header)))
    assert verdict is not None
    assert verdict.retry_after_s == seconds


def test_a_property_that_fails_does_not_replace_the_error() -> None:
    class Awkward(Exception):
        @property
        def response(self) -> object:
            raise RuntimeError("the request was never sent")

        @property
        def code(self) -> object:
            raise RuntimeError("nor this")

    assert by_shape(Awkward()) is None


@pytest.mark.parametrize(
    "raised", [asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit(), SystemExit(3)]
)
def test_cancellation_from_outside_teaches_nothing(raised: BaseException) -> None:
    everything = Classifier(failures=(Exception,), retry_on=(Exception,), by_error=lambda _: Outcome.FAILED)
    assert meant(everything.error(raised)) == (Outcome.VOID, False, None)


def test_ignored_exceptions_are_answers_whatever_the_table_says() -> None:
    classifier = Classifier(ignore=(ConnectionError, KeyError))
    assert meant(classifier.error(ConnectionResetError())) == (Outcome.IGNORED, False, None)
    assert meant(classifier.error(KeyError())) == (Outcome.IGNORED, False, None)
    assert meant(classifier.error(OSError())) == FAILED


def test_with_a_list_of_failures_the_rest_is_ignored_unless_it_is_known() -> None:
    classifier = Classifier(failures=(OSError,))
    assert meant(classifier.error(OSError())) == (Outcome.FAILED, True, None)
    assert meant(classifier.error(ValueError())) == (Outcome.IGNORED, False, None)
    assert meant(classifier.error(error(sqlstate="08006"))) == (Outcome.UNREACHABLE, True, None)


def test_what_is_worth_a_retry_can_be_said() -> None:
    classifier = Classifier(retry_on=(KeyError,))
    assert meant(classifier.error(KeyError())) == (Outcome.FAILED, True, None)
    assert meant(classifier.error(ConnectionResetError())) == (Outcome.UNREACHABLE, False, None)


def test_the_user_is_asked_first_and_may_pass() -> None:
    answers = {
        KeyError: Outcome.THROTTLED,
        ValueError: Outcome.IGNORED,
        RateLimitedError: Outcome.UNREACHABLE,
    }
    classifier = Classifier(by_error=lambda raised: answers.get(type(raised)), ignore=(KeyError,))
    assert meant(classifier.error(KeyError())) == (Outcome.THROTTLED, True, None)
    assert meant(classifier.error(ValueError())) == (Outcome.IGNORED, False, None)
    assert meant(classifier.error(RateLimitedError("x", 3.0))) == (Outcome.UNREACHABLE, True, 3.0)
    assert meant(classifier.error(TimeoutError())) == (Outcome.FAILED, True, None)


def test_results_are_good_unless_somebody_judges_them() -> None:
    assert meant(Classifier().result(response(503))) == (Outcome.OK, False, None)
    judging = Classifier(by_result=lambda value: value.outcome)  # type: ignore[attr-defined]  # any object
    for outcome in (Outcome.OK, Outcome.IGNORED, Outcome.SLOW, Outcome.VOID):
        assert meant(judging.result(SimpleNamespace(outcome=outcome))) == (outcome, False, None)
    for outcome in (Outcome.FAILED, Outcome.UNREACHABLE, Outcome.THROTTLED):
        said = SimpleNamespace(outcome=outcome, headers={"Retry-After": "6"})
        assert meant(judging.result(said)) == (outcome, True, 6.0)


def test_a_verdict_shows_what_it_says() -> None:
    assert repr(Verdict(Outcome.FAILED, retryable=True)) == (
        "Verdict(FAILED, retryable=True, retry_after_s=None)"
    )


def test_a_number_may_stand_for_an_outcome_and_rubbish_may_not() -> None:
    judging = Classifier(by_result=lambda value: value)  # type: ignore[arg-type, return-value]  # that is the test
    assert meant(judging.result(int(Outcome.FAILED))) == (Outcome.FAILED, True, None)
    with pytest.raises(ValueError, match="99"):
        judging.result(99)


@pytest.mark.parametrize(
    "raised", [OSError(errno.EHOSTUNREACH, "no route"), socket.gaierror(-2, "no such host")]
)
def test_no_way_there_is_unreachable(raised: OSError) -> None:
    assert meant(by_shape(raised)) == (Outcome.UNREACHABLE, True, None)


def test_a_full_disk_is_not_unreachable() -> None:
    assert by_shape(OSError(errno.ENOSPC, "full")) is None


def test_a_group_is_as_bad_as_the_worst_of_it() -> None:
    refusals = ExceptionGroup("tasks", [NotFoundError(), ExceptionGroup("more", [ValidationError()])])
    assert meant(Classifier().error(refusals)) == (Outcome.IGNORED, False, None)
    mixed = ExceptionGroup("tasks", [NotFoundError(), RateLimitedError("x", 3.0), ConnectionResetError()])
    assert meant(Classifier().error(mixed)) == (Outcome.UNREACHABLE, False, 3.0)
    lost = ExceptionGroup("tasks", [ConnectionResetError(), TimeoutError()])
    assert meant(Classifier().error(lost)) == (Outcome.FAILED, True, None)
    assert Classifier(ignore=(KeyError,)).error(ExceptionGroup("g", [KeyError()])).outcome is Outcome.IGNORED
    crowd = ExceptionGroup("many", [NotFoundError() for _ in range(GROUP_LEAVES_MAX)] + [OSError()] * 9)
    assert Classifier().error(crowd).outcome is Outcome.FAILED, "the last ones are looked at first"


def test_a_truth_value_is_no_outcome() -> None:
    for judging in (
        Classifier(by_result=lambda _value: True),  # type: ignore[arg-type, return-value]  # that is the test
        Classifier(by_error=lambda _error: True),  # type: ignore[arg-type, return-value]  # that is the test
    ):
        with pytest.raises(UsageError, match="has to give an Outcome"):
            judging.result(1) if judging.by_result else judging.error(KeyError())
    assert Classifier(by_error=lambda _error: 3).error(KeyError()).outcome is Outcome.IGNORED  # type: ignore[arg-type, return-value]


def test_headers_that_raise_do_not_replace_the_error() -> None:
    class Headers:
        def get(self, _name: str) -> str:
            raise LookupError

    raised = error(response=SimpleNamespace(status_code=503, headers=Headers()))
    assert meant(by_shape(raised)) == (Outcome.UNREACHABLE, True, None)
