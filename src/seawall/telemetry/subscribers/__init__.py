"""What guards do, as metrics, span events and log lines.

``observe(hub, registry=registry, guards=[db])`` joins them and returns a handle that counts and closes it.
Guards know nothing of it: they publish signals, and have statistics that anybody may read.

It decides nothing and forces nothing. Metrics and span events are made where a signal is published, since
counts must not be dropped and a span is only known there; log lines are written on a thread, since a logger
may wait for a disk. Numbers that guards count anyway are read when the registry is scraped.

Reading order: ``observation`` (the door), ``counting``, ``events``, ``lines``, ``reading``, ``standing``.
"""

from seawall.telemetry.subscribers.observation import Observation, ObservationStatistics, observe
from seawall.telemetry.subscribers.reading import WATCHED_MAX, Watched

__all__ = ["WATCHED_MAX", "Observation", "ObservationStatistics", "Watched", "observe"]
