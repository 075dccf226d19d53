"""The watch on virtual time: what it asks and when, what it hears, and how soon it says so."""

import asyncio

import pytest

from seawall.kernel.errors import DatabaseUnavailable
from seawall.proxy.connect import LoginFailed
from seawall.proxy.failover import watch as module
from seawall.proxy.failover.question import IDENTIFY, QUESTION, ROLE
from seawall.proxy.failover.watch import (
    ABANDON_S,
    DENIED_RETRY_S,
    FULL_EVERY,
    PROMOTION_S,
    RETRY_LAST_S,
    RETRY_SOON_S,
    YOUNG_S,
    Watch,
    pace,
)
from seawall.proxy.settings import Backend, Failover, ProxySettings
from seawall.testing import VirtualClock, run
from tests.proxy.failover.test_question import PRIMARY, REPLICA
from tests.proxy.failover.watched import REFUSED, FakeServer, Watched, now, watching


def test_the_full_question_comes_first_and_then_one_in_ten():
    async def scenario(watched, server):
        await asyncio.sleep(2.05)
        asked = [sql for _, sql in server.asked]
        assert asked[: 2 * FULL_EVERY + 1] == [QUESTION, *[""] * 9, QUESTION, *[""] * 9, QUESTION]
        assert [round(at - 1000, 3) for at, _ in server.asked[:4]] == [0.0, 0.1, 0.2, 0.3]
        assert watched.now.reachable
        assert watched.now.timeline == 2
        assert watched.now.connected_since == 1000.0
        assert len(watched.told) == 1, "nothing has changed since"
        assert watched.now.answered_at == pytest.approx(1002.0), "the age of the facts"
        assert watched.prober.trouble_at is None

    watching(scenario)


def test_news_of_another_role_is_asked_about_at_once():
    async def scenario(watched, server):
        server.becomes(REPLICA, "on")
        await asyncio.sleep(0.05)
        assert watched.now.in_recovery
        server.becomes(PRIMARY, "off")
        await asyncio.sleep(0.1)
        assert not watched.now.in_recovery
        assert [sql for _, sql in server.asked] == [QUESTION, "", QUESTION]
        assert watched.now.end_of_recovery == watched.now.replay_lsn

    server = FakeServer()
    server.becomes(REPLICA, "on")
    watching(scenario, server)


def test_the_moment_of_a_promotion_is_not_taken_for_a_timeline_that_is_followed():
    async def scenario(watched, server):
        await asyncio.sleep(0.05)
        assert watched.now.timeline == 3
        server.row[2:4] = [None, "4"]
        await watched.prober.look()
        assert watched.now.in_recovery
        assert watched.now.timeline == 3
        await asyncio.sleep(PROMOTION_S - 0.2)
        assert watched.now.timeline == 3
        await asyncio.sleep(1.5)
        assert watched.now.timeline == 4, "it is no promotion, but a log from elsewhere"

    server = FakeServer()
    server.becomes(REPLICA, "on")
    watching(scenario, server)


def test_a_server_that_does_not_tell_its_role_is_asked_for_it():
    async def scenario(watched, server):
        await asyncio.sleep(0.15)
        server.becomes(PRIMARY, None)
        await asyncio.sleep(0.1)
        assert [sql for _, sql in server.asked] == [QUESTION, ROLE, ROLE, QUESTION]
        assert watched.now.in_recovery is False

    server = FakeServer()
    server.becomes(REPLICA, None)
    watching(scenario, server)


def test_a_connection_that_ends_is_told_at_once_and_a_refusal_right_after():
    async def scenario(watched, server):
        await asyncio.sleep(0.55)
        server.refuses = REFUSED
        server.cut()
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        (lost_at, lost), (refused_at, refused) = watched.told[-2:]
        assert lost_at == refused_at == 1000.55
        assert (lost.reachable, lost.connected_since, lost.gone, lost.pending) == (False, 0.0, False, True)
        assert refused.gone
        assert refused.text == "Connection refused"
        assert watched.prober.trouble_at == pytest.approx(1000.55)
        assert refused.in_recovery is False, "what it was last is still known"

    watching(scenario)


