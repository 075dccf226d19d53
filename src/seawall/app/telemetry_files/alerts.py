"""What an alert is here: an expression, whom it wakes, and the two stories that prove it.

Each alert brings a case in which it fires and at least one in which it doesn't; the rule file and the file
for ``promtool test rules`` are both made from it (``rule_files``), so there is no alert without a test.

``page`` is for what users feel now and somebody can mend; everything else is a ``ticket``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Alert", "Case", "Recording", "RuleGroup", "Severity", "grew", "rendered"]

Severity = Literal["page", "ticket"]

_LABEL: Final = re.compile(r"\{\{ \$labels\.(\w+) \}\}")
_VALUE: Final = re.compile(r"\{\{ \$value[^}]*\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One story of a metric, as ``promtool`` has it.

    Attributes:
        series: Values by series, in promtool's notation, a step every 30 seconds.
        at: When it is looked at.
        labels: Of the alert that is firing then.
        shown: What the description says of the value.
    """

    series: Mapping[str, str]
    at: str
    labels: Mapping[str, str] | None = None
    shown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert.

    Attributes:
        name: What it is called; also the heading of its part of the page of alerts.
        expr: What is true while something is wrong.
        severity: Whom it wakes.
        summary: One line.
        description: What it means, with the value.
        hold: How long it has to be true.
        fires: A case in which it does.
        quiet: Cases in which it doesn't.
    """

    name: str
    expr: str
    severity: Severity
    summary: str
    description: str
    fires: Case
    quiet: tuple[Case, ...]
    hold: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recording rule.

    Attributes:
        record: Its name.
        expr: What is recorded.
    """

    record: str
    expr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleGroup:
    """What stands in one file.

    Attributes:
        name: Of the file, and the label ``component``.
        recordings: What is recorded first.
        alerts: What is watched.
    """

    name: str
    recordings: tuple[Recording, ...]
    alerts: tuple[Alert, ...]


def grew(by: str, selector: str, window: str) -> str:
    """True if a counter has grown, also if its first sample was above 0 already.

    A series with labels begins to exist when something is counted in it for the first time, and ``increase``
    knows of no sample before that one: the first failover would go unseen.

    Args:
        by: Labels that stay.
        selector: The counter.
        window: How far back, which is also how long the expression stays true.
    """
    return (
        f"sum by ({by}) (\n"
        f"  ({selector} unless {selector} offset {window})\n"
        f"    or\n"
        f"  increase({selector}[{window}])\n"
        f") > 0"
    )


def rendered(template: str, labels: Mapping[str, str], shown: str) -> str:
    """What Prometheus makes of an annotation, for the templates that are used here."""
    text = _LABEL.sub(lambda found: labels.get(found[1], ""), template)
    return _VALUE.sub(lambda _: shown, text)
