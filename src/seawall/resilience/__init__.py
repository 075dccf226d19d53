"""Breakers, retries with a budget, bulkheads, limits and deadlines, composed by ``guard``.

What it is not: a proxy, a metrics library or a scheduler.  Users enter through ``guard``; the proxy, the
function host and the simulators drive the engines below it.

Reading order: ``policy`` (what users write), ``states`` (the breaker's table), ``windows`` and ``detector``
(how it knows), ``recovery`` (the way back), ``walk`` and ``breaker``; ``budget``, ``bulkhead``, ``limits``,
``retry``, ``deadline`` (the other engines); ``plan`` (how they act together); ``threads`` and ``aio`` (the
edges that wait); ``guard``.
"""

from seawall.resilience.breaker import BreakerStatistics, CircuitBreaker
from seawall.resilience.detector import Evidence
from seawall.resilience.explain import Contradiction, Explanation, explain
from seawall.resilience.guard import Guard, GuardStatistics, guard
from seawall.resilience.listener import Listener, listen
from seawall.resilience.permit import Attempt, Attempts, Permit, Result
from seawall.resilience.policy import Breaker, Budget, Bulkhead, Policy, Ramp, RateLimit, Retry
from seawall.resilience.registry import KeyedBreaker, Registry
from seawall.resilience.states import State
from seawall.resilience.toml import load_policies, parse_policies

__all__ = [
    "Attempt",
    "Attempts",
    "Breaker",
    "BreakerStatistics",
    "Budget",
    "Bulkhead",
    "CircuitBreaker",
    "Contradiction",
    "Evidence",
    "Explanation",
    "Guard",
    "GuardStatistics",
    "KeyedBreaker",
    "Listener",
    "Permit",
    "Policy",
    "Ramp",
    "RateLimit",
    "Registry",
    "Result",
    "Retry",
    "State",
    "explain",
    "guard",
    "listen",
    "load_policies",
    "parse_policies",
]
