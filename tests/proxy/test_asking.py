"""Our question within a batch that is said in one go: as it is said message by message."""

import pytest

from seawall.proxy.client import Client
from seawall.proxy.ledger import Ledger
from seawall.proxy.owed import (
    SAMPLE_BATCH,
    SAMPLE_BATCH_TAIL,
    SAMPLE_COLUMNS,
    SAMPLE_FLUSHED,
    SAMPLE_QUERY,
    SAMPLE_TAIL,
)
from seawall.proxy.reported import reported_of
from seawall.proxy.server import BROKEN, Server
from seawall.proxy.session_settings import EMPTY
from seawall.proxy.settings import Backend, ProxySettings, Replay, ReplayMode
from seawall.proxy.shared import Block
from seawall.proxy.topology import NodeRole, NodeView, Phase, Topology
from seawall.proxy.worker import Worker
from seawall.wire.pgwire import messages

TRACKED = Topology(1, Phase.SERVING, "a", False, 1, 1, (NodeView("a", NodeRole.PRIMARY, 1, 1, 1.0),))
SEVERAL = Topology(1, Phase.SERVING, "a", True, 1, 1, (NodeView("a", NodeRole.PRIMARY, 1, 1, 1.0),))
REST = messages.describe_portal("") + messages.execute() + messages.sync()
SAMPLE_ROW = messages.data_row([b"777", b"0/171A440", None])
ASKED = messages.BIND_COMPLETE + SAMPLE_ROW + SAMPLE_BATCH_TAIL
ENDS = {"COMMIT", "END"}
TAGS = {"BEGIN": "BEGIN", "UPDATE": "UPDATE 1", "COMMIT": "COMMIT", "SELECT": "SELECT 1", "END": "COMMIT"}


class Transport:
    """Takes everything, by its own ``write``."""

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(bytes(data))

    def get_write_buffer_size(self):
        return 1

    def is_closing(self):
        return False

    def pause_reading(self):
        """Nothing reads."""

    resume_reading = abort = close = pause_reading

    def get_extra_info(self, name):
        return None

    def said(self):
        data = b"".join(self.written)
        self.written.clear()
        return data


class Pair:
    """One client with a journal, before one server."""

    def __init__(self, topology=TRACKED, max_statements=200):
        told = ProxySettings(backends=(Backend(name="a", host="h"),), replay=Replay(mode=ReplayMode.ON))
        worker = Worker(told, 0, 1, Block().row(0), b"k")
        worker.topology = topology
        worker.start = lambda coroutine: coroutine.close()
        pool = worker.pool_for("u", "d")
        self.server = Server(Transport(), pool.idle_sink, max_statements)
        self.server.pool, self.server.backend = pool, told.backends[0]
        self.server.applied, self.server.parameters = EMPTY, reported_of({})
        worker.sampling.equip(self.server)
        pool.opening += 1
        worker.backends.take(0.0)
        pool.opened(self.server)
        self.client = Client(Transport(), worker, pool, Ledger("u"))
        worker.enrol(self.client, long_key=False)
        self.client.parameters = self.server.parameters
        self.open = False

    def say(self, data, pieces):
        """Say a batch in so many pieces; what the server hears."""
        cut = len(data) - 3 if pieces > 1 else len(data)
        self.client.data_received(data[:cut])
        if data[cut:]:
            self.client.data_received(data[cut:])
        return self.server.transport.said()

    def answer(self, sql, heard, *, prepared=False):
        """Answer it as a server would; what the client hears, and the sample."""
        word = sql.partition(" ")[0]
        self.open = word == "BEGIN" or (self.open and word not in ENDS)
        parsed = b"" if prepared else messages.PARSE_COMPLETE
        theirs = messages.BIND_COMPLETE + messages.NO_DATA + messages.command_complete(TAGS[word])
        asked = (messages.PARSE_COMPLETE if b"seawall_sample\0SELECT" in heard else b"") + ASKED
        at = heard.find(SAMPLE_BATCH)
        if at >= 0 and word not in ENDS:
            theirs += asked
        elif at >= 0 and heard.startswith(messages.parse("", sql)):
            parsed += asked
        elif at >= 0:
            parsed = asked + parsed
        self.server.data_received(parsed + theirs + messages.ready_for_query(b"T" if self.open else b"I"))
        assert not self.server.pending
        assert not self.server.sampling
        return self.client.transport.said()


def batch(sql):
    return messages.parse("", sql) + messages.bind("", "", []) + REST


