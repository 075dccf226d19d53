"""The console: who may ask and who may order, what is told, and whom it asks in turn."""

import asyncio

import asyncpg
import psycopg
import pytest

from seawall.proxy import admin
from seawall.proxy.control import Siblings, supervisor_path
from seawall.wire.pgwire import messages
from tests.proxy.consoles import BACKENDS, FAILOVER, TOPOLOGY, FakeRescue, FakeSupervisor, RunningConsole
from tests.proxy.raw import RawClient, letters, result

CLIENT = {
    "pid": 1048577,
    "user": "shop",
    "database": "shop",
    "worker": 0,
    "backend": "one",
    "would": "lost",
    "because": "replaying is off",
}
REPLAYED = {
    "at": "2026-03-01 12:00:00",
    "worker": 0,
    "client_pid": 1048577,
    "user": "shop",
    "database": "shop",
    "backend": "one",
    "way": "replay",
    "outcome": "done",
    "statements": 7,
    "attempts": 1,
    "took_ms": 512.5,
    "reason": "its transaction is open, and COMMIT was not sent",
}


@pytest.fixture
def supervisor():
    return FakeSupervisor()


@pytest.fixture
def console(tmp_path, supervisor):
    with RunningConsole(tmp_path, supervisor) as made:
        yield made


def connect(console, user="anybody", **more):
    """A console connection of psycopg."""
    return psycopg.connect(
        host="127.0.0.1", port=console.port, user=user, dbname="seawall", autocommit=True, **more
    )


def ask(console, sql, user="anybody", **more):
    """Rows by column name."""
    with connect(console, user, row_factory=psycopg.rows.dict_row, **more) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else cursor.statusmessage


def as_text(row):
    """A row as the console tells it."""
    return {
        key: None if value is None else str(value).lower() if value is True or value is False else str(value)
        for key, value in row.items()
    }


# --- what it shows ------------------------------------------------------------------------------------------


def test_help_names_every_command_and_each_of_them_works(console):
    commands = [row["command"] for row in ask(console, "SHOW HELP")]
    assert commands[-1] == "SWITCHOVER [TO name]"
    assert len(commands) == len(set(commands))
    for command in commands:
        ask(console, command.replace("[TO name]", "TO two"))
    assert {f"SHOW {name.upper()}" for name in admin.VIEWS} <= set(commands)


def test_what_is_about_the_servers_is_told_by_the_supervisor(console):
    assert ask(console, "SHOW BACKENDS") == [as_text(row) for row in BACKENDS]
    assert ask(console, "show topology;") == [as_text(TOPOLOGY)]
    assert ask(console, "SHOW FAILOVERS") == [as_text(FAILOVER)]


def test_columns_are_there_without_rows_and_more_are_shown_if_there_are_more(console, supervisor):
    supervisor.rows["failovers"] = []
    with connect(console) as connection:
        names = [one.name for one in connection.execute("SHOW FAILOVERS").description]
        assert tuple(names) == admin.COLUMNS["failovers"]
        supervisor.rows["failovers"] = [{"at": "x", "lost_commits": 3}]
        (row,) = ask(console, "SHOW FAILOVERS")
    assert list(row) == [*admin.COLUMNS["failovers"], "lost_commits"]
    assert (row["at"], row["kind"], row["lost_commits"]) == ("x", None, "3")


def test_what_became_of_clients_is_told_by_every_worker(tmp_path):
    rescue = FakeRescue(CLIENT, ended=[REPLAYED], counts={"replay:done": 3}, refusals={"another result": 1})
    other = FakeRescue({**CLIENT, "worker": 1}, ended=[{**REPLAYED, "worker": 1}], lost_acknowledged=2)
    with RunningConsole(tmp_path, rescue=rescue, other_rescue=other) as console:
        ended = ask(console, "SHOW REPLAYS")
        assert ended == [as_text(REPLAYED), as_text({**REPLAYED, "worker": 1})]
        assert tuple(ended[0]) == admin.COLUMNS["replays"]
        assert [tuple(row.values()) for row in ask(console, "SHOW RESCUES")] == [
            ("0", "replay:done", "3"),
            ("0", "not replayed: another result", "1"),
            ("0", "acknowledged commits lost", "0"),
            ("1", "acknowledged commits lost", "2"),
        ]
        rows = ask(console, "EXPLAIN FAILOVER")
    assert rows == [as_text(CLIENT), as_text({**CLIENT, "worker": 1})]
    assert tuple(rows[0]) == admin.COLUMNS["explain"]


