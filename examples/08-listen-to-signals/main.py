"""What happens to guards is announced as signals; a listener hears them on a thread of its own."""

from seawall import Breaker, guard, listen, signals
from seawall.testing import VirtualClock

clock = VirtualClock()  # see 02: virtual time, so that the output is the same every day
bank = guard("bank", breaker=Breaker(errors="5%", open_for="10s", probes=3), clock=clock, rng=lambda: 0.0)


def log(signal: signals.Signal) -> None:
    if isinstance(signal, signals.BreakerChanged):
        print(f"{signal.at:5.1f} s  {signal.name}: {signal.old} -> {signal.new}: {signal.reason}")
    elif isinstance(signal, signals.BreakerForced):
        print(f"{signal.at:5.1f} s  {signal.name}: taken over by {signal.owner}: {signal.reason}")
    elif isinstance(signal, signals.BreakerReleased):
        print(f"{signal.at:5.1f} s  {signal.name}: decides for itself again")


def refuse() -> None:
    raise ConnectionRefusedError("the bank is closed")


# Name the kinds you want. Rejections are a kind too, and in an outage there are as many of them as calls.
with listen(log, signals.BreakerChanged, signals.BreakerForced, signals.BreakerReleased):
    for _ in range(10):
        bank.try_call(refuse)
    clock.advance(10.0)
    for _ in range(3):
        bank.try_call(int, "7")

    # By hand: nobody gets through until it is released, or until the eight hours are over.
    clock.advance(5.0)
    bank.force("open", owner="alice", reason="bank holiday", for_="8h")
    bank.try_call(int, "7")
    clock.advance(60.0)
    bank.release()

counted = bank.statistics().breaker
print(f"rejected: {counted.rejected if counted else 0}")
