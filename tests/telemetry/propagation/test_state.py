"""The state of a request: OpenTelemetry's interface, the specification's rules, read when it is asked for."""

import copy
import pickle

import pytest
from opentelemetry.trace import TraceState

from seawall.telemetry.propagation.state import CarriedState


def test_is_a_mapping_like_the_apis() -> None:
    state = CarriedState(("a=1", "b=2"))
    assert isinstance(state, TraceState)
    assert (list(state), len(state), state["b"], "a" in state, "c" in state) == (
        ["a", "b"],
        2,
        "2",
        True,
        False,
    )
    assert list(state.keys()) == ["a", "b"]
    assert list(state.values()) == ["1", "2"]
    assert list(state.items()) == [("a", "1"), ("b", "2")]
    assert state.get("c") is None
    assert state == TraceState([("a", "1"), ("b", "2")])
    assert repr(state) == "<CarriedState 'a=1,b=2'>"
    with pytest.raises(KeyError):
        state["c"]


def test_is_not_read_before_it_is_asked() -> None:
    state = CarriedState(("a=1",))
    assert state._members is None
    assert bool(state)
    assert state._members == {"a": "1"}
    assert not CarriedState(("faulty",))
    assert not CarriedState()


def test_changes_make_another_one() -> None:
    state = CarriedState(("a=1,b=2",))
    assert state.add("c", "3").to_header() == "c=3,a=1,b=2"
    assert state.update("b", "3").to_header() == "b=3,a=1"
    assert state.update("c", "3").to_header() == "c=3,a=1,b=2"
    assert state.delete("a").to_header() == "b=2"
    assert state.to_header() == "a=1,b=2"


def test_changes_that_break_a_rule_change_nothing() -> None:
    state = CarriedState(("a=1,b=2",))
    assert state.add("a", "3") is state
    assert state.add("A", "3") is state
    assert state.update("a", "3,4") is state
    assert state.update("a", 3) is state
    assert state.delete("c") is state


def test_a_full_one_loses_its_oldest() -> None:
    full = CarriedState((",".join(f"k{at}=1" for at in range(32)),))
    more = full.add("ours", "1")
    assert (len(more), next(iter(more)), "k31" in more) == (32, "ours", False)


def test_is_made_of_a_header_too() -> None:
    assert CarriedState.from_header(["a=1", "b@@c=2"]).to_header() == "a=1,b@@c=2"
    assert len(CarriedState.get_default()) == 0


def test_can_be_copied_and_pickled() -> None:
    state = CarriedState(("a=1",))
    assert copy.copy(state) == pickle.loads(pickle.dumps(state)) == {"a": "1"}


def test_a_change_of_a_full_one_keeps_the_others() -> None:
    full = CarriedState((",".join(f"k{at}=1" for at in range(32)),))
    assert list(full.update("k31", "2")) == ["k31", *list(full)[:-1]]
