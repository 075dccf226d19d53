"""Sequences that are set back: remembered until they are set forward, by whomever."""

import asyncio

from seawall.kernel.errors import DatabaseUnavailable
from seawall.proxy.failover.pins import PINS_MAX, RESTORE_S, UNFENCED_AFTER_S, Pin, Pins
from seawall.proxy.replay.pinning import fencing_sql
from seawall.testing import VirtualClock, run


class Server:
    def __init__(self):
        self.ran = []
        self.refusals = 0
        self.never = "-"

    async def run(self, name, sql, timeout_s, database):
        if self.never in sql:
            raise DatabaseUnavailable(name, "permission denied")
        if self.refusals:
            self.refusals -= 1
            raise DatabaseUnavailable(name, "not now")
        self.ran.append((name, database, sql))


def pinned(*pins):
    server, lines = Server(), []
    made = Pins(server.run, lines.append)
    for database, sequence, restore in pins:
        assert made.add(database, sequence, Pin(restore, "one", 77))
    return made, server, lines


def test_what_was_set_forward_by_its_worker_is_left_alone():
    pins, server, _ = pinned(("d", 1, "SELECT 1"), ("d", 2, "SELECT 2"), ("e", 1, "SELECT 3"))
    pins.remove("d", 1)
    pins.remove("d", 99)
    assert len(pins) == 2
    asyncio.run(pins.restore("two"))
    assert server.ran == [("two", "d", "SELECT 2"), ("two", "e", "SELECT 3")]
    assert len(pins) == 0
    assert repr(pins) == "Pins(0 set back, 2 restored here, 0 abandoned)"


def test_the_first_way_to_set_it_forward_counts():
    pins, server, _ = pinned(("d", 1, "SELECT 1"), ("d", 1, "SELECT 2"))
    asyncio.run(pins.restore("two"))
    assert server.ran == [("two", "d", "SELECT 1")]


def test_a_server_that_refuses_is_asked_again():
    pins, server, lines = pinned(("d", 1, "SELECT 1"))
    server.refusals = 5
    run(pins.restore("two"), VirtualClock())
    assert len(server.ran) == 1
    assert lines == []


def test_what_cannot_be_set_forward_is_told_and_abandoned():
    pins, server, lines = pinned(("d", 1, "SELECT 1"))
    server.refusals = 10_000
    clock = VirtualClock()
    run(pins.restore("two"), clock)
    assert RESTORE_S <= clock.monotonic() < RESTORE_S + 1
    assert len(pins) == 0
    assert pins.abandoned == 1
    assert lines == ["sequence 1 of d could not be set forward: two: not now: SELECT 1"]


def test_whoever_set_it_back_is_ended_first_where_that_can_be():
    pins, server, _ = pinned(("d", 1, "SELECT 1"))
    asyncio.run(pins.restore("one"))
    ((name, database, sql),) = server.ran
    assert (name, database) == ("one", "d")
    assert sql == fencing_sql(77).decode() + "SELECT 1"

    pins, server, lines = pinned(("d", 1, "SELECT 1"))
    server.never = "pg_terminate_backend"
    clock = VirtualClock()
    run(pins.restore("one"), clock)
    assert UNFENCED_AFTER_S <= clock.monotonic() < RESTORE_S
    assert server.ran == [("one", "d", "SELECT 1")]
    assert (pins.restored, lines) == (1, [])


def test_one_that_its_worker_sets_forward_meanwhile_is_not_tried_again():
    pins, server, _ = pinned(("d", 1, "SELECT 1"))
    server.refusals = 10_000

    async def main():
        restoring = asyncio.create_task(pins.restore("two"))
        await asyncio.sleep(0.5)
        pins.remove("d", 1)
        await restoring
        assert server.refusals > 9_990

    run(main(), VirtualClock())


def test_there_is_a_limit():
    pins, _, _ = pinned(*(("d", number, "") for number in range(PINS_MAX)))
    assert not pins.add("d", PINS_MAX, Pin("", "one", 77))
    assert pins.add("d", 5, Pin("", "one", 77))
    assert len(pins) == PINS_MAX
