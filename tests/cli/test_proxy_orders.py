"""Orders to a running proxy: what is passed on, what is told meanwhile, and the exit codes."""

import json

import pytest
from typer.testing import CliRunner

from seawall.cli import exits, main, proxy_orders
from tests.proxy.consoles import TOPOLOGY, FakeSupervisor, RunningConsole


@pytest.fixture
def supervisor():
    return FakeSupervisor()


@pytest.fixture
def console(tmp_path, supervisor):
    with RunningConsole(tmp_path, supervisor) as made:
        yield made


def invoke(console, *arguments: object):
    return CliRunner().invoke(main.app, ["proxy", *map(str, arguments), "--port", str(console.port)])


def test_a_switchover_tells_what_came_of_it(console, supervisor):
    answer = invoke(console, "switchover", "--to", "two")
    assert answer.exit_code == exits.OK
    assert supervisor.orders == [{"do": "switchover", "to": "two"}]
    assert answer.stdout.splitlines() == [
        "switched over",
        "  pause_s: 0.2104",
        "  primary: two",
    ]


def test_every_step_is_told_once_while_it_is_under_way(console, supervisor):
    held = {**TOPOLOGY, "phase": "paused", "reason": "3 transactions are open"}
    supervisor.topologies = [
        TOPOLOGY,
        TOPOLOGY,
        held,
        held,
        {**TOPOLOGY, "phase": "holding", "primary": None},
    ]
    supervisor.gate.clear()  # the switchover is answered once the last step has been shown
    answer = invoke(console, "switchover")
    assert answer.exit_code == exits.OK
    assert supervisor.orders == [{"do": "switchover", "to": None}]
    assert answer.stderr.splitlines() == [
        "serving    primary one",
        "paused     primary one: 3 transactions are open",
        "holding    primary none",
    ]


def test_json_has_what_was_done_and_nothing_else(console, supervisor):
    supervisor.gate.clear()
    answer = invoke(console, "switchover", "--json")
    assert json.loads(answer.stdout) == {"done": True, "pause_s": "0.2104", "primary": "two"}
    assert answer.stderr == "serving    primary one\n"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_switchover_that_is_refused_says_why(console, supervisor, options):
    supervisor.answers["switchover"] = {"error": "two is too far behind", "hint": "Wait.", "detail": "3 MB."}
    answer = invoke(console, "switchover", *options)
    assert answer.exit_code == exits.BROKEN
    if options:
        assert json.loads(answer.stdout) == {
            "error": "two is too far behind",
            "sqlstate": "55000",
            "detail": "3 MB.",
            "hint": "Wait.",
        }
    else:
        assert answer.stderr.splitlines() == ["two is too far behind", "3 MB.", "Wait."]


@pytest.mark.parametrize("name", ["", "a'b", "x" * 256])
def test_a_name_that_is_none_is_not_passed_on(console, supervisor, name):
    answer = invoke(console, "switchover", "--to", name)
    assert answer.exit_code == exits.USAGE
    assert supervisor.orders == []


def test_pause_and_resume(console, supervisor):
    paused, resumed = invoke(console, "pause"), invoke(console, "resume")
    assert (paused.exit_code, resumed.exit_code) == (exits.OK, exits.OK)
    assert "seawall proxy resume" in paused.stdout
    assert resumed.stdout == "resumed\n"
    assert json.loads(invoke(console, "pause", "--json").stdout) == {"done": True, "drained": True}
    assert json.loads(invoke(console, "resume", "--json").stdout) == {"done": True}
    assert [order["do"] for order in supervisor.orders] == ["pause", "resume"] * 2


def test_transactions_that_do_not_end_are_told(console, supervisor):
    supervisor.answers["pause"] = {"done": True, "drained": False}
    answer = invoke(console, "pause")
    assert answer.exit_code == exits.BROKEN
    assert answer.stdout.startswith("paused")
    assert "open still" in answer.stderr
    assert json.loads(invoke(console, "pause", "--json").stdout) == {"done": True, "drained": False}


def test_who_may_only_look_is_refused(tmp_path, supervisor):
    with RunningConsole(tmp_path, supervisor, users={"eye": "e"}, stats=["eye"], trust=False) as console:
        answer = invoke(console, "resume", "--dsn", "user=eye password=e")
    assert answer.exit_code == exits.BROKEN
    assert "auth.admin_users" in answer.stderr
    assert supervisor.orders == []


def test_an_order_counts_even_if_nobody_can_watch_it(console, supervisor):
    supervisor.gate.clear()
    original = supervisor.answer

    def deaf(order):
        if "show" in order:
            supervisor.gate.set()
            return b"garbage\n"
        return original(order)

    supervisor.answer = deaf
    answer = invoke(console, "switchover")
    assert answer.exit_code == exits.OK
    assert "switched over" in answer.stdout


def test_a_supervisor_that_is_gone_is_told(tmp_path):
    with RunningConsole(tmp_path) as console:
        answer = invoke(console, "pause")
    assert answer.exit_code == exits.BROKEN
    assert "does not answer" in answer.stderr


def test_who_interrupts_is_told_that_the_order_goes_on(console, monkeypatch):
    def interrupted(done, watch):
        raise KeyboardInterrupt

    monkeypatch.setattr(proxy_orders, "_tell_until", interrupted)
    answer = invoke(console, "switchover")
    assert answer.exit_code == exits.INTERRUPTED
    assert "goes on without you" in answer.stderr
