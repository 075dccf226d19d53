import pickle
from pathlib import Path

import pytest

from seawall.app import config
from seawall.app.config import Overrides
from seawall.kernel.errors import PolicyError
from seawall.proxy.settings import (
    AuthMethod,
    Backend,
    Failover,
    Listen,
    Pooling,
    PreAuthentication,
    ProxySettings,
    Replay,
    Timeouts,
    User,
)
from tests.app.minimal import BACKEND, MINIMAL, USER, load, problem, refusal

REFERENCE = Path(__file__).parents[2] / "examples" / "reference"
FILES = sorted(REFERENCE.glob("*.toml"))


def test_a_minimal_file_gives_the_data_planes_own_defaults() -> None:
    plain = ProxySettings(backends=(Backend(name="one", host="db.internal"),))
    settings = load("").settings
    assert settings.backends == plain.backends
    assert settings.listen == plain.listen
    assert settings.workers == plain.workers
    assert settings.databases == plain.databases
    assert settings.pooling == Pooling()
    assert settings.timeouts == Timeouts()
    assert settings.limits == PreAuthentication()
    assert settings.auth.method is plain.auth.method
    assert settings.auth.users == {"bob": User(name="bob", secret="hunter2")}
    assert settings.failover == Failover()
    assert settings.replay == Replay()
    assert settings.admin_database == plain.admin_database
    assert settings.runtime_directory == ""


