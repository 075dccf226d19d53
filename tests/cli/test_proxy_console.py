"""Where a proxy's console is, who asks, and how a refusal is told."""

import json

import pytest
from typer.testing import CliRunner

from seawall.app.console import Place
from seawall.cli import exits, main, proxy_console
from seawall.cli.proxy_console import Misspelt, parts_of, place
from tests.proxy.consoles import FakeSupervisor, RunningConsole


def invoke(*arguments: object, **options):
    return CliRunner().invoke(main.app, ["proxy", *map(str, arguments)], **options)


@pytest.fixture(autouse=True)
def _somebody(monkeypatch):
    monkeypatch.setattr(proxy_console.getpass, "getuser", lambda: "somebody")
    monkeypatch.delenv("PGPASSWORD", raising=False)


@pytest.mark.parametrize(
    ("dsn", "found"),
    [
        (
            "postgresql://boss:p%40ss@db:5/postgres",
            {"host": "db", "port": 5, "user": "boss", "password": "p@ss"},
        ),
        ("postgres://[::1]:5", {"host": "::1", "port": 5}),
        ("postgresql:///x?host=%2Frun%2Fx&port=5&user=b", {"host": "/run/x", "port": 5, "user": "b"}),
        ("host=db port=5 user='the boss' password=s", {"host": "db", "port": 5, "user": "the boss"}),
        ("hostaddr=10.0.0.1 host=db sslmode=prefer application_name=x", {"host": "10.0.0.1"}),
        ("postgresql://", {}),
        ("user=b", {"user": "b"}),
    ],
)
def test_a_connection_string_says_where(dsn, found):
    made = place(dsn, None, None, None, "seawall", {})
    plain = {"host": "127.0.0.1", "port": 6432, "user": "somebody"}
    for name, value in {**plain, **found}.items():
        assert getattr(made, name) == value
    assert made.database == "seawall"


@pytest.mark.parametrize(
    ("dsn", "why"),
    [
        ("mysql://x", "begins with postgresql://"),
        ("postgresql://x:99999999999", "no URL"),
        ("postgresql://x:70000", "no URL"),
        ("postgresql://x?y", "no URL"),
        ("postgresql://x?bogus=1", "bogus"),
        ("host=a,b", "one proxy at a time"),
        ("host='a", "not closed"),
        ("a", "KEY=VALUE"),
        ("=a", "KEY=VALUE"),
        ("port=x", "1 to 65535"),
        ("port=0", "1 to 65535"),
        ("sslmode=require", "TLS"),
    ],
)
def test_a_wrong_one_is_told_without_its_password(dsn, why):
    with pytest.raises(Misspelt, match=why):
        place(dsn, None, None, None, "seawall", {})
    answer = invoke("failovers", "--dsn", f"{dsn} password=hunter2")
    assert answer.exit_code == exits.USAGE
    assert "hunter2" not in answer.output


def test_options_go_over_the_connection_string():
    env = {"PGPASSWORD": "e"}
    assert place("host=a port=1 user=b password=c", "x", 2, "y", "z", env) == Place(
        host="x", port=2, user="y", password="c", database="z"
    )
    assert place(None, None, None, None, "seawall", env) == Place(user="somebody", password="e")
    assert parts_of("host=a password=b")["password"] == "b"


def test_who_has_no_name_is_somebody(monkeypatch):
    def nameless():
        raise KeyError("uid not found")

    monkeypatch.setattr(proxy_console.getpass, "getuser", nameless)
    assert place(None, None, None, None, "seawall", {}).user == "postgres"


def test_a_password_comes_from_the_environment_or_is_asked_for(tmp_path, monkeypatch):
    with RunningConsole(
        tmp_path, FakeSupervisor(), users={"boss": "secret"}, admin=["boss"], trust=False
    ) as console:
        arguments = ("pause", "--port", console.port, "--user", "boss")
        answer = invoke(*arguments)
        assert answer.exit_code == exits.USAGE
        assert "PGPASSWORD" in answer.stderr
        assert invoke(*arguments, env={"PGPASSWORD": "secret"}).exit_code == exits.OK
        wrong = invoke(*arguments, env={"PGPASSWORD": "wrong"})
        assert wrong.exit_code == exits.BROKEN
        assert "password authentication failed" in wrong.stderr
        monkeypatch.setattr(proxy_console, "is_somebody_there", lambda: True)
        asked = invoke(*arguments, input="secret\n")
        assert asked.exit_code == exits.OK
        assert "Password of boss" in asked.output
        assert "secret" not in asked.output


def test_nobody_there_is_told(tmp_path):
    with RunningConsole(tmp_path) as console:
        gone = console.port
    answer = invoke("failovers", "--port", gone)
    assert answer.exit_code == exits.BROKEN
    assert f"127.0.0.1:{gone}: Connection refused" in answer.stderr
    told = invoke("failovers", "--port", gone, "--json")
    assert told.exit_code == exits.BROKEN
    assert "Connection refused" in json.loads(told.stdout)["error"]
    assert told.stderr == ""


def test_another_name_of_the_admin_database(tmp_path):
    with RunningConsole(tmp_path) as console:
        answer = invoke("failovers", "--port", console.port, "--database", "nope")
    assert answer.exit_code == exits.BROKEN


def test_texts_of_others_do_no_harm_to_a_terminal():
    assert proxy_console.clean("a\x1b[31mb\n") == "a?[31mb?"
    assert proxy_console.clean(None) == ""
