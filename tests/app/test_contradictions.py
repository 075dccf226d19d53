import pytest

from seawall.app import config
from seawall.wire.pgwire.passwords import scram_secret
from tests.app.minimal import BACKEND, USER, load, problem, refusal

MD5 = "md5" + "0" * 32
SCRAM = scram_secret("hunter2", b"s" * 16)
SELF = '[failover]\nauthority = "self"\nsole_proxy = true\nfence_command = ["fence", "{host}"]\n'
ASKS = '[auth]\nstats_users = ["bob"]\n'
WITNESSES = '[failover]\nauthority = "self"\nwitnesses = ["a:1"]\nfence_command = ["x"]\n'
EYE = f'[[auth.users]]\nname = "eye"\npassword = "{SCRAM}"\n'
TWO = '[[backends.instances]]\nname = "two"\nhost = "db2.internal"\n'


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("[proxy]\nlisten_address = []", "proxy.listen_address", "unix_directory"),
        (
            '[proxy]\nlisten_address = "a:0"\nunix_directory = "/run/x"',
            "proxy.unix_directory",
            "port of the first address",
        ),
        ("[pool]\nsize = 3\nmin_size = 4", "pool.min_size", "at most pool.size, which is 3"),
        (
            "[limits]\nconnections = 5\nconnections_per_address = 6",
            "limits.connections_per_address",
            "which is 5",
        ),
        ('[[databases]]\nname = "seawall"', "databases[seawall].name", "admin_database"),
        ('[[databases]]\nname = "a"\n[[databases]]\nname = "a"', "databases[a].name", "rename"),
        (
            '[[databases]]\nname = "a"\nserver_password = "x"',
            "databases[a].server_user",
            "whose password",
        ),
        (
            '[[databases]]\nname = "a"\nserver_user = "u"\nserver_password = "x"\nserver_password_file = "y"',
            "databases[a].server_password",
            "remove one",
        ),
        (
            "[circuit_breaker]\nlatency_threshold_p99_ms = 400",
            "circuit_breaker.latency_threshold_p99_ms",
            "which is 500",
        ),
        (
            "[circuit_breaker]\nmetrics_bucket_size = '11s'",
            "circuit_breaker.metrics_bucket_size",
            "which is 10s",
        ),
        ("[health_checks]\ntimeout = '2s'", "health_checks.timeout", "which is 1s"),
        ('[auth]\nadmin_users = ["bobb"]', "auth.admin_users", "did you mean 'bob'?"),
        ('[auth]\nstats_users = ["zoe"]', "auth.stats_users", "add an [[auth.users]] table"),
        ('[[auth.users]]\nname = "eve"', "auth.users[eve].password", "password_file"),
        (f'[[auth.users]]\nname = "eve"\npassword = "{MD5}"', "auth.users[eve].password", '"md5"'),
        (
            f'[[auth.users]]\nname = "eve"\npassword = "{SCRAM[:-5]}"',
            "auth.users[eve].password",
            "copy all of it",
        ),
        ('[[auth.users]]\nname = "bob"\npassword = "x"', "auth.users[bob].name", "rename"),
        (
            '[[auth.users]]\nname = "eve"\npassword = "x"\nserver_password = "y"\nserver_password_file = "z"',
            "auth.users[eve].server_password",
            "remove one",
        ),
        ('[[backends.instances]]\nname = "one"\nhost = "x"', "backends.instances[one].name", "rename"),
        ('[failover]\nauthority = "self"', "failover.authority", "sole_proxy = true"),
        (f'{SELF}patroni = ["http://a:1"]', "failover.patroni", "two would promote"),
        (f'{SELF}topology = "multi-primary"', "failover.topology", "none is promoted"),
        (f"{SELF}probe_timeout = 1\ndown_after = 2", "failover.down_after", "which is 3s"),
        (f"{SELF}enabled = false", "failover.authority", "enabled = true"),
        ('[failover]\nenabled = false\npatroni = ["http://a:1"]', "failover.patroni", "leave it out"),
        ('[failover]\npassword = "x"\npassword_file = "y"', "failover.password", "remove one"),
        ("[replay]\npin_sequences = true", "replay.pin_sequences", "failover.sole_proxy is true"),
        (
            '[failover]\nauthority = "self"\nwitnesses = ["a:1"]\n[replay]\npin_sequences = true',
            "replay.pin_sequences",
            "same values",
        ),
        ("[failover]\nsole_proxy = true\n[replay]\npin_sequences = true", "replay.pin_sequences", "self"),
    ],
)
def test_what_does_not_go_together_is_told(text: str, key: str, hint: str, tmp_path) -> None:
    (tmp_path / "y").write_text("y")
    (tmp_path / "z").write_text("z")
    said = problem(text, directory=tmp_path)
    assert said.startswith(f"{key} = ")
    assert hint in said