def test_a_worker_that_rescues_nobody_has_nothing_to_tell(console):
    for worker in console.workers:
        worker.rescue = None
    assert ask(console, "SHOW REPLAYS") == ask(console, "SHOW RESCUES") == []
    assert ask(console, "explain  failover ;") == []


def test_a_view_that_is_only_for_workers_is_no_command(console):
    with pytest.raises(psycopg.errors.SyntaxError, match="unknown command: SHOW EXPLAIN") as caught:
        ask(console, "SHOW EXPLAIN")
    assert "EXPLAIN FAILOVER, PAUSE" in caught.value.diag.message_hint


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\n", b"[]\n", b'{"rows": 3}\n', b'{"rows": [1, {"at": "x"}]}\n', b"null\n"]
)
def test_an_answer_that_is_none_does_no_harm(console, supervisor, answer):
    supervisor.answer = lambda order: answer
    try:
        rows = ask(console, "SHOW FAILOVERS")
    except psycopg.errors.CannotConnectNow as error:
        assert "does not answer" in str(error)  # noqa: PT017 -- one of two endings
    else:
        assert rows in ([], [{**dict.fromkeys(admin.COLUMNS["failovers"]), "at": "x"}])
    assert ask(console, "SHOW VERSION")[0]["version"].startswith("Seawall ")


# --- orders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "order", "answer"),
    [
        ("PAUSE", {"do": "pause"}, [{"item": "drained", "value": "true"}]),
        (" resume ; ", {"do": "resume"}, "RESUME"),
    ],
)
def test_an_order_is_passed_on(console, supervisor, sql, order, answer):
    assert ask(console, sql) == answer
    assert supervisor.orders == [order]


@pytest.mark.parametrize(
    ("sql", "target"),
    [
        ("SWITCHOVER", None),
        ("switchover to two", "two"),
        ("SWITCHOVER TO Node-2.a:b_c;", "Node-2.a:b_c"),
        ('SWITCHOVER  TO "node 2"', "node 2"),
        ("SWITCHOVER TO 'node-2'", "node-2"),
    ],
)
def test_a_switchover_names_its_target_and_tells_what_came_of_it(console, supervisor, sql, target):
    rows = ask(console, sql)
    assert supervisor.orders == [{"do": "switchover", "to": target}]
    assert {row["item"]: row["value"] for row in rows} == {"pause_s": "0.2104", "primary": "two"}


@pytest.mark.parametrize(
    "sql", ["SWITCHOVER TO", "SWITCHOVER two", "PAUSE now", "SWITCHOVER TO a b", "RELOAD", ""]
)
def test_what_is_no_order_is_passed_on_to_nobody(console, supervisor, sql):
    with RawClient(console.port, database="seawall") as client:
        assert client.query(sql) == "42601"
    assert supervisor.orders == []


def test_a_refused_order_says_why(console, supervisor):
    supervisor.answers["switchover"] = {"error": "two lags by 3 MB", "hint": "Wait.", "detail": "Of 1 MB."}
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="two lags by 3 MB") as caught:
        ask(console, "SWITCHOVER")
    assert caught.value.diag.message_hint == "Wait."
    assert caught.value.diag.message_detail == "Of 1 MB."


def test_without_a_supervisor_it_is_said_that_there_is_none(tmp_path):
    with RunningConsole(tmp_path) as console:
        with pytest.raises(psycopg.errors.CannotConnectNow, match="does not answer") as caught:
            ask(console, "PAUSE")
        assert "SHOW TOPOLOGY" in caught.value.diag.message_hint
        with pytest.raises(psycopg.errors.CannotConnectNow) as caught:
            ask(console, "SHOW BACKENDS")
        assert caught.value.diag.message_hint is None
        console.worker.siblings = None
        with pytest.raises(psycopg.errors.CannotConnectNow):
            ask(console, "SHOW BACKENDS")


