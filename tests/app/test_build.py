import json
import logging
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from seawall.app import build, config
from seawall.app.build import Together
from seawall.app.embedded_hooks import EmbeddedHooks
from seawall.app.observation.companion import COUNTED_LINES, ObservingCompanion
from seawall.embedded import cluster as clusters
from seawall.embedded import engines
from seawall.embedded.state import FILE_NAME
from seawall.kernel.errors import DatabaseUnavailable, InfrastructureError
from seawall.proxy import check_socket, supervisor
from seawall.proxy.settings import Authority, Backend, Listen, ProxySettings, Role
from seawall.proxy.supervisor import Running
from tests.app.minimal import MINIMAL

RUNNING = Running(addresses=(Listen(host="127.0.0.1", port=4711),), worker_pids=(41,))


class Servers:
    """Stands for a cluster: what was done to it, in order."""

    def __init__(self, *, running: bool = False) -> None:
        self.done: list[str] = []
        self.options: dict[str, object] = {}
        self.directory = Path("/var/tmp/there")
        self.nodes = [
            SimpleNamespace(name=name, host="127.0.0.1", port=port, is_running=running)
            for name, port in (("pg1", 5), ("pg2", 6))
        ]
        self.primary = self.nodes[1]

    def create(self, directory, **options) -> "Servers":
        self.options = {"directory": directory, **options}
        self.done.append("create")
        return self

    def open(self, directory) -> "Servers":
        self.directory = directory
        self.done.append("open")
        return self

    def start(self) -> None:
        self.done.append("start")

    def __exit__(self, *failure: object) -> None:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        self.done.append("exit")


@pytest.fixture
def servers(monkeypatch) -> Servers:
    made = Servers()
    monkeypatch.setattr(clusters, "Cluster", made)
    monkeypatch.setattr(engines, "find_engine", lambda kind: SimpleNamespace(kind=kind, release="18.4"))
    return made


@pytest.fixture
def given() -> list[object]:
    """The hooks and the companion of every proxy that was run."""
    return []


@pytest.fixture
def proxied(monkeypatch, given) -> list[ProxySettings]:
    """The settings of every proxy that was run; each is ready at once and stopped at once."""
    found: list[ProxySettings] = []

    def run(settings, on_ready, log, hooks, companion):
        found.append(settings)
        given.append(hooks)
        given.append(companion)
        on_ready(RUNNING)
        log("worker 0 ended")
        return 0

    monkeypatch.setattr(supervisor, "run", run)
    return found


@pytest.fixture(autouse=True)
def _logging_as_before(monkeypatch):
    monkeypatch.setattr(logging, "basicConfig", lambda **options: None)


def together(wanted: Together, said: list[str] | None = None) -> list[tuple[Running, object]]:
    ready: list[tuple[Running, object]] = []
    lines = [] if said is None else said
    code = build.run_together(wanted, {}, lambda *what: ready.append(what), lines.append)
    assert code == 0
    return ready


QUIET = "[observability]\nmetrics_enabled = false\n[telemetry.status]\nenabled = false\n"


@pytest.mark.parametrize(("level", "lines"), [("error", 0), ("info", 1)])
def test_a_proxy_is_run_with_its_settings_and_its_log(proxied, given, capfd, level, lines) -> None:
    loaded = config.loads(QUIET + MINIMAL, {"SEAWALL_LOG_LEVEL": level})
    ready: list[Running] = []
    assert build.run_proxy(loaded, ready.append) == 0
    assert (proxied, ready, given) == ([loaded.settings], [RUNNING], [None, None])
    written = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["level"], line["message"]) for line in written] == [("WARNING", "worker 0 ended")] * lines


def test_without_the_extra_lines_are_plain_and_nobody_looks_on(proxied, given, monkeypatch, caplog) -> None:
    for name in ("seawall.telemetry.logs", "seawall.app.observation.companion"):
        monkeypatch.setitem(sys.modules, name, None)
    levels = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: levels.append(options["level"]))
    assert build.run_proxy(config.loads(MINIMAL, {}), lambda running: None) == 0
    assert (levels, given) == (["INFO"], [None, None])
    assert "seawall[telemetry]" in caplog.messages[0]
    assert caplog.messages[1] == "worker 0 ended"


def test_what_counts_lines_is_what_the_status_api_shows(proxied, given, capfd) -> None:
    assert build.run_proxy(config.loads(MINIMAL, {}), lambda running: None) == 0
    lines = given[1].telemetry().logs
    assert set(lines) == set(COUNTED_LINES)
    assert all(type(count) is int for count in lines.values())
    assert lines["offered"] == lines["accepted"] + lines["dropped"] > 0
    assert capfd.readouterr().err


