"""Fitting sessions to servers: settings follow a client, what can not follow pins it.

Before a transaction the server is brought into the client's state, if it isn't yet; after one that may have
changed the state, the server is asked what became of it. Both are errands on the same connection, behind
which the client waits.
"""

from __future__ import annotations

from typing import Any, Final

from seawall.proxy.client import Client
from seawall.proxy.errands import Batch
from seawall.proxy.ledger import read_answer
from seawall.proxy.naming import ATTACHED, CLOSED, DETACHED
from seawall.proxy.reported import Reported
from seawall.proxy.server import Server
from seawall.proxy.session_settings import apply_batch, describe_failure
from seawall.wire.pgwire import messages

WELCOMES_LIMIT: Final = 10_000
"""Sets of startup settings whose outcome is remembered."""


MOVED: Final = 1 << 30
"""No flag of ``scan``: the ledger knows whether a reported setting has really moved."""
CANCELED: Final = b"\0C57014\0"
RETRIES_MAX: Final = 3
"""How often errands of one connection may be cancelled between two transactions."""


class Fitting:
    """The fitting of one worker's clients.

    Args:
        worker: whose.
    """

    def __init__(self, worker: Any) -> None:  # noqa: ANN401 -- the worker has one of these
        self._worker = worker

    def let_in(self, client: Client, reported: Reported) -> None:
        """Tell a client what its session reports, and that it may speak."""
        client.parameters = reported
        out = [self._news(client, reported)]
        out.append(messages.backend_key_data(client.pid, client.key))
        out.append(messages.ready_for_query(b"I"))
        client.tell(b"".join(out))

    def _news(self, client: Client, reported: Reported) -> bytes:
        """What the client doesn't know yet of what its server reports."""
        news = client.ledger.adopt(reported)
        return b"".join(messages.parameter_status(name, value) for name, value in news)

    def fit(self, client: Client, server: Server) -> None:
        """Put a server into a client's session state, then let the client go on."""
        if server.applied is client.settings:
            self._fitted(client, server)
            return
        batch = apply_batch(server.applied, client.settings)
        Batch(server, batch.data, batch.ready, lambda done: self._applied(client, done))

    def _applied(self, client: Client, batch: Batch) -> None:
        server = batch.server
        if batch.gone and client.state != CLOSED:
            self._worker.unserved(client, server)
            return
        if not self._after(client, batch):
            return
        if batch.error is not None and CANCELED in batch.error and self._again(server):
            self.fit(client, server)
            return
        if batch.error is not None:
            sqlstate, message, detail = describe_failure(messages.parse_fields(batch.error))
            client.server = None
            server.pool.discard(server)
            self._worker.close_client(client, sqlstate, message, detail)
            return
        server.applied = client.settings
        self._fitted(client, server)

    def _fitted(self, client: Client, server: Server) -> None:
        server.sink = client
        if client.parameters is None and client.pool.session:
            # It keeps this server to its end, so it may as well go by the server's own process number:
            # whoever asks pg_stat_activity for it, or terminates it by number, means this one.
            self._worker.rename(client, server.pid)
            self.let_in(client, server.parameters)
            client.state = ATTACHED
            client.catch_up()
            return
        if client.parameters is None:
            if len(self._worker.welcomes) >= WELCOMES_LIMIT:
                self._worker.welcomes.clear()
            self._worker.welcomes[client.pool, client.settings] = server.parameters
            self.let_in(client, server.parameters)
            client.server = None
            client.state = DETACHED
            client.pool.put(server)
            client.catch_up()
            return
        if client.parameters is not server.parameters:
            client.parameters = server.parameters
            client.tell(self._news(client, server.parameters))
        server.since = server.fitted_at = self._worker.clock()
        client.proceed()

    def examine(self, client: Client, server: Server) -> None:
        """Ask the server what became of the session, then give it back or keep it."""
        flags = server.suspect
        server.suspect = 0
        ledger = client.ledger
        if server.discarded:
            server.discarded = False
            server.applied = ledger.discarded()
        asked = ledger.to_ask(flags)
        question = ledger.question(asked) if asked else b""
        if question:
            Batch(server, question, 1, lambda done: self._examined(client, asked, done), client.transport)
        else:
            self._known(client, server, asked, [])

    def _examined(self, client: Client, asked: int, batch: Batch) -> None:
        server = batch.server
        if not self._after(client, batch):
            return
        server.sink = client
        if batch.error is not None:
            if CANCELED in batch.error and self._again(server):
                # A late cancel request, or a timeout of the client's own, hit our question.
                Batch(
                    server, client.ledger.question(asked), 1, lambda done: self._examined(client, asked, done)
                )
                return
            client.ledger.unanswered()
            asked = 0
        self._known(client, server, asked, batch.rows)

    def _again(self, server: Server) -> bool:
        """Whether an errand that was cancelled may be tried once more."""
        server.retries += 1
        return server.retries < RETRIES_MAX

    def _known(self, client: Client, server: Server, asked: int, rows: list[list[bytes | None]]) -> None:
        ledger = client.ledger
        applied = ledger.examined(read_answer(asked, rows)) if asked else None
        if applied is not None:
            server.applied = applied
        client.settings = ledger.current
        client.stay = client.pool.session or not ledger.portable
        if server.applied is not client.settings and (client.stay or client.holding):
            self.fit(client, server)
        else:
            client.proceed()

    def _after(self, client: Client, batch: Batch) -> bool:
        """Whether the client behind an errand is still there, and its server too."""
        server = batch.server
        if batch.gone:
            client.server = None
            server.pool.forget(server)
            if client.state != CLOSED:
                self._worker.close_client(client, "08006", "the server connection was lost")
            return False
        if client.state == CLOSED:
            client.server = None
            client.stay = True  # its state is unknown: clean it
            self._worker.recycle(server, client)
            return False
        return True

    def parameter_changed(self, client: Client, server: Server, body: bytes) -> None:
        """The client's own doing changed a reported setting; it has seen the message."""
        name, value = messages.parse_parameter_status(body)
        server.parameters = client.parameters = server.parameters.changed(name, value)
        client.ledger.on_parameter_status(name, value)
        server.suspect |= MOVED

    def server_parameter(self, server: Server, body: bytes) -> None:
        """A server reported a setting."""
        server.parameters = server.parameters.changed(*messages.parse_parameter_status(body))
