"""A kit to test code that uses Seawall: virtual time, replayable chance, forced states, recorded signals.

Everything a guard does depends on a clock, random numbers and endings of calls; each can be held in hand::

    from seawall import Breaker, guard
    from seawall.testing import VirtualClock, force, run

    clock = VirtualClock()
    db = guard("db", breaker=Breaker(), timeout="2s", clock=clock)
    run(load_orders(), clock)  # asyncio at full speed: waits cost no real time
    with force(db, "open"):
        ...  # what does the code do when the database is gone?

With pytest, the fixtures of ``plugin`` give the same. The names below are loaded when they are first used,
because pytest loads the plugin whether a test wants it or not.

It is no simulator of backends and no load generator. Nothing in ``seawall`` outside this package imports it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seawall.testing.clock import VirtualClock
    from seawall.testing.forcing import force
    from seawall.testing.loop import VirtualLoop, run
    from seawall.testing.randomness import DeterministicRandom
    from seawall.testing.recording import RecordedSignals, record_signals

_HOME_OF = {
    "DeterministicRandom": "seawall.testing.randomness",
    "RecordedSignals": "seawall.testing.recording",
    "VirtualClock": "seawall.testing.clock",
    "VirtualLoop": "seawall.testing.loop",
    "force": "seawall.testing.forcing",
    "record_signals": "seawall.testing.recording",
    "run": "seawall.testing.loop",
}

__all__ = [
    "DeterministicRandom",
    "RecordedSignals",
    "VirtualClock",
    "VirtualLoop",
    "force",
    "record_signals",
    "run",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- a module's attributes are of any type
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'seawall.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
