import random
import statistics

import pytest

from seawall.cli import demo_scenario
from seawall.cli.demo_scenario import FAST, FULL, FlakyService, Phase
from seawall.testing import VirtualClock, run

SCENARIOS = [FULL, FAST]


def service(scenario=FULL, clock=None, waits=None):
    clock = clock or VirtualClock()

    async def sleep(seconds: float) -> None:
        (waits if waits is not None else []).append(seconds)
        clock.advance(seconds)

    return FlakyService(scenario, dice=random.Random(1), elapsed_s=clock.monotonic, sleep=sleep), clock


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_phases_follow_each_other(scenario) -> None:
    starts = [start for start, _ in scenario.phases()]
    assert starts == sorted(starts)
    assert starts[-1] < scenario.ends_at_s
    for start, phase in scenario.phases():
        assert scenario.phase_at(start) is phase
    assert scenario.phase_at(-1.0) is Phase.HEALTHY
    assert scenario.phase_at(scenario.ends_at_s + 9.0) is Phase.COLD


def test_the_plays_are_as_short_as_promised() -> None:
    assert FAST.ends_at_s + 2.0 < 15.0
    assert FULL.ends_at_s + 2.0 < 40.0
    assert all(scenario.calls_per_s >= 100.0 for scenario in SCENARIOS)


def test_a_healthy_service_is_quick_and_rarely_fails() -> None:
    shop, _ = service()
    replies = [shop.reply(Phase.HEALTHY) for _ in range(4000)]
    typical = statistics.median(reply.latency_s for reply in replies)
    assert typical == pytest.approx(demo_scenario.TYPICAL_S, rel=0.05)
    assert 0 < sum(not reply.ok for reply in replies) < 40


def test_faults_bite() -> None:
    shop, _ = service()
    assert shop.reply(Phase.HANGS).latency_s == demo_scenario.NEVER_S
    slow = statistics.median(shop.reply(Phase.SLOW).latency_s for _ in range(500))
    assert slow == pytest.approx(demo_scenario.TYPICAL_S * 40.0, rel=0.1)
    assert not any(shop.reply(Phase.ERRORS).ok for _ in range(100))


def test_a_cold_cache_warms_with_the_calls_it_answers() -> None:
    shop, _ = service()
    first = statistics.median(shop.reply(Phase.COLD).latency_s for _ in range(5))
    for _ in range(100):
        shop.reply(Phase.COLD)
    later = statistics.median(shop.reply(Phase.COLD).latency_s for _ in range(100))
    assert first > 1.5 * later
    assert later == pytest.approx(demo_scenario.TYPICAL_S, rel=0.2)


def test_calls_are_counted_by_phase_and_health_checks_are_not() -> None:
    waits: list[float] = []
    shop, clock = service(waits=waits)
    assert run(shop.price()) == "42.00"
    run(shop.ping())
    clock.advance(FULL.errors_at_s)
    with pytest.raises(ConnectionResetError):
        run(shop.price())
    assert shop.sent[Phase.HEALTHY] == shop.sent[Phase.ERRORS] == 1
    assert len(waits) == 3


def test_every_phase_has_a_short_word() -> None:
    assert all(phase.short and len(phase.short) <= len(phase.value) for phase in Phase)
