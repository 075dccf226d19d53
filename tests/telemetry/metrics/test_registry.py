"""Metrics by name: declared once, bounded, and honest about what was put together."""

from itertools import zip_longest

import pytest

from seawall.kernel.errors import UsageError
from seawall.telemetry.metrics import registry as module
from seawall.telemetry.metrics.cardinality import METRIC_OVERFLOW, OVERFLOW, CardinalityReached
from seawall.telemetry.metrics.families import SLICE
from seawall.telemetry.metrics.metric import Kind, Metric
from seawall.telemetry.metrics.registry import FAMILIES_SLICE, READERS_MAX, Registry
from tests.telemetry.metrics.host import passed


def metric(name: str = "calls", **more) -> Metric:
    return Metric(**{"name": name, "kind": Kind.COUNTER, "help": "Calls.", "labels": ("path",), **more})


def test_declaring_again_finds_the_same_family() -> None:
    registry = Registry()
    assert registry.declare(metric()) is registry.declare(metric())
    with pytest.raises(UsageError, match="'calls'"):
        registry.declare(metric(help="Others."))


def test_families_are_in_the_order_of_their_names() -> None:
    registry = Registry()
    for name in ("b", "c", "a"):
        registry.declare(metric(name))
    assert [family.metric.name for family in registry.families()] == ["a", "b", "c"]
    assert repr(registry) == "<Registry metrics=3 series=0/50000>"


@pytest.mark.parametrize(
    "second",
    [
        metric("wait_count", kind=Kind.GAUGE),
        metric("wait", unit="seconds", kind=Kind.GAUGE),
    ],
)
def test_metrics_that_would_be_taken_for_each_other(second: Metric) -> None:
    registry = Registry()
    registry.declare(metric("wait", kind=Kind.HISTOGRAM, buckets=(1.0,), unit=""))
    if second.name == "wait":
        registry = Registry()
        registry.declare(metric("wait_seconds"))
    with pytest.raises(UsageError, match="taken for"):
        registry.declare(second)


def test_the_count_of_overflows_has_its_name_for_itself() -> None:
    registry = Registry()
    with pytest.raises(UsageError, match="metric_overflow"):
        registry.declare(metric("metric_overflow"))
    assert registry.declare(METRIC_OVERFLOW).metric is METRIC_OVERFLOW


def test_there_are_not_more_metrics_than_can_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAMILIES_MAX", 2)
    registry = Registry()
    for name in ("a", "b"):
        registry.declare(metric(name, limit=1))
    with pytest.raises(UsageError, match="2 metrics already"):
        registry.declare(metric("c"))
    family = registry.declare(metric("a", limit=1))
    family.cell("/1")
    assert family.cell("/2") is family.cells[OVERFLOW,]


def test_typed_families() -> None:
    registry = Registry()
    registry.counter(metric("a")).cell("x").inc()
    registry.gauge(metric("b", kind=Kind.GAUGE)).cell("x").set(1)
    registry.histogram(metric("c", kind=Kind.HISTOGRAM, buckets=(1.0,))).cell("x").observe(1)
    registry.native_histogram(metric("d", kind=Kind.NATIVE_HISTOGRAM)).cell("x").observe(1)
    registry.state_set(metric("e", kind=Kind.STATE_SET, states=("up",))).cell("x").set("up")
    assert repr(registry.info(metric("f", kind=Kind.INFO)).cell("x")) == "<Info>"
    with pytest.raises(UsageError, match="is a counter, not a gauge"):
        registry.gauge(metric("a"))


@pytest.mark.parametrize("wrong", [{"series_limit": 0}, {"warn_share": 0.0}, {"warn_share": 1.5}])
def test_numbers_out_of_range(wrong: dict) -> None:
    with pytest.raises(UsageError, match="allowed is"):
        Registry(**wrong)


def test_overflows_are_counted_by_metric_and_never_overflow_themselves() -> None:
    registry = Registry(series_limit=2)
    one, two = registry.declare(metric("one")), registry.declare(metric("two"))
    assert [family.metric.name for family in registry.families()] == ["one", "two"]
    for path in "abcd":
        one.cell(path)
        two.cell(path)
    counts = registry.declare(METRIC_OVERFLOW)
    assert {values: cell.value for values, cell in counts.cells.items()} == {("one",): 3, ("two",): 3}
    now = registry.statistics()
    assert (now.families, now.offered, now.kept, now.overflowed) == (3, 10, 4, 6)


