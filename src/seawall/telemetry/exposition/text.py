"""Prometheus' own text format, 0.0.4, and 1.0.0, which differs only in that names may be quoted.

Facts from Prometheus' documentation, "Text-based format". The format knows five types. A counter's family is
named like its samples, with ``_total``; what OpenMetrics has besides becomes a gauge or is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from seawall.telemetry.exposition.formats import Format
from seawall.telemetry.exposition.lines import written_name
from seawall.telemetry.exposition.sources import Sample, SampleFamily
from seawall.telemetry.exposition.values import help_text
from seawall.telemetry.exposition.views import View

__all__ = ["blocks", "head"]

_TYPES: Final = {
    "info": "gauge",
    "stateset": "gauge",
    "gaugehistogram": "histogram",
    "unknown": "untyped",
}
_APART: Final = ("_gcount", "_gsum")
"""Samples that no type of this format has; they become gauges of their own."""


def head(view: View, form: Format) -> str:
    """The lines above a family of our own."""
    # What an alias lacks to be a counter in OpenMetrics, it doesn't lack here.
    kind = "counter" if view.kind == "COUNTER" else _TYPES.get(view.type, view.type)
    return _head(written_name(view.sample, form.escaping), kind, view.metric.help)


def blocks(family: SampleFamily, form: Format) -> Iterator[tuple[str, list[Sample]]]:
    """A finished family as one or more families of this format: the lines above, and the samples."""
    apart: dict[str, list[Sample]] = {}
    rest: list[Sample] = []
    for sample in family.samples:
        suffix = sample.name.removeprefix(family.name)
        if suffix in _APART:
            apart.setdefault(sample.name, []).append(sample)
        elif suffix != "_created" or family.type not in {"counter", "histogram", "summary"}:
            rest.append(sample)
    name = family.name
    if family.type == "counter":
        name += "_total"
    elif family.type == "info":
        name += "_info"
    kind = _TYPES.get(family.type, family.type)
    yield _head(written_name(name, form.escaping), kind, family.help), rest
    for name, samples in apart.items():
        yield _head(written_name(name, form.escaping), "gauge", family.help), samples


def _head(name: str, kind: str, text: str) -> str:
    text = help_text(text)
    first = f"# HELP {name} {text}\n" if text else ""
    return f"{first}# TYPE {name} {kind}\n"
