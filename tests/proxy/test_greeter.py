"""Who is not logged in yet: counted at the door, told in PostgreSQL's words, and gone without a trace."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzzing.world import PASSWORD, Wire, World
from seawall.proxy.admin import Console
from seawall.proxy.client import Client
from seawall.proxy.greeter import Door, Greeter
from seawall.proxy.settings import AuthMethod
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import MessageReader
from seawall.wire.pgwire.login import ClientLogin
from tests.proxy.model import summary

LIMIT = 1 << 20
HELLO = messages.startup_message({"user": "u", "database": "d"})


def error(wire):
    """The fields of the last message, which has to be an error, on a connection that is closed."""
    found = MessageReader(LIMIT).feed(bytes(wire.written))
    assert wire.closing
    assert chr(found[-1][0]) == "E"
    return messages.parse_fields(found[-1][1])


@pytest.fixture
def world():
    made = World(AuthMethod.TRUST)
    with made.patched():
        yield made


def say(world, *data):
    wire = world.visitor()
    for one in data:
        wire.hear(one)
    world.pump()
    return wire


# --- the door -----------------------------------------------------------------------------------------------


def test_the_door_counts_by_address_and_in_all():
    door = Door(2, 3)
    assert [door.enter("a"), door.enter("a"), door.enter("a")] == [True, True, False]
    assert [door.enter("b"), door.enter("b")] == [True, False]
    assert (door.count, door.refused) == (3, 2)
    door.leave("a")
    assert door.enter("b")


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
def test_the_door_forgets_addresses_and_never_lets_too_many_in(steps):
    door = Door(2, 4)
    inside = []
    for enters, address in steps:
        if enters:
            fits = len(inside) < 4 and inside.count(address) < 2
            assert door.enter(address) is fits
            if fits:
                inside.append(address)
        elif address in inside:
            inside.remove(address)
            door.leave(address)
        assert door.count == len(inside)
        assert set(door._by_address) == set(inside)


def test_who_does_not_fit_is_told_and_not_counted(world):
    world.door = Door(1, 1)
    first = world.visitor()
    second = world.visitor()
    assert error(second)["C"] == "53300"
    world.pump()
    assert world.door.count == 1
    assert world.worker.refused_at_door == 1
    first.end()
    assert world.door.count == 0


@pytest.mark.parametrize("after", [b"", HELLO[:5], messages.ssl_request()])
def test_who_leaves_is_not_counted_any_more(world, after):
    wire = say(world, *([after] if after else []))
    assert world.door.count == 1
    wire.end()
    assert world.door.count == 0


def test_who_is_logged_in_is_not_at_the_door(world):
    wire = say(world, HELLO)
    assert isinstance(wire.protocol, Client)
    assert world.door.count == 0
    wire.end()
    assert world.door.count == 0


# --- the startup --------------------------------------------------------------------------------------------


def test_encryption_is_declined_and_the_startup_goes_on(world):
    gss = b"\0\0\0\x08\x04\xd2\x16\x30"
    wire = say(world, messages.ssl_request(), gss, HELLO)
    assert bytes(wire.written[:3]) == b"NNR"
    assert isinstance(wire.protocol, Client)


def test_bytes_behind_a_request_for_encryption_are_an_attack(world):
    wire = say(world, messages.ssl_request() + HELLO)
    assert error(wire)["C"] == "08P01"


def test_a_handshake_without_asking_is_cut(world):
    wire = say(world, b"\x16\3\1\0\0")
    assert wire.closing
    assert not wire.written


@pytest.mark.parametrize(
    ("parameters", "sqlstate"),
    [
        ({"user": "u", "database": "gone"}, "3D000"),
        ({"user": "u", "database": "d", "replication": "database"}, "0A000"),
        ({"user": "u", "database": "d", "options": "--"}, "42601"),
        ({"user": "stranger", "database": "d"}, None),
    ],
)
def test_what_cannot_be_is_told_once(world, parameters, sqlstate):
    wire = say(world, messages.startup_message(parameters), b"p\0\0\0\5\0", messages.query("rows 1"))
    if sqlstate is None:  # trust is for those who are configured: the others are asked, to no avail
        assert error(wire)["C"] in ("28P01", "08P01", "28000")
    else:
        assert error(wire)["C"] == sqlstate
    assert [letter for letter, _ in summary(bytes(wire.written))].count("E") == 1
    assert world.door.count == 0
    assert not world.worker.clients


def test_a_limit_of_clients_is_told(world):
    object.__setattr__(world.worker.settings.pooling, "max_client_connections", 1)
    say(world, HELLO)
    assert error(say(world, HELLO))["C"] == "53300"


def test_a_proxy_that_drains_lets_nobody_in(world):
    world.worker.signals.draining = True
    assert error(say(world, HELLO))["C"] == "57P03"


def test_what_is_said_behind_the_startup_is_answered_behind_the_welcome(world):
    wire = say(world, HELLO + messages.query("rows 1"))
    letters = [letter for letter, _ in summary(bytes(wire.written))]
    assert letters[:1] == ["R"]
    assert letters[-5:] == ["Z", "T", "D", "C", "Z"]


@pytest.mark.parametrize("minor", [0, 2, 9999])
def test_a_cancel_key_is_as_long_as_the_protocol_allows(world, minor):
    wire = say(world, messages.startup_message({"user": "u", "database": "d"}, minor=minor))
    found = {chr(kind): body for kind, body in MessageReader(LIMIT).feed(bytes(wire.written))}
    assert ("v" in found) is (minor == 9999)
    assert len(found["K"]) - 4 == (4 if minor == 0 else 32)


def test_a_cancel_request_is_never_answered(world):
    target = say(world, HELLO).protocol
    target.data_received(messages.query("rows 1"))
    for key in (b"\0\0\0\0", target.key):
        wire = world.visitor()
        wire.hear(messages.cancel_request(target.pid, key))
        assert wire.closing
        assert not wire.written
    assert world.worker.cancels == 1


# --- logging in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [AuthMethod.SCRAM, AuthMethod.MD5, AuthMethod.CLEARTEXT])
@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_a_password_lets_in_if_it_is_right(method, password):
    world = World(method)
    login = ClientLogin("u", password, nonce=b"n" * 18, allow_cleartext=True)
    with world.patched():
        wire = say(world, HELLO)
        heard = 0
        while not login.done and not wire.closing:
            fresh, heard = bytes(wire.written[heard:]), len(wire.written)
            for kind, body in MessageReader(LIMIT).feed(fresh):
                answer = login.receive(kind, body) if kind == ord("R") and not login.done else b""
                if answer:
                    wire.hear(answer)
            world.pump()
        if password == PASSWORD:
            assert summary(bytes(wire.written))[-1] == ("Z", b"I")
        else:
            assert error(wire)["C"] == "28P01"
            assert not world.worker.clients
    assert world.door.count == 0


@pytest.mark.parametrize("data", [b"p\0\0\0\3", b"p\0\1\0\1", b"Q\0\0\0\5\0", b"p\0\0\0\4"])
def test_a_login_that_breaks_the_protocol_is_refused(data):
    world = World(AuthMethod.CLEARTEXT)
    with world.patched():
        wire = say(world, HELLO, data, data)
        assert error(wire)["C"] == "08P01"
        assert [letter for letter, _ in summary(bytes(wire.written))].count("E") == 1


def test_a_goodbye_in_the_middle_of_a_login_is_taken():
    world = World(AuthMethod.CLEARTEXT)
    with world.patched():
        wire = say(world, HELLO, messages.terminate())
        assert wire.closing
        assert [letter for letter, _ in summary(bytes(wire.written))] == ["R"]


def test_the_console_is_for_those_who_may_use_it(world):
    hello = messages.startup_message({"user": "u", "database": "seawall"})
    assert error(say(world, hello))["C"] == "28000"
    object.__setattr__(world.worker.settings.auth, "stats_users", frozenset({"u"}))
    wire = say(world, hello)
    assert isinstance(wire.protocol, Console)
    assert world.door.count == 0


def test_a_login_that_takes_too_long_is_ended():
    async def play():
        world = World(AuthMethod.CLEARTEXT)
        object.__setattr__(world.worker.settings.timeouts, "login_s", 1e-9)
        wire = Wire(world)
        wire.protocol = Greeter(world.worker, world.door)
        wire.protocol.connection_made(wire)
        ended = asyncio.Event()
        wire.close = lambda: (Wire.close(wire), ended.set())
        await ended.wait()
        world.pump()
        return wire, world.door.count

    wire, count = asyncio.run(play())
    assert error(wire)["C"] == "08006"
    assert count == 0


def test_a_login_in_time_stops_the_clock():
    async def play():
        world = World(AuthMethod.TRUST)
        object.__setattr__(world.worker.settings.timeouts, "login_s", 60.0)
        with world.patched():
            wire = world.visitor()
            timer = wire.protocol._timer
            wire.hear(HELLO)
            world.pump()
            return timer.cancelled(), isinstance(wire.protocol, Client)

    assert asyncio.run(play()) == (True, True)
