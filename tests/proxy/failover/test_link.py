"""The watch's connection: logs in, asks, hears, and says why it ended."""

import asyncio

import pytest

from seawall.kernel.errors import SeawallError
from seawall.proxy.connect import Addresses, Dialogue, LoginFailed
from seawall.proxy.failover.link import APPLICATION, EMPTY, PLAIN, ROWS_MAX, Link, Login, open_link
from seawall.proxy.settings import Auth, Backend, Failover, ProxySettings, User
from seawall.testing import VirtualClock, run
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.passwords import Md5Secret

LOGIN = Login(user="u", database="d", password="secret")
WELCOME = (
    messages.authentication_ok()
    + messages.parameter_status("in_hot_standby", "off")
    + messages.backend_key_data(7, b"\1\2\3\4")
    + messages.ready_for_query(b"I")
)
FATAL = messages.error_response("57P01", "terminating connection", severity="FATAL")


class Wire:
    """The other side of a connection, by hand."""

    def __init__(self):
        self.said = b""
        self.aborted = False
        self.dialogue = Dialogue()
        self.dialogue.connection_made(self)
        self.link = Link(self.dialogue)

    def write(self, data):
        self.said += data

    def abort(self):
        self.aborted = True

    def says(self, *parts):
        self.dialogue.data_received(b"".join(parts))

    def ends(self, error=None):
        self.dialogue.connection_lost(error)


def talking(scenario):
    async def main():
        async with asyncio.timeout(5):
            await scenario(Wire())

    asyncio.run(main())


def row(*values):
    return messages.data_row([None if value is None else value.encode() for value in values])


# --- beats ------------------------------------------------------------------------------------------------


