"""Refusals as documents, and what of an exception is in them."""

import json

import pytest

from seawall.kernel.errors import (
    BreakerOpen,
    ConflictError,
    InternalError,
    NotFoundError,
    RateLimitedError,
    UsageError,
)
from seawall.telemetry.serving.problems import ProblemDetails, of_error
from tests.telemetry.serving.serving import SECRET


def test_a_document() -> None:
    problem = ProblemDetails(status=404, detail="There is nothing.", members={"correlation_id": "1"})
    assert json.loads(problem.body()) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing.",
        "correlation_id": "1",
    }
    assert "detail" not in ProblemDetails(status=404).document()


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (NotFoundError("no backend 'x'"), 404, "no backend 'x'"),
        (ConflictError("forced already"), 409, "forced already"),
        (InternalError(SECRET), 500, "An internal error occurred. (correlation id 7)"),
        (UsageError(SECRET), 500, "An internal error occurred. (correlation id 7)"),
        (ValueError(SECRET), 500, "An internal error occurred. (correlation id 7)"),
        (BreakerOpen(SECRET, SECRET), 503, "The service is not available at the moment. (correlation id 7)"),
    ],
)
def test_what_of_an_error_may_be_read(error, status, detail) -> None:
    problem = of_error(error, "7")
    assert (problem.status, problem.detail, problem.members) == (status, detail, {"correlation_id": "7"})


@pytest.mark.parametrize(("wait", "told"), [(0.2, "1"), (3.0, "3"), (-1.0, "0")])
def test_when_to_come_back(wait, told) -> None:
    assert of_error(RateLimitedError("slowly", wait), "7").headers == {"Retry-After": told}
