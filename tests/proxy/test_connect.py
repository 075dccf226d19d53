"""Looking up, connecting, logging in: what servers do wrong, and addresses that move."""

import asyncio
import socket

import pytest

from seawall.proxy.connect import REFUSALS, Addresses, Dialogue, LoginFailed, cancel, dial, log_in
from seawall.proxy.settings import Backend, ProxySettings
from seawall.proxy.shared import Block
from seawall.proxy.worker import Worker
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import HEADER

READY = (
    messages.authentication_ok()
    + messages.parameter_status("server_version", "16.1")
    + messages.backend_key_data(7, b"\1\2\3\4")
    + messages.ready_for_query(b"I")
)


def backend(port=1, host="127.0.0.1"):
    return Backend(name="one", host=host, port=port)


async def served(answer, work, *, hold=False):
    """Run ``work(port)`` against a server that reads once, answers, and closes or holds."""
    writers = []

    async def serve(reader, writer):
        writers.append(writer)
        await reader.read(1 << 16)
        writer.write(answer)
        await writer.drain()
        if not hold:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        return await work(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def login(answer, *, hold=False, password=None):
    async def work(port):
        welcome = await log_in(Addresses(15.0), backend(port), "u", "d", password, 2.0)
        welcome.transport.abort()
        return welcome

    return asyncio.run(served(answer, work, hold=hold))


def test_a_server_that_lets_us_in_says_who_it_is():
    welcome = login(READY + messages.notice_response("00000", "hello"), hold=True)
    assert welcome.parameters == {"server_version": "16.1"}
    assert (welcome.pid, welcome.key) == (7, b"\1\2\3\4")


def test_notices_before_the_end_are_no_trouble():
    assert login(messages.notice_response("00000", "hello") + READY).pid == 7


@pytest.mark.parametrize(
    ("answer", "sqlstate", "says"),
    [
        (b"", "08006", "closed the connection"),
        (messages.authentication_ok(), "08006", "closed the connection"),
        (messages.authentication_ok() + READY[:3], "08006", "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "08P01", "does not speak PostgreSQL"),
        (HEADER.pack(ord("R"), 3), "08P01", "does not speak PostgreSQL"),
        (HEADER.pack(ord("R"), 1 << 30), "08P01", "does not speak PostgreSQL"),
        (HEADER.pack(ord("E"), 5) + b"\0", "XX000", ""),
        (HEADER.pack(ord("E"), 12) + b"Mno cod\0", "XX000", "no cod"),
        (HEADER.pack(ord("E"), 6) + b"Mx", "08P01", "invalid string"),
        (HEADER.pack(ord("S"), 6) + b"a\0", "08P01", "invalid string"),
        (HEADER.pack(ord("K"), 6) + b"ab", "08P01", "cancel key"),
        (messages.ready_for_query(b"I"), "08P01", "ready before the login was done"),
        (messages.error_response("57P03", "starting up", severity="FATAL"), "57P03", "starting up"),
        (messages.error_response("28P01", "wrong password", severity="FATAL"), "28P01", "wrong password"),
        (messages.error_response("3D000", "no such database", severity="FATAL"), "3D000", "no such"),
        (HEADER.pack(ord("R"), 8) + b"\0\0\0\7", "28000", "GSSAPI"),
        (messages.authentication_cleartext(), "28000", "clear text"),
    ],
)
def test_a_login_that_fails_says_how_and_whether_that_is_final(answer, sqlstate, says):
    with pytest.raises(LoginFailed) as caught:
        login(answer)
    assert caught.value.sqlstate == sqlstate
    assert caught.value.final is (sqlstate[:2] in REFUSALS)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("sqlstate", "final"),
    [("28P01", True), ("3D000", True), ("42501", True), ("0A000", True), ("57P03", False), ("53300", False)],
)
def test_what_trying_again_does_not_mend_is_final(sqlstate, final):
    assert LoginFailed("no", sqlstate).final is final


def test_a_password_is_not_in_what_is_said_of_a_failure():
    with pytest.raises(LoginFailed) as caught:
        login(messages.authentication_cleartext(), password="hidden")
    assert "hidden" not in str(caught.value)
    assert "hidden" not in repr(caught.value)


def test_a_dialogue_keeps_what_came_behind():
    async def play():
        dialogue = Dialogue()
        dialogue.data_received(READY + b"Z\0\0")
        first = await dialogue.next()
        return first, dialogue.rest

    first, rest = asyncio.run(play())
    assert first == (ord("R"), b"\0\0\0\0")
    assert messages.authentication_ok() + rest == READY + b"Z\0\0"


@pytest.mark.parametrize("cut", [3, 12, 1000])
def test_what_a_server_says_right_behind_its_login_is_not_lost(cut):
    """The first bytes of a message that came with the login belong to the connection's stream."""
    behind = messages.parameter_status("TimeZone", "UTC")

    async def work(port):
        told = ProxySettings(backends=(backend(port),))
        worker = Worker(told, 0, 1, Block().row(0))
        pool = worker.pool_for("u", "d")
        pool.opening += 1
        await worker._open(pool, worker.backends.take(0.0))
        (server,) = pool.idle
        server.data_received(behind[cut:])
        seen = server.parameters.get("TimeZone")
        server.abort()
        return seen

    assert asyncio.run(served(READY + behind[:cut], work, hold=True)) == "UTC"


# --- cancel requests ----------------------------------------------------------------------------------------


def test_a_cancel_request_is_over_when_the_server_closes():
    async def play():
        heard = []

        async def serve(reader, writer):
            heard.append(await reader.readexactly(16))
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            await cancel(Addresses(15.0), backend(server.sockets[0].getsockname()[1]), 7, b"\1\2\3\4")
        return heard

    assert asyncio.run(play()) == [messages.cancel_request(7, b"\1\2\3\4")]


def test_a_cancel_request_that_reaches_nobody_is_no_error():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asyncio.run(cancel(Addresses(15.0), backend(port), 7, b"\1\2\3\4"))


# --- addresses ----------------------------------------------------------------------------------------------


class Resolver:
    """A loop's resolver that says what the test wants, and its clock."""

    def __init__(self, loop, *answers):
        self.answers = list(answers)
        self.asked = []
        self.now = 100.0
        loop.getaddrinfo = self.getaddrinfo
        loop.time = self.time

    def time(self):
        return self.now

    async def getaddrinfo(self, host, port, **options):
        self.asked.append(host)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answer]


