import copy
import pickle

import pytest

from seawall.kernel import errors
from seawall.kernel.errors import Outcome, PolicyError, Problem, SeawallError, Tier, UnitError

CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SeawallError)
]

SAMPLES = [
    errors.SeawallError(),
    errors.ValidationError("age is negative"),
    errors.InternalError(),
    errors.RateLimitedError("slow down", 2.5),
    errors.ServiceUnavailable("orders", "no replica", 3.0),
    errors.CallRejected("db"),
    errors.BreakerOpen("db", "errors", 1.0, ("evidence", 7)),
    errors.BulkheadFull("db", "queue full", None, 20),
    errors.RateExceeded("db", "rate", 0.01),
    errors.DeadlineExceeded("db", 2.0, "queue"),
    errors.DatabaseUnavailable("db-1", "refused", critical=True),
    errors.BrokerUnavailable("mqtt"),
    PolicyError([Problem("breaker.errors", "500%", "0% to 100%", "write '5%'")], "seawall.toml"),
    UnitError("x", "a duration", "write one"),
    errors.UsageError("wrong"),
]


def test_every_class_is_in_the_drawn_tree():
    drawn = errors.__doc__
    assert drawn is not None
    assert [cls.__name__ for cls in CLASSES if f" {cls.__name__}" not in drawn] == []


def test_ok_is_falsy_and_the_only_one():
    assert [outcome for outcome in Outcome if not outcome] == [Outcome.OK]
    assert Outcome.OK == 0
    assert [tier.value for tier in Tier] == [1, 2, 3]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "clone", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))], ids=["copy", "pickle"]
)
def test_errors_survive_copy_and_pickle(error, clone):
    twin = clone(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    slots = [name for cls in type(error).__mro__ for name in getattr(cls, "__slots__", ())]
    for name in slots:
        assert getattr(twin, name) == getattr(error, name)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.ValidationError("age is negative"), "age is negative"),
        (errors.ServiceUnavailable("orders"), "orders: unavailable"),
        (errors.ServiceUnavailable("orders", "no replica", 3.0), "orders: no replica; retry after 3 s"),
        (errors.CallRejected("db"), "db: call rejected"),
        (errors.BreakerOpen("db", "errors", 1.25, "12 of 20"), "db: errors; retry after 1.25 s; 12 of 20"),
        (errors.BulkheadFull("db", "queue full", None, 20), "db: queue full; 20"),
        (errors.DeadlineExceeded("db"), "db: deadline exceeded"),
        (errors.DeadlineExceeded("db", 3600.0), "db: deadline exceeded after 3600 s"),
        (errors.DeadlineExceeded("db", 0.25, "queue"), "db: deadline exceeded after 0.25 s (queue)"),
        (errors.InfrastructureError("disk"), "disk: unavailable"),
        (errors.BrokerUnavailable("mqtt", "refused"), "mqtt: refused"),
        (Problem("retry.attempts", 0, "1 to 10"), "retry.attempts = 0: allowed is 1 to 10"),
        (PolicyError([Problem("a", 1, "2")]), "policy: 1 problem\n  a = 1: allowed is 2"),
        (
            PolicyError([Problem("a", 1, "2", "write 2"), Problem("b", "x", "y")], "seawall.toml"),
            "seawall.toml: 2 problems\n  a = 1: allowed is 2; write 2\n  b = 'x': allowed is y",
        ),
        (UnitError(5, "a ratio", "write '5%'"), "5: allowed is a ratio; write '5%'"),
    ],
)
def test_texts(error, text):
    assert str(error) == text


def test_a_unit_error_becomes_a_problem():
    error = UnitError("5 parsecs", "a duration", "write '5s'")
    assert error.problem("timeout") == Problem("timeout", "5 parsecs", "a duration", "write '5s'")


@pytest.mark.parametrize("value", ["x" * 10_000, 10**5_000, [1] * 10_000], ids=["text", "integer", "list"])
def test_a_huge_value_does_not_make_a_huge_text(value):
    text = str(UnitError(value, "less", "write less"))
    assert len(text) < 120
    assert text.endswith("allowed is less; write less")


def test_builtin_bases_catch_what_users_expect_them_to():
    assert issubclass(errors.DeadlineExceeded, TimeoutError)
    assert issubclass(errors.PolicyError, ValueError)
    assert issubclass(errors.UnitError, ValueError)
    assert issubclass(errors.UsageError, RuntimeError)


def test_a_rejection_formats_nothing_until_it_is_read():
    class Detail:
        read = 0

        def __str__(self):
            Detail.read += 1
            return "why"

    error = errors.BreakerOpen("db", "errors", None, Detail())
    assert Detail.read == 0
    assert str(error) == "db: errors; why"
    assert Detail.read == 1


def test_a_rejection_takes_keywords():
    error = errors.BreakerOpen(name="db", reason="errors", retry_after_s=1.0, detail=7)
    assert (error.name, error.reason, error.retry_after_s, error.detail) == ("db", "errors", 1.0, 7)


def test_a_problem_with_a_monstrous_value_can_still_be_told() -> None:
    text = str(errors.Problem("breaker.probes", 10**5000, "whole number from 1 to 10000"))
    assert text == "breaker.probes = <int>: allowed is whole number from 1 to 10000"
