"""The catalogue with rows for breakers: the real ones if it has them, else rows of the same shape."""

from seawall.app.telemetry_files import breaker_alerts
from seawall.telemetry.catalogue import EXPOSED, GROUPS
from seawall.telemetry.metrics.metric import Kind, Metric

_STAND_INS = (
    Metric(name=breaker_alerts.STATE, kind=Kind.GAUGE, help="State.", labels=("name",)),
    Metric(name=breaker_alerts.TRANSITIONS, kind=Kind.COUNTER, help="Changes.", labels=("name", "to")),
    Metric(name=breaker_alerts.RETRIES, kind=Kind.COUNTER, help="Retries.", labels=("name",)),
    Metric(name=breaker_alerts.CALLS, kind=Kind.COUNTER, help="Calls.", labels=("name",)),
    Metric(name=breaker_alerts.DROPPED, kind=Kind.COUNTER, help="Lost signals."),
)
_NAMES = {row.name for row in EXPOSED}
ADDED = tuple(row for row in _STAND_INS if row.name not in _NAMES)

ROWS = (*EXPOSED, *ADDED)
ALL_GROUPS = {**GROUPS, "breakers-and-more": ADDED} if ADDED else GROUPS
