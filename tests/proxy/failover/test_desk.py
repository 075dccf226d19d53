"""The supervisor's socket: orders and what comes of them, questions, and nonsense is answered as such."""

import asyncio
import contextlib
import json
import socket
import stat

import pytest

from seawall.proxy.control import supervisor_path
from seawall.proxy.failover.desk import CONNECTIONS_MAX, LINE_LIMIT, Desk
from seawall.proxy.supervisor import bind_unix
from seawall.proxy.topology import Phase
from tests.proxy.failover.conducting import SYSTEM, conducted, now, settings


def test_a_pause_is_answered_when_nothing_is_open(monkeypatch):
    async def scenario(it):
        it.crew.busy = 1
        pause = asyncio.create_task(it.desk.obey({"do": "pause"}))
        await it.until(lambda one: one.phase is Phase.PAUSED)
        assert it.topology.primary == "one"
        await asyncio.sleep(1)
        assert not pause.done()
        assert it.crew.orders("pause") == [{"do": "pause"}] * 2
        it.crew.busy = 0
        assert await pause == {"done": True, "drained": True}
        assert await it.desk.obey({"do": "resume"}) == {"done": True}
        await it.serving("one")
        await asyncio.sleep(0.01)
        assert it.crew.orders("resume") == [{"do": "resume"}] * 2
        assert len(it.conductor.history.entries) == 0

    conducted(monkeypatch, scenario)


def test_a_pause_that_cannot_drain_is_answered_all_the_same(monkeypatch):
    async def scenario(it):
        it.crew.busy = 1
        assert await it.desk.obey({"do": "pause"}) == {"done": True, "drained": False}
        assert now() == pytest.approx(1010.0, abs=0.1)
        assert it.topology.phase is Phase.PAUSED

    conducted(monkeypatch, scenario)


def test_a_worker_that_does_not_answer_counts_as_busy(monkeypatch):
    async def scenario(it):
        it.crew.silent.add(1)
        pause = asyncio.create_task(it.desk.obey({"do": "pause"}))
        await asyncio.sleep(1)
        assert not pause.done()
        it.crew.silent.clear()
        assert (await pause)["drained"]

    conducted(monkeypatch, scenario)


def test_a_resume_ends_a_pause_that_drains(monkeypatch):
    async def scenario(it):
        it.crew.busy = 1
        pause = asyncio.create_task(it.desk.obey({"do": "pause"}))
        await asyncio.sleep(0.1)
        assert await it.desk.obey({"do": "resume"}) == {"done": True}
        assert await pause == {"done": True, "drained": False}
        await asyncio.sleep(1)
        busy = len(it.crew.orders("busy"))
        await asyncio.sleep(1)
        assert len(it.crew.orders("busy")) == busy, "nobody waits any more"

    conducted(monkeypatch, scenario)


def test_orders_that_cannot_be_are_refused_with_a_reason(monkeypatch):
    async def scenario(it):
        assert "error" in await it.desk.obey({"do": "resume"})
        assert "nobody" in (await it.desk.obey({"do": "switchover", "to": "nobody"}))["error"]
        it.servers.kill("one")
        await it.until(lambda one: one.phase is Phase.HOLDING)
        assert "error" in await it.desk.obey({"do": "switchover"})
        assert "error" in await it.desk.obey({"do": "pause"})

    conducted(monkeypatch, scenario)


def test_a_switchover_is_answered_when_clients_are_served_again(monkeypatch):
    async def scenario(it):
        answer = await it.desk.obey({"do": "switchover", "to": None})
        assert answer["done"]
        assert answer["primary"] == "two"
        assert 0.04 < answer["pause_s"] < 0.3
        assert ("one", "", "CHECKPOINT") in it.servers.statements
        assert it.hooks.done[:2] == [("fence", "one", True), ("promote", "two")]
        (entry,) = it.conductor.history.entries
        assert (entry.kind, entry.outcome, entry.new_primary) == ("planned", "done", "two")
        await it.serving("two")

    conducted(monkeypatch, scenario)


