"""The proxy's telemetry: what its parts say of themselves, as metrics, spans, logs, health and status.

The proxy and the telemetry know nothing of each other; here they meet. In every worker an observer counts
into shared memory and passes on which queries are worth a span; in the supervisor a companion serves what
came together. None of it stands in the way of a query.

Reading order: ``settings``, ``records`` (a query as it travels between processes), ``worker``, ``spans``,
``gauges``, ``news``, ``status``, ``companion``.
"""
