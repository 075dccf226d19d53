"""Retries that can't become a storm: a budget grants what a hiccup needs, not what an outage asks for."""

import asyncio
from collections import Counter

from seawall import Budget, Guard, Retry, guard
from seawall.testing import DeterministicRandom, VirtualClock, run

# Time and chance are the test kit's, so that this takes no time and prints the same every day. For real ones,
# leave ``clock`` and ``rng`` out and use ``asyncio.run``.
clock = VirtualClock()


def mail_guard(budget: Budget | None) -> Guard:
    # The default breaker would end this outage after a few calls; it is left out to show the retries alone.
    return guard(
        "mail",
        breaker=None,
        retry=Retry(attempts=3, base="50ms", budget=budget),
        clock=clock,
        rng=DeterministicRandom(),
    )


async def send_all(mail: Guard, *, outage: bool) -> None:
    attempts: Counter[int] = Counter()

    @mail
    async def send(number: int) -> None:
        attempts[number] += 1
        await asyncio.sleep(0.01)
        hiccup = number % 20 == 0 and attempts[number] == 1
        if outage or hiccup:
            raise ConnectionResetError("no answer")

    results = await asyncio.gather(*(send(number) for number in range(1, 101)), return_exceptions=True)
    print(f"  100 mails, {attempts.total()} attempts, {results.count(None)} sent")


print("A hiccup, one call in twenty, with a budget of 10%:")
run(send_all(mail_guard(Budget(ratio="10%")), outage=False), clock)
print("An outage, without a budget:")
run(send_all(mail_guard(None), outage=True), clock)
print("An outage, with a budget of 10%:")
run(send_all(mail_guard(Budget(ratio="10%")), outage=True), clock)
