import json

import pytest
from typer.testing import CliRunner

from seawall import Policy, Retry
from seawall.cli import exits, explain, main
from seawall.resilience.explain import explain as explanation_of

FINE = '[guards.orders]\ntimeout = "2s"\n\n[guards.mail.retry]\nattempts = 2\n'
CONTRADICTING = '[guards.orders]\ntimeout = "2s"\ndeadline = "1s"\n'
WRONG = '[guards.orders]\ntimeuot = "1s"\n\n[guards.orders.breaker]\nerrors = "500%"\nmode = "lax"\n'


@pytest.fixture
def invoke(tmp_path):
    def run(text: str, *options: str):
        file = tmp_path / "guards.toml"
        file.write_text(text, encoding="utf-8")
        return CliRunner().invoke(main.app, ["explain", str(file), *options])

    return run


def test_each_guard_is_explained(invoke) -> None:
    answer = invoke(FINE)
    assert answer.exit_code == exits.OK
    assert "orders\n  breaker: opens when" in answer.stdout
    assert "mail\n  retry: 2 attempts" in answer.stdout
    assert answer.stdout.endswith("\n2 guards, no contradictions\n")


def test_a_contradiction_is_named_and_breaks_the_promise(invoke) -> None:
    answer = invoke(CONTRADICTING)
    assert answer.exit_code == exits.BROKEN
    assert "  ! timeout and deadline\n" in answer.stdout
    assert answer.stdout.endswith("\n1 guard, 1 contradiction\n")


def test_json_is_alone_on_stdout(invoke) -> None:
    answer = invoke(CONTRADICTING, "--json")
    (table,) = json.loads(answer.stdout)
    assert answer.exit_code == exits.BROKEN
    assert table["guard"] == "orders"
    assert table["contradictions"][0]["keys"] == ["timeout", "deadline"]
    assert len(table["lines"]) >= 3


def test_every_mistake_is_listed_at_once(invoke) -> None:
    answer = invoke(WRONG)
    assert answer.exit_code == exits.USAGE
    assert answer.stdout == ""
    assert "3 problems" in answer.stderr
    for text in ("timeuot", "did you mean 'timeout'?", "'500%'", "'adaptive', 'static'"):
        assert text in answer.stderr


def test_mistakes_as_json(invoke) -> None:
    answer = invoke(WRONG, "--json")
    assert answer.exit_code == exits.USAGE
    keys = {problem["key"] for problem in json.loads(answer.stdout)["problems"]}
    assert keys == {"guards.orders.timeuot", "guards.orders.breaker.errors", "guards.orders.breaker.mode"}


@pytest.mark.parametrize("text", ["", "[guard.orders]\n", "not TOML"])
def test_a_file_without_guards_is_no_success(invoke, text) -> None:
    assert invoke(text).exit_code == exits.USAGE


def test_a_missing_file_is_named(tmp_path) -> None:
    answer = CliRunner().invoke(main.app, ["explain", str(tmp_path / "none.toml")])
    assert answer.exit_code == exits.USAGE
    assert "none.toml" in answer.stderr


def test_text_is_wrapped_to_a_terminal_only() -> None:
    explanation = explanation_of(Policy(retry=Retry(attempts=1)), name="orders")
    assert max(len(line) for line in explain.text(explanation, 60).splitlines()) <= 60
    plain = explain.text(explanation).splitlines()
    assert len(plain) == 1 + len(explanation.lines) + 3 * len(explanation.contradictions)
