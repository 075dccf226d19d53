"""Ids come from a generator of their own, seeded by the system."""

import random

from seawall.telemetry.tracing.ids import SystemDice


def test_two_generators_go_their_own_ways():
    assert SystemDice().getrandbits(128) != SystemDice().getrandbits(128)


def test_seeding_forgets_the_state():
    one, other = SystemDice(), SystemDice()
    other.setstate(one.getstate())
    other.seed()
    assert one.getrandbits(128) != other.getrandbits(128)


def test_a_program_that_seeds_the_shared_generator_does_not_repeat_ids():
    drawn = set()
    for _ in range(2):
        random.seed(1)
        drawn.add(SystemDice().getrandbits(128))
    assert len(drawn) == 2
