"""Trace context in the comments of SQL statements: from an application through a pooler to the server's log.

A comment is seen by whoever sees the statement: the views of running statements, logs, other tools. So
baggage stays behind unless it is asked for.
"""

from __future__ import annotations

from opentelemetry.context.context import Context

from seawall.telemetry.propagation.propagator import BAGGAGE, PROPAGATOR
from seawall.wire.tracecontext.sql_comment import read_comment, write_comment


def sql_with_context(
    sql: str, context: Context | None = None, *, baggage: bool = False, double_percent: bool = False
) -> str:
    """Add the trace to a statement, as a comment behind its last token.

    Whoever prepares statements by their text should leave it off, since each text is then a new one.

    Args:
        sql: Any text.
        context: The current one, if none is given.
        baggage: Send baggage too.
        double_percent: Write ``%%`` for a percent sign, for drivers to which one marks a parameter (psycopg,
            if the call has parameters).

    Returns:
        The statement with the comment; the same text where
        :func:`~seawall.wire.tracecontext.sql_comment.write_comment` leaves it alone, or there is no trace.
    """
    fields: dict[str, str] = {}
    PROPAGATOR.inject(fields, context)
    if not baggage:
        fields.pop(BAGGAGE, None)
    return write_comment(sql, fields, double_percent=double_percent) if fields else sql


def context_of_sql(sql: str | bytes, context: Context | None = None, *, baggage: bool = False) -> Context:
    """Read the trace that a statement carries in its comments.

    Args:
        sql: Any text.
        context: What it is added to; an empty one, if none is given.
        baggage: Read baggage too.

    Returns:
        The context with what was found; the same one, if nothing was.
    """
    fields = read_comment(sql)
    if not baggage:
        fields.pop(BAGGAGE, None)
    return PROPAGATOR.extract(fields, context)