class Beating(Wire):
    """A link that asks empty queries every tenth of a second; ``answers`` are what each is told, in turn."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = list(answers)
        self.times = []
        self.nudge = asyncio.get_running_loop().create_future()

    def write(self, data):
        super().write(data)
        if data == EMPTY:
            self.times.append(round(asyncio.get_running_loop().time(), 3))
            answer = self.answers.pop(0) if self.answers else PLAIN
            if callable(answer):
                answer()
            elif answer:
                asyncio.get_running_loop().call_later(0.01, self.says, answer)

    async def beat(self, count=4):
        beats = await self.link.beat(0.1, 0.15, count, self.nudge)
        assert self.dialogue.listener is None
        return beats.asked, beats.answered, beats.asked_at


def beating(scenario, *answers):
    async def main():
        await scenario(Beating(*answers))

    run(main(), VirtualClock(100.0))


def test_plain_answers_are_all_that_is_waited_for():
    async def scenario(wire):
        assert await wire.beat() == (4, 4, None)
        assert wire.times == [100.1, 100.21, 100.32, 100.43]
        assert wire.dialogue.silent
        assert await wire.beat(1) == (1, 1, None)

    beating(scenario)


def test_an_answer_that_is_late_is_left_for_who_waits_for_it():
    async def scenario(wire):
        assert await wire.beat() == (2, 1, pytest.approx(100.21))
        assert asyncio.get_running_loop().time() == pytest.approx(100.36)
        wire.says(PLAIN)
        assert await wire.link.reply() == []

    beating(scenario, PLAIN, b"")


@pytest.mark.parametrize("rest", [b"", PLAIN], ids=["at once", "in two chunks"])
def test_news_in_an_answer_are_left_for_who_reads_them(rest):
    news = messages.parameter_status("in_hot_standby", "on")

    async def scenario(wire):
        assert await wire.beat() == (1, 0, pytest.approx(100.1))
        wire.says(rest)
        await wire.link.reply()
        assert wire.link.parameters == {"in_hot_standby": "on"}

    beating(scenario, news if rest else news + PLAIN)


@pytest.mark.parametrize("answer", [PLAIN[:3], b"nonsense", messages.notice_response("00000", "hm") + PLAIN])
def test_anything_but_a_plain_answer_ends_it(answer):
    async def scenario(wire):
        asked, answered, asked_at = await wire.beat()
        assert (asked, answered) == (1, 0)
        assert asked_at is not None

    beating(scenario, answer)


def test_what_comes_unasked_ends_it_and_is_kept():
    async def scenario(wire):
        asyncio.get_running_loop().call_later(0.05, wire.says, messages.parameter_status("a", "b"))
        assert await wire.beat() == (0, 0, None)
        assert await wire.beat() == (0, 0, None)  # somebody has to hear it first
        wire.says(PLAIN)
        await wire.link.reply()
        assert wire.link.parameters == {"a": "b"}

    beating(scenario)


def test_an_end_of_the_connection_ends_it():
    async def scenario(wire):
        wire.answers = [PLAIN, lambda: wire.ends(OSError("reset"))]
        assert await wire.beat() == (2, 1, pytest.approx(100.21))
        with pytest.raises(LoginFailed, match="reset"):
            await wire.link.reply()
        assert await wire.beat() == (0, 0, None)

    beating(scenario)


def test_a_nudge_ends_it():
    async def scenario(wire):
        asyncio.get_running_loop().call_later(0.05, wire.nudge.set_result, None)
        assert await wire.beat() == (0, 0, None)
        assert await wire.beat() == (0, 0, None)
        assert wire.times == []

    beating(scenario)


def test_a_process_that_has_not_run_waits_once_more():
    async def scenario(wire):
        def stall():
            clock.advance(1.0)
            asyncio.get_running_loop().call_later(0.05, wire.says, PLAIN)

        wire.answers = [stall]
        assert await wire.beat(1) == (1, 1, None)

    clock = VirtualClock(100.0)

    async def main():
        await scenario(Beating())

    run(main(), clock)


# --- asking -----------------------------------------------------------------------------------------------


def test_it_says_who_it_is():
    async def scenario(wire):
        wire.says(WELCOME)
        await wire.link.log_in(LOGIN)
        parameters = {"user": "u", "database": "d", "application_name": APPLICATION}
        assert wire.said == messages.startup_message(parameters)
        assert wire.link.parameters == {"in_hot_standby": "off"}

    talking(scenario)


def test_it_gives_its_password():
    async def scenario(wire):
        login = asyncio.create_task(wire.link.log_in(LOGIN))
        await asyncio.sleep(0)
        wire.said = b""
        wire.says(messages.authentication_cleartext())
        await asyncio.sleep(0)
        assert wire.said == messages.password_message(b"secret")
        wire.says(WELCOME)
        await login

    talking(scenario)


@pytest.mark.parametrize(
    ("said", "sqlstate"),
    [
        ((messages.error_response("28P01", "no", severity="FATAL"),), "28P01"),
        ((messages.ready_for_query(b"I"),), "08P01"),
        ((messages.authentication_sasl(["X"]),), "28000"),
        ((messages.authentication_ok(),), "08006"),
        ((), "08006"),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "08P01"),
        ((messages.authentication_ok(), b"S\0\0\0\6ab"), "08P01"),
    ],
)
def test_whatever_goes_wrong_at_a_login_is_a_failed_login(said, sqlstate):
    async def scenario(wire):
        wire.says(*said)
        wire.ends()
        with pytest.raises(LoginFailed) as caught:
            await wire.link.log_in(LOGIN)
        assert caught.value.sqlstate == sqlstate

    talking(scenario)


def test_answers_are_rows_of_text():
    async def scenario(wire):
        wire.link.send("SELECT 1")
        assert wire.said == messages.query("SELECT 1")
        wire.says(
            messages.row_description([("x", 25), ("y", 25)]),
            row("a", None),
            row("b", "ä"),
            messages.command_complete("SELECT 2"),
        )
        wire.says(messages.parameter_status("in_hot_standby", "on"), messages.ready_for_query(b"I"))
        assert await wire.link.reply() == [["a", None], ["b", "ä"]]
        assert wire.link.parameters["in_hot_standby"] == "on"
        assert wire.link.columns == ("x", "y")

    talking(scenario)


def test_rows_without_end_are_not_kept():
    async def scenario(wire):
        wire.says(row("x") * (ROWS_MAX + 5), messages.ready_for_query(b"I"))
        assert len(await wire.link.reply()) == ROWS_MAX

    talking(scenario)


def test_an_error_is_raised_when_the_server_is_ready_again():
    async def scenario(wire):
        wire.says(messages.error_response("42501", "permission denied"), messages.ready_for_query(b"I"))
        with pytest.raises(LoginFailed, match="permission denied") as caught:
            await wire.link.reply()
        assert caught.value.sqlstate == "42501"
        wire.says(row("x"), messages.ready_for_query(b"I"))
        assert await wire.link.reply() == [["x"]]

    talking(scenario)


def test_last_words_are_the_reason():
    async def scenario(wire):
        idle = asyncio.create_task(wire.link.idle())
        await asyncio.sleep(0)
        wire.says(messages.notice_response("00000", "hello"), messages.parameter_status("x", "y"))
        wire.says(FATAL)
        await asyncio.sleep(0)
        assert not idle.done()
        wire.ends()
        with pytest.raises(LoginFailed, match="terminating connection") as caught:
            await idle
        assert caught.value.sqlstate == "57P01"
        with pytest.raises(LoginFailed, match="closed the connection"):
            await wire.link.reply()

    talking(scenario)


def test_an_answer_that_nobody_asked_for_ends_the_trust():
    async def scenario(wire):
        wire.says(messages.ready_for_query(b"I"))
        with pytest.raises(SeawallError, match="nobody asked"):
            await wire.link.idle()
        wire.link.close()
        assert wire.aborted

    talking(scenario)


def test_a_connection_is_made_and_tuned():
    async def main():
        said = asyncio.Queue()

        async def serve(reader, writer):
            await said.put(await reader.read(1000))
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            link = await open_link(Addresses(15.0), Backend(name="one", host="127.0.0.1", port=port), 2.0)
            link.send("")
            assert await said.get() == messages.query("")
            link.close()
        with pytest.raises(ConnectionRefusedError):
            await open_link(Addresses(15.0), Backend(name="one", host="127.0.0.1", port=port), 2.0)

    asyncio.run(main())


def settings(*users, **changes):
    return ProxySettings(
        backends=(Backend(name="one", host="h"),),
        auth=Auth(users={user.name: user for user in users}),
        failover=Failover(**changes),
    )


def test_the_login_is_as_configured_or_as_that_of_a_client_of_the_same_name():
    assert Login.of(settings()) == Login(user="postgres", database="postgres")
    assert Login.of(settings(user="w", secret="x", database="d")) == Login(
        user="w", database="d", password="x"
    )
    assert Login.of(settings(User(name="postgres", secret="y"))).password == "y"
    assert Login.of(settings(User(name="postgres", secret="y", server_secret="z"))).password == "z"
    assert Login.of(settings(User(name="postgres", secret="y"), secret="x")).password == "x"
    assert isinstance(Login.of(settings(secret="md5" + "0" * 32)).password, Md5Secret)
    assert "secret" not in repr(LOGIN)
