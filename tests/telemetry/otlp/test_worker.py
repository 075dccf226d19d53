import asyncio
import threading
import zlib

import pytest

from seawall.telemetry.otlp.worker import WAITING_LIMIT, Busy, Worker


def test_it_works_in_a_thread_of_its_own():
    async def main():
        worker = Worker("ours")
        assert await worker.run(zlib.crc32, b"x") == zlib.crc32(b"x")
        thread = await worker.run(threading.current_thread)
        assert (thread.name, thread.daemon, worker.waiting) == ("ours", True, 0)
        worker.close()
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()
        assert await worker.run(len, "again") == 5
        worker.close()

    asyncio.run(main())


def test_what_the_function_raises_is_raised_here():
    async def main():
        worker = Worker("ours")
        with pytest.raises(ZeroDivisionError):
            await worker.run(divmod, 1, 0)
        assert await worker.run(len, "") == 0
        worker.close()

    asyncio.run(main())


def test_a_job_that_hangs_makes_others_wait_but_not_too_many():
    async def main():
        worker, release = Worker("ours"), threading.Event()
        jobs = [asyncio.ensure_future(worker.run(release.wait, 20)) for _ in range(WAITING_LIMIT)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await worker.run(len, "")
        jobs[0].cancel()  # the one who waits gives up; the thread goes on
        release.set()
        assert await asyncio.gather(*jobs[1:]) == [True] * (WAITING_LIMIT - 1)
        assert worker.waiting == 0
        worker.close()

    asyncio.run(main())


def test_a_loop_that_is_gone_doesnt_end_the_thread():
    worker, release, begun = Worker("ours"), threading.Event(), threading.Event()

    def job():
        begun.set()
        return release.wait(20)

    async def give_up():
        task = asyncio.ensure_future(worker.run(job))
        await asyncio.to_thread(begun.wait, 5)
        task.cancel()

    asyncio.run(give_up())
    release.set()
    assert asyncio.run(worker.run(len, "abc")) == 3
    worker.close()


def test_a_child_has_no_thread():
    async def main():
        worker = Worker("ours")
        first = await worker.run(threading.get_ident)
        jobs = worker._jobs
        worker.forked()
        assert await worker.run(threading.get_ident) != first
        worker.close()
        jobs.put(None)

    asyncio.run(main())
