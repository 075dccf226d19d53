"""A client connection until it is logged in; then a ``Client`` takes over.

Whoever has not proved anything yet gets little: packets of a few kilobytes, a few seconds, and a bounded
number of connections per address and in all. What is wrong is told in PostgreSQL's words, and nothing else
is told.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from seawall.kernel.errors import SeawallError
from seawall.proxy.admin import Console
from seawall.proxy.client import Client
from seawall.proxy.connect import tune
from seawall.proxy.ledger import Ledger
from seawall.proxy.session_settings import startup_settings
from seawall.proxy.settings import AuthMethod
from seawall.proxy.worker import Worker
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import MessageReader
from seawall.wire.pgwire.login import LoginRefused, ServerLogin
from seawall.wire.pgwire.messages import ProtocolViolation
from seawall.wire.pgwire.startup import (
    CancelRequested,
    DirectTls,
    GssRequested,
    SslRequested,
    StartupReader,
    StartupRequested,
    agreed_minor,
    negotiation,
)

LOGIN_MESSAGE_LIMIT: Final = 65_536
"""Longest message of a login: PostgreSQL's own limit for passwords and SASL."""
LOOPBACK: Final = ("127.", "::1", "::ffff:127.")
NONCE_BYTES: Final = 18
SALT_BYTES: Final = 16
LONG_KEY_MINOR: Final = 2


class Door:
    """Counts who stands at the door.

    Args:
        per_address: connections not logged in, per address.
        total: the same over all addresses.
    """

    def __init__(self, per_address: int, total: int) -> None:
        self._per_address = per_address
        self._total = total
        self._by_address: dict[str, int] = {}
        """Bounded by ``total``: an address is kept only while it has a connection here."""
        self.count = 0
        self.refused = 0

    def enter(self, address: str) -> bool:
        """Whether one more may stand here."""
        here = self._by_address.get(address, 0)
        if self.count >= self._total or here >= self._per_address:
            self.refused += 1
            return False
        self._by_address[address] = here + 1
        self.count += 1
        return True

    def leave(self, address: str) -> None:
        """One is in, or away."""
        self.count -= 1
        left = self._by_address[address] - 1
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]