def test_a_server_that_is_back_is_found_soon_and_its_new_life_is_told():
    async def scenario(watched, server):
        await asyncio.sleep(0.5)
        server.refuses = REFUSED
        server.cut()
        await asyncio.sleep(3)
        assert len(watched.told) < 10, "only what changes is told"
        assert 0 < watched.now.unwatched_s <= RETRY_SOON_S + 0.02
        server.refuses, server.row[9] = None, "another start"
        await asyncio.sleep(RETRY_SOON_S + 0.02)
        assert watched.now.reachable
        assert watched.now.connected_since > 1003.0
        assert 0 < watched.now.unwatched_s <= RETRY_SOON_S + 0.02

    watching(scenario)


def test_pauses_grow_and_stay_short_while_an_outage_is_young():
    async def scenario(watched, server):
        await asyncio.sleep(YOUNG_S + 30)
        pauses = [
            later - earlier for earlier, later in zip(server.connects, server.connects[1:], strict=False)
        ]
        assert pauses[0] == pytest.approx(0.06)
        assert pauses[1] == pytest.approx(0.11)
        assert max(pauses[: int(YOUNG_S / 0.22)]) == pytest.approx(RETRY_SOON_S + 0.01)
        assert pauses[-1] == pytest.approx(RETRY_LAST_S + 0.01)
        assert watched.prober.observation.gone

    server = FakeServer()
    server.refuses = REFUSED
    watching(scenario, server)


def test_pauses_are_jittered():
    async def scenario(watched, server):
        await asyncio.sleep(0.11)
        assert [round(at - 1000, 3) for at in server.connects] == [0.0, 0.035, 0.095]

    server = FakeServer()
    server.refuses = REFUSED
    watching(scenario, server, rng=lambda: 0.0)


def test_a_server_that_starts_is_tried_again_at_once():
    async def scenario(watched, server):
        await asyncio.sleep(1.0)
        assert watched.now.gone
        assert watched.now.sqlstate == "57P03"
        assert len(server.connects) >= 16
        server.refuses = None
        await asyncio.sleep(0.07)
        assert watched.now.reachable

    server = FakeServer()
    server.refuses = LoginFailed("the database system is starting up", "57P03")
    watching(scenario, server)


def test_a_login_that_is_refused_for_good_is_seldom_tried():
    async def scenario(watched, server):
        await asyncio.sleep(3 * DENIED_RETRY_S)
        assert len(server.connects) == 3
        assert watched.now.refused
        assert not watched.now.gone
        assert watched.now.text == "password authentication failed"

    server = FakeServer()
    server.refuses = LoginFailed("password authentication failed", "28P01")
    watching(scenario, server)


def test_a_server_that_hangs_is_gone_after_three_misses_and_back_with_its_answer():
    async def scenario(watched, server):
        await asyncio.sleep(0.55)
        server.hangs = True
        await asyncio.sleep(0.6)
        assert [(at, one.misses, one.gone) for at, one in watched.told[1:]] == [
            (1000.75, 1, False),
            (1000.9, 2, False),
            (1001.05, 3, True),
        ]
        assert watched.now.connected_since == 1000.0, "the connection stands"
        assert watched.prober.trouble_at == pytest.approx(1000.6)
        asked = len(server.asked)
        await asyncio.sleep(1.0)
        assert len(server.asked) == asked, "the same probe is waited for"
        server.hangs = False
        await asyncio.sleep(0.011)
        assert watched.now.reachable
        assert watched.now.misses == 0
        assert watched.now.connected_since == 1000.0
        assert len(server.connects) == 1

    watching(scenario)


def test_a_connection_that_is_silent_for_long_is_given_up_and_the_server_still_gone():
    async def scenario(watched, server):
        await asyncio.sleep(0.55)
        server.hangs = True
        await asyncio.sleep(ABANDON_S + 1)
        assert len(server.connects) == 2
        assert server.links[0].closed
        assert watched.now.connected_since == 0.0
        assert watched.now.gone
        assert all(one.gone for _, one in watched.told[3:])

    watching(scenario)


