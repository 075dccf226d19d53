"""Questions to a running proxy: tables for people, JSON for programs, and exit codes that answer."""

import inspect
import json

import pytest
from typer.testing import CliRunner

from seawall.cli import exits, main, proxy_views
from tests.proxy.consoles import FAILOVER, FakeRescue, FakeSupervisor, RunningConsole

SAFE = {
    "pid": 1048577,
    "user": "shop",
    "database": "shop",
    "worker": 0,
    "backend": None,
    "would": "migrate",
    "because": "it has no server just now",
}
HURT = {
    **SAFE,
    "pid": 1048578,
    "backend": "one",
    "would": "lost",
    "because": "it has been open for 31 s, longer than 30 s [sic]",
}


def invoke(console, *arguments: object):
    return CliRunner().invoke(main.app, ["proxy", *map(str, arguments), "--port", str(console.port)])


@pytest.fixture
def hurt(tmp_path):
    with RunningConsole(tmp_path, FakeSupervisor(), rescue=FakeRescue(SAFE, HURT)) as console:
        yield console


@pytest.fixture
def safe(tmp_path):
    with RunningConsole(tmp_path, FakeSupervisor(), rescue=FakeRescue(SAFE, SAFE)) as console:
        yield console


def test_who_would_see_an_error_is_listed(hurt):
    answer = invoke(hurt, "explain-failover")
    assert answer.exit_code == exits.BROKEN
    assert "longer than 30 s [sic]" in answer.stdout
    assert "40001" in answer.stdout
    assert "raise replay.age" in answer.stdout
    assert "1048577" not in answer.stdout
    assert answer.stdout.splitlines()[-1] == "2 clients, 1 would see an error"
    assert "1048577" in invoke(hurt, "explain-failover", "--all").stdout


def test_all_is_well_if_nobody_would(safe):
    answer = invoke(safe, "explain-failover")
    assert answer.exit_code == exits.OK
    assert answer.stdout == "2 clients, none would see an error\n"
    assert "nothing  it has no server just now" in invoke(safe, "explain-failover", "--all").stdout


def test_an_explanation_for_programs(hurt, safe):
    answer = invoke(hurt, "explain-failover", "--json")
    assert answer.exit_code == exits.BROKEN
    table = json.loads(answer.stdout)
    assert table["ok"] is False
    assert [row["sees"] for row in table["clients"]] == ["nothing", "40001"]
    assert [row["hint"] for row in table["clients"]] == ["", "commit earlier, or raise replay.age"]
    assert table["clients"][1]["pid"] == "1048578"


def test_every_way_is_known_and_every_hint_is_for_a_reason_there_is():
    ladder = pytest.importorskip("seawall.proxy.replay.ladder")
    journal = pytest.importorskip("seawall.proxy.replay.journal")
    assert set(proxy_views.SEES) == {way.value for way in ladder.Way}
    source = inspect.getsource(ladder) + inspect.getsource(journal)
    for start, _ in proxy_views.HINTS:
        assert f'"{start}' in source, start


@pytest.mark.parametrize("would", [*proxy_views.SEES, "something new", None])
def test_who_is_hurt(would):
    row = {**HURT, "would": would, "because": None}
    assert proxy_views.hint(row) == ""
    assert (proxy_views.sees(row) in {"nothing", "a wait"}) is (
        would in proxy_views.SEES and would not in proxy_views.HURTS
    )


def test_a_long_list_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(proxy_views, "SHOWN_MAX", 3)
    with RunningConsole(tmp_path, rescue=FakeRescue(*[HURT] * 5)) as console:
        answer = invoke(console, "explain-failover")
        assert answer.stdout.count("1048578") == 3
        assert "and 2 more" in answer.stdout
        assert len(json.loads(invoke(console, "explain-failover", "--json").stdout)["clients"]) == 5


def test_nobody_there_is_nobody_hurt(tmp_path):
    with RunningConsole(tmp_path) as console:
        answer = invoke(console, "explain-failover")
    assert (answer.exit_code, answer.stdout) == (exits.OK, "no clients\n")


def test_the_history(safe):
    answer = invoke(safe, "failovers")
    assert answer.exit_code == exits.OK
    head, row = answer.stdout.splitlines()
    assert head.split() == list(proxy_views.TOLD)
    assert "870" in row
    assert json.loads(invoke(safe, "failovers", "--json").stdout) == {
        "failovers": [{name: str(value) for name, value in FAILOVER.items()}]
    }


def test_without_a_history_it_is_said_that_there_is_none(safe):
    safe.supervisor.rows["failovers"] = []
    assert "has not changed" in invoke(safe, "failovers").stdout
    assert json.loads(invoke(safe, "failovers", "--json").stdout) == {"failovers": []}
