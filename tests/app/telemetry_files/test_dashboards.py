"""Dashboards are JSON that Grafana reads, show every metric, and query each in the way of its kind."""

import json
import shutil
import subprocess
from itertools import combinations

import pytest

from seawall.app.telemetry_files import Naming, dashboard_files
from seawall.app.telemetry_files.panels import panel_of
from seawall.app.telemetry_files.yaml_text import yaml_text
from seawall.telemetry.metrics.metric import Kind, Metric
from tests.app.telemetry_files import promql
from tests.app.telemetry_files.rows import ALL_GROUPS, ROWS

PROMTOOL = shutil.which("promtool")
NAMINGS = [Naming(), Naming(namespace="acme_shop"), Naming(namespace="")]
UNITS = {"s", "bytes", "Bps", "percentunit", "cps", "short"}


def boards(naming=NAMINGS[0]):
    return {name: json.loads(text) for name, text in dashboard_files(naming, ALL_GROUPS).items()}


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(naming=NAMINGS[0]):
    return [
        target["expr"]
        for board in boards(naming).values()
        for panel in panels(board)
        for target in panel["targets"]
    ]


@pytest.mark.parametrize("naming", NAMINGS, ids=lambda naming: naming.namespace or "none")
def test_every_query_asks_for_what_there_is_in_the_right_way(naming) -> None:
    names = promql.known(ROWS, naming)
    asked = queries(naming)
    assert len(asked) > 50
    assert {expr: found for expr in asked if (found := promql.panel_faults(expr, names))} == {}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_every_query_can_be_parsed(tmp_path) -> None:
    rules = [
        {"record": f"one:query:n{number}", "expr": expr.replace("$__rate_interval", "5m")}
        for number, expr in enumerate(queries())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml_text({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(file)], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_is_shown_somewhere() -> None:
    shown = {one.name for expr in queries() for one in promql.selectors(expr)}
    missing = [
        row.name
        for row in ROWS
        if not shown & {Naming().exposed(row).name, f"{Naming().exposed(row).name}_bucket"}
    ]
    assert missing == []


def test_ids_are_unique() -> None:
    made = boards()
    assert len({board["uid"] for board in made.values()}) == len(made)
    for board in made.values():
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(numbers) == len(set(numbers))
        assert len(board["uid"]) <= 40
        titles = [panel["title"] for panel in panels(board)]
        assert len(titles) == len(set(titles)), board["title"]


def test_every_panel_has_a_unit_a_meaning_and_a_place_of_its_own() -> None:
    for board in boards().values():
        places = [panel["gridPos"] for panel in board["panels"]]
        assert all(place["x"] + place["w"] <= 24 for place in places)
        assert not [pair for pair in combinations(places, 2) if overlap(*pair)]
        for panel in panels(board):
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
            assert panel["description"].endswith(".")
            assert panel["datasource"]["uid"] == "${datasource}"
            assert [target["refId"] for target in panel["targets"]] == list("ABC")[: len(panel["targets"])]


def overlap(one, other) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_the_variables_that_queries_use_exist() -> None:
    for board in boards().values():
        assert [one["name"] for one in board["templating"]["list"]] == ["datasource", "job", "instance"]


def test_a_namespace_has_dashboards_of_its_own() -> None:
    uids = [board["uid"] for naming in NAMINGS[:2] for board in boards(naming).values()]
    assert len(uids) == len(set(uids))


def test_the_numbers_of_a_breakers_state_are_told_in_words() -> None:
    state = next(row for row in ROWS if row.name == "circuit_breaker_state")
    for numbering, words in (
        ("seawall", ["closed", "half-open", "open"]),
        ("helios", ["closed", "open", "half-open"]),
    ):
        panel = panel_of(state, Naming(state_numbering=numbering), title="State")
        assert [panel.mappings[str(number)] for number in range(3)] == words
        assert panel.drawing == "state-timeline"


def test_a_group_that_nobody_placed_gets_a_dashboard() -> None:
    rows = tuple(
        Metric(name=name, kind=Kind.COUNTER, help="Calls.") for name in ("edge_calls", "mqtt_sent", "edge_in")
    )
    board = json.loads(dashboard_files(Naming(), {**ALL_GROUPS, "edge": rows})["grafana/edge.json"])
    assert board["title"] == "Seawall: edge"
    assert [panel["title"] for panel in board["panels"]] == ["Edge", "Calls", "In", "Mqtt", "Mqtt sent"]


@pytest.mark.parametrize(
    ("kind", "more", "expr", "unit"),
    [
        (Kind.COUNTER, {}, "sum by (a) (rate(x_m_total{F}[$__rate_interval]))", "cps"),
        (Kind.COUNTER, {"unit": "bytes"}, "sum by (a) (rate(x_m_bytes_total{F}[$__rate_interval]))", "Bps"),
        (Kind.GAUGE, {"unit": "ratio"}, "sum by (a) (x_m_ratio{F})", "percentunit"),
        (Kind.STATE_SET, {"states": ("s",)}, "max by (a, state) (x_m{F})", "short"),
        (Kind.INFO, {}, "count by (a) (x_m_info{F})", "short"),
        (
            Kind.NATIVE_HISTOGRAM,
            {"unit": "seconds"},
            "histogram_quantile(0.5, sum(rate(x_m_seconds{F}[$__rate_interval])))",
            "s",
        ),
        (
            Kind.HISTOGRAM,
            {"unit": "seconds", "buckets": (1.0,)},
            "histogram_quantile(0.5, sum by (le) (rate(x_m_seconds_bucket{F}[$__rate_interval])))",
            "s",
        ),
    ],
)
def test_each_kind_is_shown_in_its_way(kind, more, expr, unit) -> None:
    metric = Metric(name="m", kind=kind, help="M.", labels=("a",), **more)
    panel = panel_of(metric, Naming(namespace="x"), title="M")
    assert panel.queries[0].expr == expr.replace("F", 'job=~"$job",instance=~"$instance"')
    assert panel.unit == unit
