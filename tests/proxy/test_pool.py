"""Who gets a server, who waits, who is told to go; and limits that pools share."""

import pytest

from seawall.proxy.server import OPEN
from seawall.proxy.settings import Backend, Pooling, ProxySettings
from seawall.proxy.shared import Block
from seawall.proxy.worker import Worker
from seawall.wire.pgwire import messages
from tests.proxy.test_client_relay import World

BEGIN, COMMIT, ROWS = messages.query("begin"), messages.query("commit"), messages.query("rows 1")


@pytest.fixture
def world():
    return World(servers=1, clients=4, chunk=1 << 16)


def test_servers_are_handed_on_in_the_order_of_asking(world):
    world.say(0, BEGIN)
    for number in (2, 1, 3):
        world.say(number, BEGIN)
    served = []
    for _ in range(4):
        holder = next(number for number in range(4) if world.clients[number].server is not None)
        served.append(holder)
        world.say(holder, COMMIT)
    assert served == [0, 2, 1, 3]


def test_the_last_one_back_is_the_first_one_out():
    world = World(servers=3, clients=1)
    first = world.pool.idle[-1]
    world.say(0, ROWS)
    assert world.pool.idle[-1] is first


def test_a_queue_that_is_full_turns_clients_away():
    world = World(servers=1, clients=3, pooling={"queue_limit": 1})
    world.say(0, BEGIN)
    world.say(1, ROWS)
    world.say(2, ROWS)
    assert world.heard(2) == [("E", "53300")]
    assert world.worker.queue_overflows == 1


def test_a_server_with_a_cancel_under_way_goes_to_nobody(world):
    server = world.ends[0].server
    world.say(0, BEGIN)
    server.cancels = 1
    world.say(0, COMMIT)
    assert not world.pool.idle
    world.say(1, ROWS)
    assert world.heard(1) == []
    server.cancels = 0
    world.pool.put(server)
    world.pump()
    assert world.heard(1)[-1] == ("Z", b"I")


def test_retired_servers_are_closed_when_they_come_back(world):
    world.say(0, BEGIN)
    world.pool.retire()
    assert world.ends[0].server.state == OPEN
    world.say(0, COMMIT)
    assert world.ends[0].closed
    assert not world.pool.servers


def test_an_idle_server_that_speaks_of_an_end_is_not_kept(world):
    world.ends[0].server.data_received(messages.error_response("57P01", "going down", severity="FATAL"))
    assert not world.pool.idle
    assert not world.pool.servers


def test_an_idle_server_may_report_a_setting(world):
    server = world.ends[0].server
    server.data_received(messages.parameter_status("in_hot_standby", "on"))
    assert server.parameters.get("in_hot_standby") == "on"
    assert world.pool.idle == [server]


class Asked:
    """A worker that only counts which pools want connections."""

    def __init__(self, **pooling):
        told = ProxySettings(backends=(Backend(name="b", host="h"),), pooling=Pooling(**pooling))
        self.worker = Worker(told, 0, 1, Block().row(0), b"key")
        self.opened = []
        self.worker.start = self.take

    def take(self, work):
        self.opened.append(work.cr_frame.f_locals["pool"])
        work.close()


class Waiting:
    """Somebody in a queue."""

    waiting_since = 0.0

    def fail(self, *said):
        raise AssertionError(said)


def test_no_more_connections_are_opened_than_are_wanted_or_allowed():
    asked = Asked(size=3)
    pool = asked.worker.pool_for("u", "d")
    for _ in range(2):
        pool.wait(Waiting())
    assert asked.opened == [pool, pool]
    for _ in range(5):
        pool.wait(Waiting())
    assert pool.opening == 3
    assert pool.lacking == 0


def test_a_limit_over_pools_is_shared_in_turn():
    asked = Asked(size=3, max_db_connections=1)
    one, two, three = (asked.worker.pool_for(user, "d") for user in ("a", "b", "c"))
    for pool in (one, two, three):
        pool.wait(Waiting())
    assert asked.opened == [one]
    assert asked.worker.contended
    for _ in range(2):
        asked.opened[-1].opening -= 1
        asked.opened[-1].waiting.clear()
        asked.worker.share(asked.opened[-1])
    assert asked.opened == [one, two, three]


def test_a_users_limit_holds_over_databases():
    asked = Asked(size=3, max_user_connections=1)
    for database in ("d", "e"):
        asked.worker.pool_for("u", database).wait(Waiting())
    asked.worker.pool_for("v", "d").wait(Waiting())
    assert [(pool.user, pool.database) for pool in asked.opened] == [("u", "d"), ("v", "d")]
