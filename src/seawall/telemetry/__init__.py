"""Telemetry that costs next to nothing: metrics, traces, logs, health.

Each part is a package of its own, to be imported by its name, and loads nothing of the others:

- ``metrics``: cells that count, families, a registry; ``exposition`` writes them for a scraper, ``bridge``
  joins them with ``prometheus_client``;
- ``tracing``: spans behind OpenTelemetry's API; ``propagation`` carries their context between processes,
  ``otlp`` sends them to a collector;
- ``logs``: structured lines without secrets;
- ``serving``: ``/metrics``, ``/health``, ``/ready`` and the status API.

``pip install "seawall[telemetry]"`` brings what they need. No call into any of them raises into its caller's
work, waits for a lock, a disk or a network, or grows without bound; what is dropped is counted.
"""
