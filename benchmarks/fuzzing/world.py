"""The proxy between transport doubles and model servers that complain.

One ``World`` is a real worker with real pools, clients, servers and greeters. Its transports keep what is
written; its coroutines (cancel requests) are driven by hand; a connection it opens is a new model server.
Nothing here reads a clock for its own use, and all randomness is the input's.
"""

from __future__ import annotations

import contextlib
import random
import types
from collections import deque
from collections.abc import Coroutine, Generator, Iterator
from typing import Any
from unittest import mock

from seawall.proxy import greeter as greeter_module
from seawall.proxy import worker as worker_module
from seawall.proxy.client import Client
from seawall.proxy.greeter import Door, Greeter
from seawall.proxy.ledger import Ledger
from seawall.proxy.pool import Pool
from seawall.proxy.reported import reported_of
from seawall.proxy.server import OPEN, Server
from seawall.proxy.session_settings import EMPTY
from seawall.proxy.settings import (
    Auth,
    AuthMethod,
    Backend,
    Database,
    Pooling,
    PoolMode,
    ProxySettings,
    Timeouts,
    User,
)
from seawall.proxy.shared import Block
from seawall.proxy.worker import Worker
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import MessageReader
from seawall.wire.pgwire.messages import ProtocolViolation
from seawall.wire.pgwire.passwords import scram_secret
from tests.proxy.model import ModelServer

PASSWORD = "secret"
MOCK_KEY = b"0123456789abcdef0123456789abcdef"
CHUNK_LIMIT = 256 * 1024
"""Most that one read of a real transport brings."""
ROUNDS_LIMIT = 10_000
"""Turns of the pump after which an input counts as one that never ends."""
LONG_BYTES = 0x3FFFFFFE
SHORT_BYTES = 10_000
"""PostgreSQL's PQ_LARGE_MESSAGE_LIMIT and PQ_SMALL_MESSAGE_LIMIT, the latter for these kinds."""
SHORT = frozenset("DECSHcf")
BARE = frozenset("SHc")
LONGER_WORDS = frozenset({"select", "set", "listen", "reset", "discard", "deallocate", "create", "big"})


class Wire:
    """A transport: keeps what was written; its end is told to its protocol by the world's pump."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.protocol: Any = None
        self.written = bytearray()
        self.last = b""
        self.closing = False
        self.ended = False
        self.late = b""
        """Written behind the end."""

    def write(self, data: bytes) -> None:
        if self.closing:
            self.late += data
            return
        self.last = data
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.world.ending.append(self)

    abort = close

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str) -> object:
        return ("192.0.2.1", 5) if name == "peername" else None

    def pause_reading(self) -> None:
        """What comes is an input's business."""

    resume_reading = pause_reading

    def hear(self, data: bytes) -> None:
        """Bring bytes, unless the connection has ended."""
        if not self.closing:
            self.protocol.data_received(data)

    def end(self) -> None:
        """Tell the protocol, once."""
        if not self.ended:
            self.closing = self.ended = True
            self.protocol.connection_lost(None)


