"""What a client may say, how long it may be, and what it means where servers are shared."""

import pytest

from seawall.proxy.naming import CLOSED
from seawall.proxy.settings import PoolMode
from seawall.proxy.speech import CARRY_LIMIT, PARSE_LIMIT
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import HEADER
from tests.proxy.test_client_relay import World


@pytest.fixture
def world():
    return World(servers=1, clients=2, chunk=1 << 16)


def refused(world):
    found = dict(world.heard(0))
    assert world.clients[0].state == CLOSED
    assert world.clients[0].transport.closed
    return found["E"]


@pytest.mark.parametrize(
    ("data", "sqlstate"),
    [
        (b"?\0\0\0\4", "08P01"),
        (b"Q\0\0\0\3", "08P01"),
        (b"Q\x80\0\0\0", "08P01"),
        (b"p\0\0\0\4", "08P01"),
        (b"P\0\0\0\x06ab", "08P01"),
        (b"B\0\0\0\x06ab", "08P01"),
        (b"DS\0\0\4"[:1] + b"\0\0\0\x06Sa", "08P01"),
        (HEADER.pack(ord("P"), PARSE_LIMIT + 1) + b"name\0", "54000"),
    ],
)
def test_what_is_no_message_ends_the_connection(world, data, sqlstate):
    world.say(0, data)
    assert refused(world) == sqlstate
    world.say(1, messages.query("rows 1"))
    assert world.heard(1)[-1] == ("Z", b"I")


def test_names_are_the_clients_own(world):
    for number in (0, 1):
        world.say(number, messages.parse("s", f"rows {number + 1}") + messages.sync())
    for number in (0, 1):
        world.say(number, messages.bind("", "s", []) + messages.execute() + messages.sync())
        assert [letter for letter, _ in world.heard(number)].count("D") == number + 1


def test_the_same_text_is_prepared_once(world):
    for number in (0, 1):
        world.say(number, messages.parse(f"s{number}", "rows 1") + messages.sync())
        assert world.heard(number) == [("1", 0), ("Z", b"I")]
    assert [letter for letter, _ in world.ends[0].model.seen].count("P") == 1


def test_too_many_statements_are_refused(world):
    world.pool.statements_per_client = 2
    for number in range(3):
        world.say(0, messages.parse(f"s{number}", f"rows {number}") + messages.sync())
    assert refused(world) == "53400"


@pytest.mark.parametrize("size", [10, CARRY_LIMIT + 100])
def test_long_messages_pass_in_any_chunks(world, size):
    text = "rows 1" + " " * size
    world.ends[0].model.run = lambda sql, *, simple: (messages.command_complete(str(len(sql))), "")
    world.say(0, messages.query(text), 1000)
    world.say(
        0, messages.parse("", text) + messages.bind("", "", []) + messages.execute() + messages.sync(), 1000
    )
    world.say(
        0, messages.parse("n", text) + messages.bind("", "n", []) + messages.execute() + messages.sync(), 1000
    )
    tags = [body for letter, body in world.heard(0) if letter == "C"]
    assert tags == [f"{len(text)}".encode() + b"\0"] * 3


def test_a_client_that_leaves_in_the_middle_of_a_message_takes_its_server_along(world):
    data = messages.query("x" * (CARRY_LIMIT + 100))
    world.clients[0].data_received(data[:-50])
    world.clients[0].connection_lost(None)
    assert world.ends[0].closed
    assert not world.pool.servers


def test_in_session_mode_names_go_through_as_they_are():
    world = World(servers=1, clients=1, mode=PoolMode.SESSION)
    world.say(0, messages.parse("s", "rows 1") + messages.sync())
    assert world.ends[0].model.statements == {b"s": "rows 1"}
    assert not world.pool.idle


def test_what_needs_no_server_gets_none(world):
    world.say(0, messages.flush() + b"d\0\0\0\5x" + b"c\0\0\0\4")
    assert world.pool.idle
    world.say(0, b"d\0\0\0\x64" + b"x" * 50)
    world.say(0, b"x" * 46 + messages.query("rows 1"))
    assert world.heard(0)[-1] == ("Z", b"I")
    world.say(0, messages.terminate())
    assert world.clients[0].transport.closed


def test_a_long_message_that_has_to_be_whole_is_put_together_once(world):
    text = "nothing" + " " * (4 * CARRY_LIMIT)
    data = messages.parse("s", text)
    client = world.clients[0]
    world.say(0, data[:200])
    kept = client._carry
    world.say(0, data[200:-1], 100)
    assert client._carry is kept
    assert client.carried() == data[:-1]
    world.say(0, data[-1:] + messages.sync())
    assert world.heard(0) == [("1", 0), ("Z", b"I")]
    assert world.ends[0].model.seen[0][1].partition(b"\0")[2] == text.encode() + b"\0\0\0"


def test_the_rest_of_a_message_and_the_next_come_in_one_chunk(world):
    data = messages.parse("s", "rows 1" + " " * 500) + messages.sync() + messages.query("rows 1")
    for cut in (150, 400, 520):
        other = World(servers=1, clients=1)
        other.say(0, data[:cut])
        other.say(0, data[cut:])
        assert [letter for letter, _ in other.heard(0)] == ["1", "Z", "T", "D", "C", "Z"]