def test_the_reference_files_are_all_here() -> None:
    assert [path.name for path in FILES] == ["configmap.toml", "edge.toml", "helios_circuit_breaker.toml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_reference_file_loads_as_it_is_written(path: Path) -> None:
    loaded = config.load(path, {}, trust_loopback=True)
    assert len(loaded.settings.backends) == 3
    assert loaded.settings.auth.trust_loopback
    assert "[circuit_breaker] is read and checked; nothing acts on it in this release" in loaded.notices


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_reference_file_has_no_users_and_is_told_so(path: Path) -> None:
    with pytest.raises(config.ConfigError) as caught:
        config.load(path, {})
    (only,) = caught.value.problems
    assert only.key == "auth.users"
    for text in ("[auth]", "[[auth.users]]", "--trust-loopback"):
        assert text in str(only)


def test_the_main_reference_is_read_with_its_types() -> None:
    env = {"SLACK_WEBHOOK_URL": "https://hooks.example/secret", "PAGERDUTY_KEY": "secretkey"}
    loaded = config.load(REFERENCE / "helios_circuit_breaker.toml", env, trust_loopback=True)
    extra = loaded.settings.extra
    breaker, checks, alerts = extra["circuit_breaker"], extra["health_checks"], extra["alerts"]
    assert breaker["open_duration"] == 30.0
    assert breaker["failure_threshold_percentage"] == 5.0
    assert breaker["connection_saturation_threshold"] == 0.95
    assert breaker["per_user_rate_limit"] == 1000.0
    assert breaker["half_open_success_threshold"] == 80.0
    assert (checks["interval"], checks["timeout"], checks["check_query"]) == (1.0, 0.5, "SELECT 1")
    assert alerts["slack_webhook_url"].reveal() == "https://hooks.example/secret"
    assert extra["proxy"] == {"circuit_breaker_enabled": True}
    assert loaded.settings.backends[0].extra == {
        "circuit_breaker_latency_threshold_p95_ms": 300.0,
        "circuit_breaker_failure_threshold": 3.0,
    }
    assert "secret" not in repr(loaded)


def test_the_edge_reference_keeps_its_own_keys() -> None:
    loaded = config.load(REFERENCE / "edge.toml", {}, trust_loopback=True)
    assert loaded.settings.extra["helios"] == {"mode": "edge", "data_dir": "/opt/helios/data"}
    assert loaded.settings.extra["edge"]["cloud_open_duration"] == 300.0
    assert loaded.settings.extra["circuit_breaker"]["connection_failure_threshold"] == 3
    assert loaded.settings.backends[2].allowed_query_types == ("SELECT",)


def test_what_nothing_acts_on_is_told_once_per_table() -> None:
    loaded = config.load(REFERENCE / "helios_circuit_breaker.toml", {}, trust_loopback=True)
    *tables, idle = loaded.notices
    assert idle == "analytics-1 gets no queries: reads are not routed apart in this release"
    told = [line.partition("]")[0] + "]" for line in tables]
    assert told == [
        "[proxy]",
        "[circuit_breaker]",
        "[health_checks]",
        "[observability]",
        "[alerts]",
        "[[backends.instances]",
    ]
    assert load("[pool]\nsize = 3\n[observability]\nlog_level = 'debug'").notices == ()


def test_a_key_that_nothing_acts_on_is_told_beside_those_that_do() -> None:
    (notice,) = load('[[backends.instances]]\nname = "two"\nhost = "h"\nzone = "a"\nregion = "b"').notices
    assert notice.startswith("[[backends.instances]] zone, region are read and checked; nothing acts on them")
    assert load("[timeouts]\ntransaction = '5s'\nquery = '1s'").notices == ()


def test_an_unset_variable_turns_a_receiver_off_with_a_warning() -> None:
    loaded = load('[alerts]\nslack_webhook_url = "${SLACK_WEBHOOK_URL}"')
    assert loaded.settings.extra["alerts"]["slack_webhook_url"] is None
    assert loaded.warnings == ("alerts.slack_webhook_url is off: SLACK_WEBHOOK_URL is not set",)


def test_an_empty_variable_turns_a_receiver_off_as_well() -> None:
    loaded = load('[alerts]\npagerduty_integration_key = "${KEY}"', {"KEY": ""})
    assert loaded.settings.extra["alerts"]["pagerduty_integration_key"] is None
    assert loaded.warnings == ("alerts.pagerduty_integration_key is off: its variable is empty",)


def test_a_receiver_with_a_wrong_text_is_an_error_that_hides_it() -> None:
    text = problem('[alerts]\nslack_webhook_url = "hunter3"')
    assert text.startswith("alerts.slack_webhook_url = (hidden): allowed is an http or https URL")
    assert "hunter3" not in text


def test_any_other_unset_variable_is_an_error_that_names_it() -> None:
    text = problem('[[databases]]\nname = "${DB_NAME}"')
    assert text.startswith("databases[0].name = ${DB_NAME}: allowed is variables that are set; set DB_NAME")


def test_a_variable_may_hold_a_number_or_a_truth_value() -> None:
    text = '[proxy]\nworkers = "${N}"\ncircuit_breaker_enabled = "${ON:-false}"\n[pool]\nsize = "${S:-7}"'
    settings = load(text, {"N": "3"}).settings
    assert (settings.workers, settings.pooling.size) == (3, 7)
    assert settings.extra["proxy"] == {"circuit_breaker_enabled": False}


def test_a_number_in_quotes_is_refused() -> None:
    assert problem('[proxy]\nworkers = "3"').startswith("proxy.workers = '3': allowed is whole number")


def test_what_a_variable_holds_is_not_shown() -> None:
    text = problem('[proxy]\nlisten_address = "${WHERE}"', {"WHERE": "hunter3"})
    assert "hunter3" not in text
    assert text.startswith("proxy.listen_address = '${WHERE}': allowed is an address")


def test_all_mistakes_are_told_at_once() -> None:
    error = refusal(
        """
        workers = 3
        [proxy]
        listen_adress = "127.0.0.1:1"
        workers = -1
        [auth]
        method = "scram"
        [[auth.users]]
        name = "${NAME}"
        [[databases]]
        name = "a"
        [[databases]]
        name = "a"
        [pool]
        mode = "transactoin"
        [timeouts]
        query = "5"
        [limits]
        connections = 10
        connections_per_address = 11
        [heliso]
        """
    )
    assert {item.key for item in error.problems} == {
        "workers",
        "proxy.listen_adress",
        "proxy.workers",
        "auth.method",
        "auth.users[0].name",
        "databases[a].name",
        "pool.mode",
        "timeouts.query",
        "limits.connections_per_address",
        "backends.instances",
        "heliso",
    }
    text = str(error)
    for hint in ("did you mean 'listen_address'?", "did you mean 'transaction'?", "it belongs in [proxy]"):
        assert hint in text
    assert isinstance(error, PolicyError)
    assert "did you mean 'helios'?" in text


def test_the_list_of_mistakes_has_an_end() -> None:
    error = refusal("\n".join(f"x{number} = 1" for number in range(1000)) + "\n" + MINIMAL)
    assert len(error.problems) == config.PROBLEMS_MAX + 1
    assert "800 more" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        '[[auth.users]]\nname = "bob"\npasword = "hunter3"',
        '[[auth.users]]\nname = "bob"\npassword = ["hunter3"]',
        '[auth]\nusers = ["bob:hunter3"]',
        'auth = "hunter3"',
        '[auth]\nusers = "hunter3"',
        '[[auth.users]]\nname = "bob"\npassword = "hunter3"\npassword_file = "x"',
        '[[databases]]\nname = "a"\nserver_password = "hunter3"',
        '[auth.users]\nname = "hunter3"',
        '[alerts]\npagerduty_integration_key = "hunter3 "',
        '[failover]\npassword = "hunter3"\npassword_file = "x"',
        '[failover]\npatroni = ["http://postgres:hunter3\\u0000@db1"]\npassword = "hunter3"\nx = 1',
        '[[auth.users]]\nname = "bob"\npassword = "hunter3\\u0000"',
    ],
)
def test_no_secret_is_shown(text: str) -> None:
    error = refusal(text + "\n" + BACKEND)
    assert "hunter3" not in str(error)
    assert "hunter3" not in repr(error.problems)


