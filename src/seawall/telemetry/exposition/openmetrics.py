"""OpenMetrics text 1.0.0, and 0.0.1, which scrapers of old ask for and whose lines are the same.

Facts from the specification: a family is named without the suffixes of its samples, its unit is the end of
its name, metadata comes before samples, no line is empty, and ``# EOF`` is the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from seawall.telemetry.exposition.formats import Format
from seawall.telemetry.exposition.lines import written_name
from seawall.telemetry.exposition.sources import Sample, SampleFamily
from seawall.telemetry.exposition.values import quoted_help
from seawall.telemetry.exposition.views import View

__all__ = ["END", "blocks", "head"]

END: Final = b"# EOF\n"


def head(view: View, form: Format) -> str:
    """The lines above a family of our own."""
    return _head(view.name, view.type, view.unit, view.metric.help, form)


def blocks(family: SampleFamily, form: Format, *, created: bool) -> Iterator[tuple[str, list[Sample]]]:
    """A finished family: the lines above, and the samples.

    Args:
        family: The family.
        form: The format.
        created: Whether times of creation are told.
    """
    samples = list(family.samples)
    if not created and family.type in {"counter", "histogram", "summary"}:
        samples = [sample for sample in samples if sample.name != f"{family.name}_created"]
    yield _head(family.name, family.type, family.unit, family.help, form), samples


def _head(name: str, kind: str, unit: str, text: str, form: Format) -> str:
    written = written_name(name, form.escaping)
    lines = [f"# TYPE {written} {kind}\n"]
    if unit and name.endswith(f"_{unit}") and kind not in {"info", "stateset"}:
        lines.append(f"# UNIT {written} {unit}\n")
    text = quoted_help(text)
    if text:
        lines.append(f"# HELP {written} {text}\n")
    return "".join(lines)
