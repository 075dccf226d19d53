"""Policies from a file: the same keys as in code, and every mistake of the file at once."""

from pathlib import Path

import pytest

from seawall.kernel.errors import PolicyError
from seawall.resilience.policy import Breaker, Budget, Bulkhead, Policy, Ramp, RateLimit, Retry
from seawall.resilience.toml import FILE_MAX_BYTES, load_policies, parse_policies, policy_from

FULL = """
[other]
left = "alone"

[guards.orders-db]
timeout = "2s"
deadline = 5

[guards.orders-db.breaker]
errors = "5%"
p95 = "500ms"
throttled = "none"
ramp = { kind = "fixed", step = "20%" }

[guards.orders-db.retry]
attempts = 5
budget = { ratio = "20%" }

[guards.orders-db.bulkhead]
limit = 7

[guards.orders-db.rate]
rate = "50/s"

[guards.plain]

[guards.bare]
breaker = "none"
retry = { budget = "none" }
timeout = "none"
"""


def problems(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        parse_policies(text, "guards.toml")
    assert caught.value.source == "guards.toml"
    return [str(problem) for problem in caught.value.problems]


def test_a_file_gives_what_the_code_would() -> None:
    assert parse_policies(FULL) == {
        "orders-db": Policy(
            timeout="2s",
            deadline=5,
            breaker=Breaker(errors="5%", p95="500ms", throttled=None, ramp=Ramp(kind="fixed", step="20%")),
            retry=Retry(attempts=5, budget=Budget(ratio="20%")),
            bulkhead=Bulkhead(limit=7),
            rate=RateLimit(rate="50/s"),
        ),
        "plain": Policy(),
        "bare": Policy(breaker=None, retry=Retry(budget=None)),
    }


def test_a_file_without_guards_is_fine() -> None:
    assert parse_policies("") == {}


def test_every_mistake_is_named_at_once_with_its_path() -> None:
    found = problems("""
[guards.a]
timeout = "fast"
brekaer = 1
[guards.a.breaker]
errors = 7
p9 = "1s"
ramp = { kind = "slow" }
[guards.b.retry]
attempts = 0
budget = { ratio = 2.0, capasity = 3 }
[guards.c]
rate = 5
bulkhead = { limit = 0 }
""")
    assert sorted(line.split(" = ")[0] for line in found) == [
        "guards.a.breaker.errors",
        "guards.a.breaker.p9",
        "guards.a.breaker.ramp.kind",
        "guards.a.brekaer",
        "guards.a.timeout",
        "guards.b.retry.attempts",
        "guards.b.retry.budget.capasity",
        "guards.b.retry.budget.ratio",
        "guards.c.bulkhead.limit",
        "guards.c.rate",
    ]
    told = dict(line.split(" = ", 1) for line in found)
    assert "did you mean 'breaker'?" in told["guards.a.brekaer"]
    assert "did you mean 'p9" in told["guards.a.breaker.p9"]


def test_a_misspelt_table_is_not_passed_over() -> None:
    assert problems("[guard.a]\ntimeout = '1s'") == [
        "guard = {'a': {'timeout': '1s'}}: allowed is no such table; did you mean 'guards'?"
    ]


def test_contradictions_are_named_with_their_path() -> None:
    [found] = problems('[guards.a.breaker]\np95 = "10s"')
    assert found.startswith("guards.a.breaker.window = '10s': allowed is duration above the slow bound (10s)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("guards = 5", "guards = 5: allowed is a table; write [guards.NAME]"),
        ("[guards]\na = 5", "guards.a = 5: allowed is a table; write [guards.a]"),
        ('[guards."a b"]', "guards.a b = 'a b': allowed is letters, digits and _ . : / -, at most 128"),
        (
            "[guards.a]\nretry = 3",
            'guards.a.retry = 3: allowed is a table or "none"; write [guards.a.retry]',
        ),
        (
            "[guards.a.retry]\nbudget = 3",
            'guards.a.retry.budget = 3: allowed is a table or "none"; write [guards.a.retry.budget]',
        ),
        (
            '[guards.a.breaker]\nramp = "none"',
            "guards.a.breaker.ramp = 'none': allowed is a table; write [guards.a.breaker.ramp]",
        ),
        (
            "[guards.a.retry]\non = []",
            ("guards.a.retry.on = []: allowed is exception types, which only code can give; remove it"),
        ),
    ],
)
def test_what_is_no_table_where_one_belongs(text: str, message: str) -> None:
    assert problems(text) == [message]


@pytest.mark.parametrize(
    "text", ["[guards", "a = ", "a = 1\na = 2", "a = " + "[" * 5000, "a = " + "1" * 5000]
)
def test_what_is_no_toml_is_refused_as_such(text: str) -> None:
    [found] = problems(text)
    assert found.startswith("file = ")
    assert found.endswith("allowed is TOML 1.0")


def test_one_table_can_be_read_alone() -> None:
    assert policy_from({"timeout": "1s"}) == (Policy(timeout="1s"), [])
    policy, found = policy_from({"timeout": 0}, "here.")
    assert policy is None
    assert [problem.key for problem in found] == ["here.timeout"]


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "guards.toml"
    path.write_text(FULL, encoding="utf-8")
    assert load_policies(path) == load_policies(str(path)) == parse_policies(FULL)


def file_problem(path: Path | str) -> str:
    with pytest.raises(PolicyError) as caught:
        load_policies(path)
    assert caught.value.source == str(path)
    [problem] = caught.value.problems
    assert problem.key == "file"
    return str(problem)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert file_problem(tmp_path / "missing.toml").endswith("a readable file; No such file or directory")
    assert "a readable file" in file_problem(tmp_path)
    assert file_problem("a\0b").endswith("a readable file; embedded null byte")


def test_a_file_that_is_too_large_or_not_utf_8(tmp_path: Path) -> None:
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (FILE_MAX_BYTES + 1))
    assert f"at most {FILE_MAX_BYTES} bytes" in file_problem(large)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'a = "\xe4"')
    assert file_problem(latin) == "file = 'byte 5': allowed is UTF-8; save it as UTF-8"
