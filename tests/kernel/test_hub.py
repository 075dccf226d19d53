from collections import deque
from threading import Thread

import pytest

from seawall.kernel.errors import UsageError
from seawall.kernel.hub import (
    MAX_CAPACITY,
    MAX_FAULTS,
    MAX_ROUTES,
    MAX_SUBSCRIBERS,
    Hub,
    HubStatistics,
    Signal,
)
from seawall.kernel.signals import (
    BreakerChanged,
    BreakerRefused,
    CallRefused,
    EvictedKey,
    RampMoved,
    RateRefused,
)


def fact(number):
    return Signal(at=float(number), name="db")


def test_nobody_listens():
    hub = Hub()
    hub.publish(fact(1))
    assert not hub.active
    assert hub.statistics() == HubStatistics(0, 0, 0, 0, 0, 0)


def test_a_subscriber_gets_what_happened_in_order():
    hub = Hub()
    subscription = hub.subscribe()
    assert hub.active
    for number in range(3):
        hub.publish(fact(number))
    assert subscription.take(2) == [fact(0), fact(1)]
    assert subscription.take() == [fact(2)]
    assert subscription.take() == []
    assert subscription.take(0) == []


def test_types_are_matched_with_their_derivatives():
    hub = Hub()
    refusals = hub.subscribe(CallRefused)
    ramps = hub.subscribe(RampMoved, EvictedKey)
    everything = hub.subscribe()
    sent = [
        BreakerRefused(at=1.0, name="db"),
        RateRefused(at=2.0, name="db"),
        RampMoved(at=3.0, name="db", old=0.1, share=0.2),
        EvictedKey(at=4.0, name="db", key="k", limit=9),
        BreakerChanged(at=5.0, name="db", old="closed", new="open", reason="errors"),
    ]
    for signal in sent:
        hub.publish(signal)
    assert refusals.take() == sent[:2]
    assert ramps.take() == sent[2:4]
    assert everything.take() == sent


def test_the_oldest_is_dropped_and_counted():
    hub = Hub()
    subscription = hub.subscribe(capacity=2)
    for number in range(5):
        hub.publish(fact(number))
    assert (subscription.offered, subscription.dropped, subscription.queued) == (5, 3, 2)
    assert subscription.take() == [fact(3), fact(4)]
    assert subscription.delivered == 2
    assert hub.statistics() == HubStatistics(
        subscribers=1, published=5, queued=0, delivered=2, dropped=3, errors=0
    )


def test_a_queue_that_was_emptied_meanwhile_drops_nothing():
    class Emptied(deque):
        def popleft(self):
            self.clear()
            return super().popleft()

    hub = Hub()
    subscription = hub.subscribe(capacity=1)
    subscription._queue = Emptied()
    hub.publish(fact(1))
    hub.publish(fact(2))
    assert subscription.dropped == 0


def test_closing_ends_the_offers_and_keeps_the_queue():
    hub = Hub()
    with hub.subscribe() as subscription:
        hub.publish(fact(1))
    hub.publish(fact(2))
    subscription.close()
    assert not hub.active
    assert subscription.take() == [fact(1)]
    assert subscription.offered == 1


def test_one_of_two_closes():
    hub = Hub()
    first, second = hub.subscribe(), hub.subscribe()
    hub.publish(fact(1))
    first.close()
    hub.publish(fact(2))
    assert hub.active
    assert [len(first.take()), len(second.take())] == [1, 2]


def test_ready_rings_once_until_the_next_take():
    rings = []
    hub = Hub()
    subscription = hub.subscribe(on_ready=lambda: rings.append(subscription.queued))
    hub.publish(fact(1))
    hub.publish(fact(2))
    assert rings == [1]
    subscription.take()
    hub.publish(fact(3))
    assert rings == [1, 1]
    subscription.take()
    subscription.take()
    hub.publish(fact(4))
    hub.publish(fact(5))
    assert rings == [1, 1, 1]


def test_a_raising_ready_is_contained_counted_and_tried_again():
    def broken():
        raise RuntimeError("no")

    hub = Hub()
    subscription = hub.subscribe(on_ready=broken)
    healthy = hub.subscribe()
    hub.publish(fact(1))
    hub.publish(fact(2))
    assert subscription.errors == 2
    assert hub.statistics().errors == 2
    assert len(healthy.take()) == len(subscription.take()) == 2


def test_a_ready_that_publishes_does_not_ring_for_ever():
    hub = Hub()
    subscription = hub.subscribe(on_ready=lambda: hub.publish(fact(2)))
    hub.publish(fact(1))
    assert subscription.take() == [fact(1), fact(2)]


