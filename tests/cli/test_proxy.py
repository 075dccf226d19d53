import json

import pytest
from typer.testing import CliRunner

from seawall.app import build
from seawall.app.observation.settings import Door, ObservationSettings
from seawall.cli import connecting, exits, main, proxy_report
from seawall.kernel.errors import InfrastructureError, PolicyError, Problem, UsageError
from seawall.proxy.check import Finding, Judged, Report, Verdict
from seawall.proxy.settings import Auth, AuthMethod, Backend, Database, Listen, ProxySettings, User
from seawall.proxy.supervisor import Running

FILE = """
[proxy]
listen_address = "127.0.0.1:0"
[circuit_breaker]
open_duration = "30s"
[[backends.instances]]
name = "one"
host = "db.internal"
[[auth.users]]
name = "bob"
password = "hunter2"
"""
RUNNING = Running(addresses=(Listen(host="127.0.0.1", port=4711),), worker_pids=(41, 42))
ONE = Backend(name="one", host="db.internal")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "seawall.toml"
    path.write_text(FILE)
    return path


@pytest.fixture(autouse=True)
def _no_configuration_from_outside(monkeypatch):
    for name in ("SEAWALL_CONFIG", "HELIOS_CONFIG", "SEAWALL_LOG_LEVEL", "HELIOS_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch):
    """What was run: a proxy that is ready at once and stopped at once."""
    found = []

    def run(loaded, on_ready):
        found.append(loaded)
        on_ready(RUNNING)
        return 0

    monkeypatch.setattr(build, "run_proxy", run)
    return found


@pytest.fixture
def reported(monkeypatch):
    """Makes the check report something."""

    def report(*findings: Finding, together: tuple[Finding, ...] = ()):
        judged = Judged(ONE, findings)
        monkeypatch.setattr(build, "check_servers", lambda settings: Report((judged,), together))

    return report


def invoke(*arguments: object):
    return CliRunner().invoke(main.app, ["proxy", *map(str, arguments)])


def test_a_proxy_says_how_to_connect(file, started) -> None:
    answer = invoke("--config", file)
    assert answer.exit_code == exits.OK
    assert answer.stdout == ""
    for line in (
        f"configured by {file}",
        "note       [circuit_breaker] is read and checked; nothing acts on it in this release",
        "listening  127.0.0.1:4711",
        "workers    2, transaction pooling, 20 per pool",
        "backend    one  db.internal:5432  auto",
        "metrics    http://127.0.0.1:9090/metrics",
        "status     http://127.0.0.1:8080/openapi.json",
        "connect    psql postgresql://bob@127.0.0.1:4711/postgres",
        "Ctrl-C drains and stops",
    ):
        assert line in answer.stderr
    assert "hunter2" not in answer.stderr


@pytest.mark.parametrize(
    ("sections", "missing"),
    [
        ("[observability]\nmetrics_enabled = false\n[telemetry.status]\nenabled = false\n", False),
        ("", True),
    ],
)
def test_what_nobody_serves_is_not_announced(file, started, monkeypatch, sections, missing) -> None:
    file.write_text(sections + FILE)
    monkeypatch.setattr(build, "is_observable", lambda: not missing)
    answer = invoke("--config", file)
    assert answer.exit_code == exits.OK
    assert "metrics    " not in answer.stderr
    assert "status     " not in answer.stderr


@pytest.mark.parametrize(
    ("door", "line"),
    [
        (Door(port=9090), "metrics    http://127.0.0.1:9090/metrics"),
        (Door(host="::1", port=9, certificate="c.pem"), "metrics    https://[::1]:9/metrics"),
        (Door(port=0), "metrics    http://127.0.0.1, at a port the system chooses; see the log"),
    ],
)
def test_where_metrics_are_is_told_as_it_is_configured(door, line) -> None:
    settings = ObservationSettings(metrics=door, status=Door(enabled=False))
    assert list(connecting.telemetry(settings)) == [line]


def test_json_is_one_line_on_stdout(file, started) -> None:
    answer = invoke("--config", file, "--json")
    table = json.loads(answer.stdout)
    assert table == {
        "ready": True,
        "listen": [{"host": "127.0.0.1", "port": 4711, "unix_directory": ""}],
        "dsn": "postgresql://bob@127.0.0.1:4711/postgres",
        "worker_pids": [41, 42],
    }


def test_options_go_over_the_file(file, started) -> None:
    options = ["--listen", "[::1]:5", "--listen", "127.0.0.1:6", "--workers", "3", "--backend", "a:1"]
    assert invoke("-c", file, *options, "--backend", "b", "--trust-loopback").exit_code == exits.OK
    (loaded,) = started
    assert loaded.settings.listen == (Listen(host="::1", port=5), Listen(host="127.0.0.1", port=6))
    assert loaded.settings.workers == 3
    assert [item.host for item in loaded.settings.backends] == ["a", "b"]
    assert loaded.settings.auth.trust_loopback


def test_the_environment_may_name_the_file(file, started, monkeypatch) -> None:
    monkeypatch.setenv("HELIOS_CONFIG", str(file))
    monkeypatch.setenv("HELIOS_LOG_LEVEL", "warn")
    assert invoke().exit_code == exits.OK
    assert started[0].log_level == "WARNING"


def test_every_mistake_of_the_file_is_told(file, started) -> None:
    file.write_text(FILE.replace('"30s"', '"soon"') + "[pool]\nsizze = 3\n")
    answer = invoke("--config", file)
    assert answer.exit_code == exits.USAGE
    assert started == []
    assert "2 problems" in answer.stderr
    assert "did you mean 'size'?" in answer.stderr


def test_without_users_the_way_out_is_named(file, started) -> None:
    file.write_text(FILE.partition("[[auth.users]]")[0])
    answer = invoke("--config", file)
    assert answer.exit_code == exits.USAGE
    assert "[auth]" in answer.stderr
    assert "--trust-loopback" in answer.stderr
    assert invoke("--config", file, "--trust-loopback").exit_code == exits.OK


def test_without_a_file_the_options_are_named(started) -> None:
    answer = invoke()
    assert answer.exit_code == exits.USAGE
    assert "--config" in answer.stderr
    assert "--backend" in answer.stderr


def test_an_address_that_is_taken_is_told(file, monkeypatch) -> None:
    def run(loaded, on_ready):
        raise InfrastructureError("cannot listen", "in use")

    monkeypatch.setattr(build, "run_proxy", run)
    answer = invoke("--config", file)
    assert answer.exit_code == exits.BROKEN
    assert "cannot listen: in use" in answer.stderr


@pytest.mark.parametrize(
    "error",
    [
        PolicyError([Problem("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere", "a URL")], "OTLP exporter"),
        UsageError("opentelemetry-sdk is not installed"),
    ],
)
def test_what_only_a_part_can_tell_is_a_mistake_of_the_settings_too(file, monkeypatch, error) -> None:
    def run(loaded, on_ready):
        raise error

    monkeypatch.setattr(build, "run_proxy", run)
    answer = invoke("--config", file)
    assert answer.exit_code == exits.USAGE
    assert str(error) in answer.stderr


def test_a_missing_package_is_named(file, monkeypatch) -> None:
    from seawall.cli import proxy

    def load(*arguments, **options):
        raise ModuleNotFoundError("No module named 'pydantic'", name="pydantic")

    monkeypatch.setattr(proxy, "load", load)
    answer = invoke("--config", file)
    assert answer.exit_code == exits.USAGE
    assert 'pip install "seawall[proxy]"' in answer.stderr


def test_another_missing_module_is_a_fault_of_ours(file, monkeypatch) -> None:
    from seawall.cli import proxy

    def load(*arguments, **options):
        raise ModuleNotFoundError("No module named 'seawall.nowhere'", name="seawall.nowhere")

    monkeypatch.setattr(proxy, "load", load)
    assert isinstance(invoke("--config", file).exception, ModuleNotFoundError)


def test_check_prints_a_table_per_server(file, reported) -> None:
    reported(Finding("connect", Verdict.OK, "in 1ms"), Finding("clock", Verdict.WARNING, "5s behind [sic]"))
    answer = invoke("check", "--config", file)
    assert answer.exit_code == exits.OK
    for line in ("the file is right", "one  db.internal:5432", "5s behind [sic]", "1 server, all right"):
        assert line in answer.stdout
    assert "nothing acts on it" in answer.stdout


def test_a_server_that_fails_breaks_the_promise(file, reported) -> None:
    reported(Finding("connect", Verdict.FAILED, "Connection refused"))
    answer = invoke("check", "--config", file)
    assert answer.exit_code == exits.BROKEN
    assert "1 server, 1 failed: one" in answer.stdout


def test_servers_that_fail_together_do_so_as_well(file, reported) -> None:
    reported(Finding("role", Verdict.OK, "replica"), together=(Finding("primary", Verdict.FAILED, "none"),))
    answer = invoke("check", "--config", file)
    assert answer.exit_code == exits.BROKEN
    assert "all together" in answer.stdout
    assert "each right, but not together" in answer.stdout


def test_check_as_json(file, reported) -> None:
    reported(Finding("connect", Verdict.FAILED, "Connection refused"))
    answer = invoke("check", "--config", file, "--json")
    assert answer.exit_code == exits.BROKEN
    table = json.loads(answer.stdout)
    assert table["ok"] is False
    assert table["backends"][0]["name"] == "one"
    assert table["backends"][0]["findings"] == [
        {"check": "connect", "verdict": "failed", "text": "Connection refused"}
    ]
    assert table["notices"] == ["[circuit_breaker] is read and checked; nothing acts on it in this release"]


def test_options_may_stand_before_check(file, reported) -> None:
    reported(Finding("connect", Verdict.OK, "in 1ms"))
    file.write_text(FILE.partition("[[auth.users]]")[0])
    assert invoke("--config", file, "--trust-loopback", "check").exit_code == exits.OK
    assert invoke("--config", file, "check").exit_code == exits.USAGE


def test_mistakes_as_json(file, reported) -> None:
    file.write_text(FILE + "[pool]\nsize = 0\n")
    answer = invoke("check", "--config", file, "--json")
    assert answer.exit_code == exits.USAGE
    assert [item["key"] for item in json.loads(answer.stdout)["problems"]] == ["pool.size"]


@pytest.mark.parametrize(
    ("listen", "written", "url"),
    [
        (Listen(host="127.0.0.1", port=5), "127.0.0.1:5", "postgresql://b@127.0.0.1:5/d"),
        (Listen(host="0.0.0.0", port=5), "0.0.0.0:5", "postgresql://b@127.0.0.1:5/d"),
        (Listen(host="::", port=5), "[::]:5", "postgresql://b@[::1]:5/d"),
        (
            Listen(host="", port=5, unix_directory="/run/x"),
            "/run/x/.s.PGSQL.5",
            "postgresql:///d?host=%2Frun%2Fx&port=5&user=b",
        ),
    ],
)
def test_an_address_as_people_and_drivers_write_it(listen: Listen, written: str, url: str) -> None:
    assert connecting.address(listen) == written
    assert connecting.dsn(listen, "b", "d") == url


def test_odd_names_are_safe_in_a_shell_and_in_a_url() -> None:
    listen = Listen(host="127.0.0.1", port=5)
    assert connecting.dsn(listen, "a@b/c", "d e'f") == "postgresql://a%40b%2Fc@127.0.0.1:5/d%20e%27f"
    first, *_ = connecting.lines((listen,), "a'b", "d;e")
    assert first == "connect    psql postgresql://a%27b@127.0.0.1:5/d%3Be"


def test_names_to_try_are_those_of_the_configuration(monkeypatch) -> None:
    monkeypatch.setattr(connecting.getpass, "getuser", lambda: "somebody")
    plain = ProxySettings(backends=(ONE,), auth=Auth(trust_loopback=True))
    assert connecting.names(plain) == ("somebody", "postgres")
    assert (
        connecting.names(ProxySettings(backends=(ONE,), auth=Auth(method=AuthMethod.TRUST)))[0] == "somebody"
    )
    named = ProxySettings(
        backends=(ONE,),
        auth=Auth(users={"bob": User(name="bob")}),
        databases={"*": Database(name="*"), "shop": Database(name="shop")},
    )
    assert connecting.names(named) == ("bob", "shop")


def test_a_login_without_a_name_is_nobody_in_particular(monkeypatch) -> None:
    def nameless():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(connecting.getpass, "getuser", nameless)
    settings = ProxySettings(backends=(ONE,), auth=Auth(trust_loopback=True))
    assert connecting.names(settings)[0] == "postgres"


def test_the_summary_counts() -> None:
    good = Judged(ONE, (Finding("connect", Verdict.OK, ""),))
    assert proxy_report.summary(Report((good, good))) == "2 servers, all right"


def test_warnings_are_shown_by_both(file, started, reported) -> None:
    reported(Finding("connect", Verdict.OK, "in 1ms"))
    file.write_text(FILE.replace("127.0.0.1:0", "0.0.0.0:0") + '[auth]\nmethod = "trust"\n')
    file.write_text(
        file.read_text().replace("[[auth.users]]", "[[databases]]").replace("password = ", "server_user = ")
    )
    for answer in (invoke("--config", file), invoke("check", "--config", file)):
        assert answer.exit_code == exits.OK
        assert "whoever reaches 0.0.0.0:0 is let in without a password" in answer.stdout + answer.stderr