def test_who_may_only_look_gives_no_orders(tmp_path, supervisor):
    users = {"boss": "b", "eye": "e", "shop": "s"}
    with RunningConsole(
        tmp_path, supervisor, users=users, admin=["boss"], stats=["eye"], trust=False
    ) as console:
        assert ask(console, "SHOW BACKENDS", "eye", password="e")
        assert ask(console, "EXPLAIN FAILOVER", "eye", password="e") == []
        for order in ("PAUSE", "RESUME", "SWITCHOVER", "SWITCHOVER TO two"):
            with pytest.raises(
                psycopg.errors.InsufficientPrivilege, match='user "eye" may give no'
            ) as caught:
                ask(console, order, "eye", password="e")
            assert "auth.admin_users" in caught.value.diag.message_hint
        assert supervisor.orders == []
        assert ask(console, "PAUSE", "boss", password="b")
        with pytest.raises(psycopg.OperationalError, match="may not use the admin console"):
            ask(console, "SHOW BACKENDS", "shop", password="s")
    assert supervisor.orders == [{"do": "pause"}]


# --- the extended protocol ----------------------------------------------------------------------------------


def test_an_order_is_carried_out_once_and_not_when_it_is_described(console, supervisor):
    with RawClient(console.port, database="seawall") as client:
        client.send(messages.parse("s", "SWITCHOVER"), messages.describe_statement("s"))
        client.send(messages.bind("", "s", []), messages.describe_portal(""), messages.sync())
        found = client.until("Z")
        assert letters(found) == "1tT2TZ"
        assert supervisor.orders == []
        client.send(
            messages.bind("p", "s", []), messages.execute("p"), messages.execute("p"), messages.sync()
        )
        assert letters(client.until("Z")) == "2DDCDDCZ"
        assert len(supervisor.orders) == 1
        client.send(messages.parse("", "RESUME"), messages.bind("", "", []), messages.describe_portal(""))
        client.send(messages.execute(""), messages.sync())
        assert letters(client.until("Z")) == "12nCZ"
        assert supervisor.orders[1:] == [{"do": "resume"}]


def test_names_are_forgotten_when_they_are_closed(console):
    with RawClient(console.port, database="seawall") as client:
        for number in range(admin.PORTALS_LIMIT + 5):
            name = f"s{number}"
            client.send(messages.parse(name, "SHOW VERSION"), messages.bind(name, name, []))
            client.send(messages.execute(name), messages.close_portal(name), messages.close_statement(name))
        client.send(messages.sync())
        assert letters(client.until("Z")) == "12DC33" * (admin.PORTALS_LIMIT + 5) + "Z"
        for number in range(admin.PORTALS_LIMIT):
            client.send(messages.parse(f"s{number}", "SHOW VERSION"))
        client.send(messages.parse("s0", "SHOW HELP"), messages.parse("more", "SHOW HELP"), messages.sync())
        assert result(client.until("Z")) == "53400"


def test_a_portal_that_is_not_there_is_told(console):
    with RawClient(console.port, database="seawall") as client:
        client.send(messages.execute("x"), messages.sync())
        assert result(client.until("Z")) == "34000"


def test_a_driver_that_describes_first_gets_along(console, supervisor):
    async def play():
        connection = await asyncpg.connect(
            host="127.0.0.1", port=console.port, user="anybody", database="seawall", ssl=False
        )
        try:
            return (
                await connection.fetch("SHOW BACKENDS"),
                await connection.fetch("SWITCHOVER TO two"),
                await connection.fetch("RESUME"),
            )
        finally:
            await connection.close()

    backends, switched, resumed = asyncio.run(play())
    assert [row["name"] for row in backends] == ["one", "two"]
    assert dict(switched)["primary"] == "two"
    assert resumed == []
    assert [order["do"] for order in supervisor.orders] == ["switchover", "resume"]


def test_what_is_said_ahead_waits_and_is_not_kept_without_end(console, supervisor):
    supervisor.gate.clear()
    questions = admin.QUEUE_LIMIT * 3
    with RawClient(console.port, database="seawall") as client:
        client.send(messages.query("SWITCHOVER"), messages.query("SHOW VERSION") * questions)
        supervisor.gate.set()
        assert letters(client.until("Z", questions + 1)).count("C") == questions + 1
        assert client.query("SHOW VERSION")


# --- its supervisor -----------------------------------------------------------------------------------------


def test_a_supervisor_that_takes_too_long_is_not_waited_for(tmp_path):
    class Alone:
        number = 0
        count = 1

    async def play():
        silent = asyncio.Event()

        async def serve(reader, writer):
            await silent.wait()
            writer.close()

        server = await asyncio.start_unix_server(serve, str(supervisor_path(tmp_path)))
        siblings = Siblings(Alone(), tmp_path)
        async with server:
            answer = await siblings.ask_supervisor({"show": "topology"}, 0.01)
            silent.set()
        return answer, siblings.unanswered

    assert asyncio.run(play()) == (None, 1)
