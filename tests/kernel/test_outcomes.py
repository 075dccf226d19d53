import pytest

from seawall.kernel import errors
from seawall.kernel.errors import Outcome, Tier
from seawall.kernel.outcomes import (
    TABLE,
    outcome_for_grpc,
    outcome_for_http,
    outcome_for_jsonrpc,
    outcome_for_sqlstate,
    public_message,
    retry_after,
    row_for,
    sqlstate_retryable,
)

TIERS = {
    errors.FunctionError: Tier.FUNCTION,
    errors.AvailabilityError: Tier.AVAILABILITY,
    errors.InfrastructureError: Tier.INFRASTRUCTURE,
}
BAD = {Outcome.FAILED, Outcome.UNREACHABLE}

rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.kind.__name__)


def test_every_error_of_the_tiers_has_one_row():
    kinds = [row.kind for row in TABLE]
    assert len(set(kinds)) == len(kinds)
    expected = {
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, tuple(TIERS)) and cls is not errors.FunctionError
    }
    assert set(kinds) == expected


@rows
def test_the_row_has_the_tier_of_its_branch(row):
    assert [tier for base, tier in TIERS.items() if issubclass(row.kind, base)] == [row.tier]


@rows
def test_a_peer_that_reads_our_code_draws_the_same_conclusion(row):
    read_back = [
        outcome_for_jsonrpc(row.jsonrpc),
        outcome_for_http(row.http),
        outcome_for_grpc(row.grpc),
        outcome_for_sqlstate(row.sqlstate),
    ]
    if row.outcome is Outcome.VOID:
        # A rejection is nothing to this process, but for its peers this process is the one who doesn't serve.
        assert Outcome.OK not in read_back
        assert Outcome.IGNORED not in read_back
    elif row.outcome in BAD:
        assert set(read_back) <= BAD
    else:
        assert set(read_back) == {row.outcome}


@rows
def test_rejections_are_never_retryable(row):
    if issubclass(row.kind, errors.CallRejected):
        assert not row.retryable


def test_the_codes_that_clients_know():
    codes = {row.kind.__name__: row.jsonrpc for row in TABLE if row.tier is Tier.FUNCTION}
    assert codes == {
        "ValidationError": -32001,
        "BusinessRuleError": -32002,
        "AuthorizationError": -32003,
        "NotFoundError": -32004,
        "ConflictError": -32005,
        "RateLimitedError": -32006,
        "FunctionTimeoutError": -32007,
        "InternalError": -32603,
    }
    assert row_for(errors.ServiceUnavailable("x")).jsonrpc == -32503


def test_row_for_takes_the_nearest_base():
    class OwnBreaker(errors.BreakerOpen):
        pass

    assert row_for(OwnBreaker("x")).kind is errors.BreakerOpen
    assert row_for(errors.AvailabilityError()).kind is errors.AvailabilityError


@pytest.mark.parametrize(
    "error", [KeyError("x"), KeyboardInterrupt(), errors.FunctionError(), errors.UsageError()]
)
def test_what_is_in_no_tier_is_internal(error):
    assert row_for(error).kind is errors.InternalError


@pytest.mark.parametrize(
    ("sqlstate", "outcome", "retryable"),
    [
        ("00000", Outcome.OK, False),
        ("02000", Outcome.OK, False),
        ("08006", Outcome.UNREACHABLE, True),
        ("08P01", Outcome.FAILED, False),
        ("22012", Outcome.IGNORED, False),
        ("23505", Outcome.IGNORED, False),
        ("25006", Outcome.FAILED, True),
        ("28P01", Outcome.IGNORED, False),
        ("40001", Outcome.IGNORED, True),
        ("40P01", Outcome.IGNORED, True),
        ("40003", Outcome.FAILED, False),
        ("42601", Outcome.IGNORED, False),
        ("53100", Outcome.FAILED, True),
        ("53300", Outcome.THROTTLED, True),
        ("57014", Outcome.FAILED, True),
        ("57P01", Outcome.UNREACHABLE, True),
        ("57P02", Outcome.UNREACHABLE, True),
        ("57P03", Outcome.UNREACHABLE, True),
        ("58030", Outcome.FAILED, True),
        ("P0001", Outcome.IGNORED, False),
        ("XX001", Outcome.FAILED, False),
        ("ZZ999", Outcome.FAILED, False),
        ("", Outcome.FAILED, False),
        ("0", Outcome.FAILED, False),
    ],
)
def test_sqlstates(sqlstate, outcome, retryable):
    assert outcome_for_sqlstate(sqlstate) is outcome
    assert sqlstate_retryable(sqlstate) is retryable


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.OK),
        (304, Outcome.OK),
        (400, Outcome.IGNORED),
        (404, Outcome.IGNORED),
        (408, Outcome.FAILED),
        (429, Outcome.THROTTLED),
        (499, Outcome.VOID),
        (500, Outcome.FAILED),
        (501, Outcome.IGNORED),
        (502, Outcome.UNREACHABLE),
        (503, Outcome.UNREACHABLE),
        (504, Outcome.FAILED),
        (599, Outcome.FAILED),
        (0, Outcome.FAILED),
        (700, Outcome.FAILED),
    ],
)
def test_http_statuses(status, outcome):
    assert outcome_for_http(status) is outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0, Outcome.OK),
        (1, Outcome.VOID),
        (4, Outcome.FAILED),
        (8, Outcome.THROTTLED),
        (10, Outcome.IGNORED),
        (14, Outcome.UNREACHABLE),
        (99, Outcome.FAILED),
    ],
)
def test_grpc_statuses(status, outcome):
    assert outcome_for_grpc(status) is outcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (-32700, Outcome.IGNORED),
        (-32601, Outcome.IGNORED),
        (-32603, Outcome.FAILED),
        (-32001, Outcome.IGNORED),
        (-32006, Outcome.THROTTLED),
        (-32007, Outcome.FAILED),
        (-32503, Outcome.UNREACHABLE),
        (-32050, Outcome.FAILED),
        (-32769, Outcome.IGNORED),
        (-31999, Outcome.IGNORED),
        (17, Outcome.IGNORED),
    ],
)
def test_jsonrpc_codes(code, outcome):
    assert outcome_for_jsonrpc(code) is outcome


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.ConflictError("this e-mail is taken"), "this e-mail is taken"),
        (errors.NotFoundError(), "Not found."),
    ],
)
def test_a_clients_own_fault_is_told_in_the_authors_words(error, text):
    assert public_message(error, "c-1") == text


@pytest.mark.parametrize(
    "error",
    [
        errors.InternalError("password=hunter2"),
        errors.FunctionError("password=hunter2"),
        errors.BreakerOpen("hunter2", "hunter2", 1.0, "hunter2"),
        errors.ServiceUnavailable("hunter2", "hunter2"),
        errors.DatabaseUnavailable("hunter2", "hunter2"),
        errors.DeadlineExceeded("hunter2", 1.0, "hunter2"),
        ValueError("hunter2"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_nothing_internal_reaches_a_client(error):
    text = public_message(error, "c-1")
    assert "hunter2" not in text
    assert text.endswith("(correlation id c-1)")


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.BreakerOpen("db", "", 1.5), 1.5),
        (errors.ServiceUnavailable("db", "", 2.5), 2.5),
        (errors.RateLimitedError("", 3.5), 3.5),
        (errors.BulkheadFull("db"), None),
        (errors.DeadlineExceeded("db"), None),
        (ValueError(), None),
    ],
)
def test_retry_after(error, seconds):
    assert retry_after(error) == seconds
