"""Protobuf, read by googleapis protobuf with the published messages."""

import pytest

from seawall.telemetry.exposition import Settings, Writer
from seawall.telemetry.exposition.protobuf import native_body, spans
from seawall.telemetry.exposition.values import Losses
from seawall.telemetry.metrics import Exemplar, Exponential, Kind, Metric, Registry
from seawall.telemetry.metrics.native import ZERO_THRESHOLD, key_of
from tests.telemetry.exposition.metrics_proto import Histogram, decoded
from tests.telemetry.exposition.registries import PROTOBUF, every_kind

COUNTER, GAUGE, HISTOGRAM = 0, 1, 4


def families(registry: Registry, **settings) -> dict:
    return {found.name: found for found in decoded(Writer(registry, Settings(**settings)).write(PROTOBUF))}


def labels(metric) -> dict[str, str]:
    return {pair.name: pair.value for pair in metric.label}


def absolute(deltas) -> list[int]:
    total, counts = 0, []
    for delta in deltas:
        total += delta
        counts.append(total)
    return counts


def buckets(offsets, deltas) -> dict[int, int]:
    """Spans and differences back to counts by key, as a scraper does it."""
    counts = iter(absolute(deltas))
    key, found = 0, {}
    for offset, length in offsets:
        key += offset
        for _ in range(length):
            count = next(counts)
            if count:
                found[key] = count
            key += 1
    assert next(counts, None) is None
    return found


def test_names_types_and_units() -> None:
    found = families(every_kind())
    assert {name: (family.type, family.unit) for name, family in found.items()} == {
        "seawall_build_info": (GAUGE, ""),
        "seawall_calls_total": (COUNTER, ""),
        "seawall_circuit_breaker_state": (GAUGE, ""),
        "seawall_circuit_breaker_status": (GAUGE, ""),
        "seawall_query_seconds": (HISTOGRAM, "seconds"),
        "seawall_wait_seconds": (HISTOGRAM, "seconds"),
    }
    assert found["seawall_calls_total"].help == 'Calls, "all" of them \\ counted.\nTwice.'


def test_numbers_labels_and_states() -> None:
    found = families(every_kind())
    first, second = found["seawall_calls_total"].metric
    assert (labels(first), first.counter.value) == ({"backend": "eu-1", "outcome": "ok"}, 3.0)
    assert (labels(second), second.counter.value) == ({"backend": 'a"b\\c\nd', "outcome": ""}, 0.5)
    assert [metric.gauge.value for metric in found["seawall_circuit_breaker_state"].metric] == [0, 1, 2]
    assert [
        (labels(metric)["state"], metric.gauge.value)
        for metric in found["seawall_circuit_breaker_status"].metric
    ] == [
        ("closed", 0),
        ("half_open", 0),
        ("open", 1),
    ]
    assert [labels(metric) for metric in found["seawall_build_info"].metric] == [{"version": "1.2"}]


def test_a_classic_histogram_with_its_exemplar() -> None:
    (metric,) = families(every_kind())["seawall_wait_seconds"].metric
    histogram = metric.histogram
    assert (histogram.sample_count, histogram.sample_sum) == (4, 9.8)
    assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in histogram.bucket] == [
        (0.1, 1),
        (1.0, 3),
        (2.5, 3),
        (float("inf"), 4),
    ]
    examples = [bucket.exemplar for bucket in histogram.bucket if bucket.HasField("exemplar")]
    assert [(labels(example), example.value) for example in examples] == [
        ({"trace_id": "4bf92f3577b34da6"}, 0.25)
    ]
    assert examples[0].timestamp.seconds == 1_520_879_607
    assert abs(examples[0].timestamp.nanos - 789_000_000) < 1_000
    assert not histogram.HasField("schema")


def test_a_native_histogram_has_every_observation_in_its_bucket() -> None:
    (metric,) = families(every_kind())["seawall_query_seconds"].metric
    native = metric.histogram
    assert (native.sample_count, native.schema, native.zero_threshold, native.zero_count) == (
        6,
        3,
        ZERO_THRESHOLD,
        1,
    )
    positive = buckets([(span.offset, span.length) for span in native.positive_span], native.positive_delta)
    negative = buckets([(span.offset, span.length) for span in native.negative_span], native.negative_delta)
    assert positive == {key_of(0.25, 3): 2, key_of(0.3, 3): 1, key_of(4.0, 3): 1}
    assert negative == {key_of(2.0, 3): 1}
    assert [(labels(example), example.value) for example in native.exemplars] == [
        ({"trace_id": "4bf92f3577b34da6"}, 0.25),
        ({"trace_id": "4bf92f3577b34da6"}, 0.25),
    ]
    assert not native.bucket


@pytest.mark.parametrize(("threshold", "wanted"), [(0.0, [(0, 0)]), (ZERO_THRESHOLD, [])])
def test_a_native_histogram_that_has_counted_nothing_is_told_from_a_classic_one(
    threshold: float, wanted: list[tuple[int, int]]
) -> None:
    native = Exponential(schema=3, zero_threshold=threshold, zero_count=0, positive={}, negative={}, sum=0.0)
    found = Histogram()
    found.ParseFromString(native_body(native, (), Losses()))
    assert [(span.offset, span.length) for span in found.positive_span] == wanted
    assert (found.schema, found.zero_threshold, found.sample_count) == (3, threshold, 0)


def test_the_example_of_a_native_histogram_needs_its_time() -> None:
    registry = Registry()
    family = registry.declare(Metric(name="n", kind=Kind.NATIVE_HISTOGRAM, help="N."))
    family.cell().observe(1.0, Exemplar((), 1.0, float("nan")))
    writer = Writer(registry)
    (found,) = decoded(writer.write(PROTOBUF))
    assert not found.metric[0].histogram.exemplars
    assert writer.statistics().exemplars_dropped == 1


def test_an_alias_of_a_counter_is_one_whatever_it_is_called() -> None:
    found = families(every_kind(), aliases=True)
    for name in ("service_calls_total", "service_calls_count"):
        assert found[name].type == COUNTER
        assert [metric.counter.value for metric in found[name].metric] == [3.0, 0.5]
    assert found["mpc_circuit_breaker_state"].type == GAUGE


def test_small_gaps_are_filled_and_large_ones_begin_a_span() -> None:
    assert spans({}) == ([], [])
    assert spans({-3: 5}) == ([(-3, 1)], [5])
    assert spans({0: 1, 1: 3, 4: 2}) == ([(0, 5)], [1, 2, -3, 0, 2])
    assert spans({0: 1, 4: 2}) == ([(0, 1), (3, 1)], [1, 1])
