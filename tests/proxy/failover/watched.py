"""A server as the watch sees it, and a prober at work on it, on virtual time."""

import asyncio
import contextlib
from types import SimpleNamespace

from seawall.proxy.connect import LoginFailed
from seawall.proxy.failover.link import Login
from seawall.proxy.failover.question import IDENTIFY, QUESTION, ROLE
from seawall.proxy.failover.watch import Prober
from seawall.testing import VirtualClock, run
from tests.proxy.failover.test_question import PRIMARY

LOGIN = Login(user="postgres", database="postgres")
REFUSED = ConnectionRefusedError(111, "Connect call failed")
CLOSED = LoginFailed("the server closed the connection")


class FakeServer:
    """A server as the watch sees it."""

    def __init__(self):
        self.row = list(PRIMARY)
        self.hot_standby = "off"
        self.refuses = None
        self.hangs = False
        self.hangs_at_connect = False
        self.silent_by = ""
        """What it never answers."""
        self.asked = []
        self.connects = []
        self.identity = None
        """Its timeline by the replication protocol; without, nobody may use that."""
        self.links = []

    async def connect(self):
        self.connects.append(now())
        if self.hangs_at_connect:
            await asyncio.sleep(0.8)
            raise TimeoutError
        if isinstance(self.refuses, OSError):
            raise self.refuses
        self.links.append(FakeLink(self))
        return self.links[-1]

    def cut(self, error=CLOSED):
        """End all connections."""
        for link in self.links:
            if not link.ended.done():
                link.ended.set_exception(error)
                link.ended.exception()

    def becomes(self, row, hot_standby):
        self.row, self.hot_standby = list(row), hot_standby


class FakeLink:
    def __init__(self, server):
        self.server = server
        self.parameters = {}
        self.ended = asyncio.get_running_loop().create_future()
        self.question = None
        self.closed = False

    async def log_in(self, login):
        await self.unless_ended()
        if self.server.refuses is not None:
            raise self.server.refuses
        if login.replication and self.server.identity is None:
            raise LoginFailed("permission denied to start WAL sender", "28000")
        self.report()

    def report(self):
        if self.server.hot_standby is not None:
            self.parameters["in_hot_standby"] = self.server.hot_standby

    def send(self, sql):
        self.question = sql
        self.server.asked.append((now(), sql))

    async def reply(self):
        await self.unless_ended()
        self.report()
        if self.question == QUESTION:
            return [self.server.row]
        if self.question == IDENTIFY:
            return [["7712584816948751715", str(self.server.identity), "0/0", "postgres"]]
        return [[self.server.row[0]]] if self.question == ROLE else []

    async def beat(self, interval_s, timeout_s, count, nudge):
        """As the link does, but for how it does it."""
        beats = SimpleNamespace(asked=0, answered=0, asked_at=None)
        while beats.answered < count:
            await asyncio.wait({self.ended, nudge}, timeout=interval_s, return_when=asyncio.FIRST_COMPLETED)
            if self.ended.done() or nudge.done():
                break
            self.send("")
            beats.asked += 1
            beats.asked_at = now()
            if self.parameters.get("in_hot_standby") != self.server.hot_standby:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self.unless_ended(quietly=True)
                if not self.ended.done():
                    beats.asked_at = None
                    beats.answered += 1
            if beats.asked_at is not None or nudge.done():
                break
        return beats

    async def idle(self):
        await asyncio.shield(self.ended)

    async def unless_ended(self, *, quietly=False):
        while self.server.hangs or (self.question and self.question == self.server.silent_by):
            await asyncio.wait({self.ended}, timeout=0.01)
            if self.ended.done():
                break
        if self.ended.done() and not quietly:
            self.ended.result()

    def close(self):
        self.closed = True


def now():
    return asyncio.get_running_loop().time()


class Watched:
    """A prober at work, with what it has told and when."""

    def __init__(self, server, **changes):
        self.server = server
        self.told = []
        options = {
            "interval_s": 0.1,
            "timeout_s": 0.15,
            "login_timeout_s": 5.0,
            "rng": lambda: 1.0,
            **changes,
        }
        self.prober = Prober("one", server.connect, LOGIN, changed=self.changed, **options)

    def changed(self):
        self.told.append((round(now(), 3), self.prober.observation))

    async def __aenter__(self):
        self.task = asyncio.create_task(self.prober.run())
        return self

    async def __aexit__(self, *failure):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def now(self):
        return self.prober.observation


def watching(scenario, server=None, **changes):
    """Run a scenario with a prober on a server, from time 1000."""

    async def main():
        async with Watched(server or FakeServer(), **changes) as watched:
            await scenario(watched, watched.server)
        assert all(link.closed for link in watched.server.links)

    run(main(), VirtualClock(1000.0))
