"""The reference's figures come out, and the arithmetic behaves as the world does."""

import json
from dataclasses import astuple, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.app.telemetry_files.estimate import (
    DAY_S,
    SPAN_FIGURE,
    Estimate,
    Load,
    estimate,
    measured_span_us,
)
from seawall.kernel.errors import PolicyError
from tests.repo import tree

SHARES = st.floats(0, 1)
AMOUNTS = st.floats(0, 1e6)
LOADS = st.builds(
    Load,
    requests_per_second=AMOUNTS,
    spans_per_request=st.floats(0, 1e3),
    span_bytes=st.floats(0, 1e5),
    ratio=SHARES,
    error_ratio=SHARES,
    slow_ratio=SHARES,
    series=AMOUNTS,
    scrape_interval_s=st.floats(1, 3600),
    log_lines_per_request=st.floats(0, 100),
    log_line_bytes=st.floats(0, 1e5),
    span_us=st.floats(0, 100),
    export_us=st.floats(0, 100),
)


def test_the_reference_example() -> None:
    found = estimate(Load(requests_per_second=5_000, spans_per_request=6, span_bytes=1_000))
    assert found.spans_per_second == 30_000
    assert found.trace_bytes_per_second == 30e6
    assert round(found.trace_bytes_per_day / 1e12, 2) == 2.59


def test_tail_sampling_of_one_percent() -> None:
    found = estimate(Load(ratio=0.01, error_ratio=0.0, slow_ratio=0.0))
    assert found.kept_bytes_per_second == pytest.approx(300e3)
    assert estimate(Load(ratio=0.01, error_ratio=0.5, slow_ratio=0.0)).kept_share == pytest.approx(0.505)


@given(LOADS)
def test_nothing_is_negative_and_no_more_is_kept_than_there_is(load) -> None:
    found = estimate(load)
    assert min(astuple(found)) >= 0
    assert found.kept_share <= 1
    assert found.kept_bytes_per_second <= found.trace_bytes_per_second * (1 + 1e-9)
    assert found.kept_share >= max(load.ratio, load.error_ratio, load.slow_ratio) - 1e-9


@given(LOADS)
def test_a_day_is_so_many_seconds(load) -> None:
    found = estimate(load)
    assert found.trace_bytes_per_day == pytest.approx(found.trace_bytes_per_second * DAY_S)
    assert found.kept_bytes_per_day == pytest.approx(found.kept_bytes_per_second * DAY_S)
    assert found.log_bytes_per_day == pytest.approx(found.log_bytes_per_second * DAY_S)


@given(LOADS, st.sampled_from([field.name for field in fields(Load)]), st.floats(0, 1))
def test_more_of_anything_costs_no_less(load, name, share) -> None:
    if name == "scrape_interval_s":
        more = replace(load, scrape_interval_s=max(1.0, load.scrape_interval_s * (1 - share)))
    elif name.endswith("ratio"):
        value = getattr(load, name)
        more = replace(load, **{name: min(1.0, value + (1 - value) * share)})
    else:
        more = replace(load, **{name: getattr(load, name) * (1 + share)})
    before, after = estimate(load), estimate(more)
    for field in fields(Estimate):
        assert getattr(after, field.name) >= getattr(before, field.name) * (1 - 1e-9) - 1e-9


@given(LOADS)
def test_twice_the_requests_cost_twice_as_much(load) -> None:
    before = estimate(load)
    after = estimate(replace(load, requests_per_second=2 * load.requests_per_second))
    for name in ("trace_bytes_per_day", "kept_bytes_per_day", "log_bytes_per_day", "cpu_share"):
        assert getattr(after, name) == pytest.approx(2 * getattr(before, name))
    assert after.metric_bytes_per_day == before.metric_bytes_per_day


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(PolicyError) as raised:
        Load(ratio=2.0, span_bytes=-1.0, scrape_interval_s=0.0, series=float("nan"))
    keys = [problem.key for problem in raised.value.problems]
    assert keys == ["span_bytes", "ratio", "series", "scrape_interval_s"]


def test_a_span_costs_what_was_measured() -> None:
    row = {"figure": SPAN_FIGURE, "value": 650.0, "unit": "ns"}
    assert measured_span_us({"figures": [{"figure": "other"}, row]}) == 0.65
    for wrong in ({}, {"figures": None}, {"figures": ["x", row | {"unit": "ms"}, row | {"value": None}]}):
        with pytest.raises(PolicyError, match="no such figure"):
            measured_span_us(wrong)


def test_the_benchmark_has_the_figure() -> None:
    record = tree.ROOT / "benchmarks/results/telemetry.json"
    if record.exists():
        assert measured_span_us(json.loads(record.read_text(encoding="utf-8"))) > 0