def resolving(play, *answers):
    """Run ``play(addresses, resolver)`` with a resolver that gives these answers, the last for ever."""

    async def run():
        resolver = Resolver(asyncio.get_running_loop(), *answers)
        return await play(Addresses(15.0), resolver)

    return asyncio.run(run())


def test_an_answer_is_used_until_it_is_old():
    async def play(addresses, resolver):
        seen = [await addresses.of("name")]
        resolver.now += 14.9
        seen.append(await addresses.of("name"))
        resolver.now += 0.2
        seen.append(await addresses.of("name"))
        return seen, addresses.lookups

    assert resolving(play, ["10.0.0.1"], ["10.0.0.2"]) == ([["10.0.0.1"], ["10.0.0.1"], ["10.0.0.2"]], 2)


def test_all_addresses_are_kept_in_order_and_once():
    async def play(addresses, resolver):
        return await addresses.of("name")

    assert resolving(play, ["10.0.0.2", "10.0.0.1", "10.0.0.2"]) == ["10.0.0.2", "10.0.0.1"]


def test_a_resolver_that_is_down_for_a_moment_takes_no_server_away():
    async def play(addresses, resolver):
        first = await addresses.of("name")
        resolver.now += 20
        during = await addresses.of("name")
        after = await addresses.of("name")
        return first, during, after, resolver.asked

    first, during, after, asked = resolving(play, ["10.0.0.1"], OSError("down"), ["10.0.0.2"])
    assert (first, during, after) == (["10.0.0.1"], ["10.0.0.1"], ["10.0.0.2"])
    assert asked == ["name"] * 3


def test_a_name_that_was_never_known_is_an_error():
    async def play(addresses, resolver):
        await addresses.of("name")

    with pytest.raises(OSError, match="unknown"):
        resolving(play, OSError("unknown"))


def test_an_answer_that_failed_is_looked_up_again_at_once_and_kept_if_there_is_no_other():
    async def play(addresses, resolver):
        await addresses.of("name")
        addresses.forget("name")
        kept = await addresses.of("name")
        moved = await addresses.of("name")
        addresses.forget("other")
        return kept, moved

    assert resolving(play, ["10.0.0.1"], OSError("down"), ["10.0.0.2"]) == (["10.0.0.1"], ["10.0.0.2"])


def resolve_to(monkeypatch, loop, addresses):
    """Make the running loop resolve every name to what the list holds at the time."""

    async def getaddrinfo(host, port, **options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in addresses]

    real = loop.create_connection
    tried = []

    async def create_connection(protocol, host, port):
        tried.append(host)
        return await real(protocol, socket.inet_ntoa(socket.inet_aton(host)), port)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo, raising=False)
    monkeypatch.setattr(loop, "create_connection", create_connection, raising=False)
    return tried


def test_a_name_that_moves_is_found_again(monkeypatch):
    """Nobody listens at 127.0.0.2; the server is at 127.0.0.3, where the name is moved to."""

    async def play():
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.3", 0)
        port = server.sockets[0].getsockname()[1]
        addresses, current = Addresses(1e6), ["127.0.0.2"]
        target = backend(port, host="database.example")
        async with server:
            tried = resolve_to(monkeypatch, asyncio.get_running_loop(), current)
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await dial(addresses, target, Dialogue)
            current[:] = ["127.0.0.3"]
            transport, dialogue = await dial(addresses, target, Dialogue)
            transport.abort()
            with pytest.raises(LoginFailed):
                await dialogue.next()
        return tried, addresses.lookups

    tried, lookups = asyncio.run(play())
    assert tried == ["127.0.0.2", "127.0.0.3"]
    assert lookups == 2


def test_all_addresses_of_a_name_are_tried(monkeypatch):
    async def play():
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.3", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            tried = resolve_to(monkeypatch, asyncio.get_running_loop(), ["127.0.0.2", "127.0.0.3"])
            transport, dialogue = await dial(Addresses(15.0), backend(port, host="name"), Dialogue)
            transport.abort()
            with pytest.raises(LoginFailed):
                await dialogue.next()
        return tried

    assert asyncio.run(play()) == ["127.0.0.2", "127.0.0.3"]


def test_a_directory_is_that_of_a_unix_socket(tmp_path):
    async def play():
        server = await asyncio.start_unix_server(
            lambda _, writer: writer.close(), str(tmp_path / ".s.PGSQL.7")
        )
        async with server:
            transport, dialogue = await dial(Addresses(15.0), backend(7, host=str(tmp_path)), Dialogue)
            with pytest.raises(LoginFailed):
                await dialogue.next()
            transport.abort()

    asyncio.run(play())
