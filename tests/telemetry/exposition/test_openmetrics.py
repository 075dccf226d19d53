"""OpenMetrics: golden text, exemplars, times of creation, and what its parser reads back."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from seawall.telemetry.exposition import Settings, Writer
from seawall.telemetry.metrics import Exemplar, Kind, Metric, Registry
from tests.telemetry.exposition.registries import OPENMETRICS, every_kind

GOLDEN = r"""# TYPE seawall_build info
# HELP seawall_build This build.
seawall_build_info{version="1.2"} 1
# TYPE seawall_calls counter
# HELP seawall_calls Calls, \"all\" of them \\ counted.\nTwice.
seawall_calls_total{backend="eu-1",outcome="ok"} 3 # {trace_id="4bf92f3577b34da6"} 0.25 1520879607.789
seawall_calls_total{backend="a\"b\\c\nd",outcome=""} 0.5
# TYPE seawall_circuit_breaker_state gauge
# HELP seawall_circuit_breaker_state State of a breaker.
seawall_circuit_breaker_state{backend="b0"} 0.0
seawall_circuit_breaker_state{backend="b1"} 1.0
seawall_circuit_breaker_state{backend="b2"} 2.0
# TYPE seawall_circuit_breaker_status gauge
# HELP seawall_circuit_breaker_status Which state holds.
seawall_circuit_breaker_status{backend="b1",state="closed"} 0
seawall_circuit_breaker_status{backend="b1",state="half_open"} 0
seawall_circuit_breaker_status{backend="b1",state="open"} 1
# TYPE seawall_query_seconds histogram
# UNIT seawall_query_seconds seconds
# HELP seawall_query_seconds Queries.
seawall_query_seconds_bucket{le="+Inf"} 6
seawall_query_seconds_count 6
seawall_query_seconds_sum 2.8
# TYPE seawall_wait_seconds histogram
# UNIT seawall_wait_seconds seconds
# HELP seawall_wait_seconds Time in the queue.
seawall_wait_seconds_bucket{pool="p",le="0.1"} 1
seawall_wait_seconds_bucket{pool="p",le="1.0"} 3 # {trace_id="4bf92f3577b34da6"} 0.25 1520879607.789
seawall_wait_seconds_bucket{pool="p",le="2.5"} 3
seawall_wait_seconds_bucket{pool="p",le="+Inf"} 4
seawall_wait_seconds_count{pool="p"} 4
seawall_wait_seconds_sum{pool="p"} 9.8
# EOF
"""


def written(registry: Registry, **settings) -> str:
    return Writer(registry, Settings(**settings)).write(OPENMETRICS).decode()


def test_every_kind_as_openmetrics() -> None:
    assert written(every_kind()) == GOLDEN


@pytest.mark.parametrize(
    "settings", [{}, {"aliases": True}, {"namespace": ""}, {"state_numbering": "helios"}], ids=str
)
def test_the_parser_that_checks_the_rules_has_nothing_to_object(settings: dict) -> None:
    families = list(text_string_to_metric_families(written(every_kind(), **settings)))
    prefix = settings.get("namespace", "seawall_")
    assert {family.name for family in families} >= {
        f"{prefix}{name}" for name in ("calls", "wait_seconds", "build")
    }


def test_an_empty_registry_is_an_end_and_nothing_else() -> None:
    assert written(Registry()) == "# EOF\n"


def test_an_alias_that_lacks_its_types_suffix_is_of_unknown_type() -> None:
    families = {
        family.name: family for family in text_string_to_metric_families(written(every_kind(), aliases=True))
    }
    assert families["service_calls"].type == "counter"
    assert families["service_calls_count"].type == "unknown"
    assert not any(sample.exemplar for sample in families["service_calls_count"].samples)


@pytest.mark.parametrize(
    "example",
    [
        Exemplar((("trace_id", "x" * 121),), 1.0, 1.0),
        Exemplar((("not plain", "x"),), 1.0, 1.0),
        Exemplar((("trace_id", "x"),), float("nan"), 1.0),
        Exemplar((("trace_id", 7),), 1.0, 1.0),
        Exemplar(None, 1.0, 1.0),
    ],
    ids=["too long", "name", "number", "no text", "no labels"],
)
def test_an_exemplar_that_no_scraper_would_take_is_left_out_and_counted(example: Exemplar) -> None:
    registry = Registry()
    registry.declare(Metric(name="c", kind=Kind.COUNTER, help="C.")).cell().inc(exemplar=example)
    writer = Writer(registry)
    assert writer.write(OPENMETRICS).decode().splitlines()[2] == "seawall_c_total 1"
    assert writer.statistics().exemplars_dropped == 1


def test_the_longest_exemplar_is_taken() -> None:
    registry = Registry()
    example = Exemplar((("trace_id", "ü" * 120),), 1.0, float("nan"))
    registry.declare(Metric(name="c", kind=Kind.COUNTER, help="C.")).cell().inc(exemplar=example)
    text = written(registry)
    ((sample,),) = (family.samples for family in text_string_to_metric_families(text))
    assert sample.exemplar.labels == {"trace_id": "ü" * 120}
    assert sample.exemplar.timestamp is None


def test_a_histogram_with_bounds_below_zero_has_no_totals() -> None:
    registry = Registry()
    metric = Metric(name="h", kind=Kind.HISTOGRAM, help="H.", buckets=(-1.0, 1.0))
    registry.declare(metric).cell().observe(-2.0)
    text = written(registry)
    assert "_sum" not in text
    assert "_count" not in text
    assert len(list(text_string_to_metric_families(text))) == 1
