"""What the guard lets in, how it counts the rest, and when it tells."""

from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.metrics.cardinality import (
    OTHER,
    VALUE_LENGTH_MAX,
    Census,
    Guard,
    worse,
)
from seawall.telemetry.metrics.metric import Kind, Metric


def guard(
    labels: tuple[str, ...] = ("path",), census: int = 100, exempt: bool = False, **limits: int
) -> Guard:
    metric = Metric(name="calls", kind=Kind.COUNTER, help="Calls.", labels=labels, **limits)
    return Guard(metric, Census(census), exempt=exempt)


def test_values_beyond_their_labels_limit_become_other() -> None:
    one = guard(("path", "method"), values_limit=2)
    for values in (("/a", "GET"), ("/b", "GET")):
        assert one.fit(values) == values
        one.enter(values)
    assert one.fit(("/c", "GET")) == (OTHER, "GET")
    assert one.fit(("/a", "PUT")) == ("/a", "PUT")
    assert one.fit((OTHER, "GET")) == (OTHER, "GET")


def test_a_value_that_is_data_becomes_other() -> None:
    assert guard().fit(("x" * VALUE_LENGTH_MAX,)) == ("x" * VALUE_LENGTH_MAX,)
    assert guard().fit(("x" * (VALUE_LENGTH_MAX + 1),)) == (OTHER,)


def test_a_value_makes_room_when_no_series_has_it_any_more() -> None:
    one = guard(("path", "method"), values_limit=1)
    one.enter(("/a", "GET"))
    one.enter(("/a", OTHER))
    one.leave(("/a", "GET"))
    assert one.fit(("/b", OTHER)) == (OTHER, OTHER)
    one.leave(("/a", OTHER))
    assert one.fit(("/b", OTHER)) == ("/b", OTHER)
    assert one.series == 0


def test_why_there_is_no_room() -> None:
    assert guard(limit=1).full() == ""
    full = guard(limit=1)
    full.enter(("/a",))
    assert full.full() == "metric"
    process = guard(census=1)
    process.enter(("/a",))
    assert process.full() == "process"
    exempt = guard(census=1, exempt=True)
    exempt.enter(("/a",))
    assert exempt.full() == ""
    plain = guard((), limit=1, census=1)
    plain.enter(())
    assert plain.full() == ""


def test_each_limit_is_told_once_when_it_is_close_and_once_when_it_is_reached() -> None:
    one = guard(limit=10, values_limit=5)
    told = []
    for number in range(5):
        one.enter((f"/{number}",))
        told.append([(fact.key, fact.count, fact.limit) for fact in one.facts(float(number), 0.8)])
    assert told == [[], [], [], [("path", 4, 5)], [("path", 5, 5)]]
    assert one.facts(6.0, 0.8) == []
    for number in range(5):
        one.leave((f"/{number}",))
    assert one.facts(7.0, 0.8) == []
    for number in range(4):
        one.enter((f"/{number}",))
    again = one.facts(8.0, 0.8)
    assert [(fact.at, fact.name, fact.key, fact.overflowed) for fact in again] == [(8.0, "calls", "path", 0)]


def test_a_metrics_series_are_told_too() -> None:
    one = guard(("a", "b"), limit=4)
    for pair in (("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")):
        one.enter(pair)
    assert [(fact.key, fact.count, fact.limit) for fact in one.facts(0.0, 0.8)] == [("", 4, 4)]


@given(st.lists(st.integers(0, 12), max_size=60))
def test_a_fact_is_told_exactly_when_the_level_rises(counts: list[int]) -> None:
    told: dict[str, int] = {}
    level = 0
    for count in counts:
        now = 2 if count >= 10 else 1 if count >= 8 else 0
        assert worse(told, "x", count, 10, 0.8) is (now > level)
        level = max(level, now) if now else 0


def test_a_report_names_values() -> None:
    one = guard(("path", "method"))
    for number in range(5):
        one.enter((f"/{number}", "GET"))
    path, method = one.labels()
    assert (path.label, path.values, path.examples) == ("path", 5, ("/0", "/1", "/2"))
    assert (method.values, method.series) == (1, 5)
