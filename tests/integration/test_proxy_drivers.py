"""Every client takes the proxy for the database: each driver's own way through it, in transaction mode."""

import asyncio
import subprocess

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import pytest
import sqlalchemy

from tests.proxy.running import RunningProxy, settings_for

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def proxy(server):
    """Two workers, few server connections: everybody shares."""
    with RunningProxy(settings_for(server.nodes[0], workers=2, size=4)) as running:
        yield running


@pytest.fixture(scope="module")
def table(proxy):
    """A table for everybody."""
    with psycopg.connect(proxy.dsn(), autocommit=True) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS things (id serial PRIMARY KEY, name text)")
    return "things"


def program(engine, proxy, *arguments, **options):
    """Run a program of PostgreSQL's against the proxy."""
    environment = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(proxy.port),
        "PGUSER": "postgres",
        "PGDATABASE": "postgres",
    }
    return subprocess.run(
        [str(engine.binary(arguments[0])), *arguments[1:]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
        **options,
    )


def test_psql(engine, proxy):
    answer = program(
        engine, proxy, "psql", "-XAt", "-c", "SELECT 1", "-c", "BEGIN; SELECT 2; COMMIT", "-c", r"\d"
    )
    assert answer.stdout.split()[:2] == ["1", "BEGIN"]


def test_psql_copies(engine, proxy, table):
    out = f"COPY (SELECT name FROM {table} ORDER BY id DESC LIMIT 2) TO stdout;"
    script = f"COPY {table} (name) FROM stdin;\none\ntwo\n\\.\n{out}\n"
    answer = program(engine, proxy, "psql", "-XAt", input=script)
    assert "COPY 2" in answer.stdout
    assert "one" in answer.stdout


@pytest.mark.parametrize("options", [["-M", "simple"], ["-M", "extended"], ["-M", "prepared"], ["-C"]])
def test_pgbench(engine, proxy, options):
    program(engine, proxy, "pgbench", "-i", "-s", "1", "-q")
    answer = program(engine, proxy, "pgbench", *options, "-c", "8", "-j", "8", "-t", "25", "-n")
    assert "transactions actually processed: 200/200" in answer.stdout
    assert "failed transactions: 0" in answer.stdout


def test_psycopg2(proxy, table):
    conn = psycopg2.connect(proxy.dsn())
    try:
        with conn, conn.cursor() as cursor:
            psycopg2.extras.execute_values(cursor, f"INSERT INTO {table} (name) VALUES %s", [("a",), ("b",)])
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone()[0] >= 2
        with pytest.raises(psycopg2.errors.UndefinedTable), conn, conn.cursor() as cursor:
            cursor.execute("SELECT * FROM nowhere")
        with conn, conn.cursor("named") as cursor:
            cursor.execute("SELECT generate_series(1, 5000)")
            assert sum(row[0] for row in cursor) == 12_502_500
    finally:
        conn.close()


def test_psycopg(proxy, table):
    with psycopg.connect(proxy.dsn(), prepare_threshold=0) as conn:
        for number in range(20):
            assert conn.execute("SELECT %s::int", [number]).fetchone() == (number,)
            conn.commit()
        with pytest.raises(psycopg.errors.DivisionByZero):
            conn.execute("SELECT 1 / %s", [0])
        conn.rollback()
        with conn.cursor().copy(f"COPY {table} (name) FROM STDIN") as copy:
            for number in range(1000):
                copy.write_row([f"row {number}"])
        with conn.cursor().copy(f"COPY (SELECT name FROM {table} LIMIT 10) TO STDOUT") as copy:
            assert len(list(copy.rows())) == 10


def test_psycopg_pipelines(proxy):
    with psycopg.connect(proxy.dsn(), prepare_threshold=1) as conn:
        for _ in range(3):
            with conn.pipeline() as pipeline:
                cursors = [conn.execute("SELECT %s::int", [number]) for number in range(50)]
                pipeline.sync()
                assert [cursor.fetchone()[0] for cursor in cursors] == list(range(50))
        with pytest.raises(psycopg.errors.DivisionByZero), conn.pipeline():
            conn.execute("SELECT 1")
            conn.execute("SELECT 1 / 0")
            conn.execute("SELECT 2")


def test_psycopg_async(proxy):
    async def one(number):
        async with await psycopg.AsyncConnection.connect(proxy.dsn()) as conn:
            for _ in range(5):
                cursor = await conn.execute("SELECT %s::int + pg_backend_pid() * 0", [number])
                assert await cursor.fetchone() == (number,)
                await conn.commit()

    async def main():
        await asyncio.gather(*(one(number) for number in range(20)))

    asyncio.run(main())


def test_asyncpg(proxy, table):
    async def one(number):
        conn = await asyncpg.connect(proxy.url())
        try:
            for _ in range(5):
                assert await conn.fetchval("SELECT $1::int", number) == number
            async with conn.transaction():
                statement = await conn.prepare("SELECT $1::text")
                assert await statement.fetchval("x") == "x"
            with pytest.raises(asyncpg.DivisionByZeroError):
                await conn.fetchval("SELECT 1 / $1::int", 0)
            await conn.executemany(f"INSERT INTO {table} (name) VALUES ($1)", [("m",), ("n",)])
            await conn.copy_records_to_table(table, records=[("c",)], columns=["name"])
        finally:
            await conn.close()

    async def main():
        await asyncio.gather(*(one(number) for number in range(20)))

    asyncio.run(main())


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql+psycopg2"])
def test_sqlalchemy(proxy, scheme):
    engine = sqlalchemy.create_engine(proxy.url(scheme), pool_size=5)
    metadata = sqlalchemy.MetaData()
    users = sqlalchemy.Table(
        "users",
        metadata,
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.String(50)),
    )
    metadata.drop_all(engine)
    metadata.create_all(engine)
    with engine.begin() as conn:
        conn.execute(users.insert(), [{"name": f"n{number}"} for number in range(100)])
    with engine.connect() as conn:
        assert conn.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(users)).scalar() == 100
        with conn.begin_nested() as nested:
            conn.execute(users.delete())
            nested.rollback()
        assert len(conn.execute(sqlalchemy.select(users)).all()) == 100
    metadata.drop_all(engine)
    engine.dispose()
