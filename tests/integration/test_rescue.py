"""The primary is killed under clients of all kinds: what they had begun goes on, or they are told exactly.

All scenarios share one loss: each runs up to its ``yield``, the primary's processes are killed, each goes on.
"""

import asyncio
import contextlib

import asyncpg
import psycopg
import psycopg2
import pytest
from psycopg import errors

from seawall.wire.pgwire import messages
from tests.integration.field import WAIT_S, Field, later
from tests.proxy.raw import RawClient

pytestmark = pytest.mark.timeout(60)

SCENARIOS = []
TABLES = """
    CREATE TABLE item (id serial PRIMARY KEY, who text, n int);
    CREATE TABLE gate (n int);
    CREATE TABLE plain (n int);
    INSERT INTO plain SELECT generate_series(1, 10);
"""
INSERT = "INSERT INTO item (who) VALUES (%s) RETURNING id"


@pytest.fixture(scope="module")
def field(engine):
    from seawall.embedded import Cluster

    with Cluster.create(engine=engine, replicas=2, synchronous=True) as cluster, Field(cluster) as field:
        field.sql(TABLES)
        yield field


def scenario(function):
    SCENARIOS.append(function)
    return function


def rows_of(field, who):
    return [row[0] for row in field.sql("SELECT id FROM item WHERE who LIKE %s ORDER BY id", who)]


# --- transactions that go on --------------------------------------------------------------------------------


@scenario
def psycopg_simple(field):
    with field.connect(cursor_factory=psycopg.ClientCursor) as conn:
        first = conn.execute(INSERT, ("simple 1",)).fetchone()[0]
        yield
        second = conn.execute(INSERT, ("simple 2",)).fetchone()[0]
        conn.commit()
    assert rows_of(field, "simple%") == [first, second]


@scenario
def psycopg_extended(field):
    with field.connect() as conn:
        ids = [conn.execute(INSERT, (f"extended {n}",), prepare=n > 2).fetchone()[0] for n in range(5)]
        yield
        ids.append(conn.execute(INSERT, ("extended 5",), prepare=True).fetchone()[0])
        conn.commit()
    assert rows_of(field, "extended%") == ids


@scenario
def psycopg_pipeline(field):
    insert = "INSERT INTO item (who) VALUES (%s) RETURNING who"
    with field.connect() as conn:
        with conn.pipeline() as pipeline:
            cursors = [conn.execute(insert, (f"pipeline {n}",)) for n in range(3)]
            pipeline.sync()
            assert [cursor.fetchone()[0][-1] for cursor in cursors] == ["0", "1", "2"]
            yield
            cursors = [conn.execute(insert, (f"pipeline {n}",)) for n in range(3, 6)]
            pipeline.sync()
            assert [cursor.fetchone()[0][-1] for cursor in cursors] == ["3", "4", "5"]
        conn.commit()
    assert len(rows_of(field, "pipeline%")) == 6


@scenario
def with_psycopg2(field):
    conn = psycopg2.connect(field.dsn())
    with contextlib.closing(conn), conn.cursor() as cursor:
        cursor.execute(INSERT, ("psycopg2",))
        (first,) = cursor.fetchone()
        yield
        cursor.execute("SELECT id FROM item WHERE who = 'psycopg2'")
        assert cursor.fetchone() == (first,)
        conn.commit()
    assert rows_of(field, "psycopg2") == [first]


@scenario
def with_asyncpg(field):
    loop = asyncio.new_event_loop()
    run = loop.run_until_complete
    conn = run(asyncpg.connect(field.url(), timeout=WAIT_S))
    try:
        transaction = conn.transaction()
        run(transaction.start())
        insert = "INSERT INTO item (who, n) VALUES ($1, $2) RETURNING n"
        assert run(conn.fetchval(insert, "asyncpg", 1)) == 1
        yield
        assert run(conn.fetchval(insert, "asyncpg", 2)) == 2
        run(transaction.commit())
    finally:
        run(conn.close())
        loop.close()
    assert field.sql("SELECT n FROM item WHERE who = 'asyncpg' ORDER BY id") == [(1,), (2,)]


