"""The table, read as a graph, and the plain numbers beside it."""

import pytest

from seawall.resilience.policy import Breaker
from seawall.resilience.states import TRANSITIONS, Enforcement, Event, Override, State


def test_every_state_can_be_left_and_reached_without_an_operator() -> None:
    orders = {Event.RESET, Event.RETRIAL}
    steps = {(old, new) for (old, event), new in TRANSITIONS.items() if event not in orders}
    reached = {State.CLOSED}
    while more := {new for old, new in steps if old in reached} - reached:
        reached |= more
    assert reached == set(State)
    back = {State.CLOSED}
    while more := {old for old, new in steps if new in back} - back:
        back |= more
    assert back == set(State)


def test_an_operator_can_give_both_orders_in_every_state() -> None:
    for state in State:
        assert TRANSITIONS[state, Event.RESET] is State.CLOSED
        assert TRANSITIONS[state, Event.RETRIAL] is State.HALF_OPEN


def test_nothing_opens_but_evidence_and_a_refused_round() -> None:
    opening = {(old, event) for (old, event), new in TRANSITIONS.items() if new is State.OPEN}
    assert opening == {
        (State.CLOSED, Event.TRIP),
        (State.RAMPING, Event.TRIP),
        (State.HALF_OPEN, Event.REFUSED),
    }


def test_states_have_words_and_an_order() -> None:
    assert [state.label for state in sorted(State)] == ["closed", "ramping", "half_open", "open"]


def test_an_override_shows_who_and_why() -> None:
    override = Override(Enforcement.FORCED_OPEN, "ada", "maintenance", 9.0)
    assert repr(override) == "<Override forced_open by ada: maintenance>"
    assert (override.owner, override.reason, override.until) == ("ada", "maintenance", 9.0)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"errors": "9%", "open_for": "9s", "probes": 1, "slow_ratio": "1%"}, True),
        ({"p95": "501ms"}, False),
        ({"p99": "3s"}, False),
        ({"window": "11s"}, False),
        ({"short_window": "2s"}, False),
    ],
)
def test_counts_survive_what_does_not_change_their_meaning(change: dict[str, str], same: bool) -> None:
    rules = Breaker(p95="500ms", p99="2s").rules()
    assert rules.same_window(Breaker(**({"p95": "500ms", "p99": "2s"} | change)).rules()) is same