def test_whether_anything_can_be_served_is_known_without_trying(monkeypatch) -> None:
    assert build.is_observable()
    monkeypatch.delattr("seawall.app.observation.companion")
    monkeypatch.setitem(sys.modules, "seawall.app.observation.companion", None)
    assert not build.is_observable()


def test_a_proxy_is_looked_on_as_the_configuration_says(proxied, given) -> None:
    assert build.run_proxy(config.loads(MINIMAL, {}), lambda running: None) == 0
    assert build.run_proxy(config.loads(MINIMAL, {}), lambda running: None, observed=False) == 0
    assert [type(one) for one in given[1::2]] == [ObservingCompanion, type(None)]


def test_a_check_plans_looks_and_judges(monkeypatch) -> None:
    asked = []

    def look(plans, timeout_s):
        asked.append((len(plans), timeout_s))
        return []

    monkeypatch.setattr(check_socket, "look", look)
    report = build.check_servers(config.loads(MINIMAL + "[timeouts]\nconnect = '3s'", {}).settings)
    assert asked == [(1, 3.0)]
    assert report.backends == ()


def test_servers_of_our_own_are_created_proxied_and_removed(servers, proxied, given) -> None:
    said: list[str] = []
    ready = together(Together(replicas=1, synchronous=True, engine="system", listen=("127.0.0.1:0",)), said)
    assert ready == [(RUNNING, servers)]
    assert servers.done == ["create", "exit"]
    assert isinstance(given[0], EmbeddedHooks)
    assert servers.options["replicas"] == 1
    assert servers.options["synchronous"] is True
    assert servers.options["directory"] is None
    assert servers.options["engine"].kind == "system"
    (settings,) = proxied
    assert settings.auth.trust_loopback
    assert (settings.failover.authority, settings.failover.sole_proxy) == (Authority.SELF, True)
    assert settings.listen == (Listen(host="127.0.0.1", port=0),)
    assert settings.backends == (
        Backend(name="pg1", host="127.0.0.1", port=5, role=Role.REPLICA),
        Backend(name="pg2", host="127.0.0.1", port=6, role=Role.PRIMARY),
    )
    assert said == ["starting PostgreSQL 18.4: a primary and 1 replica", "stopping the PostgreSQL servers"]


def test_a_server_that_is_alone_is_not_replaced(servers, proxied) -> None:
    del servers.nodes[0]
    together(Together(replicas=0))
    assert proxied[0].failover.authority is Authority.EXTERNAL


@pytest.mark.parametrize(("running", "done"), [(False, ["open", "start", "exit"]), (True, ["open", "start"])])
def test_servers_that_were_running_before_are_left_running(
    monkeypatch, proxied, tmp_path, running, done
) -> None:
    servers = Servers(running=running)
    monkeypatch.setattr(clusters, "Cluster", servers)
    (tmp_path / FILE_NAME).write_text("{}")
    together(Together(directory=tmp_path))
    assert servers.done == done
    assert servers.directory == tmp_path


def test_a_wrong_option_starts_no_server(servers, proxied) -> None:
    with pytest.raises(config.ConfigError, match="--listen"):
        together(Together(listen=("nowhere",)))
    assert servers.done == []


def test_a_proxy_that_does_not_start_leaves_no_server(servers, monkeypatch) -> None:
    def run(*arguments, **options):
        raise InfrastructureError("cannot listen", "in use")

    monkeypatch.setattr(supervisor, "run", run)
    with pytest.raises(InfrastructureError, match="in use"):
        together(Together())
    assert servers.done == ["create", "exit"]


def test_servers_that_do_not_start_start_no_proxy(servers, proxied, monkeypatch) -> None:
    def create(*arguments, **options):
        raise DatabaseUnavailable("pg1", "no space left")

    monkeypatch.setattr(servers, "create", create)
    with pytest.raises(DatabaseUnavailable):
        together(Together())
    assert proxied == []


def test_a_termination_while_servers_start_is_an_interrupt(servers, proxied, monkeypatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def create(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return servers

    monkeypatch.setattr(servers, "create", create)
    with pytest.raises(KeyboardInterrupt):
        together(Together())
    assert signal.getsignal(signal.SIGTERM) is before
    assert proxied == []


def test_signals_are_handled_as_before_afterwards(servers, proxied) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    together(Together())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
