"""Trace context as text: ``traceparent``, ``tracestate``, ``baggage``, and comments that carry them in SQL.

Sources of everything here: W3C Trace Context (level 2), W3C Baggage, and the sqlcommenter specification. Text
in, values out: who sends it, and in what, is told in ``seawall.telemetry.propagation``.

Every parser obeys one law: any text gives a value, and text that says nothing gives the value that says
nothing. Only the functions that build text raise, and only :class:`~seawall.kernel.errors.UsageError`.
"""