def test_a_switchover_to_a_certain_server(monkeypatch):
    async def scenario(it):
        answer = await it.desk.obey({"do": "switchover", "to": "three"})
        assert answer["primary"] == "three"

    conducted(monkeypatch, scenario)


def test_a_switchover_that_is_given_up_says_why(monkeypatch):
    async def scenario(it):
        it.crew.busy = 1
        answer = await it.desk.obey({"do": "switchover"})
        assert "one" in answer["error"]
        assert now() == pytest.approx(1010.0, abs=0.3)
        await it.serving("one", limit_s=0.1)
        assert it.hooks.done == []
        (entry,) = it.conductor.history.entries
        assert (entry.kind, entry.outcome) == ("planned", "given up")

    conducted(monkeypatch, scenario)


def test_a_suspicion_is_looked_into_and_the_answer_is_younger(monkeypatch):
    async def scenario(it):
        before = it.block.generation
        it.servers.looks.clear()
        it.servers.seen["one"] = it.servers.seen["one"].__class__(name="one", refused=True)
        answer = await it.desk.obey({"do": "suspect", "backend": "one"})
        assert it.servers.looks[:1] == ["one"]
        assert answer == {"done": True, "generation": it.block.generation}
        assert answer["generation"] > before
        assert "error" in await it.desk.obey({"do": "suspect", "backend": "nobody"})

    conducted(monkeypatch, scenario, settings("one", "two", "three", down_after_s=60.0))


def test_a_look_that_does_not_end_is_not_waited_for(monkeypatch):
    async def scenario(it):
        async def for_ever(name):
            await asyncio.sleep(1000)

        it.servers.look = for_ever
        assert await it.desk.obey({"do": "suspect", "backend": "one"}) == {"error": "not in time"}

    conducted(monkeypatch, scenario)


def test_what_is_known_is_shown(monkeypatch):
    async def scenario(it):
        await asyncio.sleep(1)
        it.servers.kill("three")
        await asyncio.sleep(0.7)
        rows = (await it.desk.obey({"show": "backends"}))["rows"]
        assert [row["name"] for row in rows] == ["one", "two", "three"]
        assert rows[0] == {
            "name": "one",
            "host": "10.0.0.1",
            "port": 5432,
            "role": "primary",
            "state": "reachable",
            "timeline": 1,
            "system_identifier": SYSTEM,
            "lag_bytes": None,
            "connected_s": pytest.approx(1.7, abs=0.01),
            "reason": None,
            "sync_state": None,
        }
        assert (rows[1]["role"], rows[1]["lag_bytes"]) == ("replica", 1)
        assert (rows[2]["role"], rows[2]["state"], rows[2]["connected_s"]) == ("down", "refused", None)
        assert rows[2]["reason"] == "Connection refused"
        (row,) = (await it.desk.obey({"show": "topology"}))["rows"]
        assert (row["phase"], row["primary"], row["tracked"], row["plan"]) == (
            "serving",
            "one",
            True,
            "watching",
        )
        assert await it.desk.obey({"show": "failovers"}) == {"rows": []}

    conducted(monkeypatch, scenario)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"reachable": False}, "pending"),
        ({"reachable": False, "misses": 3}, "silent"),
        ({"reachable": False, "refused": True, "sqlstate": "28P01"}, "not let in"),
        ({"reachable": False, "refused": True, "sqlstate": "57P03"}, "refused"),
    ],
)
def test_states_have_names(monkeypatch, changes, state):
    async def scenario(it):
        it.servers.change("two", **changes)
        await asyncio.sleep(0.01)
        assert (await it.desk.obey({"show": "backends"}))["rows"][1]["state"] == state

    conducted(monkeypatch, scenario)


