"""Workers count in one block; whatever becomes of them, nothing is lost."""

import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from math import nan

import pytest

from seawall.kernel.errors import UsageError
from seawall.telemetry.metrics.cardinality import OVERFLOW
from seawall.telemetry.metrics.cells import Exemplar
from seawall.telemetry.metrics.gathering import Collector
from seawall.telemetry.metrics.layout import Head, Layout
from seawall.telemetry.metrics.metric import Kind, Metric
from seawall.telemetry.metrics.shared import Block
from tests.telemetry.metrics.host import (
    BUILD,
    CALLS,
    METRICS,
    OLDEST,
    SIZE,
    STATE,
    TIME,
    TOTAL,
    WAIT,
    Host,
    cell,
    passed,
)


def test_gauges_with_a_function_are_asked_by_their_own_process(host: Host) -> None:
    cell(host.worker(0), SIZE, "main").function = lambda: 12
    assert host.seen(SIZE, "main").value == 0
    host.sheets[0].refresh()
    assert host.seen(SIZE, "main").value == 12


def test_a_native_histogram_whose_schema_is_lowered_stays_whole(host: Host) -> None:
    time = cell(host.worker(0), TIME)
    for number in range(1, 1_000):
        time.observe(number / 7)
        time.observe(-number / 7)
        time.observe(0.0)
    assert time.schema < 8
    assert host.seen(TIME).snapshot() == time.snapshot()


def test_cells_refuse_what_plain_ones_refuse(host: Host) -> None:
    worker = host.worker(0)
    for each in (cell(worker, WAIT), cell(worker, TIME)):
        each.observe(0.5, Exemplar((), 0.5, 0.0))
        for wrong in (nan, "x", None):
            each.observe(wrong)
        assert (each.count, each.refused) == (1, 3)
        assert each.exemplars is not None
    total = cell(worker, TOTAL)
    total.inc(1, Exemplar((), 1.0, 0.0))
    for wrong in (-1, nan, "x"):
        total.inc(wrong)
    assert (total.value, total.refused, total.exemplar) == (1, 3, Exemplar((), 1.0, 0.0))
    gauge = cell(worker, OLDEST)
    gauge.set(3)
    for step in (gauge.set, gauge.inc, gauge.dec):
        step("x")
    assert (gauge.value, gauge.refused) == (3, 3)
    assert host.seen(TOTAL).value == 1
    assert host.seen(OLDEST).value == 3
    assert host.seen(WAIT).counts == [0, 1, 0]
    assert host.seen(TIME).count == 1


def test_the_next_worker_continues_the_totals_and_starts_with_no_gauges(host: Host) -> None:
    old = host.worker(0)
    cell(old, CALLS, "/a").inc(5)
    cell(old, CALLS, "/old").inc(1)
    cell(old, WAIT).observe(0.5)
    cell(old, TIME).observe(2.0)
    cell(old, SIZE, "main").set(4)
    cell(old, STATE, "db").set("open")
    host.collected()
    host.block.retire(0)
    new = host.worker(0)
    assert host.seen(SIZE, "main") is None
    cell(new, CALLS, "/a").inc(2)
    cell(new, WAIT).observe(0.5)
    cell(new, TIME).observe(2.0)
    cell(new, SIZE, "main")
    assert host.seen(CALLS, "/a").value == 7
    assert host.seen(CALLS, "/old").value == 1
    assert (host.seen(WAIT).counts, host.seen(WAIT).sum) == ([0, 2, 0], 1.0)
    assert (host.seen(TIME).count, host.seen(TIME).sum) == (2, 4.0)
    assert host.seen(SIZE, "main").value == 0
    assert host.seen(STATE, "db") is None


def test_rows_that_change_hands_often_do_not_grow(host: Host) -> None:
    for _ in range(20):
        worker = host.worker(0)
        cell(worker, CALLS, "/a").inc()
        cell(worker, SIZE, "main").set(1)
        host.collected()
    assert host.seen(CALLS, "/a").value == 20
    used = host.sheets[0].statistics().used_bytes
    host.worker(0)
    assert host.sheets[0].statistics().used_bytes == used
    assert repr(host.sheets[0]).startswith("<Sheet 0 entries=")


