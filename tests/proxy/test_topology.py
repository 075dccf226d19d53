"""A topology arrives as it was sent, and nonsense doesn't arrive at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.errors import ValidationError
from seawall.proxy.topology import (
    JSON_BYTES_MAX,
    MISSES_MAX,
    NAME_CHARACTERS_MAX,
    RECOVERIES_MAX,
    NodeRole,
    NodeView,
    Observation,
    Phase,
    Recovery,
    Topology,
    format_lsn,
    parse_lsn,
    untracked,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORDS = st.integers(0, 2**64 - 1)
TIMELINES = st.integers(0, 2**32 - 1)
SECONDS = st.floats(0, 1e12)
VIEWS = st.builds(
    NodeView,
    TEXTS,
    st.sampled_from(NodeRole),
    TIMELINES,
    WORDS,
    SECONDS,
    st.none() | WORDS,
    st.none() | WORDS,
    st.none() | WORDS,
    st.none() | WORDS,
    TEXTS,
)
RECOVERIES = st.builds(
    Recovery,
    TEXTS,
    SECONDS,
    TIMELINES,
    WORDS,
    st.none() | WORDS,
    st.booleans(),
    st.booleans(),
    TIMELINES,
)
TOPOLOGIES = st.builds(
    Topology,
    st.integers(0, 2**63 - 1),
    st.sampled_from(Phase),
    st.none() | TEXTS,
    st.booleans(),
    WORDS,
    TIMELINES,
    st.lists(VIEWS, max_size=4).map(tuple),
    st.lists(RECOVERIES, max_size=4).map(tuple),
    TEXTS,
    st.booleans(),
)
ONE = Topology(
    3,
    Phase.SERVING,
    "pg1",
    False,
    77,
    2,
    (NodeView("pg1", NodeRole.PRIMARY, 2, 77, 5.5, 100, 200), NodeView("pg2")),
    (Recovery("pg1", 5.5, 2, 77, 100, False, True, 1),),
    "it was promoted",
)


# --- as JSON ------------------------------------------------------------------------------------------------


@given(TOPOLOGIES)
def test_a_topology_comes_back(topology):
    assert Topology.from_json(topology.to_json()) == topology


def test_it_is_one_short_line():
    text = ONE.to_json()
    assert b"\n" not in text
    assert json.loads(text)["nodes"] == [["pg1", "primary", 2, 77, 5.5, 100, 200], ["pg2"]]


def test_a_thousand_servers_fit():
    nodes = tuple(
        NodeView(f"backend-{number}", NodeRole.PRIMARY, 1, 7 * 10**18, 12345.678) for number in range(1000)
    )
    topology = Topology(1, Phase.SERVING, None, True, 0, 0, nodes)
    assert Topology.from_json(topology.to_json()) == topology


def test_too_long_a_text_is_not_written():
    nodes = tuple(NodeView("n" * NAME_CHARACTERS_MAX) for _ in range(300))
    with pytest.raises(ValidationError, match=f"allowed are {JSON_BYTES_MAX}"):
        Topology(1, Phase.SERVING, None, False, 0, 0, nodes).to_json()


def test_half_a_character_in_a_reason_is_replaced():
    topology = Topology(1, Phase.HOLDING, None, False, 0, 0, (), reason="no \ud800 answer")
    assert Topology.from_json(topology.to_json()).reason == "no ? answer"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b" " * (JSON_BYTES_MAX + 1),
        b'{"epoch":1}',
        b"9" * 5000,
    ],
    ids=repr,
)
def test_what_is_no_topology_is_refused(text):
    with pytest.raises(ValidationError, match=r"what Topology.to_json\(\) writes"):
        Topology.from_json(text)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("epoch", -1, "epoch = '-1': allowed is a whole number up to"),
        ("epoch", True, "epoch"),
        ("epoch", 1.0, "epoch"),
        ("epoch", 2**63, "epoch"),
        ("phase", "sleeping", "one of observing, serving, holding, replaying, paused"),
        ("phase", [], "phase"),
        ("primary", 1, "a text of at most 255 characters"),
        ("primary", "n" * 256, "primary"),
        ("primary", "\ud800", "primary"),
        ("multi_primary", 0, "true or false"),
        ("system_identifier", 2**64, "system_identifier"),
        ("timeline", 2**32, "timeline"),
        ("reason", None, "reason"),
        ("tracked", None, "tracked"),
        ("nodes", {}, "a list of at most 1024"),
        ("nodes", [["n"]] * 1025, "a list of at most 1024"),
        ("nodes", [[]], r"nodes\[0\] = '\[\]': allowed are 1 to 10 values"),
        ("nodes", [["n"] * 11], r"nodes\[0\]"),
        ("nodes", ["n"], r"nodes\[0\]"),
        ("nodes", [["n", "king"]], r"nodes\[0\]\[1\] = '\"king\"': allowed is one of primary"),
        ("nodes", [["n", "down", 1, 1, float("nan")]], r"nodes\[0\]\[4\].*a number of seconds"),
        ("nodes", [["n", "down", 1, 1, float("inf")]], r"nodes\[0\]\[4\]"),
        ("nodes", [["n", "down", 1, 1, 10**400]], r"nodes\[0\]\[4\]"),
        ("nodes", [["n", "down", 1, 1, "5"]], r"nodes\[0\]\[4\]"),
        ("nodes", [["n", "down", 1, 1, True]], r"nodes\[0\]\[4\]"),
        ("recoveries", [["n", 1.0, 1]], r"recoveries\[0\]"),
        ("recoveries", [["n", 1.0, 1, 1]] * (RECOVERIES_MAX + 1), "a list of at most 64"),
    ],
    ids=repr,
)
def test_what_does_not_fit_is_named(key, value, complaint):
    table = json.loads(ONE.to_json()) | {key: value}
    with pytest.raises(ValidationError, match=complaint):
        Topology.from_json(json.dumps(table).encode())


def test_everything_that_does_not_fit_is_named_at_once():
    table = json.loads(ONE.to_json()) | {"epoch": -1, "timeline": -1}
    with pytest.raises(ValidationError, match=r"epoch = .*; timeline = "):
        Topology.from_json(json.dumps(table).encode())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | TEXTS, st.lists, max_leaves=5))
def test_no_value_but_a_good_one_gets_through(value):
    for key in json.loads(ONE.to_json()):
        text = json.dumps(json.loads(ONE.to_json()) | {key: value}).encode()
        try:
            read = Topology.from_json(text)
        except ValidationError:
            continue
        assert Topology.from_json(read.to_json()) == read


# --- the records --------------------------------------------------------------------------------------------


def test_a_server_is_found_by_its_name():
    assert ONE.node("pg2") == NodeView("pg2")
    assert ONE.node("pg3") is None


def test_where_nobody_watches_clients_are_served():
    topology = untracked("no credentials")
    assert (topology.phase, topology.tracked, topology.reason) == (Phase.SERVING, False, "no credentials")
    assert Topology.from_json(topology.to_json()) == topology


@given(WORDS)
def test_an_lsn_comes_back(lsn):
    assert parse_lsn(format_lsn(lsn)) == lsn
    assert parse_lsn(format_lsn(lsn).lower()) == lsn


def test_an_lsn_looks_as_in_postgresql():
    assert format_lsn(0x16_B374D848) == "16/B374D848"
    assert parse_lsn("0/0") == 0


@pytest.mark.parametrize(
    "text", ["", "/", "1", "1/", "/1", "1/2/3", "g/1", "1/ 2", "+1/2", "123456789/0", "0/123456789"]
)
def test_what_is_no_lsn_is_refused(text):
    with pytest.raises(ValidationError, match="16/B374D848"):
        parse_lsn(text)


@pytest.mark.parametrize(
    ("looked", "gone", "pending"),
    [
        ({}, False, True),
        ({"reachable": True}, False, False),
        ({"misses": MISSES_MAX - 1}, False, True),
        ({"misses": MISSES_MAX}, True, False),
        ({"refused": True}, True, False),
        ({"refused": True, "sqlstate": "57P03"}, True, False),
        ({"refused": True, "sqlstate": "53300"}, False, False),
    ],
)
def test_what_a_look_says_of_a_server(looked, gone, pending):
    look = Observation(name="pg1", **looked)
    assert (look.gone, look.pending) == (gone, pending)


@pytest.mark.parametrize(
    ("facts", "complete"),
    [
        ({}, False),
        ({"in_recovery": True}, False),
        ({"in_recovery": True, "system_identifier": 7}, True),
        ({"in_recovery": False, "system_identifier": 7}, False),
        ({"in_recovery": False, "system_identifier": 7, "timeline": 1}, True),
    ],
)
def test_what_it_takes_to_know_a_server(facts, complete):
    assert Observation(name="pg1", **facts).complete is complete