def test_a_server_that_swallows_everything_is_gone_after_three_misses():
    async def scenario(watched, server):
        assert watched.now.pending
        await asyncio.sleep(0.46)
        assert watched.now.gone
        assert watched.now.misses == 3
        await asyncio.sleep(3)
        server.hangs_at_connect = False
        await asyncio.sleep(1)
        assert watched.now.reachable

    server = FakeServer()
    server.hangs_at_connect = True
    watching(scenario, server)


def test_a_process_that_has_not_run_itself_blames_no_server():
    clock = VirtualClock(1000.0)

    async def main():
        async with Watched(FakeServer()) as watched:
            await asyncio.sleep(0.55)
            watched.server.hangs = True
            await asyncio.sleep(0.06)
            clock.advance(10.0)  # as if stopped by a signal
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            assert watched.now.misses == 0
            watched.server.hangs = False
            await asyncio.sleep(0.02)
            assert watched.now.reachable

    run(main(), clock)


def test_a_lost_connection_without_a_restart_leaves_the_life_as_it_was():
    async def scenario(watched, server):
        await asyncio.sleep(0.5)
        server.cut()
        await asyncio.sleep(0.01)
        assert watched.now.reachable
        assert (watched.now.connected_since, watched.now.unwatched_s) == (1000.0, 0.0)
        server.row[6] = "0/1000028"
        server.cut()
        await asyncio.sleep(0.01)
        assert watched.now.connected_since > 1000.5, "a crash: another end of recovery"

    watching(scenario)


def test_an_answer_that_makes_no_sense_is_told_as_such():
    async def scenario(watched, server):
        await asyncio.sleep(0.2)
        assert watched.now.refused
        assert not watched.now.gone
        assert "makes no sense" in watched.now.text

    server = FakeServer()
    server.row = ["nonsense"]
    watching(scenario, server)


def test_a_look_is_answered_by_a_probe_that_began_after_it():
    async def scenario(watched, server):
        await asyncio.sleep(0.52)
        before = len(server.asked)
        await watched.prober.look()
        assert now() == pytest.approx(1000.52)
        assert len(server.asked) == before + 1
        assert server.asked[-1][1] == QUESTION
        assert watched.now.answered_at == pytest.approx(1000.52)

    watching(scenario)


def test_a_look_at_a_lost_connection_waits_for_the_next_attempt():
    async def scenario(watched, server):
        await asyncio.sleep(0.52)
        server.hangs = True
        look = asyncio.create_task(watched.prober.look())
        await asyncio.sleep(0.05)
        server.hangs, server.refuses = False, REFUSED
        server.cut()
        await look
        assert now() == pytest.approx(1000.57)
        assert watched.now.gone

    watching(scenario)


def test_a_look_at_a_server_that_hangs_ends_with_a_miss():
    async def scenario(watched, server):
        await asyncio.sleep(0.55)
        server.hangs = True
        await asyncio.sleep(0.1)
        await watched.prober.look()
        assert now() == pytest.approx(1000.75)
        assert watched.now.misses == 1

    watching(scenario)


def test_looks_cut_a_pause_short_but_attempts_stay_apart():
    async def scenario(watched, server):
        await asyncio.sleep(20)
        before = len(server.connects)
        for _ in range(10):
            await asyncio.gather(*(watched.prober.look() for _ in range(5)))
        assert len(server.connects) - before == 10
        assert now() - 1020 == pytest.approx(0.1, abs=0.02)

    server = FakeServer()
    server.refuses = REFUSED
    watching(scenario, server)


def test_with_many_servers_each_is_asked_less_often():
    assert pace(Failover(), 3) == 0.1
    assert pace(Failover(), 50) == 0.1
    assert pace(Failover(), 1000) == 2.0


def settings(*backends, **changes):
    return ProxySettings(backends=backends, **changes)


