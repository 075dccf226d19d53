"""A thread for what would hold the loop and lets go of the interpreter meanwhile: gzip, names, certificates.

Not the loop's own pool: a resolver that hangs would take the application's threads there, one per attempt.
And a daemon, since no program should wait at its end for telemetry. Pure Python has no place here: it would
hold the loop from this thread just as well.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar, final

__all__ = ["WAITING_LIMIT", "Busy", "Worker"]

T = TypeVar("T")

WAITING_LIMIT: Final = 8
"""Jobs that wait or run. More come only if one hangs, and then waiting longer is no use."""

_Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Busy(OSError):
    """The thread hangs in a job, and enough others wait."""


@final
class Worker:
    """One thread, started by the first job.

    Args:
        name: Of the thread.
    """

    __slots__ = ("_jobs", "_name", "_thread", "waiting")

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.waiting = 0

    async def run(self, function: Callable[..., T], *args: Any) -> T:  # noqa: ANN401 -- the function's
        """Call ``function`` there.

        Raises:
            Busy: It hangs in an earlier job.
            Exception: What the function raises.
        """
        if self.waiting >= WAITING_LIMIT:
            raise Busy(f"{self._name}: hangs")
        if self._thread is None:
            self._thread = threading.Thread(
                target=_work, args=(self, self._jobs), name=self._name, daemon=True
            )
            self._thread.start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.waiting += 1
        self._jobs.put((future, function, args))
        return await future

    def close(self) -> None:
        """Let the thread end after the jobs it has; another :meth:`run` starts a new one."""
        if self._thread is not None:
            self._jobs.put(None)
            self.forked()

    def forked(self) -> None:
        """Begin anew, as in a child process, which has no threads."""
        self._jobs = SimpleQueue()
        self._thread = None
        self.waiting = 0

    def done(self, jobs: object) -> None:
        """One job is over, if it was one of this start."""
        if jobs is self._jobs:
            self.waiting -= 1


def _work(worker: Worker, jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, function, args = job
        result: Any = None
        error: BaseException | None = None
        try:
            result = function(*args)
        except BaseException as caught:  # noqa: BLE001 -- it is handed to the one who waits
            error = caught
        try:
            future.get_loop().call_soon_threadsafe(_tell, worker, jobs, future, result, error)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            worker.done(jobs)
        del job, future, result, error


def _tell(
    worker: Worker, jobs: object, future: asyncio.Future[Any], result: object, error: BaseException | None
) -> None:
    worker.done(jobs)
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
