"""Every timeout, on a clock that only the test moves."""

import pytest

from benchmarks.fuzzing.world import World
from seawall.proxy.naming import CLOSED, DETACHED, WAITING
from seawall.proxy.server import BROKEN, OPEN
from seawall.proxy.shared import Block
from seawall.proxy.sweep import CANCEL_GRACE_S, MICRO, SLOW_EVERY, Sweeper
from seawall.wire.pgwire import messages
from tests.proxy.model import summary

BEGIN, COMMIT, ROWS = messages.query("begin"), messages.query("commit"), messages.query("rows 1")
START_S = 1_000.0


class Clocked:
    """A world whose clock and settings are the test's."""

    def __init__(self, monkeypatch, servers=1):
        self.world = World(servers=servers)
        self.worker = self.world.worker
        self.pool = self.world.pool
        self.now = START_S
        self.worker.clock = lambda: self.now
        self.sweeper = Sweeper(self.worker)
        for module in ("client", "speech"):
            monkeypatch.setattr(f"seawall.proxy.{module}.CLOCK", lambda: self.now)

    def told(self, **changes):
        """Change settings by name, wherever they are."""
        for part in (self.worker.settings.pooling, self.worker.settings.timeouts):
            for name in list(changes):
                if hasattr(part, name):
                    object.__setattr__(part, name, changes.pop(name))
        assert not changes

    def client(self, *said):
        wire = self.world.client()
        for data in said:
            wire.hear(data)
            self.world.pump()
        for server in self.pool.servers:
            if server.born_at == 1.0:  # what the world gives new ones
                server.born_at = self.now
        return wire

    def after(self, seconds):
        """Let time pass, then sweep."""
        self.now += seconds
        self.sweeper.sweep(self.now)
        self.world.pump()


@pytest.fixture
def clocked(monkeypatch):
    made = Clocked(monkeypatch)
    with made.world.patched():
        yield made


def heard(wire):
    return summary(bytes(wire.written))


def last_error(wire):
    letter, sqlstate = heard(wire)[-1]
    return sqlstate if letter == "E" else None


@pytest.mark.interpreted
@pytest.mark.parametrize("limit_s", [2.0, 0.0])
def test_a_transaction_that_idles_is_ended(clocked, limit_s):
    clocked.told(idle_in_transaction_s=limit_s)
    wire = clocked.client(BEGIN)
    clocked.after(1.9)
    assert wire.protocol.state != CLOSED
    clocked.after(0.2)
    assert (wire.protocol.state == CLOSED) is bool(limit_s)
    if limit_s:
        assert last_error(wire) == "25P03"
        assert [server.free for server in clocked.pool.idle] == [True]


@pytest.mark.interpreted
def test_only_idling_counts_against_a_transaction_that_idles(clocked):
    clocked.told(idle_in_transaction_s=2.0)
    wire = clocked.client(BEGIN)
    for _ in range(5):
        clocked.after(1.5)
        wire.hear(ROWS)
        clocked.world.pump()
    assert wire.protocol.state != CLOSED


@pytest.mark.interpreted
def test_a_transaction_that_lasts_too_long_is_ended_however_busy(clocked):
    clocked.told(transaction_s=5.0)
    wire = clocked.client(BEGIN)
    for _ in range(3):
        clocked.after(1.5)
        wire.hear(ROWS)
        clocked.world.pump()
    assert wire.protocol.state != CLOSED
    clocked.after(1.0)
    assert last_error(wire) == "25P04"


@pytest.mark.interpreted
def test_a_query_that_takes_too_long_is_cancelled_once_and_cut_when_that_does_not_help(clocked):
    clocked.told(query_s=3.0)
    wire = clocked.client(ROWS)
    (server,) = clocked.pool.idle
    server.transport.pump = bool  # the server does not answer
    wire.hear(ROWS)
    clocked.after(2.9)
    assert not server.overtime
    clocked.after(0.2)
    assert server.overtime
    cancels = []
    clocked.worker.cancel_server = cancels.append
    clocked.after(1.0)
    assert not cancels
    assert wire.protocol.state != CLOSED
    clocked.after(CANCEL_GRACE_S)
    assert last_error(wire) == "57014"
    assert server.state == BROKEN


@pytest.mark.interpreted
def test_a_query_within_its_time_is_left_alone(clocked):
    clocked.told(query_s=3.0)
    wire = clocked.client(ROWS)
    (server,) = clocked.pool.idle
    clocked.after(100.0)
    assert not server.overtime
    assert wire.protocol.state == DETACHED


@pytest.mark.interpreted
def test_a_client_that_says_nothing_is_sent_away_between_transactions_only(clocked):
    clocked.told(client_idle_s=10.0)
    idle, busy = clocked.client(ROWS), clocked.client(BEGIN)
    for _ in range(SLOW_EVERY):
        clocked.after(1.1)
    assert last_error(idle) == "57P05"
    assert busy.protocol.state != CLOSED


