"""What guards do: breakers, retries, bulkheads, limits, deadlines, fallbacks.

``name`` is a guard's name, which the program gives it. The keys of keyed guards are in no label: there may be
a hundred thousand of them. What happens to a key counts under its guard's name; states, levels and shares are
those of the guard itself.
"""

from __future__ import annotations

from typing import Final

from seawall.telemetry.metrics.metric import Aggregation, Kind, Metric

__all__ = [
    "BREAKER_CALLS",
    "BREAKER_FAILURES",
    "BREAKER_FORCED",
    "BREAKER_IN_STATE",
    "BREAKER_OPEN_DURATION",
    "BREAKER_OUTCOMES",
    "BREAKER_RAMP_SHARE",
    "BREAKER_STATE",
    "BREAKER_STATES",
    "BREAKER_TRANSITIONS",
    "BUDGET_TOKENS",
    "BULKHEAD_IN_FLIGHT",
    "BULKHEAD_LIMIT",
    "BULKHEAD_WAITING",
    "CALLS_REFUSED",
    "DEADLINES_EXPIRED",
    "FALLBACKS",
    "GUARD_KEYS",
    "KEYS_EVICTED",
    "OUTCOMES",
    "POLICY_RELOADS",
    "RESILIENCE",
    "RETRIES",
    "RETRIES_REFUSED",
    "SIGNALS_DROPPED",
    "SIGNALS_PUBLISHED",
]

BREAKER_STATES: Final = ("closed", "ramping", "half_open", "open")
"""In the order of how little gets through, so that the highest of several processes is the worst."""
OUTCOMES: Final = ("failed", "unreachable", "slow", "throttled", "ignored", "voided")
OPEN_BUCKETS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)
"""Bounds in seconds around the usual open times, which start at seconds and double."""

_GUARD: Final = ("name",)
_NAMES_MAX: Final = 500
"""Guards are written by hand; whoever makes them by data wants a keyed one."""

