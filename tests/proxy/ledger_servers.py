"""Servers of each version that there is, prepared for what sessions may do to themselves."""

from collections.abc import Callable, Iterator

import pytest

from seawall.embedded import Cluster, EngineNotFound, find_engine
from tests.proxy.followed import Connection

ENGINES = [("wheel", 18), ("wheel", 16), ("system", 15)]

SETUP = [
    "CREATE ROLE bob LOGIN",
    "CREATE ROLE chief SUPERUSER",
    "CREATE ROLE app LOGIN",
    "GRANT chief TO app",
    'CREATE ROLE "O\'Brien, ""x"""',
    "CREATE SCHEMA evil",
    "CREATE SEQUENCE seq",
    "SELECT lo_create(7)",
    """CREATE FUNCTION set_quietly(text, text) RETURNS text LANGUAGE sql
       AS $$ SELECT set_config($1, $2, false) $$""",
    "CREATE PROCEDURE set_by_procedure() LANGUAGE plpgsql AS $$ BEGIN SET work_mem = '11MB'; END $$",
    "CREATE FUNCTION evil.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes)",
    "CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil'::text $$",
    "CREATE FUNCTION evil.pg_my_temp_schema() RETURNS oid LANGUAGE sql AS $$ SELECT 1::oid $$",
    "CREATE VIEW evil.pg_settings AS SELECT 'work_mem' AS name, 'user' AS context, 'session' AS source",
    "CREATE VIEW evil.pg_locks AS SELECT 'advisory' AS locktype, pg_backend_pid() AS pid",
]


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: f"{engine[0]}-{engine[1]}")
def node(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    try:
        engine = find_engine(*request.param)
    except EngineNotFound as absent:
        pytest.skip(str(absent))
    with Cluster.create(engine=engine, settings={"max_prepared_transactions": "5"}) as cluster:
        connection = Connection(cluster.primary.port)
        for sql in SETUP:
            connection.query(sql)
        connection.close()
        yield cluster


@pytest.fixture
def connect(node: Cluster) -> Iterator[Callable[..., Connection]]:
    made: list[Connection] = []

    def connection(user: str = "postgres", **parameters: str) -> Connection:
        made.append(Connection(node.primary.port, user, **parameters))
        return made[-1]

    yield connection
    for one in made:
        one.close()


Connect = Callable[..., Connection]

STATE = """SELECT name, setting, source FROM pg_settings
    WHERE source NOT IN ('default', 'override', 'configuration file', 'command line', 'client')
    AND name NOT IN ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable')
    UNION ALL SELECT 'role', current_setting('role'), current_user
    UNION ALL SELECT 'session_authorization', current_setting('session_authorization'), session_user
    ORDER BY 1"""


def state(connection: Connection) -> list[list[str | None]]:
    """What pg_settings tells of a session, and who it is."""
    return connection.query(STATE)