TRANSACTIONS = [
    (["BEGIN", "UPDATE t SET a = 1", "SELECT 1", "UPDATE t SET a = 2", "COMMIT"], [1]),
    (["BEGIN", "SELECT 1", "COMMIT"], []),
    (["BEGIN", "SELECT f()", "END"], [2]),
    (["BEGIN", "SELECT f()", "UPDATE t SET a = 1", "COMMIT"], [2]),
    (["BEGIN", "SELECT f()", "SELECT 1", "COMMIT"], [3]),
    (["BEGIN", "SELECT 1", "SELECT f()", "COMMIT", "BEGIN", "SELECT 1", "COMMIT"], [3]),
    (["BEGIN", "COMMIT"], []),
    (["COMMIT"], []),
    (["UPDATE t SET a = 1"], []),
]


@pytest.mark.parametrize(("texts", "asked"), TRANSACTIONS)
def test_a_batch_said_in_one_go_is_said_as_message_by_message(texts, asked):
    one, two = Pair(), Pair()
    for _ in range(2):  # the question is prepared in the first transaction
        for at, sql in enumerate(texts):
            heard = [pair.say(batch(sql), pieces) for pieces, pair in enumerate((one, two), start=1)]
            if sql in ENDS:  # ahead of the Bind is said ahead of the Parse, if it is said in one go
                parse = messages.parse("", sql)
                question = heard[0].removesuffix(batch(sql))
                assert heard[1] == parse + question + batch(sql).removeprefix(parse)
            else:
                assert heard[0] == heard[1]
            assert (SAMPLE_BATCH in heard[0]) is (at in asked)
            assert (SAMPLE_FLUSHED in heard[0]) is (at in asked and sql in ENDS)
            told = [pair.answer(sql, data) for pair, data in zip((one, two), heard, strict=True)]
            assert told[0] == told[1]
            assert b"777" not in told[0]
            if at in asked and sql != texts[-1]:
                assert one.server.journal.sample == two.server.journal.sample == SAMPLE_ROW[5:]


@pytest.mark.parametrize(("texts", "asked"), TRANSACTIONS)
@pytest.mark.parametrize("most", [200, 1, 2])
def test_named_statements_are_asked_about_as_well(texts, asked, most):
    one, two = Pair(max_statements=most), Pair(max_statements=most)
    for pair in (one, two):
        for name, sql in enumerate(texts):
            pair.say(messages.parse(f"s{name}", sql) + messages.sync(), 1)
            pair.server.data_received(
                messages.CLOSE_COMPLETE * (len(pair.server.pending) - 2)
                + messages.PARSE_COMPLETE
                + messages.ready_for_query(b"I")
            )
        pair.client.transport.said()
    for _ in range(2):
        for at, sql in enumerate(texts):
            data = messages.bind("", f"s{at}", []) + REST
            heard = [pair.say(data, pieces) for pieces, pair in enumerate((one, two), start=1)]
            assert heard[0] == heard[1]
            assert (SAMPLE_BATCH in heard[0]) is (at in asked)
            if most < len(texts) + 1:
                return  # who has no room closes and prepares; that it says the same is what matters
            told = [
                pair.answer(sql, data, prepared=True) for pair, data in zip((one, two), heard, strict=True)
            ]
            assert told[0] == told[1]


def test_nothing_is_asked_where_servers_have_histories_of_their_own():
    pair = Pair(topology=SEVERAL)
    for sql in TRANSACTIONS[0][0]:
        heard = pair.say(batch(sql), 1)
        assert SAMPLE_BATCH not in heard
        pair.answer(sql, heard)


SIMPLE_TRANSACTIONS = [
    (["BEGIN", "UPDATE t SET a = 1", "SELECT 1", "UPDATE t SET a = 2", "COMMIT"], {2: "batch"}),
    (["BEGIN", "UPDATE t SET a = 1", "COMMIT"], {2: "query"}),
    (["BEGIN", "SELECT f()", "END"], {2: "query"}),
    (["BEGIN", "UPDATE t SET a = 1", "UPDATE t SET a = 2", "CREATE TABLE u ()", "COMMIT"], {2: "batch"}),
    (["BEGIN", "UPDATE t SET a = 1", "CREATE TABLE u ()", "COMMIT"], {2: "batch"}),
    (["BEGIN", "SELECT 1", "COMMIT"], {}),
    (["UPDATE t SET a = 1", "SELECT 1"], {}),
]


