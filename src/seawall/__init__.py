"""Seawall keeps a Python platform up while its parts fail.

The names below are loaded when they are first used, so that ``import seawall`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seawall._version import __version__

if TYPE_CHECKING:
    from seawall.kernel import signals
    from seawall.kernel.errors import (
        BreakerOpen,
        BulkheadFull,
        CallRejected,
        DeadlineExceeded,
        Outcome,
        PolicyError,
        RateExceeded,
        SeawallError,
        UsageError,
    )
    from seawall.resilience import deadline
    from seawall.resilience.explain import Explanation
    from seawall.resilience.guard import Guard, guard
    from seawall.resilience.listener import Listener, listen
    from seawall.resilience.permit import Attempt, Attempts, Permit, Result
    from seawall.resilience.policy import Breaker, Budget, Bulkhead, Policy, Ramp, RateLimit, Retry
    from seawall.resilience.states import State
    from seawall.resilience.toml import load_policies, parse_policies

_HOMES = {
    "seawall.kernel": ("signals",),
    "seawall.kernel.errors": (
        "BreakerOpen",
        "BulkheadFull",
        "CallRejected",
        "DeadlineExceeded",
        "Outcome",
        "PolicyError",
        "RateExceeded",
        "SeawallError",
        "UsageError",
    ),
    "seawall.resilience": ("deadline",),
    "seawall.resilience.explain": ("Explanation",),
    "seawall.resilience.guard": ("Guard", "guard"),
    "seawall.resilience.listener": ("Listener", "listen"),
    "seawall.resilience.permit": ("Attempt", "Attempts", "Permit", "Result"),
    "seawall.resilience.policy": ("Breaker", "Budget", "Bulkhead", "Policy", "Ramp", "RateLimit", "Retry"),
    "seawall.resilience.states": ("State",),
    "seawall.resilience.toml": ("load_policies", "parse_policies"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Attempt",
    "Attempts",
    "Breaker",
    "BreakerOpen",
    "Budget",
    "Bulkhead",
    "BulkheadFull",
    "CallRejected",
    "DeadlineExceeded",
    "Explanation",
    "Guard",
    "Listener",
    "Outcome",
    "Permit",
    "Policy",
    "PolicyError",
    "Ramp",
    "RateExceeded",
    "RateLimit",
    "Result",
    "Retry",
    "SeawallError",
    "State",
    "UsageError",
    "__version__",
    "deadline",
    "guard",
    "listen",
    "load_policies",
    "parse_policies",
    "signals",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- a module's attributes are of any type
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'seawall' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