def test_another_publisher_rings_first():
    rings = []
    subscription = Hub().subscribe(on_ready=lambda: rings.append(1))
    subscription._bell.clear()
    subscription._ring(lambda: rings.append(2))
    assert rings == []


def test_on_signal_says_what_is_queued():
    seen = []
    hub = Hub()
    subscription = hub.subscribe(on_signal=lambda signal: (seen.append(signal), None)[1], capacity=1)
    replacing = hub.subscribe(on_signal=lambda signal: fact(signal.at + 10))
    plain = hub.subscribe()
    for number in range(3):
        hub.publish(fact(number))
    assert seen == plain.take() == [fact(0), fact(1), fact(2)]
    assert replacing.take() == [fact(10), fact(11), fact(12)]
    assert (subscription.offered, subscription.queued, subscription.dropped) == (0, 0, 0)
    assert hub.statistics().published == 3


def test_on_signal_sees_what_a_full_queue_loses():
    seen = []
    hub = Hub()
    subscription = hub.subscribe(on_signal=lambda signal: seen.append(signal) or signal, capacity=1)
    for number in range(5):
        hub.publish(fact(number))
    assert len(seen) == 5
    assert (subscription.dropped, subscription.take()) == (4, [fact(4)])


def test_a_raising_on_signal_is_contained_counted_and_given_up():
    calls = []

    def broken(signal):
        calls.append(signal)
        raise RuntimeError("no")

    hub = Hub()
    subscription = hub.subscribe(on_signal=broken)
    for number in range(MAX_FAULTS + 5):
        hub.publish(fact(number))
    assert len(calls) == subscription.errors == hub.statistics().errors == MAX_FAULTS
    assert subscription.take() == [fact(number) for number in range(MAX_FAULTS + 5)]


def test_on_signal_lets_an_interrupt_through():
    def interrupted(signal):
        raise KeyboardInterrupt

    hub = Hub()
    hub.subscribe(on_signal=interrupted)
    with pytest.raises(KeyboardInterrupt):
        hub.publish(fact(1))


@pytest.mark.parametrize("capacity", [0, -1, MAX_CAPACITY + 1])
def test_a_capacity_out_of_range(capacity):
    hub = Hub()
    with pytest.raises(UsageError, match=f"capacity = {capacity}: allowed is 1 to 1048576"):
        hub.subscribe(capacity=capacity)
    assert not hub.active


def test_one_subscriber_too_many():
    hub = Hub()
    for _ in range(MAX_SUBSCRIBERS):
        hub.subscribe()
    with pytest.raises(UsageError, match="64 subscribers already"):
        hub.subscribe()
    assert hub.statistics().subscribers == MAX_SUBSCRIBERS


def test_the_table_of_routes_is_bounded():
    hub = Hub()
    subscription = hub.subscribe()
    kinds = [type(f"Fact{number}", (Signal,), {}) for number in range(MAX_ROUTES + 5)]
    for kind in kinds:
        hub.publish(kind(at=1.0, name="db"))
    assert len(hub._routes) == MAX_ROUTES
    assert subscription.queued == len(kinds)


def test_the_flag_is_right_after_a_race():
    class Racing(Hub):
        """Somebody else subscribes between looking and writing."""

        __slots__ = ("late", "writes")

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "active" and self._racing():
                self._subscriptions[self.late.pop()] = None

        def _racing(self):
            return bool(getattr(self, "late", ()))

    hub = Racing()
    subscription = hub.subscribe()
    hub.late = [subscription]
    hub.remove(subscription)
    assert hub.active


def test_threads_lose_nothing_and_never_fail(rapid_switching):
    hub = Hub()
    done = []
    failures = []
    subscription = hub.subscribe(capacity=8)

    def publish():
        try:
            for number in range(2_000):
                hub.publish(fact(number))
        except BaseException as error:
            failures.append(error)

    def come_and_go():
        while not done:
            with hub.subscribe(capacity=1):
                hub.publish(fact(0))

    def take():
        while not done:
            subscription.take(3)
            assert subscription.queued <= 8 + 4

    publishers = [Thread(target=publish) for _ in range(3)]
    others = [Thread(target=come_and_go), Thread(target=take)]
    for thread in publishers + others:
        thread.start()
    for thread in publishers:
        thread.join()
    done.append(True)
    for thread in others:
        thread.join()
    assert failures == []
    assert subscription.offered == subscription.delivered + subscription.dropped + subscription.queued
    assert subscription.offered == hub.statistics().published
    assert hub.active
