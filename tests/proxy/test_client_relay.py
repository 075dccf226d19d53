"""Whatever clients say, in whatever chunks, they see what a server of their own would have told them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.proxy.client import Client
from seawall.proxy.ledger import Ledger
from seawall.proxy.reported import reported_of
from seawall.proxy.server import Server
from seawall.proxy.session_settings import EMPTY
from seawall.proxy.settings import Backend, Pooling, PoolMode, ProxySettings
from seawall.proxy.shared import Block
from seawall.proxy.worker import Worker
from seawall.wire.pgwire import messages
from tests.proxy.model import ModelServer, summary

TEXTS = ("rows 1", "rows 3", "fail", "bad", "begin", "commit", "rollback", "nothing")
NAMES = ("", "a", "b")


class ClientEnd:
    """A transport to a client: keeps what was written."""

    def __init__(self):
        self.written = b""
        self.closed = False

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return self.closed

    def get_extra_info(self, name):
        return None

    def close(self):
        self.closed = True

    abort = close

    def pause_reading(self):
        """Nobody reads."""

    resume_reading = pause_reading


class ServerEnd(ClientEnd):
    """A transport to a model server, whose answers come in chunks of a given size when they are pumped."""

    def __init__(self, chunk):
        super().__init__()
        self.model = ModelServer()
        self.chunk = chunk
        self.answers = b""
        self.server = None

    def write(self, data):
        self.answers += self.model.feed(data)

    def pump(self):
        moved = bool(self.answers)
        while self.answers:
            part, self.answers = self.answers[: self.chunk], self.answers[self.chunk :]
            self.server.data_received(part)
        return moved


class World:
    """A worker with model servers and clients."""

    def __init__(
        self,
        *,
        servers=2,
        clients=2,
        chunk=7,
        mode=PoolMode.TRANSACTION,
        max_statements=200,
        pooling=None,
        **told,
    ):
        told = ProxySettings(
            backends=(Backend(name="model", host="model"),),
            pooling=Pooling(
                **{
                    "mode": mode,
                    "size": servers,
                    "max_prepared_statements": max_statements,
                    **(pooling or {}),
                }
            ),
            **told,
        )
        self.worker = Worker(told, 0, 1, Block().row(0), b"key")
        self.worker.start = lambda work: work.close()  # nobody there to connect to
        self.worker.after = lambda wait_s, what: None  # nor a loop in which time passes
        self.pool = self.worker.pool_for("u", "d")
        self.ends = []
        for _ in range(servers):
            end = ServerEnd(chunk)
            end.server = Server(end, self.pool.idle_sink, max_statements)
            end.server.pool = self.pool
            end.server.backend = told.backends[0]
            end.server.applied = EMPTY
            self.worker.sampling.equip(end.server)
            end.server.parameters = reported_of({})
            self.pool.opening += 1
            self.worker.backends.take(0.0)
            self.pool.opened(end.server)
            self.ends.append(end)
        self.clients = []
        for _ in range(clients):
            client = Client(ClientEnd(), self.worker, self.pool, Ledger("u"))
            self.worker.enrol(client, long_key=False)
            client.parameters = reported_of({})
            self.clients.append(client)

    def pump(self):
        while sum(end.pump() for end in self.ends):
            continue

    def say(self, number, data, chunk=1 << 20):
        while data:
            part, data = data[:chunk], data[chunk:]
            self.clients[number].data_received(part)
        self.pump()

    def heard(self, number):
        return summary(self.clients[number].transport.written)


DATA = b"d\0\0\0\x08rows"
DONE = b"c\0\0\0\4"
FAIL = b"f\0\0\0\7no\0"


def simple_copy(done, rows):
    """COPY by a Query, its data sent ahead of the server's consent."""
    return messages.sync() + messages.query("copyin") + DATA * rows + (DONE if done else FAIL)


def extended_copy(done, ahead):
    """COPY as libpq does it: the first Sync is ignored by a server that copies."""
    head = messages.sync() + messages.parse("", "copyin") + messages.bind("", "", []) + messages.execute("")
    data = (messages.sync() if ahead else b"") + DATA + (DONE if done else FAIL) + messages.sync()
    return head + data + messages.parse("", "nothing") + messages.sync()  # nothing copies by chance


def ended_copy(simple, ahead, ender):
    """COPY that is ended by what has no business there, which was sent ahead."""
    head = (
        messages.query("copyin")
        if simple
        else messages.parse("", "copyin") + messages.bind("", "", []) + messages.execute("")
    )
    rest = ender + messages.sync() + messages.parse("", "nothing") + messages.sync()
    return messages.sync() + head + messages.sync() * ahead + rest


def freed(name, described):
    """DEALLOCATE in the extended protocol, as it is said for a statement that was parsed."""
    head = messages.parse("", f"deallocate {name}") + messages.bind("", "", [])
    return head + (messages.describe_portal("") if described else b"") + messages.execute("")


names = st.sampled_from(NAMES)
texts = st.sampled_from(TEXTS)
ender = st.one_of(st.builds(messages.parse, names, texts), st.builds(messages.close_statement, names))
step = st.one_of(
    st.builds(messages.parse, names, texts),
    st.builds(lambda name: messages.bind("", name, []), names),
    st.builds(messages.describe_statement, names),
    st.builds(lambda: messages.describe_portal("")),
    st.builds(lambda: messages.execute("")),
    st.builds(messages.close_statement, names),
    st.builds(messages.flush),
    st.builds(messages.sync),
    st.builds(lambda text: messages.sync() + messages.query(text), texts),
    st.builds(simple_copy, st.booleans(), st.integers(0, 50)),
    st.builds(extended_copy, st.booleans(), st.booleans()),
    st.builds(ended_copy, st.just(False), st.booleans(), ender),
    st.builds(freed, st.sampled_from(NAMES[1:]), st.booleans()),
)
script = st.lists(step, min_size=1, max_size=12).map(lambda steps: b"".join(steps) + messages.sync())


@settings(max_examples=300)
@given(
    scripts=st.lists(st.tuples(st.integers(0, 2), script), min_size=1, max_size=6),
    said=st.integers(1, 40),
    chunk=st.integers(1, 40),
    max_statements=st.sampled_from([1, 2, 200]),
)
@pytest.mark.timeout(60)
def test_clients_that_share_servers_see_what_their_own_would_say(scripts, said, chunk, max_statements):
    world = World(clients=3, chunk=chunk, max_statements=max_statements)
    own = [ModelServer() for _ in world.clients]
    expected = [b"" for _ in world.clients]
    for number, said_now in scripts:
        # A transaction left open would keep one of two servers for ever; three clients could wait for
        # each other.
        data = said_now + messages.query("rollback")
        world.say(number, data, said)
        expected[number] += own[number].feed(data)
    for number in range(3):
        assert world.heard(number) == summary(expected[number])
    assert all(end.server.free for end in world.ends)
    assert sorted(world.pool.idle, key=id) == sorted((end.server for end in world.ends), key=id)


@pytest.mark.parametrize("simple", [True, False])
@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("ender", [messages.close_statement("a"), messages.parse("b", "rows 1")])
def test_a_copy_is_ended_by_what_the_server_would_not_be_asked(simple, ahead, ender):
    world, own = World(clients=1), ModelServer()
    known = messages.parse("a", "rows 1") + messages.sync()
    said = known + ended_copy(simple, ahead, ender) + messages.query("rows 3")
    world.say(0, said)
    assert world.heard(0) == summary(own.feed(said))
    assert world.heard(0)[-1] == ("Z", b"I")
    assert all(end.server.free for end in world.ends)