def test_sync_states_come_from_who_is_followed(monkeypatch):
    servers = {"one": FakeServer(), "two": FakeServer(), "three": FakeServer()}
    for name in ("two", "three"):
        servers[name].becomes(REPLICA, "on")
    servers["one"].row[10] = (
        '[["two", null, "sync"], ["walreceiver", "10.0.0.3", "potential"], ["x", "9", "async"]]'
    )
    backends = [Backend(name=name, host=f"10.0.0.{index}") for index, name in enumerate(servers, 1)]

    async def opened(addresses, backend, user_timeout_s):
        return await servers[backend.name].connect()

    monkeypatch.setattr(module, "open_link", opened)

    async def main():
        changes = []
        watch = Watch(settings(*backends), lambda: changes.append(now()))
        watch.start()
        await asyncio.sleep(0.05)
        states = {one.name: one.sync_state for one in watch.observations()}
        assert states == {"one": "", "two": "sync", "three": "potential"}
        assert len(changes) == 3
        servers["one"].row[10] = None
        await watch.look("one")
        assert {one.sync_state for one in watch.observations()} == {""}, "nobody streams from it any more"
        await watch.look("two")
        assert "Prober('two', reachable)" in repr(watch)
        with pytest.raises(KeyError):
            await watch.look("four")
        await watch.stop()
        assert all(link.closed for server in servers.values() for link in server.links)

    run(main(), VirtualClock(1000.0))


def test_statements_run_on_connections_of_their_own(monkeypatch):
    server = FakeServer()

    async def opened(*_):
        return await server.connect()

    monkeypatch.setattr(module, "open_link", opened)

    async def main():
        watch = Watch(settings(Backend(name="one", host="10.0.0.1")), lambda: None)
        assert await watch.run("one", ROLE, 1.0) == [["f"]]
        server.hangs = True
        with pytest.raises(DatabaseUnavailable, match="one: no answer within 1 s"):
            await watch.run("one", ROLE, 1.0)
        server.hangs, server.refuses = False, REFUSED
        with pytest.raises(DatabaseUnavailable, match="one: Connection refused"):
            await watch.run("one", ROLE, 1.0)
        server.refuses = LoginFailed("permission denied for function pg_promote", "42501")
        with pytest.raises(DatabaseUnavailable, match="one: permission denied"):
            await watch.run("one", ROLE, 1.0)
        with pytest.raises(KeyError):
            await watch.run("two", ROLE, 1.0)
        assert all(link.closed for link in server.links)

    run(main(), VirtualClock(1000.0))


def restarted(server):
    """The row of a replica that was started again, receives nothing, and notes an old timeline."""
    again = list(REPLICA)
    again[2] = again[5] = None
    again[9] = "2026-11-26 20:50:00+00"
    server.cut()
    server.becomes(again, "on")


def test_a_replica_that_was_started_again_is_asked_for_its_timeline_until_it_is_known():
    async def scenario(watched, server):
        server.identity = 2
        server.becomes(REPLICA, "on")
        await asyncio.sleep(1)
        assert watched.now.timeline == 3
        assert IDENTIFY not in [sql for _, sql in server.asked]
        restarted(server)
        await asyncio.sleep(1)
        assert watched.now.timeline == 2, "it is on the way"
        server.identity = 3
        await watched.prober.look()
        assert watched.now.timeline == 3
        server.asked.clear()
        await asyncio.sleep(2)
        assert IDENTIFY not in [sql for _, sql in server.asked]
        assert watched.now.timeline == 3

    watching(scenario)


def test_where_the_replication_protocol_is_forbidden_that_is_asked_for_once():
    async def scenario(watched, server):
        server.becomes(REPLICA, "on")
        await asyncio.sleep(1)
        restarted(server)
        before = len(server.connects)
        await asyncio.sleep(2)
        assert watched.now.timeline == 2
        assert watched.now.reachable
        assert len(server.connects) == before + 2

    watching(scenario)


def test_a_replica_that_is_slow_to_identify_itself_is_taken_by_what_it_notes():
    async def scenario(watched, server):
        server.identity = 3
        server.becomes(REPLICA, "on")
        await asyncio.sleep(1)
        restarted(server)
        server.silent_by = IDENTIFY
        await asyncio.sleep(2)
        assert watched.now.timeline == 2
        server.silent_by = ""
        await asyncio.sleep(2)
        assert watched.now.timeline == 3

    watching(scenario)
