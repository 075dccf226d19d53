"""Sections of the configuration that are read and checked, and that nothing acts on in this release.

They are the reference configuration's: a file that was written for it loads as it stands, and its mistakes
are found today. The loader reports each that a file has, so that nobody relies on it. A section moves to
:mod:`seawall.app.sections` when something acts on it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from seawall.app.keys import (
    DAY_S,
    choice,
    milliseconds,
    number,
    percent,
    secret,
    share,
    span,
    text,
    truth,
    whole,
)
from seawall.app.secrets import Secret
from seawall.app.sections import Section

HOUR_MS = 3_600_000.0


class DormantSection(Section):
    """A section that nothing acts on yet."""

    acts: ClassVar[bool] = False


class CircuitBreakerSection(DormantSection):
    """When a backend is taken out of traffic, and how it comes back."""

    enabled: Annotated[bool, truth("Whether breakers open.")] = True
    mode: Annotated[
        str,
        choice(
            "`adaptive` asks for confidence, `static` compares raw shares, `predictive` also lowers weights "
            "ahead of trouble.",
            "adaptive",
            "static",
            "predictive",
        ),
    ] = "adaptive"
    failure_threshold_percentage: Annotated[
        float, percent(0.0, 99.0, "Open when more than this share of the queries fails.", open_low=True)
    ] = 5.0
    latency_threshold_p95_ms: Annotated[
        float, milliseconds(1.0, HOUR_MS, "Open when more than 5 % of the queries take longer.")
    ] = 500.0
    latency_threshold_p99_ms: Annotated[
        float | None, milliseconds(1.0, HOUR_MS, "Open when more than 1 % of the queries take longer.")
    ] = None
    connection_saturation_threshold: Annotated[
        float | None, share(0.1, 1.0, "Open when more than this share of the pool is in use.")
    ] = None
    metrics_window_size: Annotated[
        float, span(1.0, 3_600.0, "How far back the counts reach that are judged.")
    ] = 10.0
    metrics_bucket_size: Annotated[float, span(0.01, 600.0, "The grain of these counts.")] = 1.0
    minimum_requests: Annotated[int, whole(0, 1_000_000, "Fewer queries are not judged.")] = 20
    open_duration: Annotated[float, span(0.001, DAY_S, "How long an open breaker waits for a trial.")] = 30.0
    half_open_max_concurrent: Annotated[int, whole(1, 1_000, "Trial queries that may be out at once.")] = 10
    half_open_success_threshold: Annotated[
        float, percent(0.0, 100.0, "Share of the trial queries that has to succeed.", open_low=True)
    ] = 100.0
    half_open_probe_interval: Annotated[float, span(0.001, DAY_S, "Between two trials.")] = 5.0
    gradual_recovery_enabled: Annotated[bool, truth("Whether traffic comes back step by step.")] = True
    recovery_ramp_up_duration: Annotated[float, span(0.1, DAY_S, "Until all traffic is back.")] = 120.0
    recovery_step_percentage: Annotated[
        float, percent(0.0, 100.0, "By how much each step raises it.", open_low=True)
    ] = 10.0
    query_level_breakers_enabled: Annotated[
        bool, truth("Whether a slow kind of query has a breaker of its own.")
    ] = False
    slow_query_threshold_ms: Annotated[float, milliseconds(1.0, HOUR_MS, "What slow means there.")] = 5_000.0
    query_pattern_detection: Annotated[bool, truth("Whether such queries are found without being named.")] = (
        False
    )
    user_level_breakers_enabled: Annotated[
        bool, truth("Whether a user that takes too much has a breaker of its own.")
    ] = False
    per_user_rate_limit: Annotated[
        float | None, number(0.0, 1e9, "Queries per second of one user.", open_low=True)
    ] = None
    user_isolation_on_abuse: Annotated[
        bool, truth("Whether a user that stays over the limit is shut out for a while.")
    ] = False
    connection_failure_threshold: Annotated[
        int | None, whole(1, 10_000, "Failed connections in a row that open the breaker.")
    ] = None
    recovery_probe_timeout: Annotated[
        float | None, span(0.001, 3_600.0, "How long a trial query may take.")
    ] = None


class HealthChecksSection(DormantSection):
    """Questions that the proxy asks its backends on its own."""

    enabled: Annotated[bool, truth("Whether it asks.")] = True
    interval: Annotated[float, span(0.01, DAY_S, "How often.")] = 1.0
    timeout: Annotated[float, span(0.001, 3_600.0, "How long an answer may take.")] = 0.5
    check_query: Annotated[str, text("a query", "What it asks.", example='"SELECT 1"')] = "SELECT 1"
    collect_latency_percentiles: Annotated[bool, truth("Keep latency percentiles.")] = True
    collect_connection_metrics: Annotated[bool, truth("Keep counts of connections.")] = True
    collect_replication_lag: Annotated[bool, truth("Keep the replicas' lag.")] = True
    collect_query_queue_depth: Annotated[bool, truth("Keep the length of the queues.")] = True


class AlertsSection(DormantSection):
    """Whom the proxy calls."""

    slack_webhook_url: Annotated[
        Secret | None,
        secret(
            "Slack's webhook. Off when its variable is not set.",
            pattern=r"https?://[^\s\0]+",
            unit="an http or https URL",
        ),
    ] = None
    pagerduty_integration_key: Annotated[
        Secret | None,
        secret(
            "PagerDuty's key. Off when its variable is not set.",
            pattern=r"[A-Za-z0-9_-]+",
            unit="letters, digits, _ and -",
        ),
    ] = None
    alert_on_circuit_open: Annotated[bool, truth("Alert when a breaker opens.")] = True
    alert_on_multiple_circuits_open: Annotated[bool, truth("Alert when several are open.")] = True
    alert_on_recovery_failure: Annotated[bool, truth("Alert when a recovery failed.")] = True


class HeliosSection(DormantSection):
    """How the whole is deployed."""

    mode: Annotated[str, choice("`edge` is a device with a database of its own.", "proxy", "edge")] = "proxy"
    data_dir: Annotated[
        str | None,
        text(
            "an absolute path",
            "Where data is kept.",
            pattern=r"/[^\0]*",
            longest=4_096,
            example='"/var/lib/seawall"',
        ),
    ] = None


class EdgeSection(DormantSection):
    """A device whose way to the cloud comes and goes."""

    local_processing: Annotated[bool, truth("Answer queries locally.")] = False
    cloud_sync_enabled: Annotated[bool, truth("Ship tables to the cloud.")] = False
    offline_mode_enabled: Annotated[bool, truth("Go on without the cloud.")] = False
    cloud_circuit_breaker_enabled: Annotated[bool, truth("Whether the cloud has a breaker.")] = False
    cloud_failure_threshold: Annotated[int, whole(1, 10_000, "Failures in a row that open it.")] = 5
    cloud_open_duration: Annotated[float, span(0.001, DAY_S, "How long it waits for a trial.")] = 300.0