@scenario
def savepoints_and_failed_statements(field):
    with field.connect() as conn:
        first = conn.execute(INSERT, ("savepoint 1",)).fetchone()[0]
        with pytest.raises(errors.UniqueViolation), conn.transaction():
            conn.execute("INSERT INTO item (id) VALUES (%s)", (first,))
        conn.execute("SAVEPOINT kept")
        conn.execute("UPDATE item SET n = 1 WHERE id = %s", (first,))
        yield
        conn.execute("ROLLBACK TO SAVEPOINT kept")
        conn.execute("UPDATE item SET n = 2 WHERE id = %s AND n IS NULL", (first,))
        conn.commit()
    assert field.sql("SELECT n FROM item WHERE who = 'savepoint 1'") == [(2,)]


@scenario
def a_failed_transaction(field):
    with field.connect() as conn:
        conn.execute("INSERT INTO item (who) VALUES ('failed')")
        with pytest.raises(errors.DivisionByZero):
            conn.execute("SELECT 1 / 0")
        yield
        with pytest.raises(errors.InFailedSqlTransaction):
            conn.execute("SELECT 1")
        conn.rollback()
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert rows_of(field, "failed") == []


@scenario
def a_copy(field):
    with field.connect() as conn, conn.cursor() as cursor:
        with cursor.copy("COPY item (who) FROM STDIN") as copy:
            for number in range(1000):
                copy.write_row((f"copy {number}",))
        yield
        conn.commit()
    assert len(rows_of(field, "copy%")) == 1000


@scenario
def a_cursor(field):
    with field.connect() as conn, conn.cursor("reading") as cursor:
        cursor.execute("SELECT n FROM plain ORDER BY n")
        assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
        yield
        assert cursor.fetchmany(2) == [(4,), (5,)]


@scenario
def a_statement_in_flight(field):
    with field.connect() as conn:
        conn.execute("INSERT INTO item (who) VALUES ('in flight 1')")
        answer = later(conn.execute, "INSERT INTO gate VALUES (1) RETURNING n")
        yield
        assert answer.result(WAIT_S).fetchone() == (1,)
        conn.commit()
    assert len(rows_of(field, "in flight 1")) == 1


# --- transactions that can't --------------------------------------------------------------------------------


@contextlib.contextmanager
def refused(detail):
    with pytest.raises(errors.SerializationFailure) as caught:
        yield
    assert detail in caught.value.diag.message_detail
    assert caught.value.diag.message_hint == "It is safe to run it again."


def ends_in_40001(field, detail, *statements, database="postgres"):
    with field.connect(database) as conn:
        conn.execute("INSERT INTO item (who) VALUES ('refused')")
        for one in statements:
            conn.execute(one)
        yield
        with refused(detail):
            conn.execute("SELECT 1")
        with pytest.raises(errors.InFailedSqlTransaction):
            conn.execute("SELECT 1")
        conn.rollback()
        conn.execute("SELECT 1")
        conn.commit()
    assert rows_of(field, "refused") == []


@scenario
def a_result_that_differs(field):
    yield from ends_in_40001(
        field, "statement 3 gave another result when it was run again: SELECT now()", "SELECT now(), random()"
    )


@scenario
def a_hint_not_to(field):
    yield from ends_in_40001(field, "twice, or says so", "SELECT 1 /* no_replay */")


@scenario
def what_acts_outside(field):
    yield from ends_in_40001(field, "twice, or says so", "COPY plain TO PROGRAM 'cat > /dev/null'")


@scenario
def replaying_is_off(field):
    yield from ends_in_40001(field, "replaying is off", database="off")


@scenario
def in_shadow_mode(field):
    yield from ends_in_40001(field, "would have been said again, but for shadow mode", database="shadow")
    assert any("shadow mode" in row["reason"] for row in field.show("replays"))


# --- sessions -----------------------------------------------------------------------------------------------


@scenario
def an_idle_session(field):
    with field.connect(autocommit=True) as conn:
        conn.execute("SET work_mem = '5MB'")
        conn.execute("SET TIME ZONE 'Asia/Tokyo'")
        yield
        assert conn.execute("SHOW work_mem").fetchone() == ("5MB",)
        assert conn.execute("SHOW TIME ZONE").fetchone() == ("Asia/Tokyo",)


