"""What is called read-only against a real server: it agrees, and so does its catalogue."""

from collections.abc import Iterator

import psycopg
import pytest

from seawall.embedded import Cluster
from seawall.wire.pgwire import classify as module
from seawall.wire.pgwire.classify import READ_ONLY, classify
from tests.wire.texts import PROVEN

pytestmark = [pytest.mark.timeout(60)]

EFFECTLESS = frozenset(
    b"""clock_timestamp current_query gen_random_uuid pg_blocking_pids pg_database_size pg_indexes_size
    pg_is_in_recovery pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp
    pg_partition_ancestors pg_partition_tree pg_relation_size pg_sequence_last_value pg_sleep pg_sleep_for
    pg_sleep_until pg_table_size pg_tablespace_size pg_total_relation_size random timeofday""".split()
)
"""Functions that the server calls volatile because their results change, not because they do anything."""


@pytest.fixture
def connection(server: Cluster) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.nodes[0].dsn(), autocommit=True) as opened:
        yield opened


@pytest.mark.parametrize("sql", PROVEN)
def test_the_server_runs_it_in_a_read_only_transaction(connection: psycopg.Connection, sql: str) -> None:
    assert classify(sql.encode()) & READ_ONLY
    connection.execute("BEGIN")
    connection.execute("SET TRANSACTION READ ONLY")
    connection.execute(sql, prepare=False)
    connection.execute("COMMIT")


def test_the_server_refuses_there_what_it_should(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TEMP SEQUENCE s; CREATE TABLE IF NOT EXISTS written (a int)")
    for sql in (
        "INSERT INTO written VALUES (1)",
        'SELECT 1 AS "a"INTO other',
        "SELECT * FROM written FOR UPDATE",
    ):
        connection.execute("BEGIN; SET TRANSACTION READ ONLY")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(sql)
        connection.execute("ROLLBACK")
        assert not classify(sql.encode()) & READ_ONLY
    connection.execute("DROP TABLE written")


def test_a_function_needs_no_parentheses(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TEMP SEQUENCE s")
    for sql in ("SELECT ('s'::regclass).nextval", "SELECT g.nextval FROM unnest(ARRAY['s'::regclass]) AS g"):
        assert not classify(sql.encode()) & READ_ONLY
        connection.execute(sql)
    assert connection.execute("SELECT last_value FROM s").fetchone() == (2,)


def test_functions_called_harmless_are(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        "SELECT proname, bool_or(provolatile = 'v') FROM pg_proc"
        " WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY 1"
        " UNION ALL SELECT typname, false FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace"
    ).fetchall()
    known = {name.encode() for name, _ in rows}
    volatile = {name.encode() for name, is_volatile in rows if is_volatile}
    assert not module.HARMLESS - known
    assert module.HARMLESS & volatile <= EFFECTLESS


def test_key_words_are_no_names_of_functions(connection: psycopg.Connection) -> None:
    rows = connection.execute("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'C')").fetchall()
    assert not module._KEY_WORDS - {word.encode() for (word,) in rows}