@pytest.mark.parametrize(
    "text",
    [
        '[proxy]\nlisten_address = []\nunix_directory = "/run/x"',
        '[proxy]\nlisten_address = "a:0"',
        "[limits]\nconnections = 5",
        "[pool]\nsize = 3\nmin_size = 3",
        '[auth]\nadmin_users = ["bob"]\nstats_users = ["bob"]',
        '[auth]\ntrust_loopback = true\nadmin_users = ["anybody"]\n[[auth.users]]\nname = "eve"',
        f'[[auth.users]]\nname = "eve"\npassword = "{SCRAM}"',
        f'[auth]\nmethod = "md5"\n[[auth.users]]\nname = "eve"\npassword = "{MD5}"',
        f'[auth]\nmethod = "md5"\n[[auth.users]]\nname = "eve"\npassword = "{SCRAM}"',
        f'[auth]\nmethod = "password"\n[[auth.users]]\nname = "eve"\npassword = "{MD5}"',
        '[[databases]]\nname = "a"\nserver_user = "u"',
        "[circuit_breaker]\nlatency_threshold_p99_ms = 500",
        "[health_checks]\ntimeout = '1s'",
        f"{SELF}probe_timeout = 1\ndown_after = 3\n{TWO}",
        f"{SELF}\n{TWO}[replay]\npin_sequences = true\nmode = 'on'",
        f'[failover]\nauthority = "self"\nwitnesses = ["a:1"]\nfence_command = ["x"]\n{TWO}{ASKS}',
        "[failover]\nprobe_timeout = 1",
        '[failover]\npatroni = ["http://a:1"]\ntopology = "multi-primary"',
        "[failover]\nenabled = false\n[replay]\nmode = 'shadow'",
        "[replay]\nmode = 'on'",
    ],
)
def test_what_goes_together_is_not(text: str) -> None:
    assert load(text).warnings == ()


@pytest.mark.parametrize("line", ['role = "replica"', 'allowed_query_types = ["SELECT"]'])
def test_some_server_has_to_take_everything(line: str) -> None:
    error = refusal(f"{BACKEND}{line}\n{USER}")
    assert [item.key for item in error.problems] == ["backends.instances"]
    assert config.loads(f"{BACKEND}{line}\n{BACKEND.replace('one', 'two')}{USER}", {}).settings.backends


def test_a_section_with_a_mistake_is_not_compared() -> None:
    said = problem("[pool]\nsize = 0\nmin_size = 30")
    assert said.startswith("pool.size = 0")


def test_one_server_under_two_names_is_a_warning() -> None:
    (warning,) = load('[[backends.instances]]\nname = "two"\nhost = "db.internal"').warnings
    assert warning == "backends two and one are one server: db.internal:5432"


def test_addresses_that_let_nobody_in_are_a_warning() -> None:
    text = BACKEND + '[proxy]\nlisten_address = ["0.0.0.0:5432", "127.0.0.1:1"]'
    (warning,) = config.loads(text, {}, trust_loopback=True).warnings
    assert warning == "nobody but this machine is let in at 0.0.0.0:5432: there are no [[auth.users]]"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f'[failover]\nauthority = "self"\nsole_proxy = true\n{TWO}', "failover.fence_command is not set"),
        (SELF, "there is one server"),
        (f'{SELF}witnesses = ["a:1"]\n{TWO}{ASKS}', "failover.witnesses names some"),
        (f"{WITNESSES}{TWO}", "failover.witnesses can't be asked"),
        (f'{WITNESSES}{TWO}[auth]\nstats_users = ["eye"]\n{EYE}', "failover.witnesses can't be asked"),
        ('[failover]\nrejoin_command = ["x"]', "failover.rejoin_command is not run"),
        (
            f'{SELF}promote_command = ["x", "{{nodes}}"]\n{TWO}',
            "{nodes} is passed on as it is; {node}, {host}",
        ),
        ("[failover]\nenabled = false\n[replay]\nmode = 'on'", "ends in 08007"),
        ("[failover]\nenabled = false\n[replay]\nresolve_commits = true", "ends in 08007"),
        ("[failover]\nenabled = false\n[[databases]]\nname = 'a'\nreplay = 'on'", "ends in 08007"),
        (
            "[failover]\nenabled = false\n[[auth.users]]\nname = 'a'\npassword = 'b'\nreplay = 'on'",
            "ends in 08007",
        ),
    ],
)
def test_what_may_not_be_meant_is_a_warning(text: str, hint: str) -> None:
    (warning,) = load(text).warnings
    assert hint in warning


def test_a_section_with_a_mistake_does_not_forbid_pinning() -> None:
    said = problem("[failover]\nauthority = 'selv'\n[replay]\npin_sequences = true")
    assert said.startswith("failover.authority = 'selv'")
