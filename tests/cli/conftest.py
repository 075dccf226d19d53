"""A demo that was played once, on virtual time, for all tests that only look at it."""

from collections.abc import Iterable

import pytest

from seawall.cli.demo_scenario import FAST, FULL, Scenario
from seawall.cli.demo_stage import Stage
from seawall.cli.demo_story import Moment
from seawall.testing import VirtualClock, run


class Witness:
    """An audience that remembers."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.frames = 0

    def see(self, stage: Stage, fresh: Iterable[Moment]) -> None:
        self.moments.extend(fresh)
        self.frames += 1


def played(scenario: Scenario, seed: int = 7) -> tuple[Stage, Witness]:
    clock = VirtualClock(1000.0)
    stage, witness = Stage(scenario, seed=seed, clock=clock), Witness()
    run(stage.play(witness), clock)
    return stage, witness


@pytest.fixture(scope="session")
def full() -> tuple[Stage, Witness]:
    return played(FULL)


@pytest.fixture(scope="session")
def fast() -> tuple[Stage, Witness]:
    return played(FAST)
