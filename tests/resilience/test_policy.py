"""What users write: defaults, what becomes of each value, and what contradicts itself."""

import dataclasses
from typing import Any

import pytest

from seawall.kernel.errors import PolicyError
from seawall.kernel.signals import PolicyChange
from seawall.resilience.detector import confidence_for, run_limit
from seawall.resilience.policy import (
    LEASE_BOUNDS,
    LEASE_DEFAULT_S,
    NESTED,
    P99_SHARE,
    PARTS,
    STATIC_MINIMUM_REQUESTS,
    Breaker,
    Budget,
    Bulkhead,
    Policy,
    Ramp,
    RateLimit,
    Retry,
    differences,
)
from seawall.resilience.states import Enforcement

CLASSES: list[type] = [Breaker, Budget, Bulkhead, Policy, Ramp, RateLimit, Retry]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_policy_has_defaults_is_frozen_and_takes_keywords_only(kind: Any) -> None:
    policy = kind()
    assert policy == kind()
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(policy, name, 5)
    with pytest.raises(TypeError):
        kind(5)
    assert not hasattr(policy, "__dict__")


def problems(kind: Any, **values: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(PolicyError) as caught:
        kind(**values)
    return [(problem.key, problem.allowed, problem.fix) for problem in caught.value.problems]


def test_the_defaults_of_a_breaker() -> None:
    rules = Breaker().rules()
    assert (rules.errors, rules.slow, rules.slow_s, rules.slower, rules.throttled) == (0.05, 0, 0, 0, 0.5)
    assert (rules.saturation, rules.consecutive, rules.confidence) == (0, run_limit(0.05), 4.0)
    assert (rules.minimum_requests, rules.static) == (0, False)
    assert (rules.short_s, rules.long_s, rules.open_for_s, rules.open_for_max_s) == (1, 10, 5, 60)
    assert (rules.open_jitter, rules.probes, rules.probes_needed, rules.probe_concurrency) == (0.1, 10, 10, 3)
    assert (rules.probe_lease_s, rules.stall_s) == (LEASE_DEFAULT_S, 0.15)
    assert (rules.ramp.kind, rules.ramp.duration_s, rules.ramp.step) == ("gated", 120.0, 0.1)
    assert rules.enforcement is Enforcement.ENFORCE


@pytest.mark.parametrize(
    ("written", "bounds"),
    [
        ({"p95": "500ms"}, (0.5, 0.05, 0.0, 0.0)),
        ({"p99": "2s"}, (2.0, P99_SHARE, 0.0, 0.0)),
        ({"p95": "500ms", "p99": "2s"}, (0.5, 0.05, 2.0, P99_SHARE)),
        ({"p95": "500ms", "slow_ratio": "20%"}, (0.5, 0.2, 0.0, 0.0)),
        ({"p99": "2s", "slow_ratio": "20%"}, (2.0, P99_SHARE, 0.0, 0.0)),
    ],
)
def test_percentiles_become_shares_of_slow_calls(
    written: dict[str, Any], bounds: tuple[float, float, float, float]
) -> None:
    rules = Breaker(**written).rules()
    assert (rules.slow_s, rules.slow, rules.slower_s, rules.slower) == bounds


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ({"errors": None}, "errors", 0.0),
        ({"errors": None}, "consecutive", 0),
        ({"throttled": None}, "throttled", 0.0),
        ({"saturation": "90%"}, "saturation", 0.9),
        ({"stall_after": None}, "stall_s", 0.0),
        ({"consecutive": None}, "consecutive", 0),
        ({"consecutive": 9}, "consecutive", 9),
        ({"mode": "static", "consecutive": 9}, "consecutive", 9),
        ({"mode": "static"}, "consecutive", 0),
        ({"mode": "static"}, "minimum_requests", STATIC_MINIMUM_REQUESTS),
        ({"mode": "static", "minimum_requests": 0}, "minimum_requests", 0),
        ({"minimum_requests": 50}, "minimum_requests", 50),
        ({"false_opens_per_hour": 0.01}, "confidence", confidence_for(0.01)),
        ({"confidence": 3}, "confidence", 3.0),
        ({"probe_success": "75%"}, "probes_needed", 8),
        ({"probe_success": "70%"}, "probes_needed", 7),
        ({"probe_success": "1%", "probes": 3}, "probes_needed", 1),
        ({"p95": "500ms"}, "probe_lease_s", 0.5 * LEASE_BOUNDS),
        ({"p95": "500ms", "probe_lease": "1s"}, "probe_lease_s", 1.0),
        ({"enforcement": "shadow"}, "enforcement", Enforcement.SHADOW),
        ({"enforcement": "disabled"}, "enforcement", Enforcement.DISABLED),
    ],
)
def test_what_becomes_of_a_breaker_s_values(written: dict[str, Any], key: str, value: object) -> None:
    assert getattr(Breaker(**written).rules(), key) == value


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            {"p95": "2s", "p99": "2s"},
            ("p99", "duration above p95 (2s)", "raise p99 or leave it out"),
        ),
        ({"window": "1s"}, ("short_window", "duration below window (1s)", "shorten it")),
        ({"open_for": "2m"}, ("open_for_max", "duration from open_for (2m) up", "raise it")),
        (
            {"p95": "10s"},
            ("window", "duration above the slow bound (10s)", "lengthen the window or lower p95/p99"),
        ),
        (
            {"p95": "1s", "p99": "10s"},
            ("window", "duration above the slow bound (10s)", "lengthen the window or lower p95/p99"),
        ),
        (
            {"errors": None, "throttled": None},
            ("errors", "at least one rule", "set one of errors, p95, p99, throttled, saturation"),
        ),
    ],
)
def test_a_breaker_that_contradicts_itself(written: dict[str, Any], problem: tuple[str, str, str]) -> None:
    assert problems(Breaker, **written) == [problem]


