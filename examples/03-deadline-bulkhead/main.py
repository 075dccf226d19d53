"""A bulkhead bounds how many calls are inside; a deadline bounds a call with everything that it calls."""

import asyncio

from seawall import Bulkhead, BulkheadFull, DeadlineExceeded, deadline, guard
from seawall.testing import VirtualClock, run

clock = VirtualClock()  # see 02: virtual time, so that the output is the same every day

reports = guard("reports", bulkhead=Bulkhead(limit=2, queue=2, max_wait="500ms"), clock=clock)
page = guard("page", deadline="300ms", clock=clock)
database = guard("database", timeout="5s", clock=clock)


@reports
async def report(number: int) -> str:
    await asyncio.sleep(0.2)
    return f"report {number} is ready"


async def ask(number: int) -> None:
    try:
        answer = await report(number)
    except BulkheadFull as error:
        answer = f"report {number} is rejected: {error.reason}"
    print(f"  {clock.monotonic():.1f} s  {answer}")


@page
async def show(query_s: float) -> str:
    await asyncio.sleep(0.1)  # the page does something first
    return await query(query_s)


@database
async def query(query_s: float) -> str:
    left = deadline.remaining(clock.monotonic()) or 0.0
    print(f"  the query may take {left * 1000:.0f} ms of the database's own 5 s")
    await asyncio.sleep(query_s)
    return "three rows"


async def main() -> None:
    print("Five reports at once, two places, two seats to wait:")
    await asyncio.gather(*(ask(number) for number in range(1, 6)))

    print("A page with 300 ms, and a quick query:")
    print(f"  {await show(0.05)}")

    print("The same page, and a slow query:")
    started = clock.monotonic()
    try:
        await show(30.0)
    except DeadlineExceeded:
        print(f"  given up after {(clock.monotonic() - started) * 1000:.0f} ms")


run(main(), clock)
