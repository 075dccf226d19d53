"""Virtual time in an event loop: waits cost nothing, and the outside world still gets in."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from seawall.testing import VirtualClock, VirtualLoop, run


def test_a_long_sleep_takes_no_time() -> None:
    clock = VirtualClock(5.0)

    assert run(asyncio.sleep(86_400.0 * 3, "three days later"), clock) == "three days later"
    assert clock.monotonic() == 5.0 + 86_400.0 * 3


def test_the_loop_shows_the_clocks_time() -> None:
    clock = VirtualClock(5.0)

    async def main() -> float:
        await asyncio.sleep(1.5)
        return asyncio.get_running_loop().time()

    assert run(main(), clock) == clock.monotonic() == 6.5


def test_without_a_clock_it_makes_one() -> None:
    async def main() -> float:
        await asyncio.sleep(0.25)
        return asyncio.get_running_loop().time()

    assert run(main()) == 0.25


def test_timers_ring_in_order() -> None:
    order: list[str] = []

    async def after(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async def main() -> None:
        await asyncio.gather(after(3.0, "c"), after(1.0, "a"), after(2.0, "b"))

    run(main())
    assert order == ["a", "b", "c"]


def test_a_timeout_interrupts_at_its_time() -> None:
    clock = VirtualClock()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.0):
                await asyncio.sleep(60.0)
        assert clock.monotonic() == 2.0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3.0)

    run(main(), clock)
    assert clock.monotonic() == 5.0


def test_what_is_ready_comes_before_a_jump() -> None:
    clock = VirtualClock()

    async def main() -> None:
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            async with asyncio.timeout(1.0), asyncio.TaskGroup() as tasks:
                received = tasks.create_task(asyncio.get_running_loop().sock_recv(near, 1))
                await asyncio.sleep(0)
                far.sendall(b"x")
            assert received.result() == b"x"

    run(main(), clock)
    assert clock.monotonic() == 0.0


def test_with_no_timer_it_waits_for_a_thread() -> None:
    clock = VirtualClock()

    async def main() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(answer.set_result, "hello"))
        thread.start()
        try:
            return await answer
        finally:
            thread.join()

    assert run(main(), clock) == "hello"
    assert clock.monotonic() == 0.0


def test_the_outside_can_be_given_real_time_before_a_jump() -> None:
    clock = VirtualClock()

    async def main() -> int:
        # However slow the machine is: the first poll may take ten seconds, and ends when the thread is done.
        async with asyncio.timeout(5.0):
            return await asyncio.to_thread(lambda: 42)

    assert run(main(), clock, idle_s=10.0) == 42
    assert clock.monotonic() == 0.0


def test_it_ends_with_worker_threads_still_busy() -> None:
    """The executor's threads are joined for as long as they need; no virtual timeout cuts that short."""
    done = threading.Event()
    may_end = threading.Event()

    def work() -> None:
        may_end.wait(10.0)
        done.set()

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, work)
        threading.Thread(target=may_end.set).start()

    run(main())
    assert done.is_set()


def test_it_can_be_a_factory_for_others() -> None:
    clock = VirtualClock()
    loop = VirtualLoop(clock)
    try:
        loop.set_default_executor(ThreadPoolExecutor(1))
        assert loop.run_until_complete(asyncio.sleep(1.0, "done")) == "done"
        assert loop.clock is clock
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def test_watching_a_socket_for_more_than_reading_works() -> None:
    """The selector's other methods reach the real one."""

    async def main() -> bytes:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        loop = asyncio.get_running_loop()
        with near, far:
            written = asyncio.Event()
            got = asyncio.Event()
            loop.add_reader(near, got.set)
            loop.add_writer(near, written.set)
            await written.wait()
            loop.remove_writer(near)
            await loop.sock_sendall(far, b"y")
            await got.wait()
            loop.remove_reader(near)
            return near.recv(1)

    assert run(main()) == b"y"
