"""Exemplars: which ones may be written, and how OpenMetrics writes them.

Facts from OpenMetrics 1.0, "Exemplars": names and values of an exemplar's labels have together at most 128
characters; a counter's total and a histogram's buckets may have one. Prometheus drops what is longer with an
error, so it is left out here and counted.
"""

from __future__ import annotations

from math import isfinite
from typing import Final

from seawall.telemetry.exposition.losses import Losses
from seawall.telemetry.exposition.names import is_plain_label
from seawall.telemetry.exposition.sources import ExemplarShape
from seawall.telemetry.exposition.values import label_value, number, real

__all__ = ["LABELS_CHARACTERS_MAX", "appended", "writable"]

LABELS_CHARACTERS_MAX: Final = 128


def writable(example: ExemplarShape, losses: Losses) -> bool:
    """Whether the exemplar may be written; if not, it is counted."""
    length = 0
    for name, value in example.labels:
        length += len(name) + len(value)
        if not is_plain_label(name):
            length = LABELS_CHARACTERS_MAX + 1
    if length <= LABELS_CHARACTERS_MAX and isfinite(real(example.value)):
        return True
    losses.exemplars += 1
    return False


def appended(example: ExemplarShape | None, losses: Losses) -> str:
    """What stands behind a sample's value; empty if there is no exemplar that may be written."""
    if example is None or not writable(example, losses):
        return ""
    labels = ",".join([f'{name}="{label_value(value)}"' for name, value in example.labels])
    text = f" # {{{labels}}} {number(example.value)}"
    at = example.at
    return text if at is None or not isfinite(at) else f"{text} {at:.3f}"
