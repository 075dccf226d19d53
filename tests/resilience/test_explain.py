"""A policy in words, and the settings in it that work against each other."""

from typing import Any

import pytest

from seawall.resilience.explain import ORDER, contradictions, explain
from seawall.resilience.policy import Breaker, Budget, Bulkhead, Policy, Ramp, RateLimit, Retry

WATCHED = Breaker(p95="500ms")


def test_a_whole_policy_in_words() -> None:
    policy = Policy(
        breaker=Breaker(errors="5%", p95="500ms", p99="2s", throttled="50%", saturation="90%"),
        retry=Retry(attempts=3, budget=Budget(ratio="10%")),
        bulkhead=Bulkhead(limit=20, queue=50, max_wait="100ms"),
        rate=RateLimit(rate="100/s", burst=20),
        timeout="2.5s",
        deadline="10s",
    )
    assert str(explain(policy, name="orders-db", fallback=True, probe=True)).splitlines() == [
        f"orders-db: {ORDER}",
        "  fallback: answers instead of an error, but not instead of a proper refusal",
        "  deadline: 10s for everything, passed on to inner calls",
        "  rate limit: 100 calls/s, 20 at once",
        "  bulkhead: 20 calls at once, 50 wait in turn for up to 100ms",
        (
            "  retry: 3 attempts, waits up to 50ms x 2^n, at most 2s, jitter full; "
            "the budget grants 10% of the "
            "calls and 1 per second"
        ),
        (
            "  breaker: opens when more than 5% fail or more than 5% take over 500ms "
            "or more than 1% take over 2s or "
            "more than 50% are throttled or the bulkhead is over 90% full or 6 in a row are bad "
            "(over 1s and 10s, beyond 4 standard errors of doubt)"
        ),
        "  probe: runs as soon as calls are unanswered for 150ms; if it fails, the breaker opens at once",
        (
            "  recovery: after 5s (doubling to 1m), 10 of 10 probes, at most 3 at once, "
            "then a ramp that follows "
            "latency and errors"
        ),
        (
            "  timeout: 2.5s per attempt; interrupts async functions, while a sync function "
            "runs on and only counts "
            "as failed"
        ),
    ]


def lines(**parts: Any) -> str:
    return "\n".join(explain(Policy(**parts)).lines)


def test_the_least_policy_in_words() -> None:
    assert explain(Policy(breaker=None)).lines == ()
    assert str(explain(Policy(breaker=None))) == f"policy: {ORDER}"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"breaker": Breaker(mode="static")}, "(raw shares over 10s after 20 calls)"),
        ({"breaker": Breaker(errors=None, consecutive=5)}, "opens when more than 50% are throttled or 5 in"),
        ({"breaker": Breaker(throttled=None, consecutive=None)}, "opens when more than 5% fail (over"),
        ({"breaker": Breaker(ramp=Ramp(kind="fixed"))}, "then a ramp of 2m"),
        ({"breaker": Breaker(ramp=Ramp(kind="none"))}, "then full traffic at once"),
        ({"breaker": Breaker(enforcement="shadow")}, "enforcement: shadow: no call is rejected"),
        ({"bulkhead": Bulkhead(limit=5)}, "bulkhead: 5 calls at once, the next one is rejected"),
        ({"retry": Retry(budget=None)}, "jitter full, without a budget"),
    ],
)
def test_each_part_says_what_it_does(parts: dict[str, Any], said: str) -> None:
    assert said in lines(**parts)


def test_a_probe_that_is_switched_off_is_not_promised() -> None:
    said = explain(Policy(breaker=Breaker(stall_after=None)), probe=True)
    assert "probe:" not in str(said)


