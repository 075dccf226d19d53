"""A row of the catalogue says everything that is wrong with it at once."""

import pytest

from seawall.kernel.errors import PolicyError
from seawall.telemetry.metrics.metric import ALIASES_MAX, LABELS_MAX, Aggregation, Kind, Metric


def metric(**changes) -> Metric:
    return Metric(**{"name": "queries", "kind": Kind.COUNTER, "help": "Queries.", **changes})


def keys(**changes) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        metric(**changes)
    return [problem.key for problem in caught.value.problems]


def test_a_good_row_of_every_kind() -> None:
    for kind in Kind:
        buckets = (0.1, 1.0) if kind is Kind.HISTOGRAM else ()
        states = ("closed", "open") if kind is Kind.STATE_SET else ()
        assert metric(kind=kind, buckets=buckets, states=states).kind is kind


def test_all_mistakes_are_named_at_once() -> None:
    assert keys(name="no spaces", labels=("le",), limit=0, values_limit=0) == [
        "name",
        "labels",
        "limit",
        "values_limit",
    ]


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("name", {"name": "queries_total"}),
        ("name", {"name": "queries:rate"}),
        ("name", {"kind": Kind.INFO, "name": "build_info"}),
        ("unit", {"unit": "per cent"}),
        ("unit", {"kind": Kind.INFO, "unit": "seconds"}),
        ("unit", {"kind": Kind.STATE_SET, "states": ("up",), "unit": "ratio"}),
        ("alias", {"alias": ("a b",)}),
        ("alias", {"alias": tuple(f"a{number}" for number in range(ALIASES_MAX + 1))}),
        ("labels", {"labels": ("a", "a")}),
        ("labels", {"labels": ("__name",)}),
        ("labels", {"labels": tuple(f"l{number}" for number in range(LABELS_MAX + 1))}),
        ("labels", {"kind": Kind.STATE_SET, "states": ("up",), "labels": ("state",)}),
        ("buckets", {"kind": Kind.HISTOGRAM}),
        ("buckets", {"kind": Kind.HISTOGRAM, "buckets": (1.0, float("inf"))}),
        ("buckets", {"kind": Kind.HISTOGRAM, "buckets": (2.0, 1.0)}),
        ("buckets", {"buckets": (1.0,)}),
        ("states", {"kind": Kind.STATE_SET}),
        ("states", {"kind": Kind.STATE_SET, "states": ("up", "up")}),
        ("states", {"states": ("up",)}),
        ("schema", {"kind": Kind.NATIVE_HISTOGRAM, "schema": 9}),
        ("aggregation", {"aggregation": Aggregation.MAX}),
        ("aggregation", {"kind": Kind.STATE_SET, "states": ("up",), "aggregation": Aggregation.SUM}),
        ("idle_s", {"idle_s": 60.0}),
        ("idle_s", {"kind": Kind.GAUGE, "idle_s": 0.0}),
    ],
)
def test_each_mistake(key: str, changes: dict) -> None:
    assert keys(**changes) == [key]


def test_the_unit_is_the_last_word_once() -> None:
    assert metric(name="wait", unit="seconds").full_name == "wait_seconds"
    assert metric(name="wait_seconds", unit="seconds").full_name == "wait_seconds"
    assert metric().full_name == "queries"


def test_the_names_of_its_samples() -> None:
    assert metric().sample_names == ("queries", "queries_total")
    assert metric(kind=Kind.HISTOGRAM, buckets=(1.0,)).sample_names[1:] == (
        "queries_bucket",
        "queries_count",
        "queries_sum",
    )
    assert metric(kind=Kind.INFO).sample_names == ("queries", "queries_info")
    assert metric(kind=Kind.GAUGE).sample_names == ("queries",)


def test_how_processes_are_merged_unless_said() -> None:
    assert metric(kind=Kind.GAUGE).merged_by is Aggregation.SUM
    assert metric(kind=Kind.STATE_SET, states=("up",)).merged_by is Aggregation.MAX
    assert metric(kind=Kind.GAUGE, aggregation=Aggregation.MIN).merged_by is Aggregation.MIN
