"""Rule groups as files: one for Prometheus, one for ``promtool test rules``, for each group.

A group is made if the catalogue has the rows that it is about. Paths are relative to the directory of the
deployment's files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from seawall.app.telemetry_files import breaker_alerts, proxy_alerts, telemetry_alerts
from seawall.app.telemetry_files.alerts import Alert, Case, RuleGroup, rendered
from seawall.app.telemetry_files.naming import Naming
from seawall.app.telemetry_files.yaml_text import Plain, yaml_text
from seawall.telemetry.catalogue import EXPOSED
from seawall.telemetry.metrics.metric import Metric

__all__ = ["RUNBOOKS", "rule_files", "rule_groups"]

RUNBOOKS: Final = "https://seawall.readthedocs.io/en/latest/how-to/answer-an-alert.html"
"""The page that has a part for every alert."""
STEP: Final = "30s"
"""Between two samples of a case."""

_HEAD: Final = "# Made by `seawall telemetry rules` from the metric catalogue: change it there, or copy it.\n"


def rule_groups(naming: Naming, rows: tuple[Metric, ...] = EXPOSED) -> tuple[RuleGroup, ...]:
    """All groups that the rows allow.

    Args:
        naming: What the metrics are called.
        rows: What there is.
    """
    named = {row.name: row for row in rows}
    breakers = breaker_alerts.group(naming, named)
    found = (proxy_alerts.group(naming), telemetry_alerts.group(naming))
    return found if breakers is None else (*found, breakers)


def rule_files(naming: Naming, rows: tuple[Metric, ...] = EXPOSED) -> dict[str, str]:
    """Texts by path.

    Args:
        naming: What the metrics are called.
        rows: What there is.
    """
    files = {}
    for group in rule_groups(naming, rows):
        files[f"prometheus/rules/{group.name}.yml"] = _HEAD + yaml_text(_rules(group, naming))
        files[f"prometheus/tests/{group.name}.yml"] = _HEAD + yaml_text(_tests(group))
    return files


def _rules(group: RuleGroup, naming: Naming) -> Plain:
    recordings: list[Plain] = [{"record": one.record, "expr": one.expr} for one in group.recordings]
    alerts: list[Plain] = [_alert(one, group) for one in group.alerts]
    groups: list[Plain] = [{"name": f"{naming.prefix}-{group.name}", "rules": [*recordings, *alerts]}]
    return {"groups": groups}


def _alert(alert: Alert, group: RuleGroup) -> Plain:
    hold: Mapping[str, Plain] = {"for": alert.hold} if alert.hold else {}
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **hold,
        "labels": _labels(alert, group),
        "annotations": _annotations(alert),
    }


def _labels(alert: Alert, group: RuleGroup) -> dict[str, Plain]:
    return {"severity": alert.severity, "component": group.name}


def _annotations(alert: Alert) -> dict[str, str]:
    return {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": f"{RUNBOOKS}#{alert.name.lower()}",
    }


def _tests(group: RuleGroup) -> Plain:
    return {
        "rule_files": [f"../rules/{group.name}.yml"],
        "evaluation_interval": STEP,
        "tests": [test for alert in group.alerts for test in _cases(alert, group)],
    }


def _cases(alert: Alert, group: RuleGroup) -> Iterator[Plain]:
    labels = dict(alert.fires.labels or {})
    annotations = {
        key: rendered(text, labels, alert.fires.shown) for key, text in _annotations(alert).items()
    }
    told: Plain = {"exp_labels": {**labels, **_labels(alert, group)}, "exp_annotations": annotations}
    yield _case(f"{alert.name} fires", alert, alert.fires, [told])
    for number, case in enumerate(alert.quiet, start=1):
        yield _case(f"{alert.name} is quiet, {number}", alert, case, [])


def _case(name: str, alert: Alert, case: Case, told: list[Plain]) -> Plain:
    return {
        "name": name,
        "interval": STEP,
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": alert.name, "exp_alerts": told}],
    }
