"""Traces in statements: from the client's context to the server's, and no baggage unless asked for."""

import pytest
from opentelemetry.baggage import get_all
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import TraceState

from seawall.telemetry.propagation.sql import context_of_sql, sql_with_context
from tests.telemetry.propagation.contexts import PARENT, TRACE_ID, context_with, remote

CONTEXT = context_with(state=TraceState([("a", "1")]), baggage={"user": "alice"})


def test_a_statement_carries_its_trace() -> None:
    sql = sql_with_context("SELECT '/*';", CONTEXT)
    assert sql == f"SELECT '/*' /*traceparent='{PARENT}',tracestate='a%3D1'*/;"
    for text in (sql, sql.encode()):
        context = context_of_sql(text)
        assert (remote(context).trace_id, dict(remote(context).trace_state)) == (TRACE_ID, {"a": "1"})
        assert get_all(context) == {}


def test_baggage_only_if_asked_for() -> None:
    sql = sql_with_context("SELECT 1", CONTEXT, baggage=True)
    assert "baggage='user%3Dalice'" in sql
    assert get_all(context_of_sql(sql)) == {}
    assert get_all(context_of_sql(sql, baggage=True)) == {"user": "alice"}


def test_takes_the_current_context() -> None:
    token = attach(CONTEXT)
    try:
        assert PARENT in sql_with_context("SELECT 1")
    finally:
        detach(token)
    assert sql_with_context("SELECT 1", Context()) == "SELECT 1"


def test_options_are_those_of_the_comment() -> None:
    assert sql_with_context("SELECT 1 -- x", CONTEXT) == "SELECT 1 -- x"
    assert "tracestate='a%%3D1'" in sql_with_context("SELECT 1", CONTEXT, double_percent=True)


@pytest.mark.parametrize(
    "sql", ["SELECT 1", f"SELECT '/*traceparent=''{PARENT}''*/'", "SELECT 1 /*traceparent='x'*/"]
)
def test_a_statement_without_a_trace_adds_nothing(sql: str) -> None:
    given = Context({"kept": 1})
    assert context_of_sql(sql, given) is given
