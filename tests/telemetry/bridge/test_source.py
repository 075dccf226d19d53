"""Their registry in ours."""

from collections.abc import Iterator

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
)
from prometheus_client.core import GaugeHistogramMetricFamily, Metric, UnknownMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from seawall.telemetry.bridge import PrometheusSource, RegistryCollector
from seawall.telemetry.bridge.source import FAMILIES_MAX
from seawall.telemetry.exposition import Settings, Writer
from seawall.telemetry.metrics import Registry
from tests.telemetry.exposition.metrics_proto import decoded
from tests.telemetry.exposition.registries import OPENMETRICS, PROTOBUF, TEXT, every_kind

TRACE = {"trace_id": "abc"}


class Apart:
    """What their own classes cannot make: other types, timestamps."""

    def collect(self) -> Iterator[Metric]:
        unknown = UnknownMetricFamily("odd", "Odd.", labels=["a"])
        unknown.add_metric(["x"], 5.0, timestamp=1_500_000_000.25)
        yield unknown
        sizes = GaugeHistogramMetricFamily("sizes", "Sizes.")
        sizes.add_metric([], [("1.0", 2), ("+Inf", 3)], 7.0)
        yield sizes


@pytest.fixture
def theirs() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", ["queue"], registry=registry).labels("q\n").inc(2, exemplar=TRACE)
    Gauge("depth", "Depth.", registry=registry).set(1.5)
    Histogram("took", "Took.", ["job"], unit="seconds", buckets=(1, 5), registry=registry).labels(
        "j"
    ).observe(2, TRACE)
    summary = Summary("paid", "Paid.", registry=registry)
    summary.observe(3)
    summary.observe(4)
    Info("app", "App.", registry=registry).info({"version": "1"})
    Enum("mode", "Mode.", states=["on", "off"], registry=registry).state("off")
    registry.register(Apart())
    return registry


