"""Which queries are remembered, with what, and that there is room for so many and no more."""

from math import inf

import pytest

from seawall.proxy import client as client_module
from seawall.proxy import speech
from seawall.proxy.settings import PoolMode
from seawall.proxy.sweep import INTERVAL_S, Sweeper
from seawall.proxy.watching import FACTS_MAX, FACTS_RESERVED, Watch
from seawall.wire.pgwire import messages
from tests.proxy.test_client_relay import World

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COMMENT = f" /*traceparent='{PARENT}'*/"
TRACED = messages.query("rows 1" + COMMENT)
PLAIN = messages.query("rows 1")


class Time:
    """A clock that is set."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def time(monkeypatch):
    clock = Time()
    for module in (client_module, speech):
        monkeypatch.setattr(module, "CLOCK", clock)
    return clock


@pytest.fixture
def world(time):
    made = World(servers=1, clients=2, chunk=1 << 16)
    made.worker.watch = Watch(slow_s=1.0, limit=FACTS_MAX)
    made.worker.clock = time
    for client in made.clients:
        client.user, client.seen_at = "anna", time.now
    return made


def batch(sql, *, name="", parse=True):
    parsed = messages.parse(name, sql) if parse else b""
    rest = messages.describe_portal("") + messages.execute() + messages.sync()
    return parsed + messages.bind("", name, []) + rest


def facts(world):
    return world.worker.watch.take()


def test_a_query_whose_comment_has_a_trace_is_remembered_and_no_other(world):
    world.say(0, PLAIN)
    world.say(0, TRACED)
    world.say(0, messages.query("rows 1 /* nothing of the kind, though it is long enough to be one */"))
    (fact,) = facts(world)
    assert fact.traced
    assert fact.said == TRACED
    assert (fact.user, fact.database, fact.backend, fact.error) == ("anna", "d", "model", b"")
    assert facts(world) == []


@pytest.mark.parametrize("end", ["", ";"])
@pytest.mark.parametrize("mode", [PoolMode.TRANSACTION, PoolMode.SESSION])
def test_simple_and_extended_queries_are_recognized_in_all_modes(time, mode, end):
    world = World(servers=1, clients=1, chunk=1 << 16, mode=mode)
    world.worker.watch = Watch(limit=FACTS_MAX)
    for data in (
        messages.query("rows 1" + COMMENT + end),
        batch("rows 1" + COMMENT + end),
        batch("rows 1" + COMMENT + end),  # the same text again
        batch("rows 2"),
        messages.parse("", "rows 1" + COMMENT + end) + messages.flush() + batch("", parse=False),
    ):
        world.say(0, data)
    assert [one.traced for one in facts(world)] == [True] * 4


def test_a_prepared_statement_is_remembered_with_its_text_at_every_execution(world):
    world.say(0, messages.parse("s", "rows 1" + COMMENT) + messages.sync())
    facts(world)
    for _ in range(2):
        world.say(0, batch("", name="s", parse=False))
    found = facts(world)
    assert [COMMENT.encode() in one.text for one in found] == [True, True]
    assert [COMMENT.encode() in one.said for one in found] == [False, False]


def test_a_chunk_in_pieces_is_recognized(world):
    world.say(0, TRACED, chunk=9)
    (fact,) = facts(world)
    assert fact.traced


def test_an_error_is_remembered_with_what_the_server_said(world):
    world.say(0, messages.query("bad hunter2"))
    (fact,) = facts(world)
    assert messages.parse_fields(fact.error)["C"] == "42601"
    assert not fact.traced
    world.say(0, PLAIN)
    assert facts(world) == []


@pytest.mark.interpreted  # the clock that is set
def test_times_are_those_of_the_query(world, time):
    world.say(0, messages.query("begin"))
    time.now += 2.0
    world.clients[0].data_received(TRACED)
    time.now += 0.5
    world.pump()
    (fact,) = facts(world)
    assert (fact.idle_s, fact.took_s, fact.waited_s, fact.ended_at) == (2.0, 0.5, 0.0, 102.5)


@pytest.mark.interpreted  # the clock that is set
def test_waiting_for_a_server_is_told_once(world, time):
    world.say(0, messages.query("begin"))
    world.clients[1].data_received(messages.query("begin" + COMMENT))
    time.now += 3.0
    world.say(0, messages.query("commit"))
    world.say(1, TRACED)
    assert [(one.waited_s, one.took_s) for one in facts(world)] == [(3.0, 0.0), (0.0, 0.0)]


@pytest.mark.interpreted  # the clock that is set
def test_a_query_behind_a_wait_is_timed_from_its_own_beginning(world, time):
    world.say(0, messages.query("begin"))
    world.clients[1].data_received(PLAIN)
    time.now += 30.0
    server = world.ends[0].server
    world.clients[0].data_received(messages.query("commit"))
    world.ends[0].pump()
    assert server.since == time.now
    assert [letter for letter, _ in world.heard(1)] == ["T", "D", "C", "Z"]


@pytest.mark.interpreted  # the clock that is set
def test_a_slow_query_is_found_by_the_sweeper_and_a_quick_one_is_not(world, time):
    sweeper = Sweeper(world.worker)
    for took_s in (0.5, 0.95, 1.5):
        world.clients[0].data_received(PLAIN)
        time.now += took_s
        sweeper.sweep(time.now)
        world.pump()
    assert [one.took_s for one in facts(world)] == [1.5]
    world.clients[0].data_received(PLAIN)
    time.now += 1.0 - INTERVAL_S / 2
    sweeper.sweep(time.now)
    time.now += INTERVAL_S
    world.pump()
    (fact,) = facts(world)
    assert fact.took_s == pytest.approx(1.0 + INTERVAL_S / 2)


def test_there_is_room_for_so_many_and_what_comes_on_top_is_counted(world):
    for _ in range(FACTS_MAX * 2):
        world.say(0, TRACED)
    watch = world.worker.watch
    assert len(watch.facts) == FACTS_MAX - FACTS_RESERVED
    assert watch.offered == watch.accepted + watch.dropped == FACTS_MAX * 2
    for _ in range(FACTS_MAX):
        world.say(0, messages.query("bad"))
    assert len(watch.facts) == FACTS_MAX
    assert watch.offered == watch.accepted + watch.dropped == FACTS_MAX * 3
    assert sum(bool(one.error) for one in facts(world)) == FACTS_RESERVED


@pytest.mark.parametrize("how", ["never", "closed"])
def test_nothing_is_remembered_where_nobody_looks_on(world, how):
    if how == "never":
        world.worker.watch = Watch()
    else:
        world.worker.watch.close()
    world.say(0, TRACED)
    world.say(0, messages.query("bad"))
    watch = world.worker.watch
    assert (watch.facts, watch.offered, watch.slow_s if how == "never" else inf) == ([], 0, inf)


@pytest.mark.interpreted  # the clock that is set
def test_transactions_are_counted_by_how_long_they_took(world, time):
    for took_s in (0.0003, 0.0004, 0.02, 60.0):
        world.say(0, messages.query("begin"))
        time.now += took_s
        world.say(0, messages.query("commit"))
    world.pool.add_up()
    world.pool.add_up()
    assert world.pool.transactions == 4
    assert world.pool.busy_s == pytest.approx(60.0207)
    assert [count for count in world.pool.took if count] == [2, 1, 1]
    assert (world.pool.took[0], world.pool.took[-1]) == (2, 1)
