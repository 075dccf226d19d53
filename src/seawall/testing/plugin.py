"""Fixtures for pytest, which finds them by the entry point ``pytest11`` of this package.

pytest imports this file in every project that has Seawall installed, so it imports nothing but pytest: what a
fixture needs is loaded when a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from seawall.kernel.commands import ForceMode
    from seawall.resilience.guard import Guard
    from seawall.testing.clock import VirtualClock
    from seawall.testing.randomness import DeterministicRandom
    from seawall.testing.recording import RecordedSignals


@pytest.fixture
def seawall_clock() -> VirtualClock:
    """A virtual clock at zero, for ``guard(clock=...)`` and ``seawall.testing.run(..., clock)``."""
    from seawall.testing.clock import VirtualClock  # noqa: PLC0415 -- see the module's docstring

    return VirtualClock()


@pytest.fixture
def seawall_rng() -> DeterministicRandom:
    """Random numbers for ``guard(rng=...)``, the same in every run."""
    from seawall.testing.randomness import DeterministicRandom  # noqa: PLC0415 -- see the module's docstring

    return DeterministicRandom()


@pytest.fixture
def seawall_signals() -> Iterator[RecordedSignals]:
    """The signals that guards with the default hub published since the test began."""
    from seawall.testing.recording import record_signals  # noqa: PLC0415 -- see the module's docstring

    with record_signals() as signals:
        yield signals


@pytest.fixture
def seawall_force() -> Iterator[Callable[[Guard, ForceMode], None]]:
    """``seawall_force(guard, "open")`` forces the guard until the test is over."""
    from seawall.testing.forcing import force  # noqa: PLC0415 -- see the module's docstring

    with ExitStack() as forced:

        def until_the_test_is_over(guard: Guard, mode: ForceMode = "open") -> None:
            forced.enter_context(force(guard, mode))

        yield until_the_test_is_over
