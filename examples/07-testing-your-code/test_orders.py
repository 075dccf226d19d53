"""How to test it: nothing sleeps, no clock is patched, no warehouse really fails. Run it with pytest."""

import pytest
from orders import BREAKER, RETRY, Orders, production_orders

from seawall import guard
from seawall.testing import DeterministicRandom, VirtualClock, force


@pytest.fixture
def orders(seawall_clock: VirtualClock, seawall_rng: DeterministicRandom) -> Orders:
    # The fixtures seawall_clock and seawall_rng come with Seawall; pytest finds them by itself.
    return Orders(guard("warehouse", breaker=BREAKER, retry=RETRY, clock=seawall_clock, rng=seawall_rng))


def test_orders_are_kept_while_the_breaker_is_open() -> None:
    orders = production_orders()
    with force(orders.warehouse, "open"):
        assert orders.place(7) == "order 7 is kept for later"
    assert orders.place(8) == "order 8 is placed"
    assert orders.kept == [7]


def test_an_outage_opens_the_breaker_and_time_brings_it_back(
    orders: Orders, seawall_clock: VirtualClock
) -> None:
    orders.warehouse_is_up = False
    for number in range(10):
        orders.place(number)
    assert orders.warehouse.state.label == "open"

    seawall_clock.advance(30.0)
    assert orders.warehouse.state.label == "half_open"


def test_a_retry_waits_in_virtual_time(orders: Orders, seawall_clock: VirtualClock) -> None:
    orders.warehouse_is_up = False
    orders.place(1)
    assert 0.0 < seawall_clock.monotonic() <= 1.0
