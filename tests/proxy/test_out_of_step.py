"""Whoever breaks the protocol harms nobody else: broken servers are cut, broken clients are refused."""

import pytest

from seawall.proxy import owed
from seawall.proxy.errands import Batch
from seawall.proxy.naming import CLOSED
from seawall.proxy.server import BROKEN, Server
from seawall.wire.pgwire import framing, messages
from seawall.wire.pgwire.framing import HEADER, SHORT_BYTES
from tests.proxy.test_client_relay import World
from tests.proxy.test_server import Listener, Wire

READY = messages.ready_for_query(b"I")


def message(kind, body=b""):
    return HEADER.pack(ord(kind), 4 + len(body)) + body


@pytest.mark.parametrize(
    ("pending", "data"),
    [
        ([], READY),
        ([], message("1")),
        ([], message("C", b"SELECT 1\0")),
        ([], message("G", b"\0\0\0")),
        ([], message("?")),
        ([], HEADER.pack(ord("D"), 100) + b"part"),
        ([owed.SIMPLE], message("Z")),
        ([owed.SIMPLE], message("Z", b"II")),
        ([owed.SIMPLE], READY + READY),
        ([owed.BOUND, owed.SYNCED], READY),
        ([owed.SIMPLE], HEADER.pack(ord("C"), 3)),
        ([owed.SIMPLE], READY + HEADER.pack(ord("D"), 100) + b"part"),
    ],
)
def test_a_server_out_of_step_is_cut_and_its_chunk_dropped(pending, data):
    listener, wire = Listener(), Wire()
    server = Server(wire, listener, 10)
    server.pending.extend(pending)
    server.data_received(data)
    assert listener.calls == ["lost"]
    assert listener.data == b""
    assert server.state == BROKEN
    assert not server.free
    server.connection_lost(None)
    assert listener.calls == ["lost"]


@pytest.mark.parametrize("body", [b"", b"name\0", b"name", b"a\0b\0c\0"])
def test_a_malformed_parameter_cuts_its_server_and_tells_the_client(body):
    world = World(clients=1, servers=1)
    world.say(0, messages.query("begin"))
    world.ends[0].server.data_received(message("S", body))
    assert world.clients[0].state == CLOSED
    assert world.heard(0)[-1] == ("E", "08006")
    assert not world.pool.servers


def test_a_notice_behind_the_last_answer_reaches_nobody_in_part():
    world = World(clients=1, servers=1)
    server = world.ends[0].server
    world.clients[0].data_received(messages.query("rows 1"))
    notice = message("N", b"SNOTICE\0C00000\0Mhello\0\0")
    answers, world.ends[0].answers = world.ends[0].answers, b""
    server.data_received(answers + notice[:10])
    assert bytes(world.clients[0].transport.written) == answers
    assert server in world.pool.idle
    server.data_received(notice[10:])
    assert bytes(world.clients[0].transport.written) == answers
    world.say(0, messages.query("rows 1"))
    assert bytes(world.clients[0].transport.written) == answers * 2


def test_a_client_in_the_middle_of_a_row_is_closed_without_a_word():
    world = World(clients=1, servers=1)
    client, end = world.clients[0], world.ends[0]
    client.data_received(messages.query("rows 1"))
    answers, end.answers = end.answers, b""
    cut = answers.index(b"xxxxx") + 2
    end.server.data_received(answers[:cut])
    world.worker.close_client(client, "57P01", "the proxy is shutting down")
    assert bytes(client.transport.written) == answers[:cut]
    assert client.transport.closed


def test_a_server_lost_in_the_middle_of_a_row_closes_its_client_without_a_word():
    world = World(clients=1, servers=1)
    client, end = world.clients[0], world.ends[0]
    client.data_received(messages.query("rows 1"))
    answers, end.answers = end.answers, b""
    cut = answers.index(b"xxxxx") + 2
    end.server.data_received(answers[:cut])
    end.server.connection_lost(None)
    assert bytes(client.transport.written) == answers[:cut]
    assert client.state == CLOSED