def test_a_breaker_s_contradictions_come_all_at_once() -> None:
    found = problems(Breaker, p95="2m", p99="1m", window="30s", short_window="40s", open_for="2m")
    assert [key for key, _, _ in found] == ["p99", "short_window", "open_for_max", "window"]


@pytest.mark.parametrize("rule", [{"p95": "1s"}, {"saturation": "90%"}, {"consecutive": 5}])
def test_one_rule_is_enough(rule: dict[str, Any]) -> None:
    Breaker(errors=None, throttled=None, **rule)


@pytest.mark.parametrize(
    ("kind", "key", "value", "allowed"),
    [
        (Breaker, "errors", "0%", "share above 0% to 99% or none (off)"),
        (Breaker, "p95", "0.9ms", "duration from 1ms to 1h or none (off)"),
        (Breaker, "saturation", "9%", "share from 10% to 100% or none (off)"),
        (Breaker, "window", "999ms", "duration from 1s to 1h"),
        (Breaker, "probe_success", 0, "share above 0% to 100%"),
        (Breaker, "ramp", "gated", "a Ramp"),
        (Ramp, "step", 0.0009, "share from 0.1% to 100%"),
        (Ramp, "duration", "99ms", "duration from 100ms to 1d"),
        (Retry, "attempts", 0, "whole number from 1 to 100"),
        (Retry, "budget", "10%", "a Budget or None"),
        (Retry, "on", "OSError", "exception types"),
        (Bulkhead, "max_wait", 0, "duration above 0s to 1h"),
        (RateLimit, "rate", "0/s", "rate from 1e-06/s to 1e+09/s"),
        (Budget, "capacity", 0.5, "number from 1 to 1e+06"),
        (Policy, "timeout", "0.5ms", "duration from 1ms to 1d or none (off)"),
        (Policy, "breaker", "on", "a Breaker or None"),
        (Policy, "retry", 3, "a Retry or None"),
        (Policy, "bulkhead", 3, "a Bulkhead or None"),
        (Policy, "rate", "100/s", "a RateLimit or None"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(
    kind: Any, key: str, value: object, allowed: str
) -> None:
    [(found, said, _)] = problems(kind, **{key: value})
    assert (found, said) == (key, allowed)


@pytest.mark.parametrize(
    ("kind", "key", "border"),
    [
        (Breaker, "errors", "99%"),
        (Breaker, "p95", "1ms"),
        (Breaker, "saturation", "10%"),
        (Breaker, "open_jitter", 0),
        (Breaker, "stall_after", "5ms"),
        (Breaker, "probe_lease", "1h"),
        (Ramp, "step", "0.1%"),
        (Ramp, "duration", "100ms"),
        (Retry, "base", 0),
        (Budget, "ratio", 0),
        (Policy, "timeout", "1ms"),
        (Policy, "deadline", "1d"),
        (RateLimit, "rate", "1000000000/s"),
    ],
)
def test_borders_are_allowed(kind: Any, key: str, border: object) -> None:
    kind(**{key: border})


def test_a_retry_policy_as_numbers() -> None:
    rules = Retry(attempts=5, base="10ms", max_delay="1s", max_elapsed="9s", jitter="none").rules()
    assert (rules.attempts, rules.base_s, rules.max_s, rules.multiplier) == (5, 0.01, 1.0, 2.0)
    assert (rules.jitter, rules.max_elapsed_s, rules.retry_rejections) == ("none", 9.0, False)
    assert Retry().rules().max_elapsed_s is None
    assert Retry(budget=None).budget is None


def test_a_retry_whose_longest_wait_is_shorter_than_its_first() -> None:
    assert problems(Retry, base="3s") == [("max_delay", "duration from base (3s) up", "raise it")]


def test_a_budget_builds_its_engine() -> None:
    built = Budget(ratio="20%", min_per_second=2, capacity=7).build().statistics()
    assert built.balance <= 7.0
    assert built.deposits == 0


def test_differences_are_named_key_by_key() -> None:
    old = Policy(timeout="2s", retry=Retry())
    new = Policy(
        timeout="3s",
        breaker=Breaker(errors="6%", ramp=Ramp(kind="none")),
        retry=Retry(budget=Budget(ratio="20%")),
        rate=RateLimit(),
    )
    assert differences(old, new) == (
        PolicyChange(key="breaker.errors", old="5%", new="6%"),
        PolicyChange(key="breaker.ramp.kind", old="gated", new="none"),
        PolicyChange(key="retry.budget.ratio", old="10%", new="20%"),
        PolicyChange(key="rate", old=None, new=RateLimit()),
        PolicyChange(key="timeout", old="2s", new="3s"),
    )
    assert differences(old, old) == ()


def test_the_tables_of_parts_name_fields_that_exist() -> None:
    fields = {field.name for field in dataclasses.fields(Policy)}
    assert set(PARTS) <= fields
    for (part, name), kind in NESTED.items():
        nested = next(field for field in dataclasses.fields(PARTS[part]) if field.name == name)
        assert nested.default_factory is kind
