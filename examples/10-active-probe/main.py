"""How soon a hang is seen: without a latency rule, with one, and with an active probe."""

import asyncio

from seawall import Breaker, Guard, guard
from seawall.testing import DeterministicRandom, VirtualClock, run


class Database:
    """Answers within 10 ms, until it hangs."""

    hangs = False

    async def query(self) -> None:
        await asyncio.sleep(3600.0 if self.hangs else 0.01)

    async def ping(self) -> None:
        await self.query()


async def time_to_open(guarded: Guard, database: Database, clock: VirtualClock) -> float:
    """A hundred calls per second; the database hangs after two seconds."""
    calls: list[asyncio.Task[object]] = []
    while guarded.allows():
        database.hangs = clock.monotonic() >= 2.0
        calls.append(asyncio.create_task(guarded.atry_call(database.query)))
        await asyncio.sleep(0.01)
    opened_at = clock.monotonic()
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    return opened_at - 2.0


def measure(name: str, breaker: Breaker, *, probing: bool = False) -> None:
    clock, database = VirtualClock(), Database()
    guarded = guard(
        "database",
        breaker=breaker,
        timeout="2s",
        probe=database.ping if probing else None,
        clock=clock,
        rng=DeterministicRandom(),
    )
    seconds = run(time_to_open(guarded, database, clock), clock)
    why = guarded.breaker.evidence
    print(f"{name}: {seconds * 1000:.0f} ms")
    print(f"  {why.explain() if why else ''}")


measure("errors only", Breaker(errors="5%"))
measure("with p95", Breaker(errors="5%", p95="400ms"))
measure("with p95 and a probe", Breaker(errors="5%", p95="400ms", stall_after="100ms"), probing=True)
