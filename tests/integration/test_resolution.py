"""What became of a COMMIT, on real clusters: every row of the table that a test can bring about."""

import contextlib
import os
import signal

import psycopg
import pytest
from psycopg import errors

from seawall.embedded import Cluster
from tests.integration.field import WAIT_S, Field, later

pytestmark = pytest.mark.timeout(60)

TABLE = "CREATE TABLE item (who text, n int)"


@pytest.fixture(scope="module")
def field(engine):
    """A primary with two synchronous standbys, one of which takes its place."""
    with Cluster.create(engine=engine, replicas=2, synchronous=True) as cluster, Field(cluster) as field:
        field.sql(TABLE)
        yield field


@pytest.fixture(scope="module")
def alone(engine):
    """A server that nobody can replace; its WAL is not written before it has to be."""
    settings = {"wal_writer_delay": "10s", "autovacuum": "off"}
    with Cluster.create(engine=engine, settings=settings) as cluster, Field(cluster) as field:
        field.sql(TABLE)
        yield field


@contextlib.contextmanager
def writing(field, who, *before, database="postgres"):
    """A client that has written and not committed."""
    conn = field.connect(database)
    try:
        for one in before:
            conn.execute(one)
        conn.execute("INSERT INTO item VALUES (%s, 1) -- of " + who, (who,))
        yield conn
    finally:
        conn.close()


def count(field, who):
    return field.sql("SELECT count(*) FROM item WHERE who = %s", who)[0][0]


# --- promotions ---------------------------------------------------------------------------------------------


def test_a_commit_that_was_replicated_is_answered(field):
    field.settle()
    old = field.primary
    for node in field.replicas:
        field.sql("SELECT pg_wal_replay_pause()", node=node)
    with writing(field, "replicated", "SET LOCAL synchronous_commit = remote_apply") as conn:
        answer = later(conn.commit)
        field.waiting("SyncRep")
        old.kill()
        answer.result(WAIT_S)
        assert conn.execute("SELECT 1").fetchone() == (1,)
    field.replaced(old.name)
    assert count(field, "replicated") == 1
    assert field.show("replays")[-1]["outcome"] == "commit"
    for node in field.replicas:
        if node.is_running and node.name != old.name:
            field.sql("SELECT pg_wal_replay_resume()", node=node)


def test_commits_that_were_lost_are_made_again_though_their_numbers_are_used_by_others(field):
    field.settle()
    old = field.primary
    names = [f"lost {number}" for number in range(3)]
    with field.stopped(old, "walsender"), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(writing(field, who)) for who in names]
        without = stack.enter_context(writing(field, "unresolved", database="off"))
        answers = [later(conn.commit) for conn in clients]
        unknown = later(without.commit)
        lost = {row[0] for row in field.waiting("SyncRep", 4)}
        old.kill()
        for answer in answers:
            answer.result(WAIT_S)
        with pytest.raises(errors.TransactionResolutionUnknown):
            unknown.result(WAIT_S)
    field.replaced(old.name)
    assert [count(field, who) for who in names] == [1, 1, 1]
    assert count(field, "unresolved") == 0
    # The fault bites: a server that is asked for a lost transaction tells of another one.
    again = {row[0] for row in field.sql("SELECT xmin::text FROM item WHERE who LIKE 'lost %'")}
    assert again & lost
    for number in again & lost:
        assert field.sql("SELECT pg_xact_status(%s::xid8)", number) == [("committed",)]
    resolved = [row for row in field.show("replays") if row["way"] == "replay"]
    assert len([row for row in resolved if "cut at" in row["reason"]]) == 3


# --- one server ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def held(field, who, *before):
    """A client whose COMMIT waits for a standby that isn't there."""
    field.settle()
    field.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    field.sql("SELECT pg_reload_conf()")
    field.until(lambda: field.sql("SHOW synchronous_standby_names") == [("nobody",)])
    try:
        with writing(field, who, *before) as conn:
            answer = later(conn.commit)
            field.waiting("SyncRep")
            yield conn, answer
    finally:
        field.settle()
        let_go(field)


def let_go(field):
    """Nobody has to wait for a standby any more."""
    field.sql("ALTER SYSTEM RESET synchronous_standby_names")
    field.sql("SELECT pg_reload_conf()")


def killed(field, pid):
    """Kill one of the server's processes, of which it makes a crash of all, and wait until that is known."""
    before = field.topology.recoveries
    os.kill(pid, signal.SIGKILL)
    field.until(lambda: field.topology.recoveries != before)


def crash(field):
    """A crash that no client has a part in."""
    ((pid,),) = field.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    killed(field, pid)


def terminated(field):
    field.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")


def restarted(field):
    field.primary.restart("fast")


