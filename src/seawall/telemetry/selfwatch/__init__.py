"""Telemetry's own health as metrics: reads the parts' statistics at a scrape, and counts nothing itself.

``SelfWatch`` is told of the parts; ``Watched`` stands between a registry and the writer, so that every scrape
reads them first. Reading order: ``readings`` (which number of which part is which row), ``process`` (what the
system knows of this process), ``watch``.
"""

from seawall.telemetry.selfwatch.watch import SOURCES_MAX, SelfWatch, Watched

__all__ = ["SOURCES_MAX", "SelfWatch", "Watched"]