@pytest.mark.interpreted
def test_who_waits_too_long_is_told_why(clocked):
    clocked.told(queue_timeout_s=5.0)
    clocked.client(BEGIN)
    early = clocked.client(ROWS)
    clocked.now += 3.0
    late = clocked.client(ROWS)
    clocked.after(2.5)
    assert last_error(early) == "53300"
    assert late.protocol.state == WAITING
    fields = messages.parse_fields(bytes(early.written)[5:])
    assert fields["D"] == "waited 5.5 s; 1 of 1 connections are in use"


@pytest.mark.interpreted
def test_who_waits_for_a_server_that_cannot_be_reached_is_told_so(clocked):
    clocked.told(unavailable_s=4.0)
    clocked.worker.start = lambda work: work.close()  # nothing is ever opened
    clocked.pool.last_error = "model: refused"
    wire = clocked.client(ROWS)
    clocked.after(3.9)
    assert wire.protocol.state == WAITING
    clocked.after(0.2)
    assert last_error(wire) == "57P03"
    assert messages.parse_fields(bytes(wire.written)[5:])["D"] == "model: refused"


@pytest.mark.interpreted
def test_who_waits_behind_others_is_not_told_that_no_server_can_be_reached(clocked):
    clocked.told(unavailable_s=4.0)
    clocked.client(BEGIN)
    clocked.pool.last_error = "model: refused"
    wire = clocked.client(ROWS)
    clocked.after(60.0)
    assert wire.protocol.state == WAITING


@pytest.mark.interpreted
def test_the_reserve_is_for_those_who_wait_long(clocked):
    clocked.told(reserve_size=1, reserve_after_s=2.0)
    clocked.client(BEGIN)
    wire = clocked.client(ROWS)
    clocked.after(1.9)
    assert wire.protocol.state == WAITING
    clocked.after(0.2)
    assert heard(wire)[-1] == ("Z", b"I")
    assert len(clocked.pool.servers) == 2
    clocked.after(0.1)
    assert clocked.pool.reserve == 0


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("setting", "seconds"), [("server_lifetime_s", 50.0), ("server_idle_timeout_s", 50.0)]
)
def test_an_idle_connection_is_closed_when_it_is_old_or_unused(clocked, setting, seconds):
    clocked.told(server_lifetime_s=0.0, server_idle_timeout_s=0.0)
    clocked.told(**{setting: seconds})
    clocked.worker.signals.now = clocked.now
    clocked.client(ROWS)
    (server,) = clocked.pool.idle
    clocked.after(49.0)
    assert server.state != BROKEN
    clocked.after(2.0)
    assert server.state == BROKEN
    assert not clocked.pool.servers


@pytest.mark.interpreted
def test_an_unused_connection_stays_when_it_is_one_of_the_least(clocked):
    clocked.told(server_lifetime_s=0.0, server_idle_timeout_s=5.0, min_size=1)
    clocked.client(ROWS)
    (server,) = clocked.pool.idle
    clocked.after(100.0)
    assert clocked.pool.idle == [server]


@pytest.mark.interpreted
def test_an_old_connection_that_is_in_use_is_left_alone(clocked):
    clocked.told(server_lifetime_s=5.0)
    wire = clocked.client(BEGIN)
    clocked.after(100.0)
    assert wire.protocol.server.state != BROKEN


@pytest.mark.interpreted
def test_the_least_is_opened_ahead_and_not_while_draining(clocked):
    clocked.told(min_size=1)
    clocked.worker.signals.draining = True
    clocked.after(0.1)
    assert not clocked.pool.servers
    clocked.worker.signals.draining = False
    clocked.after(0.1)
    assert len(clocked.pool.idle) == 1
    clocked.after(0.1)
    assert clocked.pool.opened_count == 1


@pytest.mark.interpreted
def test_a_retired_connection_in_the_pool_is_closed(clocked):
    clocked.client(ROWS)
    (server,) = clocked.pool.idle
    server.born_at = -1.0
    clocked.after(0.1)
    assert server.state == BROKEN


@pytest.mark.interpreted
def test_what_is_seen_is_counted(clocked):
    block = Block()
    clocked.worker.row = block.row(0)
    clocked.client(ROWS, ROWS)
    clocked.client(BEGIN)
    clocked.client(ROWS)
    clocked.after(1.0)
    seen = block.row(0).read()
    expected = {
        "clients": 3,
        "clients_waiting": 1,
        "servers": 1,
        "servers_idle": 0,
        "servers_total": 1,
        "transactions": 2,
        "queries": 3,
        "beat": int(clocked.now * MICRO),
    }
    assert {name: seen[name] for name in expected} == expected


@pytest.mark.interpreted
@pytest.mark.parametrize("limit_s", [2.0, 0.0])
def test_a_server_that_acknowledges_nothing_is_cut(clocked, monkeypatch, limit_s):
    clocked.told(user_timeout_s=limit_s)
    silent = [0.0]
    monkeypatch.setattr("seawall.proxy.sweep.silence_s", lambda transport: silent[0])
    wire = clocked.client(BEGIN)
    (server,) = clocked.pool.servers
    wire.hear(ROWS)
    for silent[0], wait_s in ((1.5, 1.5), (0.0, 0.1), (1.7, 1.1), (2.3, 0.6), (2.9, 0.6)):
        assert server.state == OPEN
        clocked.after(wait_s)
    assert (server.state == BROKEN) is bool(limit_s)
    assert not clocked.sweeper._silent