@pytest.mark.parametrize(
    "order",
    [
        None,
        7,
        "pause",
        [],
        {},
        {"do": None},
        {"do": []},
        {"do": "nonsense"},
        {"show": "nonsense"},
        {"show": {}},
        {"do": "switchover", "to": 7},
        {"do": "suspect"},
        {"do": "suspect", "backend": []},
        {"do": "pinned"},
        {"do": "pinned", "database": 1, "sequence": 2, "restore": "x", "backend": "b", "pid": 7},
        {"do": "pinned", "database": "d", "sequence": "2", "restore": "x", "backend": "b", "pid": 7},
        {"do": "pinned", "database": "d", "sequence": 2, "restore": 3, "backend": "b", "pid": 7},
        {"do": "pinned", "database": "d", "sequence": 2, "restore": "x", "backend": 1, "pid": 7},
        {"do": "pinned", "database": "d", "sequence": 2, "restore": "x", "backend": "b", "pid": "7"},
        {"do": "pinned", "database": "d", "sequence": 2, "restore": "x"},
        {"do": "pinned", "database": "d", "sequence": 2},
        {"do": "unpinned", "database": "d"},
    ],
)
def test_nonsense_is_answered_as_such(monkeypatch, order):
    async def scenario(it):
        assert await it.desk.obey(order) == {"error": "unknown or malformed order"}

    conducted(monkeypatch, scenario)


def test_where_nobody_watches_that_is_said():
    answer = asyncio.run(Desk(None).obey({"do": "pause"}))
    assert answer["error"] == "nobody watches the servers"
    assert "failover.enabled" in answer["hint"]


def talk(tmp_path, work):
    """Work with a desk that listens on a socket."""

    async def main():
        path = supervisor_path(tmp_path)
        desk = Desk(None)
        await desk.open(bind_unix(path, 0o600))
        try:
            return await work(path, desk)
        finally:
            desk.close()

    return asyncio.run(main())


async def exchange(path, data):
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(data)
    writer.write_eof()
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line


def test_a_line_in_and_a_line_out_for_this_user_alone(tmp_path):
    async def work(path, _):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        line = await exchange(path, b'{"show": "topology"}\n')
        assert json.loads(line)["error"] == "nobody watches the servers"
        assert line.endswith(b"\n")

    talk(tmp_path, work)


@pytest.mark.parametrize("data", [b"", b"\n", b"nonsense\n", b"\xff\n", b"x" * (LINE_LIMIT + 10)])
def test_what_is_no_line_of_json_is_hung_up_on(tmp_path, data):
    async def work(path, desk):
        try:
            assert await exchange(path, data) == b""
        except (ConnectionResetError, BrokenPipeError):
            assert len(data) > LINE_LIMIT
        assert json.loads(await exchange(path, b"{}\n"))["error"]
        assert desk._connections == 0

    talk(tmp_path, work)


def test_connections_have_a_limit(tmp_path):
    async def work(path, desk):
        desk._connections = CONNECTIONS_MAX
        with contextlib.suppress(ConnectionResetError):
            assert await exchange(path, b"{}\n") == b""
        desk._connections = 0
        assert await exchange(path, b"{}\n") != b""

    talk(tmp_path, work)


def test_who_hangs_up_early_does_no_harm(tmp_path):
    async def work(path, _):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b'{"show": "topology"}\n')
        await asyncio.sleep(0.01)
        assert await exchange(path, b"{}\n") != b""

    talk(tmp_path, work)


def test_who_still_waits_when_the_process_ends_is_no_mishap(tmp_path, caplog):
    async def leave():
        desk = Desk(None)
        begun = asyncio.Event()

        async def obey(_order):
            begun.set()
            await asyncio.Event().wait()

        desk.obey = obey
        path = tmp_path / "desk.sock"
        await desk.open(bind_unix(path, 0o600))
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b"{}\n")
        await begun.wait()
        desk.close()
        writer.close()

    asyncio.run(leave())
    assert caplog.text == ""
