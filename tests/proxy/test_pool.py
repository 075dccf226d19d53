"""Who gets a server connection, and what becomes of one that comes back."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from benchmarks.fuzzing.world import World
from seawall.proxy.naming import ATTACHED, CLOSED, DETACHED, WAITING
from seawall.proxy.pool import BURST
from seawall.proxy.server import BROKEN, OPEN
from seawall.proxy.settings import PoolMode
from seawall.proxy.sharing import TURN_S
from seawall.wire.pgwire import messages
from tests.proxy.model import summary

BEGIN, COMMIT, ROWS = messages.query("begin"), messages.query("commit"), messages.query("rows 1")


@pytest.fixture
def world():
    made = World(servers=2)
    with made.patched():
        yield made


def client(world, data=b""):
    """A new client that says this, and has its answer if there is one."""
    wire = world.client()
    if data:
        wire.hear(data)
        world.pump()
    return wire


def say(world, wire, data):
    wire.hear(data)
    world.pump()


def served(wire):
    return summary(bytes(wire.written))


def test_connections_are_opened_as_they_are_needed_and_up_to_the_size(world):
    assert not world.pool.servers
    clients = [client(world, BEGIN) for _ in range(3)]
    assert len(world.pool.servers) == world.pool.opened_count == 2
    assert [one.protocol.state for one in clients][2] == WAITING
    assert list(world.pool.waiting) == [clients[2].protocol]


def test_who_waits_longest_is_served_first(world):
    holders = [client(world, BEGIN) for _ in range(2)]
    waiting = [client(world, BEGIN) for _ in range(3)]
    say(world, holders[1], COMMIT)
    say(world, holders[0], COMMIT)
    assert [bool(one.written) for one in waiting] == [True, True, False]


def test_nobody_overtakes_those_who_wait(world):
    holders = [client(world, BEGIN) for _ in range(2)]
    waiting = client(world, ROWS)
    world.pool.paused = True
    for holder in holders:
        say(world, holder, COMMIT)
    world.pool.paused = False
    late = client(world, ROWS)
    assert late.protocol.state == WAITING
    assert list(world.pool.waiting) == [waiting.protocol, late.protocol]


def test_the_last_that_came_back_goes_out_first(world):
    holders = [client(world, BEGIN) for _ in range(2)]
    servers = [one.protocol.server for one in holders]
    say(world, holders[0], COMMIT)
    say(world, holders[1], COMMIT)
    assert world.pool.idle == servers
    again = client(world, BEGIN)
    assert again.protocol.server is servers[1]


def test_a_queue_has_a_limit(world):
    for _ in range(2):
        client(world, BEGIN)
    limit = world.worker.settings.pooling.queue_limit
    waiting = [client(world, ROWS) for _ in range(limit)]
    too_many = client(world, ROWS)
    assert too_many.protocol.state == CLOSED
    assert served(too_many) == [("E", "53300")]
    assert world.worker.queue_overflows == 1
    assert len(world.pool.waiting) == limit == len(waiting)


def test_who_leaves_while_waiting_is_not_served(world):
    holders = [client(world, BEGIN) for _ in range(2)]
    gone, stays = client(world, ROWS), client(world, ROWS)
    gone.end()
    say(world, holders[0], COMMIT)
    assert not gone.written
    assert served(stays)[-1] == ("Z", b"I")
    world.pool.leave(gone.protocol)
    assert not world.pool.waiting


def test_so_many_connections_are_under_way_at_once_and_no_more():
    world = World(servers=BURST * 2)
    with world.patched():
        wires = [world.client() for _ in range(4)]
        world.worker.start = lambda work: work.close()
        for wire in wires:
            wire.hear(ROWS)
        assert world.pool.opening == 4, "one for each who waits"
        world.pool.queue_limit = 100
        for _ in range(BURST * 2):
            world.client().hear(ROWS)
        assert world.pool.opening == BURST
        assert world.pool.lacking == 0
        assert world.pool.room == BURST


def test_a_reserve_is_room(world):
    world.pool.reserve = 3
    assert world.pool.room == 5
    client(world, ROWS)
    assert world.pool.room == 4


def test_a_paused_pool_gives_nothing_out_and_wants_nothing(world):
    client(world, ROWS)
    world.pool.paused = True
    wire = client(world, ROWS)
    assert wire.protocol.state == WAITING
    assert world.pool.lacking == 0
    assert world.pool.take(wire.protocol) is None


def test_a_retired_connection_is_closed_when_it_comes_back(world):
    holder, idle = client(world, BEGIN), client(world, BEGIN)
    say(world, idle, COMMIT)
    (spare,) = world.pool.idle
    used = holder.protocol.server
    world.pool.retire()
    assert spare.state == BROKEN
    assert used.state == OPEN
    say(world, holder, COMMIT)
    assert used.state == BROKEN
    assert served(holder)[-1] == ("Z", b"I")
    assert not world.pool.servers
    assert world.worker.backends.connections == {"model": 0}


def test_a_connection_with_a_cancel_under_way_goes_to_nobody(world):
    holder = client(world, BEGIN)
    server = holder.protocol.server
    server.cancels = 1
    say(world, holder, COMMIT)
    assert world.pool.idle == []
    assert server.sink is world.pool.idle_sink
    server.cancels = 0
    world.pool.put(server)
    assert world.pool.idle == [server]


def test_a_connection_that_dies_in_that_state_is_forgotten(world):
    holder = client(world, BEGIN)
    server = holder.protocol.server
    server.cancels = 1
    say(world, holder, COMMIT)
    server.transport.end()
    assert not world.pool.servers
    assert world.worker.backends.connections == {"model": 0}


def test_one_that_is_not_ours_any_more_is_closed_not_kept(world):
    client(world, ROWS)
    (server,) = world.pool.idle
    world.pool.forget(server)
    world.pool.put(server)
    assert world.pool.idle == []
    assert server.state == BROKEN
    assert world.worker.backends.connections == {"model": 0}


@pytest.mark.parametrize(
    "data",
    [
        messages.error_response("57P01", "going down", severity="FATAL"),
        messages.ready_for_query(b"I"),
        messages.command_complete("SELECT 1"),
    ],
)
def test_an_idle_connection_that_speaks_up_is_no_longer_good(world, data):
    client(world, ROWS)
    (server,) = world.pool.idle
    server.data_received(data)
    assert world.pool.idle == []
    assert not world.pool.servers
    assert served(client(world, ROWS))[-1] == ("Z", b"I")


def test_an_idle_connection_may_report_and_notify(world):
    client(world, ROWS)
    (server,) = world.pool.idle
    server.data_received(
        messages.parameter_status("TimeZone", "UTC") + messages.notice_response("00000", "x")
    )
    assert server.parameters.get("TimeZone") == "UTC"
    assert world.pool.idle == [server]
    told = served(client(world, ROWS))
    assert told[0] == ("S", len(b"TimeZone\0UTC\0"))


def test_a_limit_above_the_pools_lets_one_make_place_for_another():
    world = World(servers=2)
    object.__setattr__(world.worker.settings.pooling, "max_user_connections", 1)
    with world.patched():
        client(world, ROWS)
        (server,) = world.pool.idle
        other = world.worker.pool_for("u", "e")
        assert other is not world.pool
        wire = world.client()
        wire.protocol.pool = other
        say(world, wire, ROWS)
        assert served(wire)[-1] == ("Z", b"I")
        assert server.state == BROKEN
        assert (len(world.pool.servers), len(other.servers)) == (0, 1)


def test_pools_that_wait_for_a_place_get_it_when_it_is_free():
    world = World(servers=2)
    object.__setattr__(world.worker.settings.pooling, "max_user_connections", 1)
    with world.patched():
        holder = client(world, BEGIN)
        wires = []
        for name in ("e", "d"):
            wires.append(world.client())
            wires[-1].protocol.pool = world.worker.pool_for("u", name)
            say(world, wires[-1], ROWS)
        other = world.worker.pool_for("u", "e")
        assert wires[0].protocol.state == WAITING
        assert not other.servers
        say(world, holder, COMMIT)
        assert [served(wire)[-1:] for wire in wires] == [[("Z", b"I")]] * 2
        assert len(world.pool.servers) + len(other.servers) == 1
        assert not world.worker.signals.contended


def test_a_pool_that_is_never_idle_lets_others_have_their_turn():
    world = World(servers=2)
    object.__setattr__(world.worker.settings.pooling, "max_user_connections", 1)
    world.worker.clock = lambda: 1_000.0
    with world.patched():
        holder = client(world, BEGIN)
        (server,) = world.pool.servers
        quiet = world.client()
        quiet.protocol.pool = world.worker.pool_for("u", "e")
        say(world, quiet, ROWS)
        loud = [client(world, BEGIN) for _ in range(3)]
        server.born_at = world.worker.clock() - TURN_S / 2
        say(world, holder, COMMIT)
        assert (quiet.protocol.state, loud[0].protocol.state) == (WAITING, ATTACHED)  # it is used for a while
        server.born_at = world.worker.clock() - TURN_S
        world.worker.sharing._look_at = 0.0
        say(world, loud[0], COMMIT)
        assert served(quiet)[-1:] == [("Z", b"I")]
        assert loud[1].protocol.state == ATTACHED  # the place came back when the quiet one was done
        assert server.state == BROKEN


def test_a_server_is_not_given_up_for_a_pool_that_waits_for_something_else():
    world = World(servers=2)
    pooling = world.worker.settings.pooling
    object.__setattr__(pooling, "max_user_connections", 2)
    object.__setattr__(pooling, "max_db_connections", 1)
    with world.patched():
        pools = {name: world.worker.pool_for("u", name) for name in ("d", "e")}
        wires = []
        for name in ("d", "e", "e", "d"):
            wires.append(world.client())
            wires[-1].protocol.pool = pools[name]
            say(world, wires[-1], BEGIN)
        (server,) = pools["d"].servers
        server.born_at = world.worker.clock() - TURN_S
        say(world, wires[0], COMMIT)  # a second of "e" is one too many in that database
        assert (wires[3].protocol.state, wires[2].protocol.state) == (ATTACHED, WAITING)
        assert server.state == OPEN


def test_backends_that_are_full_are_shared_in_turn():
    world = World(servers=2)
    world.worker.backends._limits = {one.name: 1 for one in world.worker.backends.all}
    with world.patched():
        holder = client(world, BEGIN)
        quiet = world.client()
        quiet.protocol.pool = world.worker.pool_for("u", "e")
        say(world, quiet, ROWS)
        loud = client(world, BEGIN)
        (server,) = world.pool.servers
        server.born_at = world.worker.clock() - TURN_S
        say(world, holder, COMMIT)
        assert served(quiet)[-1:] == [("Z", b"I")]
        assert loud.protocol.state == ATTACHED


@pytest.mark.parametrize("mode", list(PoolMode))
def test_when_a_connection_comes_back_depends_on_the_mode(mode):
    world = World(mode=mode)
    with world.patched():
        wire = client(world, ROWS)
        assert bool(world.pool.idle) is (mode is not PoolMode.SESSION)
        say(world, wire, BEGIN)
        assert (wire.protocol.state == CLOSED) is (mode is PoolMode.STATEMENT)
        wire.end()
        world.pump()
        assert world.complaints() == []


class PoolMachine(RuleBasedStateMachine):
    """Clients come, begin, commit, leave; servers die and are retired: the books always balance."""

    wires = Bundle("wires")

    def __init__(self):
        super().__init__()
        self.world = World(servers=2)
        self.patched = self.world.patched()
        self.patched.__enter__()
        self.all = []

    def teardown(self):
        for wire in self.all:
            wire.end()
        self.world.pool.paused = False
        self.world.pump()
        assert self.world.complaints() == []
        assert served(client(self.world, ROWS))[-1] == ("Z", b"I")
        self.patched.__exit__(None, None, None)

    @rule(target=wires)
    def come(self):
        self.all.append(self.world.client())
        return self.all[-1]

    @rule(wire=wires, data=st.sampled_from([BEGIN, COMMIT, ROWS, ROWS[:9]]), pumped=st.booleans())
    def say(self, wire, data, pumped):
        wire.hear(data)
        if pumped:
            self.world.pump()

    @rule(wire=consumes(wires))
    def leave(self, wire):
        wire.end()

    @rule()
    def pump(self):
        self.world.pump()

    @rule(number=st.integers(0, 1))
    def die(self, number):
        if number < len(self.world.wires):
            self.world.wires[number].end()

    @rule()
    def retire(self):
        self.world.pool.retire()

    @invariant()
    def balanced(self):
        pool = self.world.pool
        assert len(pool.servers) + pool.opening <= pool.size
        assert self.world.worker.backends.connections["model"] == len(pool.servers) + pool.opening
        assert len(set(pool.idle)) == len(pool.idle)
        assert all(server in pool.servers and server.free and server.state == OPEN for server in pool.idle)
        assert all(one.state == WAITING and one.server is None for one in pool.waiting)
        assert len(set(pool.waiting)) == len(pool.waiting)
        used = [one.server for one in self.world.worker.clients.values() if one.server is not None]
        assert len(set(used)) == len(used)
        assert not set(used) & set(pool.idle)
        assert all(one.server is None for one in self.world.worker.clients.values() if one.state == DETACHED)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=40, stateful_step_count=30)


def test_transactions_are_counted_by_how_long_they_took(world):
    for took_s in (0.0003, 0.0005, 0.02, 60.0):
        world.pool.lasted.append(took_s)
    world.pool.add_up()
    world.pool.add_up()
    assert (world.pool.transactions, world.pool.busy_s) == (4, pytest.approx(60.0208))
    assert [count for count in world.pool.took if count] == [2, 1, 1]
    assert (world.pool.took[0], world.pool.took[-1]) == (2, 1)
