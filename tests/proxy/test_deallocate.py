"""DEALLOCATE of one name in the extended protocol: a client's name is freed, and nobody else's statement."""

import pytest

from seawall.proxy.server import BROKEN
from seawall.proxy.statements import deallocated
from seawall.wire.pgwire import messages
from tests.proxy.test_client_relay import World

SYNC = messages.sync()
FREE = messages.parse("", "deallocate a") + messages.bind("", "", []) + messages.execute()


def called(name):
    return messages.bind("", name, []) + messages.execute()


def letters(world, number):
    return "".join(letter for letter, _ in world.heard(number))


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        (b"DEALLOCATE a", b"a"),
        (b" deallocate  PREPARE  Some_Name1 ; ", b"some_name1"),
        (b'deallocate "Some Name"', b"Some Name"),
        (b"deallocate prepare", b"prepare"),
        (b"deallocate all", b""),
        (b"DEALLOCATE PREPARE ALL;", b""),
        (b"deallocate a; select 1", b""),
        (b"deallocate 1", b""),
        (b"discard all", b""),
        (b"", b""),
    ],
)
def test_the_name_is_what_the_server_would_read(sql, name):
    assert deallocated(sql) == name


@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_name_that_is_freed_is_gone_for_its_client_alone(chunk):
    world = World(clients=2, servers=1)
    for number in (0, 1):
        world.say(number, messages.parse("a", "rows 1") + SYNC)
    world.say(0, FREE + SYNC + called("a") + SYNC, chunk)
    assert letters(world, 0) == "1Z12CZEZ"
    assert world.heard(0)[-2] == ("E", "26000")
    assert not world.clients[0].statements
    assert world.clients[0].prepared_bytes == 0
    world.say(1, called("a") + SYNC)
    assert letters(world, 1) == "1Z2DCZ"


@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_name_may_be_taken_again_in_the_same_batch(chunk):
    world = World(clients=1, servers=1)
    world.say(0, messages.parse("a", "rows 1") + SYNC)
    world.say(0, FREE + messages.parse("a", "rows 3") + called("a") + SYNC + called("a") + SYNC, chunk)
    assert letters(world, 0) == "1Z12C12DDDCZ2DDDCZ"


@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_name_is_kept_if_freeing_it_came_to_nothing(chunk):
    world = World(clients=1, servers=1)
    world.say(0, messages.parse("a", "rows 1") + SYNC)
    size = world.clients[0].prepared_bytes
    world.say(0, messages.describe_statement("none") + FREE + messages.parse("a", "rows 3") + SYNC, chunk)
    world.say(0, called("a") + SYNC)
    assert letters(world, 0) == "1ZEZ2DCZ"
    assert world.clients[0].prepared_bytes == size


def test_a_name_is_freed_on_a_server_that_never_had_it():
    world = World(clients=2, servers=2)
    world.say(0, messages.parse("a", "rows 1") + SYNC)
    (first,) = [end for end in world.ends if end.server.statements]
    world.say(1, messages.query("begin"))
    assert world.clients[1].server is first.server
    world.say(0, FREE + SYNC + called("a") + SYNC)
    assert letters(world, 0) == "1Z12CZEZ"
    assert not any(end.server.statements for end in world.ends if end is not first)


def test_what_is_freed_by_a_named_portal_is_left_to_the_server():
    world = World(clients=1, servers=1)
    world.say(0, messages.parse("a", "rows 1") + SYNC)
    said = messages.parse("", "deallocate a") + messages.bind("p", "", []) + messages.execute("p") + SYNC
    world.say(0, said)
    assert letters(world, 0) == "1Z12EZ"
    world.say(0, called("a") + SYNC)
    assert letters(world, 0)[-4:] == "2DCZ"


def test_a_name_that_was_closed_meanwhile_is_not_freed_twice():
    world = World(clients=1, servers=1)
    world.say(0, messages.parse("a", "rows 1") + SYNC)
    bound = messages.parse("", "deallocate a") + messages.bind("", "", [])
    world.say(0, bound + messages.close_statement("a") + messages.execute() + SYNC)
    assert not world.clients[0].statements
    assert world.clients[0].prepared_bytes == 0
    world.say(0, messages.parse("a", "rows 1") + called("a") + SYNC)
    assert letters(world, 0)[-5:] == "12DCZ"


@pytest.mark.parametrize("tag", ["SET", "SELECT 1", "LISTEN"])
def test_a_server_that_answers_something_else_is_cut(tag):
    world = World(clients=1, servers=1)
    world.say(0, messages.parse("a", "rows 1") + SYNC)
    (end,) = world.ends
    end.model.run = lambda sql, *, simple: (messages.command_complete(tag), "")
    world.say(0, FREE + SYNC)
    assert end.server.state == BROKEN
