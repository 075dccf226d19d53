"""Sequences are pinned only where nobody else can draw from them, and only one statement at a time."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from seawall.proxy.pinner import OPEN_LIMIT, Pinner
from seawall.proxy.replay.journal import Journal
from seawall.proxy.replay.pinning import Pin, State
from seawall.proxy.topology import NodeRole, NodeView, Phase, Topology
from seawall.wire.pgwire import framing, messages

TOPOLOGY = Topology(1, Phase.REPLAYING, "a", False, 7, 3, (NodeView("a", NodeRole.PRIMARY, 3, 7, 5.0),))


def pinner(topology=TOPOLOGY, *, sole=True):
    failover = SimpleNamespace(sole_proxy=sole)
    return Pinner(SimpleNamespace(settings=SimpleNamespace(failover=failover), topology=topology))


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("sole", [True, False])
def test_it_is_allowed_while_replays_have_the_primary_to_themselves(phase, sole):
    made = pinner(replace(TOPOLOGY, phase=phase), sole=sole)
    assert made.allowed is (sole and phase is Phase.REPLAYING)


def test_only_so_many_are_out_of_place_at_once():
    made = pinner()
    made.open = dict.fromkeys(((None, number) for number in range(OPEN_LIMIT)), b"")
    assert not made.allowed


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ([messages.query("BEGIN")], [messages.command_complete("BEGIN")]),
        ([messages.query("SELECT 1")], [messages.data_row([b"1"]) + messages.command_complete("SELECT 1")]),
        ([messages.query("INSERT")], []),
    ],
    ids=["no rows", "no table", "not answered"],
)
def test_what_shows_no_sequence_is_said_at_once(said, heard):
    journal = Journal(1000, 10)
    journal.replays = True
    for one in said:
        journal.say(one)
    for one in heard:
        journal.hear(one + messages.ready_for_query(b"T"))
    spoken = []
    playing = SimpleNamespace(server=SimpleNamespace(status=framing.IN_TRANSACTION), say=spoken.append)
    made = pinner()
    made.pin(playing, SimpleNamespace(journal=journal, names={}), 0)
    assert (spoken, made.pinned, made.missed, made.open) == ([0], 0, 0, {})


@pytest.mark.parametrize("refused", [None, {"error": "not while clients are served"}])
def test_what_the_supervisor_does_not_agree_to_is_not_set_back_and_taken_back(refused):
    orders = []

    async def supervisor(order):
        orders.append((order["do"], order["sequence"]))
        return refused if order == {**order, "do": "pinned", "sequence": 8} else {"done": True}

    states = [State(1, at, 7 + at, 40, 1, 1, 1, 1, 1000) for at in range(2)]
    pins = [Pin(state, 5, 5) for state in states]
    made, spoken = pinner(), []
    made._worker.siblings = SimpleNamespace(ask_supervisor=supervisor)
    server = SimpleNamespace(
        pool=SimpleNamespace(database="d"), backend=SimpleNamespace(name="a"), pid=70, pending=[]
    )
    playing = SimpleNamespace(server=server, over=False, say=spoken.append)
    asyncio.run(made._announce(playing, 3, pins))
    assert orders == [("pinned", 7), ("pinned", 8), ("unpinned", 7), ("unpinned", 8)]
    assert (spoken, made.open) == ([3], {})
