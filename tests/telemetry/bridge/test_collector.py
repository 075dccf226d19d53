"""Our registry in theirs."""

import math
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.openmetrics import exposition as theirs
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from seawall.kernel.errors import UsageError
from seawall.telemetry.bridge import RegistryCollector
from seawall.telemetry.exposition import Settings, Writer
from seawall.telemetry.metrics import Exemplar, Kind, Metric, Registry
from tests.telemetry.exposition.registries import OPENMETRICS, TEXT, every_kind


def samples(text: str) -> dict[tuple, float]:
    return {
        (family.type, sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(aliases=False, state_numbering="helios", namespace="platform")],
    ids=repr,
)
def test_their_text_says_what_ours_says(settings: Settings) -> None:
    registry = CollectorRegistry()
    registry.register(RegistryCollector(every_kind(), settings))
    ours = Writer(every_kind(), settings).write(TEXT).decode()
    assert samples(generate_latest(registry).decode()) == samples(ours)


def test_their_openmetrics_says_what_ours_says_exemplars_too() -> None:
    registry = CollectorRegistry()
    registry.register(RegistryCollector(every_kind()))
    ours = list(read_openmetrics(Writer(every_kind()).write(OPENMETRICS).decode()))
    assert list(read_openmetrics(theirs.generate_latest(registry).decode())) == ours
    assert sum(sample.exemplar is not None for family in ours for sample in family.samples) == 2


def test_native_histograms_are_handed_over_when_asked_for() -> None:
    metrics = {
        metric.name: metric for metric in RegistryCollector(every_kind(), native_histograms=True).collect()
    }
    (native,) = (
        sample.native_histogram
        for sample in metrics["seawall_query_seconds"].samples
        if sample.native_histogram
    )
    assert (native.count_value, native.schema, native.zero_count) == (6, 3, 1)
    assert sum(span.length for span in native.pos_spans) == len(native.pos_deltas)
    assert native.neg_deltas == [1]
    assert native.nh_exemplars[0].labels == {"trace_id": "4bf92f3577b34da6"}
    assert not any(
        sample.native_histogram
        for metric in RegistryCollector(every_kind()).collect()
        for sample in metric.samples
    )


def test_describing_has_no_samples_and_finds_clashes() -> None:
    collector = RegistryCollector(every_kind())
    described = [metric.name for metric in collector.describe()]
    collected = [metric.name for metric in collector.collect()]
    assert [name for name in described if name != "seawall_never_used"] == collected
    assert "seawall_never_used" in described
    assert not any(metric.samples for metric in collector.describe())
    registry = CollectorRegistry()
    Gauge("seawall_circuit_breaker_state", "Theirs.", registry=registry)
    with pytest.raises(ValueError, match="seawall_circuit_breaker_state"):
        registry.register(collector)


def test_without_prometheus_client_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match=r"pip install 'seawall\[telemetry\]'"):
        RegistryCollector(every_kind())


def test_importing_the_bridge_does_not_load_prometheus_client() -> None:
    program = "import sys, seawall.telemetry.bridge; print('prometheus_client' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=10
    )
    assert done.stdout == "False\n"


def test_time_passes_for_their_scrapes_too() -> None:
    now = 0.0
    ours = Registry()
    metric = Metric(name="size", kind=Kind.GAUGE, help="Size.", labels=("n",), idle_s=60.0)
    for name in "ab":
        ours.declare(metric).cell(name).set(1)
    registry = CollectorRegistry()
    registry.register(RegistryCollector(ours, clock=lambda: now))
    assert generate_latest(registry).count(b"seawall_size{") == 2
    now = 60.0
    ours.declare(metric).cell("a").set(2)
    assert b'seawall_size{n="a"} 2.0\n' in generate_latest(registry)
    assert b'{n="b"}' not in generate_latest(registry)


def test_an_exemplar_without_a_time_has_none_there() -> None:
    ours = Registry()
    exemplar = Exemplar((("trace_id", "a"),), 1.0, math.nan)
    ours.declare(Metric(name="c", kind=Kind.COUNTER, help="C.")).cell().inc(1, exemplar)
    registry = CollectorRegistry()
    registry.register(RegistryCollector(ours))
    assert '# {trace_id="a"} 1.0\n' in theirs.generate_latest(registry).decode()