def test_an_idle_gauge_gives_its_place_to_another_one_and_does_not_write_there(host: Host) -> None:
    worker = host.worker(0)
    gauge = cell(worker, SIZE, "old")
    gauge.set(1)
    assert host.seen(SIZE, "old").value == 1
    passed(worker, 0.0)
    passed(worker, 10.0)
    used = host.sheets[0].statistics().used_bytes
    cell(worker, SIZE, "new").set(2)
    assert host.sheets[0].statistics().used_bytes == used
    gauge.set(9)
    assert host.seen(SIZE, "new").value == 2
    assert host.seen(SIZE, "old") is None
    passed(worker, 11.0)
    assert host.seen(SIZE, "old").value == 9
    assert host.seen(SIZE, "new").value == 2


def test_cells_that_were_removed_write_nowhere(host: Host) -> None:
    worker = host.worker(0)
    held = [(TOTAL, ()), (OLDEST, ()), (WAIT, ()), (TIME, ()), (STATE, ("db",)), (BUILD, ("1",))]
    cells = [cell(worker, metric, *values) for metric, values in held]
    for metric, values in held:
        worker.declare(metric).remove(*values)
    total, gauge, wait, time, state, _ = cells
    total.inc()
    gauge.set(1)
    wait.observe(1)
    time.observe(1)
    state.set("open")
    assert host.collected() == {}
    for metric, values in held:
        cell(worker, metric, *values)
    assert host.seen(TOTAL).value == host.seen(OLDEST).value == host.seen(STATE, "db").state == 0
    assert host.seen(WAIT).count == host.seen(TIME).count == 0


def test_a_row_that_is_full_overflows_and_says_so() -> None:
    host = Host(rows=1, row_bytes=Layout(METRICS, rows=1).fixed_words * 8 + 80)
    worker = host.worker(0)
    for path in ("/a", "/b", "/c"):
        cell(worker, CALLS, path).inc()
    assert worker.declare(CALLS).statistics().reasons["memory"] == 2
    assert host.seen(CALLS, "/a").value == 1
    assert host.seen(CALLS, OVERFLOW).value == 2
    assert host.block.refused() == 2
    overflows = host.seen(Metric(name="metric_overflow", kind=Kind.COUNTER, help=""), "calls")
    assert overflows.value == 2
    gauge = cell(worker, SIZE, "main")
    assert gauge is cell(worker, SIZE, OVERFLOW)
    host.block.close()


def test_other_metrics_are_refused(host: Host) -> None:
    worker = host.worker(0)
    with pytest.raises(UsageError, match="not in the shared block"):
        worker.declare(Metric(name="late", kind=Kind.COUNTER, help=""))
    with pytest.raises(UsageError, match="declare the same"):
        Block(Layout([TOTAL], rows=3, row_bytes=256 * 1024), host.block.descriptor)
    with pytest.raises(UsageError, match=r"has \d+ bytes"):
        Block(Layout(METRICS, rows=4, row_bytes=256 * 1024), host.block.descriptor)
    assert repr(host.block).startswith("<Block rows=3 taken=1 ")


def test_an_entry_whose_writer_was_killed_while_using_it_anew(host: Host) -> None:
    worker = host.worker(0)
    cell(worker, SIZE, "old").set(1)
    cell(worker, CALLS, "/a").inc()
    at = host.sheets[0]._index[host.block.layout.positions["size"], b"old"]
    unsigned = host.block.words.unsigned
    worker.declare(SIZE).remove("old")
    unsigned[at + 1] ^= 1
    head = Head.of(unsigned[at])
    unsigned[at] = Head(live=True, serial=head.serial + 1, metric=head.metric, length=head.length).word
    assert host.seen(SIZE, "old") is None
    assert host.seen(CALLS, "/a").value == 1
    again = host.worker(0)
    cell(again, SIZE, "new").set(4)
    assert host.sheets[0]._index[host.block.layout.positions["size"], b"new"] == at
    assert host.seen(SIZE, "new").value == 4


def fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_count_together(host: Host) -> None:
    def work(number: int) -> None:
        worker = host.worker(number)
        for step in range(1_000):
            cell(worker, TOTAL).inc()
            cell(worker, WAIT).observe(step % 2)
            cell(worker, TIME).observe(step)

    pids = [fork(lambda number=number: work(number)) for number in range(3)]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    assert host.seen(TOTAL).value == 3_000
    assert (host.seen(WAIT).counts, host.seen(WAIT).sum) == ([1_500, 1_500, 0], 1_500.0)
    assert (host.seen(TIME).count, host.seen(TIME).sum) == (3_000, 3 * 999 * 1_000 / 2)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_worker_counts_for_itself(host: Host) -> None:
    worker = host.worker(0)
    total, wait, time, size = (cell(worker, metric) for metric in (TOTAL, WAIT, TIME, OLDEST))
    total.inc(5)
    size.set(1)

    def work() -> None:
        for _ in range(100):
            total.inc()
            wait.observe(0.5)
            time.observe(0.5)
            size.set(77)
        cell(worker, CALLS, "/child").inc()
        assert (total.value, wait.count, time.count) == (105, 100, 100)
        # What it opens itself is shared with the others as ever.
        cell(host.worker(1), TOTAL).inc(3)

    assert os.waitpid(fork(work), 0)[1] == 0
    total.inc()
    assert host.seen(TOTAL).value == 9
    assert host.seen(OLDEST).value == 1
    assert (host.seen(WAIT).count, host.seen(TIME).count) == (0, 0)
    assert host.seen(CALLS, "/child") is None


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_worker_loses_nothing_it_has_counted_and_readers_see_no_torn_number(host: Host) -> None:
    ready, told = os.pipe()

    def work() -> None:
        worker = host.worker(0)
        wait, time, total = cell(worker, WAIT), cell(worker, TIME), cell(worker, TOTAL)
        cell(worker, OLDEST).set(1)
        os.write(told, b"x")
        rng = random.Random(5)
        while True:
            total.inc()
            wait.observe(0.5)
            time.observe(1.0 + rng.randrange(2) * 2.0)

    pid = fork(work)
    try:
        os.read(ready, 1)
        before = 0
        for _ in range(200):
            seen, native = host.seen(WAIT), host.seen(TIME)
            # All observations are alike, so the sum tells whether it belongs to the counts.
            assert seen.sum == 0.5 * seen.count
            assert native.sum == sum({0: 1.0, 406: 3.0}.get(key, 0) * n for key, n in native.positive.items())
            assert native.count == sum(native.positive.values())
            assert seen.count >= before
            before = seen.count
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(told)
    assert before > 0
    host.block.retire(0)
    total, count = host.seen(TOTAL).value, host.seen(WAIT).count
    assert count >= before
    assert count <= total <= count + 1
    assert host.seen(OLDEST) is None
    again = host.worker(0)
    cell(again, TOTAL).inc()
    cell(again, WAIT).observe(0.5)
    assert (host.seen(TOTAL).value, host.seen(WAIT).count) == (total + 1, count + 1)


def test_a_process_that_is_no_fork_opens_the_block_by_its_descriptor(host: Host) -> None:
    cell(host.worker(0), TOTAL).inc(4)
    other = Block(Layout(METRICS, rows=3, row_bytes=256 * 1024), os.dup(host.block.descriptor))
    collector = Collector(other)
    passed(collector)
    other.close()
    assert [family.cells[()].value for family in collector.families() if family.metric == TOTAL] == [4]


def test_threads_of_a_worker_lose_nothing(host: Host) -> None:
    worker = host.worker(0)
    total, size, wait, time = (cell(worker, metric) for metric in (TOTAL, OLDEST, WAIT, TIME))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work() -> None:
        for step in range(2_000):
            total.inc()
            size.inc(2)
            size.dec()
            wait.observe(0.5)
            time.observe(1 + step / 10)

    threads = [threading.Thread(target=work) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert host.seen(TOTAL).value == host.seen(OLDEST).value == 8_000
    assert (host.seen(WAIT).count, host.seen(WAIT).sum) == (8_000, 4_000.0)
    assert host.seen(TIME).snapshot() == time.snapshot()
    assert time.count == 8_000