def test_a_server_that_skips_to_a_sync_is_not_free():
    """A Query behind a failed message is skipped too: only a Sync ends that."""
    world = World(clients=1, servers=1)
    end = world.ends[0]
    world.say(0, messages.describe_statement("none") + messages.query("rows 1"))
    assert end.model.skipping
    assert not end.server.free
    assert end.server not in world.pool.idle
    world.say(0, messages.sync())
    assert world.heard(0) == [("E", "26000"), ("Z", b"I")]
    assert end.server in world.pool.idle


def test_a_query_in_its_own_chunk_ends_what_a_lone_parse_began():
    world = World(clients=1, servers=1)
    world.say(0, messages.parse("", "rows 1") + messages.flush())
    assert world.ends[0].server not in world.pool.idle
    world.say(0, messages.query("rows 1"))
    assert world.ends[0].server in world.pool.idle


@pytest.mark.parametrize(
    "data",
    [
        message("H", b"x"),
        message("S", b"x"),
        message("c", b"x"),
        HEADER.pack(framing.CLOSE, SHORT_BYTES + 1),
        HEADER.pack(framing.QUERY, 0x3FFFFFFF),
        HEADER.pack(framing.COPY_DATA, 0x3FFFFFFF),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
def test_what_would_make_a_server_complain_out_of_turn_never_reaches_one(data, begun):
    world = World(clients=1, servers=1)
    if begun:
        world.say(0, messages.query("begin"))
    before = len(world.ends[0].model.seen)
    world.say(0, data)
    assert world.clients[0].state == CLOSED
    assert world.heard(0)[-1] == ("E", "08P01")
    # What the proxy itself says when it cleans up or closes is all that comes.
    after = [(letter, body) for letter, body in world.ends[0].model.seen[before:] if letter != "X"]
    assert {body for _, body in after} <= {b"ROLLBACK\0", b"DISCARD ALL\0"}


@pytest.mark.parametrize("kind", ["P", "B", "D", "C", "E"])
def test_a_message_without_a_body_is_refused_by_somebody(kind):
    world = World(clients=1, servers=1)
    data = message(kind) + messages.sync()
    try:
        world.say(0, data)
    except messages.ProtocolViolation:  # the model's way of saying that it got it as it is
        assert kind in "DCE"
        return
    assert world.heard(0)[-1] == ("E", "08P01")


def test_names_of_shared_statements_are_nobody_elses():
    world = World(clients=2, servers=1)
    world.say(0, messages.parse("mine", "rows 1") + messages.sync())
    assert b"seawall_1" in world.ends[0].model.statements
    world.say(1, messages.close_statement("seawall_1") + messages.sync())
    world.say(1, messages.bind("", "seawall_1", []) + messages.sync())
    world.say(1, messages.describe_statement("seawall_1") + messages.sync())
    assert world.heard(1) == [("3", 0), ("Z", b"I")] + [("E", "26000"), ("Z", b"I")] * 2
    world.say(0, messages.bind("", "mine", []) + messages.execute() + messages.sync())
    assert ("C", b"SELECT 1\0") in world.heard(0)


def test_what_is_said_between_an_error_and_a_sync_is_owed_nothing():
    world = World(clients=2, servers=1)
    world.say(0, messages.parse("a", "rows 1") + messages.sync())
    world.say(0, messages.describe_statement("none") + messages.flush())
    said = messages.parse("b", "rows 3") + messages.bind("", "b", []) + messages.close_statement("a")
    world.say(0, said + messages.execute() + messages.flush())
    world.say(0, messages.query("rows 1"))
    world.say(0, messages.sync())
    assert world.heard(0) == [("1", 0), ("Z", b"I"), ("E", "26000"), ("Z", b"I")]
    world.say(0, messages.bind("", "b", []) + messages.sync())
    world.say(0, messages.bind("", "a", []) + messages.execute() + messages.sync())
    assert [letter for letter, _ in world.heard(0)[4:]] == ["E", "Z", "2", "D", "C", "Z"]
    assert world.ends[0].server in world.pool.idle


@pytest.mark.parametrize("begin", ["simple", "extended"])
def test_what_is_no_data_ends_a_copy_and_is_lost_with_it(begin):
    world = World(clients=1, servers=1)
    extended = messages.parse("", "copyin") + messages.bind("", "", []) + messages.execute()
    world.say(0, messages.query("copyin") if begin == "simple" else extended + messages.flush())
    assert world.ends[0].server.copying
    world.say(0, messages.describe_statement("none"))
    world.say(0, messages.sync())
    assert world.heard(0)[-1] == ("Z", b"I")
    assert [one for one in world.heard(0) if one[0] == "E"] == [("E", "57014")]
    assert world.ends[0].server in world.pool.idle


def test_a_sync_within_a_copy_that_was_a_query_is_owed_nothing():
    world = World(clients=1, servers=1)
    data = b"d\0\0\0\x08rows" + messages.sync() + b"c\0\0\0\4"
    world.say(0, messages.query("copyin") + messages.sync() + data + messages.query("rows 1"))
    assert [letter for letter, _ in world.heard(0)] == ["G", "C", "Z", "T", "D", "C", "Z"]
    assert world.ends[0].server in world.pool.idle


def test_an_unnamed_statement_is_nobody_elses():
    world = World(clients=2, servers=1)
    world.say(0, messages.parse("", "rows 1") + messages.sync())
    world.say(1, messages.bind("", "", []) + messages.execute() + messages.sync())
    assert world.heard(1) == [("E", "26000"), ("Z", b"I")]
    world.say(0, messages.bind("", "", []) + messages.execute() + messages.sync())
    assert ("C", b"SELECT 1\0") in world.heard(0)


def test_a_question_of_the_proxy_does_not_cost_a_client_its_unnamed_statement():
    world = World(clients=1, servers=1)
    world.say(0, messages.parse("", "rows 1") + messages.sync())
    Batch(world.ends[0].server, messages.query("rows 1"), 1, lambda batch: world.pool.put(batch.server))
    world.pool.idle.clear()
    world.pump()
    world.say(0, messages.bind("", "", []) + messages.execute() + messages.sync())
    assert ("C", b"SELECT 1\0") in world.heard(0)


def test_an_unnamed_statement_is_what_it_was_when_two_parses_in_a_row_are_skipped():
    world = World(clients=1, servers=1)
    failing = messages.execute("none") + messages.parse("", "rows 3") + messages.sync()
    world.say(0, messages.parse("", "rows 1") + messages.sync())
    world.say(0, failing + failing)
    world.say(0, messages.bind("", "", []) + messages.execute() + messages.sync())
    assert ("C", b"SELECT 1\0") in world.heard(0)
    assert ("C", b"SELECT 3\0") not in world.heard(0)


def forgetful_world(sql, clients=1):
    """A world whose one server forgets its named statements at a text."""
    world = World(clients=clients, servers=1)
    model = world.ends[0].model
    run = model.run

    def forgetful(text, *, simple):
        if text == sql:
            model.statements = {name: said for name, said in model.statements.items() if not name}
            return messages.command_complete(sql.upper()), ""
        if text.startswith("SELECT"):
            return messages.command_complete("SELECT 0"), ""
        return run(text, simple=simple)

    model.run = forgetful
    return world


def called(name):
    return messages.bind("", name, []) + messages.execute()


@pytest.mark.parametrize("sql", ["DISCARD ALL", "deallocate all"])
@pytest.mark.parametrize("chunk", [1, 1000])
def test_names_behind_one_that_frees_all_wait_until_it_is_known_what_it_did(sql, chunk):
    world = forgetful_world(sql)
    use = messages.parse("a", "rows 1") + messages.bind("", "a", []) + messages.execute() + messages.sync()
    world.say(0, use + messages.query(sql) + use + messages.query(sql) + use, chunk)
    assert [letter for letter, _ in world.heard(0)] == [*"12DCZ", *"CZ", *"12DCZ", *"CZ", *"12DCZ"]
    assert world.ends[0].server in world.pool.idle


def test_who_waits_for_an_answer_that_is_skipped_goes_on():
    """A Query behind a message that fails is skipped: who waits to know what it did would wait for ever."""
    world = World(clients=1, servers=1)
    world.say(0, messages.parse("a", "rows 1") + messages.sync())
    failing = messages.describe_statement("none") + messages.query("deallocate all")
    world.say(0, failing + messages.bind("", "a", []) + messages.sync())
    assert [letter for letter, _ in world.heard(0)] == ["1", "Z", "E", "Z"]
    world.say(0, messages.bind("", "a", []) + messages.execute() + messages.sync())
    assert ("C", b"SELECT 1\0") in world.heard(0)


FREE = messages.parse("f", "deallocate all") + called("f")


@pytest.mark.parametrize("chunk", [1, 1000])
@pytest.mark.parametrize("text", ["rows 1", "rows 3"])
@pytest.mark.parametrize("name", ["a", "b"])
def test_names_that_are_freed_may_be_taken_again_in_the_same_batch(name, text, chunk):
    world = forgetful_world("deallocate all", clients=2)
    world.say(0, messages.parse("a", "rows 1") + called("a") + messages.sync())
    batch = FREE + messages.parse(name, text) + called(name) + messages.sync()
    world.say(0, batch + called(name) + messages.sync(), chunk)
    rows = "D" * int(text[-1])
    assert [letter for letter, _ in world.heard(0)] == [*"12DCZ", *"12C", *f"12{rows}CZ", *f"2{rows}CZ"]
    for mine in ("c1", "c3", "d1", "d3"):  # nobody else trips over what the server has, or lacks
        world.say(1, messages.parse(mine, f"rows {mine[-1]}") + called(mine) + messages.sync())
    assert [letter for letter, _ in world.heard(1)] == [*"12DCZ", *"12DDDCZ"] * 2
    assert world.ends[0].server in world.pool.idle


@pytest.mark.parametrize("chunk", [1, 1000])
def test_what_was_to_free_names_and_came_to_nothing_leaves_them(chunk):
    world = forgetful_world("deallocate all")
    world.say(0, messages.parse("a", "rows 1") + messages.sync())
    size = world.clients[0].prepared_bytes
    failing = messages.describe_statement("none") + FREE + messages.parse("a", "rows 3") + called("a")
    world.say(0, failing + messages.sync() + called("a") + messages.sync(), chunk)
    assert [letter for letter, _ in world.heard(0)] == [*"1Z", *"EZ", *"2DCZ"]
    assert world.clients[0].prepared_bytes == size
    world.say(0, messages.parse("a", "rows 1") + messages.sync())
    assert world.heard(0)[-2:] == [("E", "42P05"), ("Z", b"I")]


def test_names_that_are_bound_to_be_freed_are_not_until_that_is_executed():
    world = forgetful_world("deallocate all")
    world.say(0, messages.parse("a", "rows 1") + messages.parse("f", "deallocate all") + messages.sync())
    world.say(0, messages.bind("", "f", []) + called("a") + messages.sync())
    assert [letter for letter, _ in world.heard(0)] == [*"11Z", *"22DCZ"]
    assert set(world.clients[0].statements) == {b"a", b"f"}


@pytest.mark.parametrize("portal", ["", "p"])
def test_names_are_forgotten_whatever_the_portal_is_called(portal):
    world = forgetful_world("deallocate all")
    world.say(0, messages.parse("a", "rows 1") + messages.parse("f", "deallocate all") + messages.sync())
    world.say(0, messages.bind(portal, "f", []) + messages.execute(portal) + messages.sync())
    assert world.clients[0].statements is None
    assert not world.ends[0].server.statements
