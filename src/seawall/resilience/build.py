"""Builds a guard's engines from its policy, and carries over those whose policy did not change."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from seawall.kernel.clock import Clock
from seawall.kernel.errors import PolicyError, Problem, UsageError
from seawall.kernel.signals import Hub
from seawall.resilience import settings
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.budget import RetryBudget
from seawall.resilience.bulkhead import Bulkhead
from seawall.resilience.classify import Classifier, ErrorClassifier, ResultClassifier
from seawall.resilience.limits import RateLimiter
from seawall.resilience.plan import Fallback, Plan, Probe
from seawall.resilience.policy import Breaker, Policy
from seawall.resilience.registry import KEYS_MAX_DEFAULT
from seawall.resilience.retry import RetrySchedule
from seawall.resilience.system import SYSTEM_CLOCK, SleepingClock, new_lock


@dataclass(frozen=True, slots=True)
class Builder:
    """What a guard has besides its policy: functions, and the world it lives in. See ``guard`` for each."""

    name: str
    fallback: Fallback | None
    probe: Probe | None
    ignore: tuple[type[BaseException], ...]
    failures: tuple[type[BaseException], ...]
    classify: ErrorClassifier | None
    classify_result: ResultClassifier | None
    clock: Clock
    rng: Callable[[], float]
    hub: Hub

    def accept(self, policy: object, parts: Mapping[str, Any], keys_max: object) -> Policy:
        """The policy to go by, ``policy`` or one of ``parts``; every wrong argument is named at once.

        Raises:
            PolicyError: something is wrong.
            UsageError: there are a policy and parts of one.
        """
        found = [*settings.find_problems(Policy, parts), *self._problems(keys_max)]
        if found:
            raise PolicyError(found, f"guard {self.name!r}")
        if policy is None:
            return Policy(**parts)
        if not isinstance(policy, Policy):
            raise UsageError(f"guard {self.name!r} can only go by a Policy, not by {policy!r}")
        if Policy(**parts) != Policy():
            raise UsageError(
                f"guard {self.name!r} has a policy and parts of one besides: put them into the policy"
            )
        return policy

    def _problems(self, keys_max: object) -> list[Problem]:
        found: list[Problem] = []
        name, clock, hub = cast("tuple[object, object, object]", (self.name, self.clock, self.hub))
        if not (isinstance(name, str) and name):
            found.append(Problem("name", name, "a text", 'say what is called, for example "orders-db"'))
        values = {key: getattr(self, key) for key in _OPTIONS if key != "keys_max"}
        for key, value in (*values.items(), ("keys_max", keys_max)):
            problem = settings.problem_with(key, value, _OPTIONS[key])
            if problem is not None:
                found.append(problem)
        if not isinstance(clock, Clock):
            found.append(
                Problem("clock", clock, "an object with monotonic()", "leave it out for the system's")
            )
        if not isinstance(hub, Hub):
            found.append(Problem("hub", hub, "a Hub", "leave it out for the common one"))
        return found

    def build(self, policy: Policy, old_policy: Policy | None, old: Plan | None) -> Plan:
        """The engines for ``policy``; an engine of ``old`` whose part of the policy is the same lives on."""
        clock = self.clock
        values = settings.values_of(policy)
        retry = policy.retry
        kept = _Kept(policy, old_policy)
        plan = Plan(
            name=self.name,
            key="",
            now=clock.monotonic,
            sleep=clock.sleep if isinstance(clock, SleepingClock) else SYSTEM_CLOCK.sleep,
            rng=self.rng,
            hub=self.hub,
            classifier=Classifier(
                ignore=_EXCEPTIONS.read(self.ignore),
                failures=_EXCEPTIONS.read(self.failures),
                retry_on=() if retry is None else settings.values_of(retry)["on"],
                by_error=self.classify,
                by_result=self.classify_result,
            ),
            breaker=self._breaker(policy.breaker, old),
            bulkhead=old.bulkhead if old is not None and kept.same("bulkhead") else _bulkhead(policy),
            limiter=old.limiter if old is not None and kept.same("rate") else _limiter(policy),
            schedule=old.schedule if old is not None and kept.same("retry") else _schedule(policy),
            budget=old.budget if old is not None and kept.same_budget() else _budget(policy),
            idempotent=retry is None or retry.idempotent,
            timeout_s=values["timeout"] or math.inf,
            deadline_s=values["deadline"] or math.inf,
            fallback=self.fallback,
            probe=_function(self.probe),
        )
        if old is not None:
            plan.fallbacks = old.fallbacks
        return plan

    def _breaker(self, policy: Breaker | None, old: Plan | None) -> CircuitBreaker | None:
        if policy is None:
            return None
        now = self.clock.monotonic()
        running = None if old is None else old.breaker
        if isinstance(running, CircuitBreaker):
            running.reload(policy.rules(), now)
            return running
        return CircuitBreaker(
            policy.rules(),
            name=self.name,
            now=now,
            rng=self.rng,
            hub=self.hub,
            lock=new_lock(),
            probing=self.probe is not None,
        )


_FUNCTION: Final = settings.setting_of(settings.function())
_EXCEPTIONS: Final = settings.setting_of(settings.exceptions())
_KEYS: Final = settings.setting_of(settings.count(KEYS_MAX_DEFAULT, low=1, high=100_000_000))
_OPTIONS: Final = {
    "fallback": _FUNCTION,
    "probe": _FUNCTION,
    "ignore": _EXCEPTIONS,
    "failures": _EXCEPTIONS,
    "classify": _FUNCTION,
    "classify_result": _FUNCTION,
    "rng": _FUNCTION,
    "keys_max": _KEYS,
}


@dataclass(frozen=True, slots=True)
class _Kept:
    new: Policy
    old: Policy | None

    def same(self, part: str) -> bool:
        return self.old is not None and getattr(self.new, part) == getattr(self.old, part)

    def same_budget(self) -> bool:
        before = None if self.old is None or self.old.retry is None else self.old.retry.budget
        after = None if self.new.retry is None else self.new.retry.budget
        return before == after


def _function(probe: Probe | None) -> Probe | None:
    """An object with an async ``__call__`` as the coroutine function that it is."""
    method = getattr(probe, "__call__", None)  # noqa: B004 -- not whether it can be called, but what that gives
    return method if method is not None and inspect.iscoroutinefunction(method) else probe


def _bulkhead(policy: Policy) -> Bulkhead | None:
    if policy.bulkhead is None:
        return None
    values = settings.values_of(policy.bulkhead)
    return Bulkhead(values["limit"], values["queue"], values["max_wait"])


def _limiter(policy: Policy) -> RateLimiter | None:
    if policy.rate is None:
        return None
    values = settings.values_of(policy.rate)
    return RateLimiter(values["rate"], values["burst"])


def _schedule(policy: Policy) -> RetrySchedule | None:
    return None if policy.retry is None or policy.retry.attempts == 1 else RetrySchedule(policy.retry.rules())


def _budget(policy: Policy) -> RetryBudget | None:
    return None if policy.retry is None or policy.retry.budget is None else policy.retry.budget.build()
