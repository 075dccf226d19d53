"""For work that is no function: a permit to be settled by hand, and a loop of attempts around a block."""

from seawall import Breaker, Retry, guard
from seawall.testing import DeterministicRandom, VirtualClock

clock = VirtualClock()  # see 02: virtual time, so that the output is the same every day


class Lost(ConnectionError):
    """The broker closed the connection."""


# A permit: for proxies and message handlers, where the start and the end of a call are two different places.
broker = guard("broker", breaker=Breaker(errors="5%"), clock=clock)

for number in range(1, 10):
    permit = broker.try_acquire()
    if permit is None:
        print(f"message {number}: kept for later, the breaker is {broker.state.label}")
    elif number <= 2:
        permit.ok()
        print(f"message {number}: delivered")
    elif number == 3:
        permit.ignore()
        print(f"message {number}: refused by the receiver, which says nothing about the broker")
    else:
        permit.fail(Lost())
        print(f"message {number}: lost")

# Attempts: the block is repeated until it succeeds, and the last error comes out.
files = guard("files", retry=Retry(attempts=3, base="100ms"), clock=clock, rng=DeterministicRandom())

for attempt in files.attempts():
    with attempt:
        print(f"upload, attempt {attempt.number}")
        if attempt.number < 3:
            raise Lost
        print("uploaded")