@pytest.mark.parametrize(
    ("parts", "keys"),
    [
        ({"timeout": "3s", "deadline": "2s"}, ("timeout", "deadline")),
        (
            {"breaker": Breaker(consecutive=3), "retry": Retry(attempts=3)},
            ("retry.attempts", "breaker.consecutive"),
        ),
        ({"breaker": WATCHED, "timeout": "500ms"}, ("timeout", "breaker.p95")),
        ({"breaker": Breaker(p99="500ms"), "timeout": "500ms"}, ("timeout", "breaker.p99")),
        ({"breaker": Breaker(saturation="90%")}, ("breaker.saturation", "bulkhead")),
        ({"breaker": Breaker(p95="1s", probe_lease="500ms")}, ("breaker.probe_lease", "breaker.p95")),
        ({"retry": Retry(attempts=1)}, ("retry.attempts",)),
        ({"retry": Retry(jitter="none")}, ("retry.jitter",)),
        ({"retry": Retry(budget=None)}, ("retry.attempts", "retry.budget")),
        ({"retry": Retry(), "timeout": "2s", "deadline": "5s"}, ("retry.attempts", "timeout", "deadline")),
        ({"bulkhead": Bulkhead(queue=5, max_wait="2s"), "deadline": "2s"}, ("bulkhead.max_wait", "deadline")),
        ({"bulkhead": Bulkhead(limit=5, queue=5), "rate": RateLimit(burst=11)}, ("rate.burst", "bulkhead")),
    ],
)
def test_settings_that_work_against_each_other(parts: dict[str, Any], keys: tuple[str, ...]) -> None:
    [found] = contradictions(Policy(**parts))
    assert found.keys == keys
    assert str(found) == f"{' and '.join(keys)}: {found.problem}; {found.fix}"
    text = str(explain(Policy(**parts)))
    assert text.endswith(f"contradictions:\n  ! {found}")


def test_a_probe_that_never_runs_or_comes_too_late() -> None:
    [found] = contradictions(Policy(breaker=None), probe=True)
    assert found.keys == ("probe", "breaker")
    [found] = contradictions(Policy(breaker=Breaker(p95="100ms")), probe=True)
    assert found.keys == ("breaker.stall_after", "breaker.p95")
    assert contradictions(Policy(breaker=WATCHED), probe=True) == ()


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"breaker": WATCHED, "timeout": "501ms"},
        {"breaker": Breaker(saturation="90%"), "bulkhead": Bulkhead()},
        {"breaker": Breaker(consecutive=1)},
        {"breaker": Breaker(consecutive=4), "retry": Retry(attempts=3)},
        {"retry": Retry(), "timeout": "1s", "deadline": "3s"},
        {"retry": Retry(), "timeout": "1s"},
        {"bulkhead": Bulkhead(max_wait="5s"), "deadline": "2s"},
        {"bulkhead": Bulkhead(limit=5, queue=5), "rate": RateLimit(burst=10)},
    ],
)
def test_what_fits_together_is_not_complained_about(parts: dict[str, Any]) -> None:
    assert contradictions(Policy(**parts)) == ()


@pytest.mark.parametrize(
    ("breaker", "keys"),
    [
        (Breaker(slow_ratio="10%"), ("breaker.slow_ratio", "breaker.p95")),
        (
            Breaker(confidence=5.0, false_opens_per_hour=0.1),
            ("breaker.confidence", "breaker.false_opens_per_hour"),
        ),
        (Breaker(confidence=5.0, mode="static"), ("breaker.confidence", "breaker.mode")),
        (Breaker(ramp=Ramp(duration="30s")), ("breaker.ramp.duration", "breaker.ramp.kind")),
    ],
)
def test_what_has_no_effect_is_named(breaker: Breaker, keys: tuple[str, str]) -> None:
    [found] = contradictions(Policy(breaker=breaker))
    assert found.keys == keys
    assert "has no effect" in found.problem


@pytest.mark.parametrize(
    "breaker",
    [
        Breaker(slow_ratio="10%", p95="1s"),
        Breaker(confidence=5.0),
        Breaker(false_opens_per_hour=0.1),
        Breaker(ramp=Ramp(kind="fixed", duration="30s")),
    ],
)
def test_what_has_an_effect_is_left_alone(breaker: Breaker) -> None:
    assert contradictions(Policy(breaker=breaker)) == ()
