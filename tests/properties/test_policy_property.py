"""Whatever is written into a policy or a file: it is accepted, or every wrong key is named."""

import dataclasses
import tomllib
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from seawall.kernel.errors import PolicyError, Problem
from seawall.resilience.policy import Breaker, Budget, Bulkhead, Policy, Ramp, RateLimit, Retry
from seawall.resilience.settings import problem_with, settings_of, values_of
from seawall.resilience.toml import parse_policies, policy_from

CLASSES: list[type] = [Breaker, Budget, Bulkhead, Policy, Ramp, RateLimit, Retry]
FIELDS = [(kind, field.name) for kind in CLASSES for field in dataclasses.fields(kind)]

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-5, 100)
    | st.floats()
    | st.floats(0.0, 100.0)
    | st.text(max_size=20)
    | st.sampled_from(["auto", "none", "5%", "500ms", "1/s", "1d", "0s", "gated", "static", "shadow", "full"])
)
ANYTHING = (
    PLAIN
    | st.binary(max_size=5)
    | st.timedeltas()
    | st.complex_numbers()
    | st.sampled_from(
        [OSError, int, print, object(), (OSError,), [OSError, 5], 10**400, -(10**400), timedelta.max]
    )
    | st.sampled_from([kind() for kind in CLASSES])
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


def test_every_key_of_every_policy_is_declared() -> None:
    for kind, key in FIELDS:
        assert key in settings_of(kind), f"{kind.__name__}.{key} is not checked by anybody"


def attempt(kind: Any, key: str, value: object) -> tuple[Any, tuple[Problem, ...]]:
    try:
        return kind(**{key: value}), ()
    except PolicyError as error:
        return None, error.problems


@given(field=st.sampled_from(FIELDS), value=ANYTHING)
@settings(max_examples=600)
def test_any_value_for_any_key_is_accepted_or_named(field: tuple[Any, str], value: object) -> None:
    kind, key = field
    alone = problem_with(key, value, settings_of(kind)[key])
    policy, problems = attempt(kind, key, value)
    if alone is not None:
        assert [problem.key for problem in problems] == [key]
        assert problems[0].value is value
    keys = {problem.key for problem in problems}
    assert keys <= set(settings_of(kind)), "fine by itself, but not beside the others' defaults"
    assert all(problem.allowed for problem in problems)
    if policy is not None:
        assert set(values_of(policy)) == set(settings_of(kind))
        if hasattr(policy, "rules"):
            policy.rules()
        if hasattr(policy, "build"):
            policy.build()


@given(kind=st.sampled_from(CLASSES), data=st.data())
def test_as_many_problems_as_broken_keys(kind: Any, data: st.DataObject) -> None:
    keys = data.draw(st.sets(st.sampled_from(list(settings_of(kind))), min_size=1))
    with pytest.raises(PolicyError) as caught:
        kind(**dict.fromkeys(keys, b"never right"))
    assert {problem.key for problem in caught.value.problems} == keys
    assert len(str(caught.value).splitlines()) == 1 + len(keys)


KEYS = st.text(max_size=6) | st.sampled_from(
    [
        "guards",
        "a",
        "breaker",
        "retry",
        "ramp",
        "budget",
        "rate",
        "bulkhead",
        "timeout",
        "errors",
        "p95",
        "kind",
    ]
)
TABLES = st.recursive(
    PLAIN | st.datetimes(),
    lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=3),
)


@given(table=st.dictionaries(KEYS, TABLES, max_size=5))
@settings(max_examples=300)
def test_any_table_is_a_policy_or_problems(table: dict[str, Any]) -> None:
    policy, problems = policy_from(table, "guards.x.")
    assert (policy is None) is bool(problems)
    assert all(problem.key.startswith("guards.x.") for problem in problems)


PIECES = st.sampled_from(
    [
        "[guards.a]",
        "[guards",
        "]",
        "=",
        "breaker",
        '"none"',
        "retry.budget",
        "\n",
        " ",
        "5",
        "0x",
        "1e999",
        "nan",
        '"',
        "{",
        "}",
        "[[",
        "]]",
        "'''",
        "inf",
        "#",
        "\x00",
        "\ud7ff",
        "2026-13-45",
        "07:32:00",
        ".",
        ",",
        "true",
        "[guards.a.breaker]\n",
    ]
)


@given(text=st.text(max_size=60) | st.lists(PIECES, max_size=15).map("".join))
@settings(max_examples=500)
def test_any_text_is_policies_or_a_policy_error(text: str) -> None:
    try:
        policies = parse_policies(text)
    except PolicyError as error:
        problems: tuple[Problem, ...] = error.problems
    else:
        assert set(policies) == set(tomllib.loads(text).get("guards", {}))
        assert all(isinstance(policy, Policy) for policy in policies.values())
        return
    assert problems


@given(
    broken=st.dictionaries(
        st.sampled_from(["errors", "p95", "confidence", "probes", "mode", "window", "nonsense", "p59"]),
        st.just("☠"),
        min_size=1,
    ),
    guards=st.integers(1, 3),
)
def test_a_file_names_all_that_is_broken_in_all_its_guards(broken: dict[str, str], guards: int) -> None:
    text = ""
    for number in range(guards):
        text += f"[guards.g{number}.breaker]\n" + "".join(
            f'{key} = "{value}"\n' for key, value in broken.items()
        )
    with pytest.raises(PolicyError) as caught:
        parse_policies(text)
    assert sorted(problem.key for problem in caught.value.problems) == sorted(
        f"guards.g{number}.breaker.{key}" for number in range(guards) for key in broken
    )
