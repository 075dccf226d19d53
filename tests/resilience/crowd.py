"""Many threads at once, switched as often as CPython can: for tests of what may not lose an update."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

THREADS = 6


@contextmanager
def hectic() -> Iterator[None]:
    """Switch threads as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def together(work: Callable[[int], int], threads: int = THREADS) -> list[int]:
    """Run ``work(number)`` in each thread, all at once; its results, or the first error of any."""
    start = threading.Barrier(threads)
    results: list[int] = []
    errors: list[BaseException] = []

    def body(number: int) -> None:
        start.wait()
        try:
            results.append(work(number))
        except BaseException as error:
            errors.append(error)

    crowd = [threading.Thread(target=body, args=(number,), daemon=True) for number in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(15.0)
    assert not any(thread.is_alive() for thread in crowd), "somebody waits for ever"
    if errors:
        raise errors[0]
    return results


def loses_updates(rounds: int = 2_000, runs: int = 50) -> bool:
    """Whether this machine, in this many runs, loses an update of a counter that invites it."""

    class Careless:
        value = 0

        def add(self) -> None:
            self.value = int(self.value) + 1  # a call between reading and writing

    for _ in range(runs):
        careless = Careless()

        def work(_number: int, careless: Careless = careless) -> int:
            for _ in range(rounds):
                careless.add()
            return 0

        together(work)
        if careless.value < THREADS * rounds:
            return True
    return False