class Model(ModelServer):
    """The tests' model of PostgreSQL, for clients that break the rules inside of messages."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = MessageReader(LONG_BYTES)
        self.broken = ""
        """Why nothing it is told can be right: it is out of frame, or of a kind that no client may say."""

    def feed(self, data: bytes) -> bytes:
        try:
            found = self.reader.feed(data)
        except ProtocolViolation as error:
            self.broken = self.broken or f"out of frame: {error}"
            return b""
        out = b""
        for kind, body in found:
            letter = chr(kind)
            if letter not in "QPBDECSHFdcfX" or (letter in SHORT and len(body) + 4 > SHORT_BYTES):
                self.broken = self.broken or f"told {letter!r} with {len(body)} bytes"
                return out
            out += self.take(letter, body)
        return out

    def take(self, kind: str, body: bytes) -> bytes:
        if self.copying is not None and kind in "SHdcf":
            return super().copy(kind)
        if self.copying is not None:
            # PostgresMain: anything else ends the copy with an error; what came is lost.
            mode, self.copying = self.copying, None
            return self.error("08P01", simple=mode == "simple")
        if self.skipping and kind not in "SX":
            return b""
        if kind in "dcf":
            return b""
        if kind in BARE and body:
            return self.violated(kind)
        try:
            return getattr(self, f"on_{kind}")(body)  # type: ignore[no-any-return]
        except (ProtocolViolation, UnicodeDecodeError):
            return self.violated(kind)

    def violated(self, kind: str) -> bytes:
        """Return the error for a message that is malformed inside."""
        if kind == "S":
            self.skipping = False
        return self.error("08P01", simple=kind in "QFS")

    def on_F(self, body: bytes) -> bytes:  # noqa: N802 -- the letter of the message
        del body
        return self.error("42883", simple=True)

    def on_Q(self, body: bytes) -> bytes:  # noqa: N802 -- the letter of the message
        if body.find(b"\0") != len(body) - 1:
            return self.violated("Q")
        return super().on_Q(body)

    def run(self, sql: str, *, simple: bool) -> tuple[bytes | None, str]:
        low = sql.lower()
        word = low.partition(" ")[0]
        if word not in LONGER_WORDS:
            return super().run(low, simple=simple)
        if self.status == b"E":
            return None, "25P02"
        if word == "big":
            size = low[4:]
            if not size.isdigit() or len(size) > 5:
                return None, "22023"
            head = messages.row_description([("a", 25)]) if simple else b""
            return head + messages.data_row([b"x" * int(size)]) + messages.command_complete("SELECT 1"), ""
        if word == "select":
            head = messages.row_description([("a", 25)]) if simple else b""
            return head + messages.command_complete("SELECT 0"), ""
        if word == "deallocate" and low != "deallocate all":
            return super().run(low, simple=simple)
        if low in ("discard all", "deallocate all"):
            if low == "discard all" and self.status != b"I":
                return None, "25001"
            # What drops the unnamed statement is a Query, whatever it says.
            self.statements = {name: text for name, text in self.statements.items() if not name}
        return messages.command_complete(
            low.upper() if word in ("discard", "deallocate") else word.upper()
        ), ""


class ServerWire(Wire):
    """The transport to a model server; its answers wait for the pump, which cuts them into pieces."""

    def __init__(self, world: World, chunk: int) -> None:
        super().__init__(world)
        self.model = Model()
        self.chunk = chunk
        self.answers = b""
        self.spoiled = False

    def write(self, data: bytes) -> None:
        if not self.closing and not self.spoiled:
            self.answers += self.model.feed(data)

    def pump(self) -> bool:
        """Deliver what has been answered; true if there was something."""
        moved = False
        while self.answers and not self.closing:
            moved = True
            part, self.answers = self.answers[: self.chunk], self.answers[self.chunk :]
            self.protocol.data_received(part)
        return moved


@types.coroutine
def _turn() -> Generator[None, None, None]:
    yield


async def cancelled(addresses: object, backend: object, pid: int, key: bytes) -> None:
    """A cancel request that takes a moment and changes nothing."""
    del addresses, backend, pid, key
    await _turn()


class HandDriven(Worker):
    """A worker without an event loop: what it starts is driven by the world."""

    world: World

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin at once; the pump goes on with it."""
        try:
            work.send(None)
        except StopIteration:
            return
        self.world.running.append(work)

    async def _linger(self, transport: Wire) -> None:
        await _turn()
        transport.abort()

    async def _open(self, pool: Pool, backend: Backend) -> None:
        await _turn()
        self.backends.connected(backend)
        pool.opened(self.world.make_server(pool, backend))
        self.want(pool)


def settings_of(method: AuthMethod, mode: PoolMode, servers: int, max_statements: int) -> ProxySettings:
    """Return what a world's worker is told."""
    users = {
        "u": User(name="u", secret=PASSWORD),
        "v": User(name="v", secret=scram_secret(PASSWORD, b"0123456789abcdef", 1)),
    }
    if method is AuthMethod.SCRAM:
        users["u"] = User(name="u", secret=users["v"].secret)
    return ProxySettings(
        backends=(Backend(name="model", host="model"),),
        databases={"d": Database(name="d"), "e": Database(name="e")},
        pooling=Pooling(
            mode=mode,
            size=servers,
            max_prepared_statements=max_statements,
            queue_limit=4,
            statements_per_client=4,
        ),
        timeouts=Timeouts(login_s=0.0),
        auth=Auth(method=method, users=users),
    )