def test_what_is_close_is_told_to_the_callback_once_with_the_time() -> None:
    facts: list[CardinalityReached] = []
    registry = Registry(series_limit=10, on_fact=facts.append)
    calls = registry.declare(metric(values_limit=100))
    for number in range(8):
        calls.cell(str(number))
    passed(registry, 5.0)
    assert [(fact.at, fact.name, fact.key, fact.count, fact.limit) for fact in facts] == [
        (5.0, "", "", 8, 10)
    ]
    for number in range(12):
        calls.cell(str(number))
    passed(registry, 6.0)
    passed(registry, 7.0)
    assert [(fact.at, fact.count, fact.overflowed) for fact in facts[1:]] == [(6.0, 10, 2)]


def test_a_callback_that_raises_is_counted() -> None:
    told = []
    registry = Registry(on_fact=lambda fact: told.append(fact) or 1 // 0)
    registry.declare(metric(values_limit=1)).cell("/a")
    passed(registry)
    assert len(told) == 1
    assert registry.statistics().callback_errors == 1


def test_idle_gauges_are_forgotten_by_the_sweep() -> None:
    registry = Registry()
    sizes = registry.declare(metric("size", kind=Kind.GAUGE, idle_s=10.0))
    sizes.cell("/a")
    passed(registry, 0.0)
    passed(registry, 10.0)
    assert sizes.cells == {}
    assert registry.statistics().forgotten == 1


def test_the_worst_labels_first() -> None:
    registry = Registry()
    calls = registry.declare(metric("calls", labels=("path", "user"), values_limit=5))
    registry.declare(metric("few")).cell("/a")
    for number in range(8):
        calls.cell("/a", f"user-{number}")
    worst = registry.worst_labels()
    assert [(each.metric, each.label, each.values) for each in worst] == [
        ("calls", "user", 5),
        ("calls", "path", 1),
        ("few", "path", 1),
        ("metric_overflow", "metric", 1),
    ]
    assert (worst[0].overflowed, worst[0].examples) == (3, ("user-0", "user-1", "user-2"))
    assert registry.worst_labels(1) == worst[:1]


def test_letting_time_pass_goes_in_slices() -> None:
    registry = Registry()
    sizes = registry.declare(metric("size", kind=Kind.GAUGE, idle_s=10.0, limit=5_000, values_limit=5_000))
    for number in range(1_000):
        sizes.cell(str(number))
    assert passed(registry) == 1_000 // SLICE
    for number in range(2 * FAMILIES_SLICE):
        registry.declare(metric(f"m{number}"))
    assert passed(registry) == 1_000 // SLICE + 2


def test_two_scrapes_may_let_time_pass_at_once() -> None:
    registry = Registry()
    sizes = registry.declare(metric("size", kind=Kind.GAUGE, idle_s=10.0, limit=5_000, values_limit=5_000))
    for number in range(1_000):
        sizes.cell(str(number))
    passed(registry)
    first, second = registry.refreshing(10.0), registry.refreshing(10.0)
    for _ in zip_longest(first, second):
        continue
    assert (len(sizes.cells), registry.statistics().forgotten) == (0, 1_000)


def test_readers_run_before_every_scrape_in_slices():
    registry = Registry()
    family = registry.gauge(Metric(name="level", kind=Kind.GAUGE, help="A level."))
    levels = iter(range(1, 10))

    def read():
        family.cell().set(next(levels))
        yield

    registry.add_reader(read)
    registry.add_reader(read)
    assert len(list(registry.refreshing(0.0))) == 1
    assert family.cell().value == 1
    registry.remove_reader(read)
    registry.remove_reader(read)
    assert list(registry.refreshing(1.0)) == []
    assert family.cell().value == 1


def test_a_broken_reader_is_counted_and_the_scrape_goes_on():
    registry = Registry()
    read = []

    def broken():
        yield
        raise RuntimeError("no")

    def healthy():
        read.append(True)
        yield from ()

    registry.add_reader(broken)
    registry.add_reader(healthy)
    list(registry.refreshing(0.0))
    assert read == [True]
    assert registry.statistics().callback_errors == 1


def test_readers_are_bounded():
    registry = Registry()
    for _ in range(READERS_MAX):
        registry.add_reader(lambda: iter(()))
    with pytest.raises(UsageError, match="64 readers already"):
        registry.add_reader(lambda: iter(()))