@pytest.mark.parametrize(("texts", "asked"), SIMPLE_TRANSACTIONS)
def test_ahead_of_what_follows_the_first_change_and_of_a_commit(texts, asked):
    pair = Pair()
    server, told = pair.server, pair.client.transport
    for number in range(2):
        pair.client.asks_behind = False
        for at, sql in enumerate(texts):
            heard = pair.say(messages.query(sql), 1)
            question = heard.removesuffix(messages.query(sql))
            word = sql.partition(" ")[0]
            pair.open = word == "BEGIN" or (pair.open and word not in ENDS)
            answer = messages.command_complete(TAGS.get(word, "CREATE TABLE"))
            answer += messages.ready_for_query(b"T" if pair.open else b"I")
            if asked.get(at) == "batch":
                assert question.endswith(SAMPLE_BATCH)
                assert (server.statements[b"seawall_sample"], b"SELECT" in question) == (True, number == 0)
                parsed = messages.PARSE_COMPLETE if number == 0 else b""
                server.data_received(parsed + ASKED + answer)
            elif asked.get(at) == "query":
                assert question == SAMPLE_QUERY
                server.data_received(SAMPLE_COLUMNS + SAMPLE_ROW + SAMPLE_TAIL)
                assert (told.said(), server.journal.sample) == (b"", SAMPLE_ROW[5:])
                server.data_received(answer)
            else:
                assert question == b""
                server.data_received(answer)
            assert told.said() == answer
            assert (list(server.pending), server.sampling) == ([], 0)
            assert bool(server.journal.sample) is (bool(asked) and pair.open and at >= min(asked))
            assert server.free is not pair.open


def test_what_came_behind_the_first_change_last_time_tells_where_to_ask():
    pair = Pair()
    update, select, commit = map(messages.query, ("UPDATE t SET a = 1", "SELECT 1", "COMMIT"))

    def run(*texts):
        said = [pair.say(messages.query("BEGIN"), 1)]
        pair.server.data_received(messages.command_complete("BEGIN") + messages.ready_for_query(b"T"))
        for text in texts:
            said.append(pair.say(text, 1))
            answer = messages.command_complete("COMMIT" if text == commit else "SELECT 1")
            answer += messages.ready_for_query(b"I" if text == commit else b"T")
            if said[-1].startswith(SAMPLE_QUERY):
                answer = SAMPLE_COLUMNS + SAMPLE_ROW + SAMPLE_TAIL + answer
            elif said[-1].endswith(SAMPLE_QUERY):
                answer += SAMPLE_COLUMNS + SAMPLE_ROW + SAMPLE_TAIL
            elif SAMPLE_BATCH in said[-1]:
                answer = (messages.PARSE_COMPLETE if b"SELECT pg" in said[-1] else b"") + ASKED + answer
            pair.server.data_received(answer)
        assert (list(pair.server.pending), pair.server.sampling, pair.server.free) == ([], 0, True)
        return said[1:]

    assert run(update, commit) == [update + SAMPLE_QUERY, commit]
    assert run(update, select, commit) == [update + SAMPLE_QUERY, select, commit]
    first = run(update, select, update, commit)
    assert (first[0], first[1].endswith(SAMPLE_BATCH + select), first[2:]) == (update, True, [update, commit])
    assert run(update, select, commit) == [update, SAMPLE_BATCH + select, commit]
    assert run(update, commit) == [update, SAMPLE_QUERY + commit]
    assert run(update, commit) == [update + SAMPLE_QUERY, commit]


def test_nothing_is_asked_while_it_is_not_known_how_the_change_went():
    pair = Pair()
    pair.client.asks_behind = False
    begun = messages.command_complete("BEGIN") + messages.ready_for_query(b"T")
    pair.say(messages.query("BEGIN"), 1)
    pair.server.data_received(begun)
    pair.say(messages.query("UPDATE t SET a = 1"), 1)
    assert pair.say(messages.query("SELECT 1"), 1) == messages.query("SELECT 1")
    failed = messages.error_response("23505", "no") + messages.ready_for_query(b"E")
    pair.server.data_received(failed + failed)
    assert pair.say(messages.query("SELECT 2"), 1) == messages.query("SELECT 2")


def test_a_server_that_fails_at_our_question_is_given_up():
    pair = Pair()
    pair.client.asks_behind = False
    for sql in ("BEGIN", "UPDATE t SET a = 1"):
        pair.say(messages.query(sql), 1)
        tag = TAGS[sql.partition(" ")[0]]
        pair.server.data_received(messages.command_complete(tag) + messages.ready_for_query(b"T"))
    pair.client.transport.said()
    assert SAMPLE_BATCH in pair.say(messages.query("SELECT 1"), 1)
    pair.server.data_received(messages.error_response("57014", "canceling statement due to user request"))
    assert pair.server.state == BROKEN  # it would skip the client's Query, and whatever else but a Sync
    assert pair.client.transport.said() == b""
    assert pair.client.rescue is not None