class World:
    """A worker, its model servers, and whoever talks to it.

    Args:
        method: how clients log in.
        mode: of its pools.
        servers: size of its pools.
        max_statements: kept on one server connection.
    """

    def __init__(
        self,
        method: AuthMethod = AuthMethod.TRUST,
        mode: PoolMode = PoolMode.TRANSACTION,
        servers: int = 1,
        max_statements: int = 200,
    ) -> None:
        self.ending: deque[Wire] = deque()
        self.running: deque[Coroutine[Any, Any, None]] = deque()
        self.chunk = 1 << 20
        self.wires: list[ServerWire] = []
        self.broken_models: list[str] = []
        self.rng = random.Random(0)
        self.worker = HandDriven(
            settings_of(method, mode, servers, max_statements), 0, 1, Block().row(0), MOCK_KEY
        )
        self.worker.world = self
        self.worker.derive_secrets()
        self.pool = self.worker.pool_for("u", "d")
        self.door = Door(1000, 1000)

    def token_bytes(self, size: int) -> bytes:
        """Stand in for ``secrets.token_bytes``."""
        return self.rng.randbytes(size)

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Take the place of sockets and chance while inputs are played."""
        with (
            mock.patch.object(worker_module, "cancel", cancelled),
            mock.patch.object(greeter_module, "secrets", self),
        ):
            yield

    def make_server(self, pool: Pool, backend: Backend) -> Server:
        """Return a new connection to a new model server."""
        wire = ServerWire(self, self.chunk)
        server = Server(wire, pool.idle_sink, self.worker.settings.pooling.max_prepared_statements)
        wire.protocol = server
        server.pool = pool
        server.backend = backend
        server.born_at = 1.0
        server.applied = EMPTY
        server.parameters = reported_of({"server_version": "16.1"})
        self.wires.append(wire)
        return server

    def client(self) -> Wire:
        """Return the wire of a client that is logged in already."""
        wire = Wire(self)
        client = Client(wire, self.worker, self.pool, Ledger("u"))
        client.user = "u"
        client.parameters = reported_of({"server_version": "16.1"})
        client.ledger.adopt(client.parameters)
        wire.protocol = client
        self.worker.enrol(client, long_key=False)
        return wire

    def visitor(self) -> Wire:
        """Return the wire of somebody who has said nothing yet."""
        wire = Wire(self)
        wire.protocol = Greeter(self.worker, self.door)
        wire.protocol.connection_made(wire)
        return wire

    def pump(self) -> None:
        """Go on until nothing moves: answers, ends, what the worker has started.

        Raises:
            RuntimeError: it never ends.
        """
        for _ in range(ROUNDS_LIMIT):
            moved = False
            while self.ending:
                moved = True
                self.ending.popleft().end()
            for _ in range(len(self.running)):
                moved = True
                work = self.running.popleft()
                try:
                    work.send(None)
                except StopIteration:
                    continue
                self.running.append(work)
            for wire in self.wires:
                moved = wire.pump() or moved
            if any(wire.ended for wire in self.wires):
                self.broken_models += [wire.model.broken for wire in self.wires if wire.model.broken]
                self.wires = [wire for wire in self.wires if not wire.ended]
            if not moved:
                return
        raise RuntimeError("the pump never comes to rest")

    def complaints(self) -> list[str]:
        """What is wrong now that everybody has left; empty if all is well."""
        worker = self.worker
        found = list(self.broken_models)
        self.broken_models = []
        found += [wire.model.broken for wire in self.wires if wire.model.broken]
        if worker.clients or worker.by_user:
            found.append(f"{len(worker.clients)} clients are left behind")
        if self.door.count:
            found.append(f"{self.door.count} stand at the door")
        opened = 0
        for pool in worker.pools.values():
            opened += len(pool.servers)
            if pool.waiting or pool.opening:
                found.append(f"{len(pool.waiting)} clients wait, {pool.opening} connections are being opened")
            if len(pool.idle) != len(pool.servers) or set(pool.idle) != set(pool.servers):
                found.append(f"{len(pool.idle)} servers are idle of {len(pool.servers)}")
            found += [
                f"idle server: {trouble}" for server in pool.idle for trouble in _troubles(pool, server)
            ]
        if worker.backends.connections["model"] != opened:
            found.append(f"{worker.backends.connections['model']} places are taken by {opened} servers")
        return found


def _troubles(pool: Pool, server: Server) -> list[str]:
    """What is wrong with a server that is in a pool."""
    found = []
    if server.state != OPEN or server.transport.closing:
        found.append("closed")
    if not server.free or server.busy:
        found.append("something is owed")
    if server.notes:
        found.append("notes are left")
    if server.sink is not pool.idle_sink:
        found.append("somebody has it")
    if server.paused or server.stalled or server.cancels or server.suspect:
        found.append("paused, stalled, suspect or being cancelled")
    return found
