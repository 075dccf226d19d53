"""A transaction that passed through the proxy is said again on another connection, and compared."""

import asyncio

import pytest

from seawall.proxy.client import Client
from seawall.proxy.connect import Addresses, log_in
from seawall.proxy.ledger import Ledger
from seawall.proxy.reported import reported_of
from seawall.proxy.server import Server
from seawall.proxy.session_settings import EMPTY
from seawall.proxy.settings import Backend, ProxySettings
from seawall.proxy.shared import Block
from seawall.proxy.tap import Recording
from seawall.proxy.worker import Worker
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER
from tests.proxy.raw import RawClient

pytestmark = pytest.mark.timeout(60)

LIMIT = 1 << 20
WAIT_S = 20


class End:
    """A client's end of the proxy: counts the answers that came."""

    def __init__(self):
        self.reader = framing.MessageReader(LIMIT)
        self.kinds = []
        self.came = asyncio.Event()
        self.closed = False

    def write(self, data):
        self.kinds += [chr(kind) for kind, _ in self.reader.feed(data)]
        self.came.set()

    def get_extra_info(self, name):
        return None

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    abort = close

    def pause_reading(self):
        """Nobody reads."""

    resume_reading = pause_reading

    async def ready(self, times):
        while self.kinds.count("Z") < times:
            await asyncio.wait_for(self.came.wait(), WAIT_S)
            self.came.clear()


def statement(sql, *values):
    """One statement by the extended protocol, without its Sync."""
    whole = messages.parse("", sql) + messages.bind("", "", list(values))
    return whole + messages.describe_portal("") + messages.execute()


async def recorded(node, *parts):
    """What is recorded when a client of the proxy says these parts, each when the last is answered."""
    backend = Backend(name="one", host=node.host, port=node.port)
    worker = Worker(ProxySettings(backends=(backend,)), 0, 1, Block().row(0))
    pool = worker.pool_for("postgres", "postgres")
    pool.opening += 1
    worker.backends.take(0.0)
    welcome = await log_in(Addresses(15.0), backend, "postgres", "postgres", None, 2.0)
    server = Server(welcome.transport, pool.idle_sink, 200)
    server.pool, server.backend, server.applied = pool, backend, EMPTY
    server.parameters = reported_of(welcome.parameters)
    welcome.transport.set_protocol(server)
    pool.opened(server)
    client = Client(End(), worker, pool, Ledger("postgres"))
    worker.enrol(client, long_key=False)
    client.parameters = server.parameters
    server.tap = Recording(LIMIT)
    ready = 0
    for part in parts:
        client.data_received(part)
        ready += sum(kind in b"QS" for kind, _ in framing.MessageReader(LIMIT).feed(part))
        await client.transport.ready(ready)
    server.close()
    await asyncio.sleep(0)
    return server.tap


def said_again(node, recording):
    """The outcomes of the same messages on a connection of its own."""
    again = Recording(LIMIT)
    with RawClient(node.port, host=node.host) as direct:
        for kind, body in recording.messages:
            direct.send(HEADER.pack(kind, 4 + len(body)) + body)
            if kind in b"QS":
                for letter, answer in direct.until("Z"):
                    again.heard(HEADER.pack(ord(letter), 4 + len(answer)) + answer)
    return again.outcomes


@pytest.fixture
def table(server):
    """A table with two rows, gone afterwards."""
    name = "tapped"
    with RawClient(server.nodes[0].port, host=server.nodes[0].host) as direct:
        direct.query(f"CREATE TABLE {name} (id int PRIMARY KEY, balance int, note text)")
        direct.query(f"INSERT INTO {name} VALUES (1, 100, 'one'), (2, 200, NULL)")
        yield name
        direct.query(f"DROP TABLE {name}")


def transaction(table):
    """Savepoints, a statement that fails, both protocols, a shared statement; rolled back at the end."""
    named = messages.parse("named", f"SELECT balance, note FROM {table} WHERE id = $1", [23])
    return (
        messages.query("BEGIN"),
        statement(f"UPDATE {table} SET balance = balance - 10 WHERE id = $1 RETURNING *", b"1")
        + messages.sync(),
        messages.query("SAVEPOINT a"),
        messages.query(f"INSERT INTO {table} VALUES (1, 0, 'twice')"),
        messages.query(f"SELECT * FROM {table}"),
        messages.query("ROLLBACK TO SAVEPOINT a"),
        named + messages.bind("", "named", [b"2"]) + messages.execute() + messages.sync(),
        messages.bind("", "named", [b"1"]) + messages.execute() + messages.sync(),
        messages.query(
            f"SELECT id, repeat(note, 5000) FROM {table} ORDER BY id; SELECT count(*) FROM {table}"
        ),
        messages.query("ROLLBACK"),
    )


OUTCOMES = [
    ("BEGIN", 0, ""),
    ("UPDATE 1", 1, ""),
    ("SAVEPOINT", 0, ""),
    ("", 0, "23505"),
    ("", 0, "25P02"),
    ("ROLLBACK", 0, ""),
    ("SELECT 1", 1, ""),
    ("SELECT 1", 1, ""),
    ("SELECT 2", 2, ""),
    ("SELECT 1", 1, ""),
    ("ROLLBACK", 0, ""),
]


def test_a_transaction_said_again_comes_to_the_same(server, table):
    node = server.nodes[0]
    recording = asyncio.run(recorded(node, *transaction(table)))
    assert [(one.tag, one.rows, one.sqlstate) for one in recording.outcomes] == OUTCOMES
    assert not recording.overflowed
    assert said_again(node, recording) == recording.outcomes
    assert said_again(node, recording) == recording.outcomes


@pytest.mark.parametrize(
    ("change", "differ"),
    [
        ("UPDATE {} SET balance = balance + 1 WHERE id = 1", {1, 7}),
        ("UPDATE {} SET note = 'two' WHERE id = 2", {6, 8}),
        ("INSERT INTO {} VALUES (3, 300, 'three')", {8, 9}),
        ("ALTER TABLE {} RENAME balance TO money", {1, 6, 7}),
    ],
)
def test_a_transaction_said_again_after_a_change_comes_to_something_else(server, table, change, differ):
    node = server.nodes[0]
    recording = asyncio.run(recorded(node, *transaction(table)))
    with RawClient(node.port, host=node.host) as direct:
        assert direct.query(change.format(table)) == []
    again = said_again(node, recording)
    pairs = zip(recording.outcomes, again, strict=False)
    found = {number for number, (before, after) in enumerate(pairs) if before != after}
    assert found >= differ