@pytest.mark.parametrize("loss", [terminated, crash, restarted])
def test_a_commit_that_was_written_is_answered(alone, loss):
    who = f"written, {loss.__name__}"
    with held(alone, who) as (conn, answer):
        loss(alone)
        alone.settle()
        alone.waiting("SyncRep")  # it is committed here, and nobody is told before it is where it has to be
        assert not answer.done()
        let_go(alone)
        answer.result(WAIT_S)
        assert conn.execute("SELECT 1").fetchone() == (1,)
        conn.rollback()
    assert count(alone, who) == 1
    assert alone.show("replays")[-1]["outcome"] == "commit"


def nothing(field):
    """Nothing happens."""


@contextlib.contextmanager
def deaf(field, who, *before, end="COMMIT", wrote=True, meanwhile=nothing):
    """A client whose COMMIT is sent to a backend that stands still."""
    field.settle()
    conn = field.connect()
    with contextlib.closing(conn):
        for one in before:
            conn.execute(one)
        mark = f"INSERT INTO item VALUES ('{who}', 1)" if wrote else f"SELECT 1 AS {who}"
        conn.execute(mark)
        meanwhile(field)
        idle = (
            "SELECT pid, client_port FROM pg_stat_activity"
            " WHERE state = 'idle in transaction' AND pid <> pg_backend_pid()"
        )
        ((pid, port),) = field.until(lambda: field.sql(idle))
        os.kill(pid, signal.SIGSTOP)
        try:
            answer = later(conn.execute, end)
            field.unread(port)
            yield conn, answer, pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def ended(field, pid):
    """The backend ends before it reads."""
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("loss", [killed, ended])
@pytest.mark.parametrize("flushed", [True, False], ids=["in the log", "not in the log"])
def test_a_commit_that_was_not_read_is_made_again(alone, loss, flushed):
    who = f"not read, {loss.__name__}, {flushed}"
    with deaf(alone, who) as (_, answer, pid):
        if flushed:
            alone.sql("SELECT pg_switch_wal()")
        loss(alone, pid)
        assert answer.result(WAIT_S).statusmessage == "COMMIT"
    assert count(alone, who) == 1
    assert alone.show("replays")[-1]["outcome"] == "done"


def test_a_commit_behind_a_replay_is_resolved_as_any_other(alone):
    """The server is lost twice: with the transaction open, and with the COMMIT of what was said again."""
    with deaf(alone, "twice", meanwhile=crash) as (_, answer, pid):
        killed(alone, pid)
        assert answer.result(WAIT_S).statusmessage == "COMMIT"
    assert count(alone, "twice") == 1


def test_a_commit_that_was_not_written_is_lost_and_counted(alone):
    """S >= T after a crash: with synchronous_commit off, what was acknowledged is gone."""
    alone.settle()
    with writing(alone, "not written", "SET LOCAL synchronous_commit = off") as conn:
        conn.commit()
        crash(alone)
        alone.settle()
        assert count(alone, "not written") == 0
        assert conn.execute("SELECT count(*) FROM item WHERE who = 'not written'").fetchone() == (0,)


def test_a_commit_that_changed_nothing_is_answered(alone):
    with deaf(alone, "nothing", wrote=False) as (conn, answer, pid):
        killed(alone, pid)
        assert answer.result(WAIT_S).statusmessage == "COMMIT"
        assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("before", "wrote"),
    [
        (["COMMIT; BEGIN; INSERT INTO item VALUES ('anew', 1)"], False),
        (["INSERT INTO item VALUES ('first', 1)", "COMMIT AND CHAIN"], True),
        (["INSERT INTO item VALUES ('first', 1)", "COMMIT; BEGIN"], True),
    ],
    ids=["a text", "a chain", "a text behind a change"],
)
def test_what_begins_behind_a_commit_is_not_taken_for_what_that_committed(alone, before, wrote):
    with deaf(alone, "anew", *before, wrote=wrote) as (_, answer, pid):
        killed(alone, pid)
        with pytest.raises(errors.Error):
            answer.result(WAIT_S)
    assert count(alone, "anew") == 0


@pytest.mark.parametrize(
    ("before", "end"),
    [(["NOTIFY channel"], "COMMIT"), ([], "PREPARE TRANSACTION 'both'"), ([], "COMMIT AND CHAIN")],
    ids=["notify", "two-phase", "chain"],
)
def test_what_nobody_can_know_is_told(alone, before, end):
    wrote = "PREPARE" in end or "CHAIN" in end
    with deaf(alone, "unknown", *before, end=end, wrote=wrote) as (conn, answer, pid):
        killed(alone, pid)
        with pytest.raises(errors.TransactionResolutionUnknown):
            answer.result(WAIT_S)
        assert conn.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert count(alone, "unknown") == 0
