"""The fuzzing bites: a proxy that is broken on purpose is found out; and a few inputs of each kind pass."""

import random

import pytest

from benchmarks.fuzzing import strata, streams
from benchmarks.fuzzing.minimise import minimised, smaller, verdict
from benchmarks.fuzzing.strata import STRATA, Input, Play, Wrong, comparable, draw, new_world
from seawall.proxy.client import Client
from seawall.proxy.greeter import Door, Greeter
from seawall.proxy.pool import Pool
from seawall.proxy.server import Server
from seawall.proxy.worker import Worker
from seawall.wire.pgwire import messages

SOME = 150
MANY = 1_500


def play(stratum, count, seed=1):
    """Play inputs until one is wrong; its verdict, or nothing."""
    worlds = {}
    for number in range(count):
        given = draw(stratum, random.Random(f"{seed} {stratum} {number}"))
        world = worlds.setdefault(given.variant, new_world(stratum, given.variant))
        with world.patched():
            try:
                Play(world, given).run()
            except Wrong as wrong:
                return str(wrong)
    return ""


@pytest.mark.parametrize("stratum", STRATA)
def test_some_inputs_of_each_kind_pass(stratum):
    assert play(stratum, SOME) == ""


@pytest.mark.parametrize("stratum", STRATA)
def test_an_input_is_the_same_for_the_same_seed_and_survives_its_record(stratum):
    one, again = (draw(stratum, random.Random(7)) for _ in range(2))
    assert one == again == Input.from_json(one.as_json())


def raises(*_):
    raise ValueError("broken on purpose")


BROKEN = {
    "an exception in a parser": ("startup", Greeter, "_open", raises),
    "visitors that are not counted out": ("startup", Door, "leave", lambda *_: None),
    "an error that does not hang up": ("login", Greeter, "_refuse", lambda *_: None),
    "servers that come back out of step": ("clients", Server, "busy", property(lambda _: False)),
    "errors that are not followed to the Sync": ("clients", Server, "_failed", lambda *_: None),
    "clients that are never forgotten": ("clients", Worker, "client_gone", lambda *_: None),
    "servers that are never put back": ("clients", Pool, "put", lambda *_: None),
    "what a client waits with is lost": ("clients", Client, "proceed", lambda *_: None),
    "servers that are never cut": ("servers", Server, "connection_lost", lambda *_: None),
    "goodbyes into the middle of a row": ("servers", Server, "mid_message", property(lambda _: False)),
}


@pytest.mark.interpreted
@pytest.mark.timeout(20)  # some faults are rare
@pytest.mark.parametrize("fault", BROKEN)
def test_a_proxy_that_is_broken_is_found_out(monkeypatch, fault):
    stratum, owner, name, instead = BROKEN[fault]
    monkeypatch.setattr(owner, name, instead)
    assert play(stratum, MANY)


@pytest.mark.interpreted
def test_a_failure_is_made_small_and_still_fails(monkeypatch):
    monkeypatch.setattr(Server, "_failed", lambda *_: None)
    said = messages.query("rows 1") * 3 + messages.describe_statement("a") + messages.sync() * 2
    given = Input("clients", 0, 64, (("say0", said), ("say1", messages.query("rows 3"))))
    assert verdict([given])
    small = minimised(given)
    assert verdict([small])
    assert sum(len(data) for _, data in small.steps) <= len(messages.describe_statement("a") * 2)


def test_what_does_not_fail_is_left_as_it_is():
    given = Input("clients", 0, 64, (("say0", messages.query("rows 1")),))
    assert verdict([given]) == ""
    assert minimised(given) is given


def test_parts_are_taken_out_as_long_as_it_fails():
    assert smaller([1, 2, 3, 4, 5, 6, 7], lambda parts: 3 in parts and 6 in parts) == [3, 6]


@pytest.mark.parametrize(
    ("said", "promised"),
    [
        (messages.query("rows 1") + messages.sync(), True),
        (messages.describe_statement("a") + messages.sync() + messages.query("rows 1"), True),
        (messages.describe_statement("a") + messages.query("rows 1"), False),
        (messages.query("copyin") + streams.COPY_DATA + streams.COPY_DONE + messages.sync(), True),
        (messages.query("copyin") + messages.query("rows 1"), False),
        (messages.parse("", "copyin") + messages.execute() + messages.query("rows 1"), False),
        (messages.parse("a", "DISCARD ALL") + messages.sync(), False),
        (streams.message(ord("Q"), b"rows 1\0\0"), False),
    ],
)
def test_only_what_is_promised_is_compared(said, promised):
    assert comparable(said) is promised


def test_a_spoiled_stream_is_another_stream():
    rng = random.Random(1)
    data = messages.parse("a", "rows 1") + messages.sync()
    assert len({streams.spoil(rng, data) for _ in range(100)}) > 50
    assert streams.cut(data) == [messages.parse("a", "rows 1"), messages.sync()]
    assert b"".join(streams.chunks(rng, data)) == data
    assert streams.whole(data)
    assert not streams.whole(data[:-1])
    assert strata.PROBE_ANSWER.endswith(messages.ready_for_query(b"I"))
