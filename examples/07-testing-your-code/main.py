"""The code of orders.py at work; how it is tested is in test_orders.py."""

from orders import BREAKER, RETRY, Orders

from seawall import guard
from seawall.testing import DeterministicRandom, VirtualClock

clock = VirtualClock()
orders = Orders(guard("warehouse", breaker=BREAKER, retry=RETRY, clock=clock, rng=DeterministicRandom()))
print(orders.place(1))
orders.warehouse_is_up = False
for number in range(2, 7):
    print(orders.place(number), f"({orders.warehouse.state.label})")
orders.warehouse_is_up = True
clock.advance(30.0)
print(orders.place(7), f"({orders.warehouse.state.label})")
