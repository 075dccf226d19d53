"""Which server a new connection goes to, and how long one that can't be reached is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.proxy.backends import Backends
from seawall.proxy.settings import Backend, Role

FIRST_S, LAST_S = 0.05, 1.0


def backend(name, **more):
    return Backend(name=name, host=name, **more)


def whole(size):
    return size


def test_the_highest_priority_that_can_be_reached_is_taken():
    high, low = backend("high", priority=200), backend("low")
    group = Backends((low, high), whole)
    assert group.take(0.0) is high
    group.failed(high, 0.0, FIRST_S, LAST_S)
    assert group.take(0.0) is low
    assert group.take(FIRST_S) is high


def test_replicas_and_servers_of_few_kinds_of_statements_are_not_taken():
    replica = backend("replica", role=Role.REPLICA)
    narrow = backend("narrow", allowed_query_types=("select",))
    assert Backends((replica, narrow), whole).take(0.0) is None


def test_connections_are_spread_by_weight():
    light, heavy = backend("light"), backend("heavy", weight=3.0)
    group = Backends((light, heavy), whole)
    for _ in range(8):
        group.take(0.0)
    assert group.connections == {"light": 2, "heavy": 6}


def test_a_full_backend_is_passed_over_and_its_limit_is_a_share():
    one, two = backend("one", priority=200, max_connections=4), backend("two")
    group = Backends((one, two), lambda size: size // 2)
    assert [group.take(0.0).name for _ in range(3)] == ["one", "one", "two"]
    group.closed(one)
    assert group.take(0.0) is one


def test_nobody_is_taken_when_all_are_full():
    only = backend("only", max_connections=1)
    group = Backends((only,), whole)
    assert group.take(0.0) is only
    assert group.take(0.0) is None
    assert group.connections["only"] == 1


def test_when_all_are_barred_the_first_that_may_be_tried_again_is_tried():
    one, two = backend("one"), backend("two")
    group = Backends((one, two), whole)
    for _ in range(2):
        group.take(0.0)
    group.failed(one, 0.0, FIRST_S, LAST_S)
    group.failed(two, 0.01, FIRST_S, LAST_S)
    assert group.take(0.02) is one


def test_the_wait_doubles_up_to_a_limit_and_ends_with_a_success():
    only = backend("only")
    group = Backends((only,), whole)
    waits = []
    for _ in range(20):
        group.take(0.0)
        waits.append(group.failed(only, 0.0, FIRST_S, LAST_S))
    assert waits[:6] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0])
    assert set(waits[5:]) == {LAST_S}
    group.take(0.0)
    group.connected(only)
    group.take(0.0)
    assert group.failed(only, 0.0, FIRST_S, LAST_S) == FIRST_S


@given(
    limits=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    steps=st.lists(st.tuples(st.sampled_from(["take", "closed", "failed", "connected"]), st.integers(0, 3))),
)
def test_places_are_counted_and_never_exceed_their_limits(limits, steps):
    told = tuple(backend(str(number), max_connections=limit) for number, limit in enumerate(limits))
    group = Backends(told, whole)
    held = []
    now = 0.0
    for what, number in steps:
        now += 0.01
        if what == "take":
            taken = group.take(now)
            full = all(limit and group.connections[str(place)] >= limit for place, limit in enumerate(limits))
            assert (taken is None) is (full and taken is None)
            if taken is not None:
                held.append(taken)
        elif held:
            one = held[number % len(held)]
            if what == "connected":
                group.connected(one)
                continue
            held.remove(one)
            if what == "closed":
                group.closed(one)
            else:
                assert 0 < group.failed(one, now, FIRST_S, LAST_S) <= LAST_S
        for place, limit in enumerate(limits):
            assert group.connections[str(place)] == sum(one.name == str(place) for one in held)
            assert not limit or group.connections[str(place)] <= limit
