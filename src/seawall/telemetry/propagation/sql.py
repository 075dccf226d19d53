"""Trace context in the comments of SQL statements: from an application through a pooler to the server's log.

A comment is seen by whoever sees the statement: the views of running statements, logs, other tools. So
baggage stays behind unless it is asked for.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.context.context import Context

from seawall.telemetry.propagation.propagator import PROPAGATOR, Propagator
from seawall.wire.tracecontext.sql_comment import read_comment, write_comment

_WITHOUT_BAGGAGE: Final = Propagator(baggage=False)


def sql_with_context(
    sql: str,
    context: Context | None = None,
    *,
    baggage: bool = False,
    beside_others: bool = False,
    double_percent: bool = False,
) -> str:
    """Add the trace to a statement, as a comment behind its last token.

    Whoever prepares statements by their text should leave it off, since each text is then a new one.

    Args:
        sql: Any text.
        context: The current one, if none is given.
        baggage: Send baggage too.
        beside_others: Also to a statement that has comments already.
        double_percent: Write ``%%`` for a percent sign, for drivers to which one marks a parameter.

    Returns:
        The statement with the comment; the same text where
        :func:`~seawall.wire.tracecontext.sql_comment.write_comment` leaves it alone, or there is no trace.
    """
    carrier: dict[str, str] = {}
    (PROPAGATOR if baggage else _WITHOUT_BAGGAGE).inject(carrier, context)
    return write_comment(sql, carrier, beside_others=beside_others, double_percent=double_percent)


def context_of_sql(sql: str | bytes, context: Context | None = None, *, baggage: bool = False) -> Context:
    """Read the trace that a statement carries in its comments.

    Args:
        sql: Any text.
        context: What it is added to; an empty one, if none is given.
        baggage: Read baggage too.

    Returns:
        The context with what was found; the same one, if nothing was.
    """
    return (PROPAGATOR if baggage else _WITHOUT_BAGGAGE).extract(read_comment(sql), context)
