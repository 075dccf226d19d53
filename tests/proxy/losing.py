"""A world of clients and model servers in which servers are lost."""

from seawall.proxy.owed import SAMPLE
from seawall.proxy.rescue import REFUSING
from seawall.proxy.settings import Replay, ReplayMode
from seawall.wire.pgwire import messages
from tests.proxy.model import ModelServer
from tests.proxy.test_client_relay import World

NOTHING_AGAINST = (b"f", b"f", b"t")
"""Foreign tables, untrusted languages, a synchronous standby."""


class RescuingModel(ModelServer):
    """Answers what the proxy asks before it says anything again."""

    against = NOTHING_AGAINST
    terminated = 0

    def run(self, sql, *, simple):
        if sql == REFUSING:
            return messages.data_row(list(self.against)) + messages.command_complete("SELECT 1"), ""
        if sql.startswith("SELECT pg_catalog.count(pg_catalog.pg_terminate_backend("):
            self.terminated += 1
            return messages.data_row([b"0"]) + messages.command_complete("SELECT 1"), ""
        if sql == SAMPLE:
            return messages.data_row([b"700", b"0/500", None]) + messages.command_complete("SELECT 1"), ""
        if sql == "insert":
            return messages.command_complete("INSERT 0 1"), ""
        return super().run(sql, simple=simple)


class LosingWorld(World):
    """One whose clients' transactions are said again."""

    def __init__(self, mode=ReplayMode.ON, replay=None, **more):
        super().__init__(replay=replay or Replay(mode=mode), **more)
        self.timers = []
        self.worker.after = lambda wait_s, what: self.timers.append(what)
        for end in self.ends:
            end.model = RescuingModel()

    def lose(self, number):
        """Cut the server of a client."""
        self.lose_server(self.clients[number].server)

    def lose_server(self, server):
        """Cut a server."""
        server.state = 0
        server.connection_lost(None)
        self.ends = [end for end in self.ends if end.server is not server]
        self.pump()

    @property
    def counts(self):
        return dict(self.worker.rescue.counts)