class Greeter(asyncio.Protocol):
    """The protocol of a connection that isn't logged in.

    Args:
        worker: where the client will live.
        door: who else stands here.
    """

    def __init__(self, worker: Worker, door: Door) -> None:
        self.worker = worker
        self.door = door
        self.transport: Any = None
        self.address = ""
        self._startup: StartupReader | None = StartupReader(worker.settings.limits.startup_bytes)
        self._reader = MessageReader(LOGIN_MESSAGE_LIMIT)
        self._request: StartupRequested | None = None
        self._login: ServerLogin | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._inside = False
        self._refused = False
        self._next: Client | Console | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) and peer else "local"
        tune(transport, 0.0)
        if not self.door.enter(self.address):
            self.worker.refused_at_door += 1
            self._refuse("53300", "too many connections are waiting to log in")
            return
        self._inside = True
        login_s = self.worker.settings.timeouts.login_s
        if login_s > 0:
            self._timer = asyncio.get_running_loop().call_later(login_s, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone without having logged in."""
        del exc
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Whatever somebody unknown says."""
        if self._refused:
            return
        try:
            if self._startup is not None:
                self._start(self._startup, data)
            elif self._login is not None:
                self._prove(data)
            elif self._next is not None:
                self._next.data_received(data)
        except ProtocolViolation as error:
            self._refuse(error.sqlstate, str(error), error.detail, error.hint)
        except LoginRefused as error:
            self._refuse(error.sqlstate, str(error), error.detail)
        except SeawallError:
            self._refuse("08P01", "the connection could not be started")

    def _start(self, reader: StartupReader, data: bytes) -> None:
        for event in reader.feed(data):
            if isinstance(event, SslRequested | GssRequested):
                self.transport.write(b"N")
                reader.answered()
            elif isinstance(event, DirectTls):
                self.transport.abort()
                return
            elif isinstance(event, CancelRequested):
                self._cancel(event)
                return
            elif isinstance(event, StartupRequested):
                self._startup = None
                self._open(event)
                if reader.rest:
                    self.data_received(reader.rest)
                return

    def _cancel(self, event: CancelRequested) -> None:
        """Never answered, whatever comes of it: PostgreSQL documentation, "Canceling Requests"."""
        if not self.worker.cancel(event.pid, event.key) and self.worker.siblings is not None:
            self.worker.siblings.cancel(event.pid, event.key)
        self.transport.close()

    def _open(self, request: StartupRequested) -> None:
        self._request = request
        answer = negotiation(request)
        if answer is not None:
            self.transport.write(answer)
        if request.replication:
            self._refuse(
                "0A000", "replication connections are not passed through", "", "Connect to the server."
            )
            return
        worker = self.worker
        if worker.full(request.user):
            self._refuse("53300", "sorry, too many clients already")
            return
        if worker.signals.draining:
            self._refuse("57P03", "the proxy is shutting down")
            return
        method, secret = worker.proof(request.user, loopback=self._loopback())
        self._login = ServerLogin(
            method.value,
            request.user,
            secret,
            nonce=secrets.token_bytes(NONCE_BYTES),
            salt=secrets.token_bytes(SALT_BYTES if method is not AuthMethod.MD5 else 4),
            mock_key=worker.mock_key,
        )
        self._say(self._login.start())

    def _prove(self, data: bytes) -> None:
        login = self._login
        if login is None:
            return
        for kind, body in self._reader.feed(data):
            if self._refused:
                return
            if self._next is not None:
                # Said behind the last message of the login, without waiting for the answer.
                self._next.data_received(framing.HEADER.pack(kind, 4 + len(body)) + body)
                continue
            if kind == framing.TERMINATE:
                self.transport.close()
                return
            self._say(login.receive(kind, body))

    def _say(self, data: bytes) -> None:
        if data:
            self.transport.write(data)
        if self._login is not None and self._login.done:
            self._admit()

    def _admit(self) -> None:
        request = self._request
        if request is None:
            return
        worker = self.worker
        keys = self._login.scram_keys if self._login is not None else None
        self._login = None
        self._leave()
        if request.database == worker.settings.admin_database:
            if not worker.may_see(request.user, loopback=self._loopback()):
                self._refuse("28000", f'user "{request.user}" may not use the admin console')
                return
            auth = worker.settings.auth
            may_order = request.user in auth.admin_users or (auth.trust_loopback and self._loopback())
            self._next = Console(worker, self.transport, request.user, may_order=may_order)
            self.transport.set_protocol(self._next)
            return
        try:
            pool = worker.pool_for(request.user, request.database)
        except KeyError:
            self._refuse("3D000", f'database "{request.database}" does not exist')
            return
        if pool.secret is None:
            # Known by a verifier alone: the servers have the same one, or there is no way in.
            pool.secret = keys
        ignored = worker.settings.pooling.ignore_startup_parameters
        asked = {name: value for name, value in request.parameters.items() if name not in ignored}
        ledger = Ledger(pool.user, startup_settings(asked))
        client = Client(self.transport, worker, pool, ledger)
        client.address = self.address
        client.user, client.database = request.user, request.database
        worker.enrol(client, long_key=agreed_minor(request) >= LONG_KEY_MINOR)
        self._next = client
        self.transport.set_protocol(client)
        worker.greet(client)

    def _loopback(self) -> bool:
        return self.address == "local" or self.address.startswith(LOOPBACK)

    def _too_late(self) -> None:
        self._timer = None
        self._refuse("08006", "the login took too long")

    def _refuse(self, sqlstate: str, message: str, detail: str = "", hint: str = "") -> None:
        self._refused = True
        self.transport.write(
            messages.error_response(sqlstate, message, severity="FATAL", detail=detail, hint=hint)
        )
        self.transport.close()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._inside:
            self._inside = False
            self.door.leave(self.address)