def test_settings_hide_secrets_and_travel_to_the_workers() -> None:
    loaded = load('[alerts]\nslack_webhook_url = "https://hooks.example/hunter3"')
    assert "hunter" not in repr(loaded)
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_secrets_come_from_files_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "bob").write_text("hunter3\n")
    (tmp_path / "server").write_text("hunter4")
    (tmp_path / "watch").write_text("hunter5")
    file = tmp_path / "seawall.toml"
    file.write_text(
        BACKEND
        + '[[auth.users]]\nname = "bob"\npassword_file = "bob"\nserver_password_file = "server"\n'
        + f'[[databases]]\nname = "a"\nserver_user = "u"\nserver_password_file = "{tmp_path}/server"\n'
        + '[failover]\nuser = "seawall"\npassword_file = "watch"\n'
    )
    settings = config.load(file, {}).settings
    assert settings.failover == Failover(user="seawall", secret="hunter5")
    assert settings.auth.users["bob"] == User(name="bob", secret="hunter3", server_secret="hunter4")
    assert settings.databases["a"].server_secret == "hunter4"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b"a\nb\n", "lines"),
        (b"\xff", "UTF-8"),
        (b"x" * 5000, "bytes"),
    ],
)
def test_a_file_without_a_secret_is_a_mistake(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    text = BACKEND + '[[auth.users]]\nname = "bob"\npassword_file = "secret"\n'
    (only,) = refusal(text, directory=tmp_path).problems
    assert only.key == "auth.users[bob].password_file"
    assert why in only.fix


def test_a_verifier_in_a_file_has_to_fit_the_method(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("md5" + "0" * 32)
    text = BACKEND + '[[auth.users]]\nname = "bob"\npassword_file = "secret"\n'
    (only,) = refusal(text, directory=tmp_path).problems
    assert only.key == "auth.users[bob].password_file"
    assert "SCRAM-SHA-256" in only.allowed


def test_the_command_line_goes_over_the_file() -> None:
    overrides = Overrides(listen=("127.0.0.1:0",), workers=2, backends=("a:1", "b", "[::1]:2", "/run/pg"))
    settings = load("[proxy]\nworkers = 7", overrides=overrides, trust_loopback=True).settings
    assert settings.listen == (Listen(host="127.0.0.1", port=0),)
    assert settings.workers == 2
    assert settings.auth.trust_loopback
    assert [(item.name, item.host, item.port) for item in settings.backends] == [
        ("backend-1", "a", 1),
        ("backend-2", "b", 5432),
        ("backend-3", "::1", 2),
        ("backend-4", "/run/pg", 5432),
    ]


def test_mistakes_of_the_command_line_are_named_as_such() -> None:
    overrides = Overrides(listen=("127.0.0.1",), workers=-1, backends=("a:b",))
    error = refusal(MINIMAL, overrides=overrides)
    assert [item.key for item in error.problems] == ["--backend", "--listen", "--workers"]


def test_a_section_that_is_no_table_is_told_even_beside_options() -> None:
    error = refusal("proxy = 3\n" + MINIMAL, overrides=Overrides(workers=2))
    assert [item.key for item in error.problems] == ["proxy"]


def test_no_file_is_needed_where_the_command_line_says_enough() -> None:
    loaded = config.load(None, {}, trust_loopback=True, overrides=Overrides(backends=("localhost:5432",)))
    assert loaded.settings.backends == (Backend(name="backend-1", host="localhost"),)
    assert loaded.source == "the command line"


def test_without_a_file_the_error_says_how_to_name_one() -> None:
    with pytest.raises(config.ConfigError, match="SEAWALL_CONFIG"):
        config.load(None, {})


@pytest.mark.parametrize("name", ["SEAWALL_CONFIG", "HELIOS_CONFIG"])
def test_the_environment_may_name_the_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text(MINIMAL)
    assert config.load(None, {name: str(file)}).source == str(file)


def test_our_own_variable_goes_first(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(MINIMAL)
    env = {"SEAWALL_CONFIG": str(file), "HELIOS_CONFIG": "/nowhere", "HELIOS_LOG_LEVEL": "error"}
    loaded = config.load(None, env | {"SEAWALL_LOG_LEVEL": "debug"})
    assert (loaded.source, loaded.log_level) == (str(file), "DEBUG")


@pytest.mark.parametrize("name", ["SEAWALL_LOG_LEVEL", "HELIOS_LOG_LEVEL"])
def test_the_environment_overrules_the_log_level(name: str) -> None:
    text = "[observability]\nlog_level = 'error'"
    assert load(text).log_level == "ERROR"
    assert load(text, {name: "WARN"}).log_level == "WARNING"
    assert problem(text, {name: "loud"}).startswith(f"{name} = 'loud': allowed is one of 'trace'")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path, "a\0b"):
        with pytest.raises(config.ConfigError, match="a readable file"):
            config.load(path, {})


def test_a_file_that_is_not_utf8_or_too_long_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"# \xff")
    with pytest.raises(config.ConfigError, match=r"byte 2: allowed is UTF-8"):
        config.load(file, {})
    file.write_bytes(b"#" * (config.FILE_MAX_BYTES + 1))
    with pytest.raises(config.ConfigError, match="at most 4194304 bytes"):
        config.load(file, {})


@pytest.mark.parametrize("text", ["[proxy", "x = ", "x = " + "9" * 5000, "x = " + "[" * 5000])
def test_what_is_no_toml_is_told(text: str) -> None:
    assert refusal(text).problems[0].allowed == "TOML 1.0"


def test_deep_tables_are_refused_and_do_no_harm() -> None:
    assert refusal("a" + ".a" * 1500 + ' = "${X}"\n' + MINIMAL).problems[0].key == "a"


def test_users_of_a_trusting_proxy_need_no_password() -> None:
    loaded = config.loads(BACKEND + '[auth]\nmethod = "trust"\n[[auth.users]]\nname = "bob"', {})
    assert loaded.settings.auth.users["bob"].secret == ""
    assert config.loads(BACKEND + '[auth]\nmethod = "trust"', {}).settings.auth.method is AuthMethod.TRUST


def test_an_open_door_is_a_warning() -> None:
    text = BACKEND + '[auth]\nmethod = "trust"\n[proxy]\nlisten_address = "0.0.0.0:6432"'
    (warning,) = config.loads(text, {}).warnings
    assert "0.0.0.0:6432" in warning
    assert config.loads(text.replace("0.0.0.0", "127.0.0.1"), {}).warnings == ()


def test_users_alone_are_not_enough() -> None:
    assert [item.key for item in refusal(USER).problems] == ["backends.instances"]
