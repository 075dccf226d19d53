"""The linter finds what it is there to find, and nothing in what is right."""

import pytest

from seawall.app.telemetry_files import Naming
from seawall.telemetry.metrics.metric import Kind, Metric
from tests.app.telemetry_files import promql

ROWS = (
    Metric(name="calls", kind=Kind.COUNTER, help="Calls.", labels=("name",)),
    Metric(name="depth", kind=Kind.GAUGE, help="Depth."),
    Metric(name="wait", kind=Kind.HISTOGRAM, help="Waits.", unit="seconds", buckets=(1.0,)),
    Metric(name="mode", kind=Kind.STATE_SET, help="Modes.", states=("a", "b")),
)
NAMES = promql.known(ROWS, Naming(namespace="x"))


@pytest.mark.parametrize(
    "expr",
    [
        "sum by (job, name) (rate(x_calls_total[5m])) > 0",
        'histogram_quantile(0.9, sum by (le) (rate(x_wait_seconds_bucket{job="a"}[5m])))',
        "rate(x_wait_seconds_sum[5m]) / rate(x_wait_seconds_count[5m])",
        'max by (state) (x_mode{state="a"}) == 1',
        "changes(x_depth[5m]) > 4\n  and\nup == 1",
        "x_calls_total unless x_calls_total offset 15m",
        'absent(up{job="seawall"})',
    ],
)
def test_what_is_right_passes(expr) -> None:
    assert promql.faults(expr, NAMES) == []


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("rate(x_call_total[5m])", "there is no metric x_call_total"),
        ("rate(x_calls[5m])", "there is no metric x_calls"),
        ("sum(x_wait_seconds)", "there is no metric x_wait_seconds"),
        ("rate(x_depth[5m])", "rate() of x_depth, which is a gauge"),
        ("increase(x_mode[5m])", "increase() of x_mode, which is a gauge"),
        ("changes(x_calls_total[5m])", "changes() of x_calls_total, which is a counter"),
        ("rate(x_calls_total)", "x_calls_total: a range and no function of ranges, or the other way round"),
        ("sum(x_depth[5m])", "x_depth: a range and no function of ranges, or the other way round"),
        ('x_depth{name="a"}', "x_depth has no label name"),
        ("sum by (backend) (x_depth)", "grouped by backend, which nothing has"),
        ("1 + 1", "no metric is asked for"),
    ],
)
def test_what_is_wrong_is_found(expr, fault) -> None:
    assert promql.faults(expr, NAMES) == [fault]


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("rate(x_calls_total{F}[5m])", "x_calls_total over 5m, and not over $__rate_interval"),
        ("sum(x_calls_total{F})", "x_calls_total is a counter, and is shown as it stands"),
        ("sum(x_depth)", "x_depth is not filtered by the dashboard's variables"),
    ],
)
def test_what_is_wrong_on_a_dashboard_is_found(expr, fault) -> None:
    expr = expr.replace("F", 'job=~"$job",instance=~"$instance"')
    assert promql.panel_faults(expr, NAMES) == [fault]
