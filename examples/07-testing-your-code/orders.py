"""Code that uses a guard and is given it, so that a test can give it one that lives in virtual time."""

from seawall import Breaker, CallRejected, Guard, Retry, guard

BREAKER = Breaker(errors="5%", open_for="30s", open_jitter=0)
RETRY = Retry(attempts=2, base="1s")


class Orders:
    """Places orders, or keeps them for later when the warehouse can't take any."""

    def __init__(self, warehouse: Guard) -> None:
        self.warehouse = warehouse
        self.warehouse_is_up = True
        self.kept: list[int] = []

    def place(self, number: int) -> str:
        """Place one order."""
        try:
            return self.warehouse.call(self._send, number)
        except (CallRejected, ConnectionError):
            self.kept.append(number)
            return f"order {number} is kept for later"

    def _send(self, number: int) -> str:
        if not self.warehouse_is_up:
            raise ConnectionRefusedError("the warehouse is down")
        return f"order {number} is placed"


def production_orders() -> Orders:
    """What the program uses."""
    return Orders(guard("warehouse", breaker=BREAKER, retry=RETRY))