@scenario
def a_session_that_is_held(field):
    with field.connect(autocommit=True) as conn:
        conn.execute("CREATE TEMPORARY TABLE mine (n int)")
        yield
        with pytest.raises(errors.AdminShutdown) as caught:
            conn.execute("SELECT * FROM mine")
        assert "temp" in str(caught.value)


@scenario
def a_read_in_flight(field):
    with field.connect(autocommit=True) as conn:
        answer = later(conn.execute, "SELECT count(*) FROM gate WHERE n < 0")
        yield
        assert answer.result(WAIT_S).fetchone() == (0,)


@scenario
def a_write_in_flight(field):
    with field.connect(autocommit=True) as conn:
        answer = later(conn.execute, "INSERT INTO gate VALUES (-1)")
        yield
        with pytest.raises(errors.TransactionResolutionUnknown):
            answer.result(WAIT_S)
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert field.sql("SELECT count(*) FROM gate WHERE n = -1") == [(0,)]


def test_what_a_server_has_kept_back_until_it_ended_is_heard_again(field):
    field.settle()
    parse = messages.parse("", "INSERT INTO item (who) VALUES ('kept back') RETURNING id")
    with RawClient(field.port) as raw:
        raw.send(messages.query("BEGIN"))
        raw.until("Z")
        raw.send(parse, messages.describe_statement(""), messages.flush())
        assert [letter for letter, _ in raw.until("T")] == ["1", "t", "T"]
        raw.send(parse)
        assert raw.silent()
        pid, _ = field.backend("INSERT INTO item (who) VALUES ('kept back')%")
        field.sql("SELECT pg_terminate_backend(%s)", pid)
        assert raw.next() == ("1", b"")
        raw.send(messages.bind("", "", []), messages.execute(), messages.sync())
        assert [letter for letter, _ in raw.until("Z")] == ["2", "D", "C", "Z"]
        raw.send(messages.query("COMMIT"))
        assert raw.until("Z")[0] == ("C", b"COMMIT\0")
    assert len(rows_of(field, "kept back")) == 1
    assert field.show("replays")[-1]["outcome"] == "done"


INSERTERS = 12
MORE = 20


def test_nobody_draws_while_the_id_of_another_is_set_back(field):
    """All go on at once with more inserts, which are said as soon as what they had is there again."""

    def insert(conn):
        return [conn.execute(INSERT, ("many",)).fetchone()[0] for _ in range(MORE)]

    field.settle()
    with contextlib.ExitStack() as stack:
        stack.push(lambda kind, *_: field.stop(now=True) if kind else None)  # or inserts would wait for ever
        conns = [stack.enter_context(field.connect()) for _ in range(INSERTERS)]
        ids = [one.execute(INSERT, ("many",)).fetchone()[0] for one in conns]
        field.primary.kill()
        answers = [later(insert, one) for one in conns]
        seen = [one for answer in answers for one in answer.result(WAIT_S)]
        for one in conns:
            one.commit()
    assert rows_of(field, "many") == sorted(ids + seen)


IN_FLIGHT = 3


def test_clients_of_a_primary_that_is_killed(field):
    playing = [(one.__name__, one(field)) for one in SCENARIOS]
    try:
        failed = play(field, playing)
    except BaseException:
        field.stop(now=True)  # or whoever waits for an answer would wait for ever
        raise
    finally:
        for _, one in playing:
            one.close()
    assert not failed, "\n".join(f"{name}: {why}" for name, why in failed.items())
    print("\n", len(SCENARIOS), "scenarios against", field.sql("SHOW server_version")[0][0])


def play(field, playing):
    """Kill the primary in the middle of all scenarios; which went wrong, and how."""
    field.settle()
    failed = {}
    with contextlib.closing(psycopg.connect(field.primary.dsn())) as lock:
        lock.execute("LOCK TABLE gate IN ACCESS EXCLUSIVE MODE")
        for _, one in playing:
            next(one)
        field.waiting("Lock", IN_FLIGHT)
        old = field.primary
        old.kill()
    for name, one in playing:
        try:
            next(one, None)
        except (Exception, pytest.fail.Exception) as error:
            failed[name] = f"{error!r} {getattr(getattr(error, 'diag', None), 'message_detail', '')}"[:500]
    assert field.topology.primary != old.name
    return failed
