from dataclasses import replace

import pytest

from seawall.cli.proxy_demo_load import NOBODY, Load, Loss
from seawall.cli.proxy_demo_report import Facts, Replacement, report
from seawall.cli.proxy_demo_shop import Audit

AUDIT = Audit(
    acknowledged=40,
    lost=0,
    doubled=0,
    uninvited=0,
    misnumbered=0,
    incomplete=0,
    unknown=1,
    unknown_done=1,
    orders=41,
    sold=7,
    taken=7,
    replicas_same=True,
)
KILL_S, LOSE_S, SWITCH_S, DRAIN_S = 2.0, 5.0, 7.0, 8.0
REPLAYS = ({"way": "replay", "outcome": "done"}, {"way": "resolve", "outcome": "commit"})


def a_load(*losses: Loss) -> Load:
    """Four clients; worker 1 was killed, and a client of it cut in the middle."""
    load = Load("127.0.0.1", 1, clients=4, workers=2, seed=1, clock=lambda: 100.0)
    for book in load.books:
        book.asked = 10
        book.orders = {number: (number, 1) for number in range(1, 11)}
    for step in range(32):
        load.tally.done(step * 0.25, step % 2, 0.002)
    load.tally.lost(Loss(KILL_S, 1, "08006", in_transaction=True, connected_s=0.1))
    load.tally.lost(Loss(DRAIN_S + 0.1, 0, "57P01", in_transaction=False, connected_s=0.1))
    for loss in losses:
        load.tally.lost(loss)
    load.watch(1)
    load.back_s = 0.4
    load.first_done_s = [KILL_S + 0.01, KILL_S + 0.02, KILL_S + 0.5, KILL_S + 0.03]
    return load


def facts(*losses: Loss, **changes) -> Facts:
    good = Facts(
        load=a_load(*losses),
        workers=2,
        killed=1,
        clients_hit=1,
        killed_at_s=KILL_S,
        ready_s=0.3,
        failover=Replacement(old="pg1", killed_at_s=LOSE_S, replaced=True, rejoined_s=1.5),
        switchover=Replacement(old="pg2", killed_at_s=SWITCH_S, replaced=True, rejoined_s=0.5),
        replays=REPLAYS,
        drain_at_s=DRAIN_S,
        drain_s=0.1,
        drained=True,
        audit=AUDIT,
    )
    return replace(good, **changes)


def broken(judged: Facts) -> list[str]:
    return [promise.promise for promise in report("fast", judged).promises if not promise.kept]


def loss(at_s: float, worker: int, *, connected_s: float = 0.1, in_transaction: bool = False) -> Loss:
    return Loss(at_s, worker, "08006", in_transaction, connected_s)


def test_a_good_play_keeps_all_promises() -> None:
    judged = report("fast", facts())
    assert judged.kept
    assert len(judged.promises) == 12
    figures = judged.figures
    assert (figures.transactions, figures.clients, figures.clients_hit) == (40, 4, 1)
    assert figures.per_s == 5.0
    assert (figures.ready_ms, figures.back_ms, figures.all_back_ms) == (300.0, 400.0, 500.0)
    assert (figures.killed_primary, figures.failover_pause_ms, figures.rejoined_ms) == ("pg1", 250.0, 1500.0)
    assert (figures.replayed, figures.replaced_primary, figures.switchover_pause_ms) == (1, "pg2", 250.0)
    assert (figures.p50_ms, figures.survivor_p99_ms, figures.unexpected) == (2.0, 2.0, {})
    table = judged.as_table()
    assert table["kept"] is True
    assert table["audit"]["sold"] == 7


@pytest.mark.parametrize(
    "unexpected",
    [
        loss(1.0, 0),
        loss(KILL_S + 0.1, 0),
        loss(KILL_S + 0.1, NOBODY),
        loss(KILL_S + 2.0, 1, connected_s=KILL_S + 0.5),
    ],
)
def test_any_other_error_breaks_the_first_promise(unexpected) -> None:
    judged = facts(unexpected)
    assert broken(judged) == ["other workers' clients notice nothing"]
    assert report("fast", judged).figures.unexpected == {"08006": 1}


def test_a_kill_that_hit_nobody_proves_nothing() -> None:
    load = a_load()
    load.tally.losses = [one for one in load.tally.losses if one.sqlstate != "08006"]
    assert broken(facts(load=load)) == ["other workers' clients notice nothing"]


@pytest.mark.parametrize("back_s", [None, 2.1])
def test_a_worker_that_comes_back_late_or_never(back_s) -> None:
    load = a_load()
    load.back_s = back_s
    assert broken(facts(load=load)) == ["the killed worker is back within 2 s"]


def test_a_client_that_does_not_go_on() -> None:
    load = a_load()
    load.first_done_s[2] = None
    assert broken(facts(load=load)) == ["every client goes on"]


@pytest.mark.parametrize(
    "judged",
    [
        facts(loss(DRAIN_S + 0.2, 0, in_transaction=True)),
        facts(drained=False),
        facts(drained=False, drain_s=None),
    ],
)
def test_an_end_that_is_not_graceful(judged) -> None:
    assert broken(judged) == ["the end cuts no transaction"]


@pytest.mark.parametrize(
    ("change", "promise"),
    [
        ({"lost": 1}, "acknowledged orders are there, once"),
        ({"doubled": 1}, "acknowledged orders are there, once"),
        ({"acknowledged": 0}, "acknowledged orders are there, once"),
        ({"uninvited": 1}, "no refused order is there"),
        ({"misnumbered": 1}, "orders are as clients were told"),
        ({"incomplete": 1}, "orders are as clients were told"),
        ({"taken": 8}, "the stock agrees, on replicas too"),
        ({"replicas_same": False}, "the stock agrees, on replicas too"),
    ],
)
def test_books_that_differ(change, promise) -> None:
    assert broken(facts(audit=replace(AUDIT, **change))) == [promise]


@pytest.mark.parametrize(
    ("judged", "promises"),
    [
        (facts(loss(LOSE_S + 0.1, 0)), ["its death fails no checkout"]),
        (facts(replays=()), ["its death fails no checkout"]),
        (facts(loss(SWITCH_S + 0.1, 0)), ["a switchover fails no checkout"]),
        (
            facts(failover=Replacement(old="pg1", killed_at_s=LOSE_S)),
            [
                "a dead primary is replaced within 10 s",
                "its death fails no checkout",
                "the dead primary is back as a replica",
            ],
        ),
        (facts(switchover=Replacement()), ["a switchover fails no checkout"]),
    ],
)
def test_primaries_that_are_missed(judged, promises) -> None:
    assert broken(judged) == promises


def test_a_play_that_was_never_played_keeps_nothing() -> None:
    judged = report("fast", Facts(load=None, workers=2))
    assert not any(promise.kept for promise in judged.promises)
    assert judged.figures.transactions == 0
