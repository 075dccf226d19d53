"""Workers' orders to each other: carried out, answered, and garbage does no harm."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzzing.world import World
from seawall.proxy.control import ControlServer, Siblings, socket_path
from seawall.wire.pgwire import messages

LIMIT = 1_000


@pytest.fixture
def world():
    made = World(servers=1)
    with made.patched():
        yield made


def connected(world):
    """A client whose query has not been answered yet, and its key."""
    wire = world.client()
    wire.hear(messages.query("rows 1"))
    world.pump()
    wire.hear(messages.query("rows 1"))
    return wire.protocol


def test_a_cancel_with_the_right_key_reaches_the_query(world):
    client = connected(world)
    control = ControlServer(world.worker)
    order = {"do": "cancel", "pid": client.pid, "key": client.key.hex()}
    assert control.obey({**order, "key": "00" * 4}) == {"done": False}
    assert world.worker.cancels == 0
    assert control.obey(order) == {"done": True}
    assert world.worker.cancels == 1


def test_idle_connections_are_closed_by_order(world):
    wire = world.client()
    wire.hear(messages.query("rows 1"))
    world.pump()
    assert len(world.pool.servers) == 1
    assert ControlServer(world.worker).obey({"do": "close_idle"}) == {"done": True}
    assert not world.pool.servers


def test_tables_are_shown(world):
    client = connected(world)
    (row,) = ControlServer(world.worker).obey({"show": "clients"})["rows"]
    assert row["pid"] == client.pid


@pytest.mark.parametrize(
    "order",
    [
        {},
        [],
        5,
        None,
        "show",
        {"show": "nothing"},
        {"show": []},
        {"do": "cancel"},
        {"do": "cancel", "pid": "x", "key": ""},
        {"do": "cancel", "pid": 1, "key": "no hex"},
        {"do": ["cancel"]},
    ],
)
def test_what_is_no_order_is_answered_as_such(world, order):
    assert set(ControlServer(world.worker).obey(order)) == {"error"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["cancel", "clients"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["do", "show", "pid", "key"]), inner)
    ),
    max_leaves=5,
)


@given(json_values)
def test_no_order_raises(order):
    answer = ControlServer(World(servers=1).worker).obey(order)
    assert set(answer) <= {"done", "error", "rows"}
    json.dumps(answer)


async def exchange(path, sent):
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(sent)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("sent", [b"", b"\n", b"garbage\n", b"\xff\xfe\n", b"{" * LIMIT * 3, b'{"do": 1}'])
def test_lines_that_are_garbage_end_their_connection_only(world, tmp_path, sent):
    control = ControlServer(world.worker)
    failures = []

    async def play():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        server = await asyncio.start_unix_server(control.serve, str(socket_path(tmp_path, 0)), limit=LIMIT)
        async with server:
            await exchange(socket_path(tmp_path, 0), sent)
            return await exchange(socket_path(tmp_path, 0), b'{"do": "close_idle"}\n')

    assert json.loads(asyncio.run(play())) == {"done": True}
    assert not failures


class Alone:
    """A worker with siblings, as far as they know it."""

    def __init__(self, count):
        self.number = 0
        self.count = count
        self.tasks = []

    def start(self, work):
        self.tasks.append(asyncio.get_running_loop().create_task(work))


def test_siblings_that_answer_are_heard_and_others_are_counted(world, tmp_path):
    async def play():
        server = await asyncio.start_unix_server(
            ControlServer(world.worker).serve, str(socket_path(tmp_path, 1))
        )
        siblings = Siblings(Alone(3), tmp_path)
        async with server:
            answers = await siblings.ask({"do": "close_idle"})
        return answers, siblings.unanswered

    assert asyncio.run(play()) == ([{"done": True}], 1)


def test_a_cancel_is_passed_on_to_the_others(world, tmp_path):
    client = connected(world)

    async def play():
        server = await asyncio.start_unix_server(
            ControlServer(world.worker).serve, str(socket_path(tmp_path, 1))
        )
        alone = Alone(2)
        siblings = Siblings(alone, tmp_path)
        async with server:
            siblings.cancel(client.pid, client.key)
            await asyncio.gather(*alone.tasks)
        return siblings.unanswered

    assert asyncio.run(play()) == 0
    assert world.worker.cancels == 1
