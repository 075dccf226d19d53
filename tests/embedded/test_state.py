import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.embedded import state
from seawall.embedded.state import ClusterState, NodeState, Owner
from seawall.kernel.errors import PolicyError, Problem, UsageError

NODES = (NodeState("pg1", 5001, "/tmp/s1"), NodeState("pg2", 5002, "/tmp/s2", "pg1"))
CLUSTER = ClusterState("wheel", 18, nodes=NODES, complete=True, settings={"work_mem": "4MB"})


def table(**changes) -> dict:
    return {**json.loads(state.dump(CLUSTER)), **changes}


def complaints(text: str) -> tuple[Problem, ...]:
    """What is wrong with a text; what is accepted has to survive being written."""
    try:
        read = state.parse(text, "cluster.json")
    except PolicyError as error:
        return error.problems
    assert state.parse(state.dump(read)) == read
    return ()


def problems(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for problem in complaints(text):
        found[problem.key] = f"{found.get(problem.key, '')}{problem}\n"
    return found


names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)


@st.composite
def clusters(draw) -> ClusterState:
    unique = draw(st.lists(names, min_size=1, max_size=state.NODES_MAX, unique=True))
    directories = st.from_regex(state.SOCKET_DIRECTORY, fullmatch=True)
    nodes = [
        NodeState(
            name, draw(st.integers(1, 65535)), draw(directories), None if name == unique[0] else unique[0]
        )
        for name in unique
    ]
    owner = st.builds(Owner, st.integers(1, 2**40), st.integers(0, 2**60), st.just("boot pid:[1]"))
    return ClusterState(
        engine_kind=draw(st.sampled_from(["wheel", "system"])),
        engine_version=draw(st.integers(13, 30)),
        engine_directory=draw(st.sampled_from(["", "/usr/lib/postgresql/15/bin", "/ä b/bin"])),
        authentication=draw(st.sampled_from(["trust", "scram-sha-256", "md5", "password"])),
        synchronous=draw(st.booleans()),
        name_prefix=draw(names),
        settings=draw(
            st.dictionaries(st.sampled_from(["work_mem", "a.b"]), st.sampled_from(["", "4MB", "it's"]))
        ),
        nodes=tuple(nodes),
        complete=draw(st.booleans()),
        owner=draw(st.none() | owner),
    )


@given(clusters())
def test_what_is_written_is_read_back(cluster) -> None:
    assert state.parse(state.dump(cluster)) == cluster


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(json_values | st.text())
def test_what_is_no_state_file_is_explained(value) -> None:
    for text in (json.dumps(value), str(value)):
        assert complaints(text) != ()


@given(st.sampled_from(sorted(table())), json_values)
def test_any_value_of_any_key_is_accepted_or_explained_by_its_key(key, value) -> None:
    found = complaints(json.dumps(table(**{key: value})))
    assert all(problem.key.startswith(key) or problem.key == "nodes" for problem in found)


@given(st.sampled_from(["name", "port", "socket_directory", "follows"]), json_values)
def test_any_value_in_a_node_is_accepted_or_explained(key, value) -> None:
    nodes = table()["nodes"]
    nodes[1][key] = value
    found = complaints(json.dumps(table(nodes=nodes)))
    assert all(problem.key.startswith("nodes") for problem in found)


def test_all_mistakes_are_told_at_once() -> None:
    nodes = [{"name": "PG", "port": 0, "socket_directory": "relative"}]
    found = problems(json.dumps(table(nodes=nodes, complete="yes", authentication="ldap", extra=1)))
    assert set(found) == {
        "nodes[0].name",
        "nodes[0].port",
        "nodes[0].socket_directory",
        "nodes[0].follows",
        "complete",
        "authentication",
        "extra",
    }
    assert "1 to 65535" in found["nodes[0].port"]
    assert "scram-sha-256" in found["authentication"]


@pytest.mark.parametrize("text", ["", "{", "[1,2", "\0", "[" * 100_000])
def test_what_is_no_json_is_one_problem(text) -> None:
    assert list(problems(text)) == ["cluster.json"]


def test_another_format_is_one_problem_too() -> None:
    assert list(problems('{"format": 2, "future": true}')) == ["format"]


def test_roles_must_make_sense() -> None:
    def with_follows(*follows: str | None) -> str:
        nodes = table()["nodes"]
        for node, leader in zip(nodes, follows, strict=True):
            node["follows"] = leader
        return json.dumps(table(nodes=nodes))

    state.parse(with_follows(None, "pg1"))
    assert "exactly one" in problems(with_follows(None, None))["nodes"]
    assert "exactly one" in problems(with_follows("pg2", "pg1"))["nodes"]
    assert "nodes[1].follows" in problems(with_follows(None, "pg2"))
    assert "nodes[1].follows" in problems(with_follows(None, "pg9"))


def test_a_finished_cluster_has_nodes() -> None:
    assert "at least one node" in problems(json.dumps(table(nodes=[])))["nodes"]
    assert state.parse(json.dumps(table(nodes=[], complete=False))).nodes == ()


def test_a_name_occurs_once() -> None:
    nodes = [table()["nodes"][0]] * 2
    assert "every name once" in problems(json.dumps(table(nodes=nodes)))["nodes"]


def test_too_many_nodes_are_refused() -> None:
    nodes = [table()["nodes"][0]] * (state.NODES_MAX + 1)
    assert "at most 16" in problems(json.dumps(table(nodes=nodes)))["nodes"]


def test_who_leads_can_change() -> None:
    changed = CLUSTER.led_by("pg2")
    assert CLUSTER.leader == "pg1"
    assert changed.leader == "pg2"
    assert changed.node("pg1").follows == "pg2"


def test_a_node_is_added_or_replaced() -> None:
    added = CLUSTER.with_node(NodeState("pg3", 5003, "/tmp/s3", "pg1"))
    moved = added.with_node(NodeState("pg2", 6002, "/tmp/s2", "pg1"))
    assert [node.name for node in moved.nodes] == ["pg1", "pg2", "pg3"]
    assert moved.node("pg2").port == 6002


def test_an_unknown_node_is_named_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no node 'pg7'.*pg1, pg2"):
        CLUSTER.node("pg7")