BREAKER_STATE: Final = Metric(
    name="circuit_breaker_state",
    kind=Kind.GAUGE,
    help="0 for a closed breaker, 1 for one that recovers, 2 for an open one.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
    alias=("helios_circuit_breaker_state", "heliosdb_circuit_breaker_state"),
    aggregation=Aggregation.MAX,
)
BREAKER_IN_STATE: Final = Metric(
    name="circuit_breaker_in_state",
    kind=Kind.STATE_SET,
    help="Which state a breaker is in.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
    states=BREAKER_STATES,
    alias=("mpc_circuit_breaker_state",),
)
BREAKER_TRANSITIONS: Final = Metric(
    name="circuit_breaker_transitions",
    kind=Kind.COUNTER,
    help="Changes of breakers' states, those of keys included.",
    labels=("name", "to"),
    values_limit=_NAMES_MAX,
)
BREAKER_OPEN_DURATION: Final = Metric(
    name="circuit_breaker_open_duration",
    kind=Kind.HISTOGRAM,
    help="From a breaker's opening until it is closed again, failed recoveries included.",
    unit="seconds",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
    buckets=OPEN_BUCKETS,
    alias=("helios_circuit_breaker_trip_duration_seconds",),
)
BREAKER_RAMP_SHARE: Final = Metric(
    name="circuit_breaker_ramp_share",
    kind=Kind.GAUGE,
    help="Share of the calls that a breaker admits.",
    unit="ratio",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
    aggregation=Aggregation.MIN,
)
BREAKER_FORCED: Final = Metric(
    name="circuit_breaker_forced",
    kind=Kind.GAUGE,
    help="1 while an operator's order stands above a breaker's own verdict.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
    aggregation=Aggregation.MAX,
)
BREAKER_CALLS: Final = Metric(
    name="circuit_breaker_calls",
    kind=Kind.COUNTER,
    help="Calls that were answered or are overdue, as the breaker counts them.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
)
BREAKER_FAILURES: Final = Metric(
    name="circuit_breaker_failures",
    kind=Kind.COUNTER,
    help="Calls that failed, unreachable callees included.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
    alias=("helios_circuit_breaker_failures_total",),
)
BREAKER_OUTCOMES: Final = Metric(
    name="circuit_breaker_outcomes",
    kind=Kind.COUNTER,
    help="Calls that did not just go well, by how; one that was slow and failed counts as both.",
    labels=("name", "outcome"),
    values_limit=_NAMES_MAX,
)
CALLS_REFUSED: Final = Metric(
    name="guard_calls_refused",
    kind=Kind.COUNTER,
    help="Calls that were not sent, by the part of the guard that refused them.",
    labels=("name", "by"),
    values_limit=_NAMES_MAX,
)
RETRIES: Final = Metric(
    name="guard_retries",
    kind=Kind.COUNTER,
    help="Further attempts that were scheduled.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
)
RETRIES_REFUSED: Final = Metric(
    name="guard_retries_refused",
    kind=Kind.COUNTER,
    help="Failed attempts that were not repeated, by the reason.",
    labels=("name", "reason"),
    values_limit=_NAMES_MAX,
)
DEADLINES_EXPIRED: Final = Metric(
    name="guard_deadlines_expired",
    kind=Kind.COUNTER,
    help="Calls whose time was over, by where it ran out.",
    labels=("name", "stage"),
    values_limit=_NAMES_MAX,
)
FALLBACKS: Final = Metric(
    name="guard_fallbacks",
    kind=Kind.COUNTER,
    help="Calls that got the fallback's value, by the class of the error it stood in for.",
    labels=("name", "error"),
    values_limit=_NAMES_MAX,
)
BULKHEAD_IN_FLIGHT: Final = Metric(
    name="bulkhead_in_flight",
    kind=Kind.GAUGE,
    help="Calls that hold a place in a bulkhead.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
)
BULKHEAD_WAITING: Final = Metric(
    name="bulkhead_waiting",
    kind=Kind.GAUGE,
    help="Calls that wait for a place in a bulkhead.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
)
BULKHEAD_LIMIT: Final = Metric(
    name="bulkhead_limit",
    kind=Kind.GAUGE,
    help="Places that a bulkhead has.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
)
BUDGET_TOKENS: Final = Metric(
    name="retry_budget_tokens",
    kind=Kind.GAUGE,
    help="Retries that a budget would pay for, as of its last use.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
    aggregation=Aggregation.MIN,
)
GUARD_KEYS: Final = Metric(
    name="guard_keys",
    kind=Kind.GAUGE,
    help="Keys that a keyed guard holds breakers for.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
)
KEYS_EVICTED: Final = Metric(
    name="guard_keys_evicted",
    kind=Kind.COUNTER,
    help="Keys that a keyed guard forgot to stay within its limit.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
)
POLICY_RELOADS: Final = Metric(
    name="guard_policy_reloads",
    kind=Kind.COUNTER,
    help="Times that a guard got another policy.",
    labels=_GUARD,
    values_limit=_NAMES_MAX,
)
SIGNALS_PUBLISHED: Final = Metric(
    name="signals_published", kind=Kind.COUNTER, help="Signals that guards and others handed to the hub."
)
SIGNALS_DROPPED: Final = Metric(
    name="signals_dropped",
    kind=Kind.COUNTER,
    help="Signals that a subscriber lost because its queue was full.",
)

RESILIENCE: Final = (
    BREAKER_STATE,
    BREAKER_IN_STATE,
    BREAKER_TRANSITIONS,
    BREAKER_OPEN_DURATION,
    BREAKER_RAMP_SHARE,
    BREAKER_FORCED,
    BREAKER_CALLS,
    BREAKER_FAILURES,
    BREAKER_OUTCOMES,
    CALLS_REFUSED,
    RETRIES,
    RETRIES_REFUSED,
    DEADLINES_EXPIRED,
    FALLBACKS,
    BULKHEAD_IN_FLIGHT,
    BULKHEAD_WAITING,
    BULKHEAD_LIMIT,
    BUDGET_TOKENS,
    GUARD_KEYS,
    KEYS_EVICTED,
    POLICY_RELOADS,
    SIGNALS_PUBLISHED,
    SIGNALS_DROPPED,
)
"""All of them."""
