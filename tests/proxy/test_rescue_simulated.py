"""Losing servers at any byte and any time tells no client what isn't so; and the oracle bites."""

import pytest

from benchmarks import simulated
from benchmarks.failing import world_oracle
from benchmarks.failing.world_oracle import Fault, Schedule
from seawall.proxy import cases, rescue
from seawall.proxy.replay import ladder
from seawall.proxy.replay.ladder import Decision, Way
from seawall.proxy.replaying import Replaying
from seawall.proxy.resolving import Resolving
from seawall.proxy.turns import Turns

SEEDS = range(1, 9)


def schedules(seeds):
    """The schedules of some seeds."""
    for seed in seeds:
        plain = world_oracle.base(seed)
        yield plain
        yield from world_oracle.variations(plain, world_oracle.play(plain).carried)


@pytest.mark.timeout(60)
def test_nobody_is_told_what_is_not_so():
    played = 0
    for one in schedules(SEEDS):
        played += 1
        assert simulated.complaints(one)[0] == [], one
    assert played > 300


def test_a_schedule_is_the_same_for_the_same_seed():
    one = list(schedules([3]))[-1]
    first, again = world_oracle.play(one), world_oracle.play(one)
    assert (first.outcomes, first.carried, first.lasted_s) == (again.outcomes, again.carried, again.lasted_s)


MISTOLD = [
    # Of a client whose COMMIT was not resolved its next message had begun: that stayed in the journal of a
    # server, and another client said it again.
    Schedule(79000211, (Fault("heard", 968, lasts_s=0.0), Fault("heard", 22, which=1, lasts_s=0.0)), 2, 3),
    Schedule(
        79000082,
        (
            Fault("crash", 0.2273776112100503, lasts_s=0.05, back=True),
            Fault("clean", 0.49803983245333616, lasts_s=0.05),
        ),
        3,
        3,
    ),
]


@pytest.mark.parametrize("schedule", MISTOLD, ids=lambda one: str(one.seed))
def test_what_went_wrong_once(schedule):
    assert simulated.complaints(schedule)[0] == []


def said_again(loss, rules, flight):
    return Decision(Way.REPLAY, "broken on purpose")


def denied(self):
    self._done(self._client, rescue.Outcome.NOT_COMMITTED, "broken on purpose")


def affirmed(self):
    self._done(self._client, rescue.Outcome.COMMITTED, "broken on purpose")


BROKEN = {
    "a COMMIT that is said again": (ladder, "_ending", said_again),
    "results that aren't compared": (Replaying, "_differs", lambda *_: False),
    "a COMMIT that is taken for lost": (Resolving, "_look", denied),
    "a COMMIT that is taken for done": (Resolving, "_look", affirmed),
    "errors that nobody is owed": (rescue, "errors_owed", lambda case, error, openings: error * 2),
    "answers that are kept back": (cases.Case, "turns_owed", ()),
    "cases that are forgotten": (Turns, "acquire", lambda *_: None),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_on_purpose_is_found(name, monkeypatch):
    given = [one for one in schedules(range(1, 60 if "COMMIT" in name else 25)) if one.faults]
    place, attribute, broken = BROKEN[name]
    monkeypatch.setattr(place, attribute, broken)
    assert any(simulated.complaints(one)[0] for one in given)
