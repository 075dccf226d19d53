"""The text format: golden texts, and what its parser reads back."""

import math

from prometheus_client.parser import text_string_to_metric_families

from seawall.telemetry.exposition import Settings, Writer
from seawall.telemetry.metrics import Kind, Metric, Registry
from tests.telemetry.exposition.registries import TEXT, every_kind

GOLDEN = r"""# HELP seawall_build_info This build.
# TYPE seawall_build_info gauge
seawall_build_info{version="1.2"} 1
# HELP seawall_calls_total Calls, "all" of them \\ counted.\nTwice.
# TYPE seawall_calls_total counter
seawall_calls_total{backend="eu-1",outcome="ok"} 3
seawall_calls_total{backend="a\"b\\c\nd",outcome=""} 0.5
# HELP seawall_circuit_breaker_state State of a breaker.
# TYPE seawall_circuit_breaker_state gauge
seawall_circuit_breaker_state{backend="b0"} 0.0
seawall_circuit_breaker_state{backend="b1"} 1.0
seawall_circuit_breaker_state{backend="b2"} 2.0
# HELP seawall_circuit_breaker_status Which state holds.
# TYPE seawall_circuit_breaker_status gauge
seawall_circuit_breaker_status{backend="b1",state="closed"} 0
seawall_circuit_breaker_status{backend="b1",state="half_open"} 0
seawall_circuit_breaker_status{backend="b1",state="open"} 1
# HELP seawall_query_seconds Queries.
# TYPE seawall_query_seconds histogram
seawall_query_seconds_bucket{le="+Inf"} 6
seawall_query_seconds_count 6
seawall_query_seconds_sum 2.8
# HELP seawall_wait_seconds Time in the queue.
# TYPE seawall_wait_seconds histogram
seawall_wait_seconds_bucket{pool="p",le="0.1"} 1
seawall_wait_seconds_bucket{pool="p",le="1.0"} 3
seawall_wait_seconds_bucket{pool="p",le="2.5"} 3
seawall_wait_seconds_bucket{pool="p",le="+Inf"} 4
seawall_wait_seconds_count{pool="p"} 4
seawall_wait_seconds_sum{pool="p"} 9.8
"""


def written(registry: Registry, **settings) -> str:
    return Writer(registry, Settings(**settings)).write(TEXT).decode()


def samples(text: str) -> dict[tuple, float]:
    return {
        (sample.name, *sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_kind_as_text() -> None:
    assert written(every_kind()) == GOLDEN


def test_a_second_scrape_uses_what_the_first_rendered_and_says_what_changed() -> None:
    registry = every_kind()
    writer = Writer(registry)
    writer.write(TEXT)
    (family,) = (found for found in registry.families() if found.metric.name == "calls")
    cell = family.cell("eu-1", "ok")
    line = cell.line
    assert line is not None
    cell.inc()
    assert 'outcome="ok"} 4\n' in writer.write(TEXT).decode()
    assert cell.line is line


def test_no_namespace_and_another_one() -> None:
    assert "\ncircuit_breaker_state{" in written(every_kind(), namespace="")
    assert "\nplatform_circuit_breaker_state{" in written(every_kind(), namespace="platform")
    assert "seawall_" not in written(every_kind(), namespace="platform")


def test_the_other_numbering_swaps_open_and_half_open_and_nothing_else() -> None:
    text = written(every_kind(), state_numbering="helios")
    changed = [
        (ours, theirs)
        for ours, theirs in zip(GOLDEN.splitlines(), text.splitlines(), strict=True)
        if ours != theirs
    ]
    assert changed == [
        (
            'seawall_circuit_breaker_state{backend="b1"} 1.0',
            'seawall_circuit_breaker_state{backend="b1"} 2.0',
        ),
        (
            'seawall_circuit_breaker_state{backend="b2"} 2.0',
            'seawall_circuit_breaker_state{backend="b2"} 1.0',
        ),
    ]


def test_aliases_are_written_beside_the_name_when_asked_for() -> None:
    text = written(every_kind(), aliases=True)
    assert [line for line in text.splitlines() if line.startswith("# TYPE service_")] == [
        "# TYPE service_calls_total counter",
        "# TYPE service_calls_count counter",
    ]
    found = samples(text)
    for name in ("seawall_calls_total", "service_calls_total"):
        assert found[name, ("backend", "eu-1"), ("outcome", "ok")] == 3
    assert 'service_calls_count{backend="eu-1",outcome="ok"} 3\n' in text
    assert 'mpc_circuit_breaker_state{backend="b2"} 2.0\n' in text


def test_numbers_that_are_hard_to_write() -> None:
    registry = Registry()
    family = registry.declare(Metric(name="g", kind=Kind.GAUGE, help="", labels=("n",)))
    values = [
        math.inf,
        -math.inf,
        math.nan,
        1e300,
        5e-324,
        -0.0,
        2**70,
        10**5000,
        -(10**5000),
        True,
        "nonsense",
    ]
    for number, value in enumerate(values):
        family.cell(str(number)).set(value)
    family.cell("f").function = lambda: 1 / 0
    total = registry.declare(Metric(name="c", kind=Kind.COUNTER, help=""))
    total.cell().inc(10**5000)
    read = samples(written(registry))
    assert [read["seawall_g", ("n", str(number))] for number in (0, 1, 3, 4, 6, 9)] == [
        math.inf,
        -math.inf,
        1e300,
        5e-324,
        2.0**70,
        1.0,
    ]
    assert all(math.isnan(read["seawall_g", ("n", name)]) for name in ("2", "10", "f"))
    assert "# HELP" not in written(registry)


def test_a_lone_surrogate_in_a_label_does_not_break_the_scrape() -> None:
    registry = Registry()
    family = registry.declare(Metric(name="c", kind=Kind.COUNTER, help="\ud800", labels=("path",)))
    family.cell("a\udcffb").inc()
    assert 'path="a?b"' in written(registry)