def samples(text: str, read=read_text) -> dict[tuple, float]:
    return {
        (family.type, sample.name, *sorted(sample.labels.items()), sample.timestamp): sample.value
        for family in read(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_our_text_says_what_theirs_says(theirs: CollectorRegistry) -> None:
    ours = Writer(Registry(), sources=[PrometheusSource(theirs)]).write(TEXT).decode()
    assert samples(ours) == samples(generate_latest(theirs).decode())
    assert "_created" not in ours


def test_our_openmetrics_keeps_exemplars_units_and_times(theirs: CollectorRegistry) -> None:
    ours = Writer(Registry(), sources=[PrometheusSource(theirs)]).write(OPENMETRICS).decode()
    families = {family.name: family for family in read_openmetrics(ours)}
    assert {name: family.type for name, family in families.items()} == {
        "jobs": "counter",
        "depth": "gauge",
        "took_seconds": "histogram",
        "paid": "summary",
        "app": "info",
        "mode": "stateset",
        "odd": "unknown",
        "sizes": "gaugehistogram",
    }
    assert families["took_seconds"].unit == "seconds"
    assert [sample.exemplar.labels for sample in families["jobs"].samples if sample.exemplar] == [TRACE]
    assert [sample.labels["le"] for sample in families["took_seconds"].samples if sample.exemplar] == ["5.0"]
    assert float(families["odd"].samples[0].timestamp) == 1_500_000_000.25
    assert "_created" not in ours


def test_protobuf_puts_their_samples_together(theirs: CollectorRegistry) -> None:
    writer = Writer(Registry(), sources=[PrometheusSource(theirs)])
    found = {family.name: family for family in decoded(writer.write(PROTOBUF))}
    assert {name: family.type for name, family in found.items()} == {
        "jobs_total": 0,
        "depth": 1,
        "took_seconds": 4,
        "paid": 2,
        "app_info": 1,
        "mode": 1,
        "odd": 3,
        "sizes": 5,
    }
    assert found["jobs_total"].metric[0].counter.exemplar.label[0].value == "abc"
    histogram = found["took_seconds"].metric[0].histogram
    assert (histogram.sample_count, histogram.sample_sum) == (1, 2.0)
    assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in histogram.bucket] == [
        (1.0, 0),
        (5.0, 1),
        (float("inf"), 1),
    ]
    assert found["took_seconds"].unit == "seconds"
    summary = found["paid"].metric[0].summary
    assert (summary.sample_count, summary.sample_sum) == (2, 7.0)
    assert (found["odd"].metric[0].untyped.value, found["odd"].metric[0].timestamp_ms) == (
        5.0,
        1_500_000_000_250,
    )
    sizes = found["sizes"].metric[0].histogram
    assert (sizes.sample_count, sizes.sample_sum) == (3, 7.0)
    assert [metric.gauge.value for metric in found["mode"].metric] == [0.0, 1.0]


def test_quantiles_and_times_before_1970() -> None:
    class Quantiles:
        def collect(self) -> Iterator[Metric]:
            metric = Metric("lag", "Lag.", "summary")
            for name, labels, value in (
                ("lag", {"quantile": "0.5"}, 1.0),
                ("lag", {"quantile": "0.99"}, 4.0),
                ("lag_count", {}, 10),
                ("lag_sum", {}, 20.0),
            ):
                metric.add_sample(name, labels, value, timestamp=-1.5)
            yield metric

    (family,) = decoded(Writer(Registry(), sources=[PrometheusSource(Quantiles())]).write(PROTOBUF))
    (metric,) = family.metric
    assert [(quantile.quantile, quantile.value) for quantile in metric.summary.quantile] == [
        (0.5, 1.0),
        (0.99, 4.0),
    ]
    assert (metric.summary.sample_count, metric.timestamp_ms) == (10, -1500)


def test_native_histograms_go_there_and_back() -> None:
    direct = {
        family.name: family
        for family in decoded(Writer(every_kind(), Settings(namespace="")).write(PROTOBUF))
    }
    theirs = list(RegistryCollector(every_kind(), Settings(namespace=""), native_histograms=True).collect())

    class Kept:
        def collect(self) -> list[Metric]:
            return theirs

    around = decoded(Writer(Registry(), sources=[PrometheusSource(Kept())]).write(PROTOBUF))
    assert {family.name: family for family in around} == direct


def test_names_that_not_every_scraper_can_read_become_plain_ones_and_still_clash() -> None:
    registry = CollectorRegistry()
    for name in ("http.server.active", "http_server.active"):
        Gauge(name, "Active.", ["http.route", "http_route"], registry=registry).labels("/a", "/b").set(1)
    writer = Writer(Registry(), sources=[PrometheusSource(registry)])
    for form in (TEXT, OPENMETRICS):
        lines = [line for line in writer.write(form).decode().splitlines() if not line.startswith("#")]
        assert lines == ['http_server_active{http_route="/b"} 1.0']
    (family,) = decoded(writer.write(PROTOBUF))
    assert (family.name, family.metric[0].label[0].name) == ("http_server_active", "http_route")
    assert writer.statistics().families_clashing == 3


def test_a_name_that_begins_with_a_digit() -> None:
    class Odd:
        def collect(self) -> Iterator[Metric]:
            metric = Metric("x", "X.", "gauge")
            metric.name = "1st:place"
            metric.add_sample("1st:place", {"2nd:place": "a"}, 1.0)
            yield metric

    text = Writer(Registry(), sources=[PrometheusSource(Odd())]).write(TEXT).decode()
    assert text.splitlines()[-1] == '_1st:place{_2nd_place="a"} 1.0'


def test_a_circle_of_registries_writes_each_family_once() -> None:
    registry, ours = CollectorRegistry(), every_kind()
    registry.register(RegistryCollector(ours))
    Gauge("depth", "Depth.", registry=registry).set(1)
    writer = Writer(ours, sources=[PrometheusSource(registry)])
    assert (
        writer.write(TEXT)
        == Writer(ours).write(TEXT) + b"# HELP depth Depth.\n# TYPE depth gauge\ndepth 1.0\n"
    )
    assert writer.statistics().families_clashing == 0
    assert b"seawall_calls_total" in generate_latest(registry), "and theirs still has ours"


def test_their_failure_is_counted_and_ours_is_whole() -> None:
    class Broken:
        def collect(self) -> Iterator[Metric]:
            yield Metric("fine", "Fine.", "gauge")
            raise OSError("gone")

    registry = CollectorRegistry()
    registry.register(Broken())
    writer = Writer(every_kind(), sources=[PrometheusSource(registry)])
    assert writer.write(TEXT) == Writer(every_kind()).write(TEXT)
    assert writer.statistics().sources_failed == 1


def test_a_registry_without_end_is_cut_and_counted() -> None:
    class Endless:
        def collect(self) -> Iterator[Metric]:
            while True:
                yield Metric("again", "Again.", "gauge")

    source = PrometheusSource(Endless())
    assert sum(1 for _ in source.collect()) == FAMILIES_MAX
    now = source.statistics()
    assert (now.collected, now.families_refused) == (FAMILIES_MAX, 1)
    assert "families_refused=1" in repr(source)
