"""A callback hears every signal in order, on its own thread, and nobody waits for it."""

import threading

import pytest

from seawall.kernel.signals import BreakerReleased, Hub, RampMoved, Signal
from seawall.resilience import listener
from seawall.resilience.listener import Listener, listen


def moved(share: float) -> RampMoved:
    return RampMoved(at=0.0, name="db", old=0.0, share=share)


def shares(signals: list[Signal]) -> list[float]:
    return [signal.share for signal in signals if isinstance(signal, RampMoved)]


def test_it_delivers_all_and_in_order() -> None:
    hub = Hub()
    heard: list[Signal] = []

    with listen(heard.append, hub=hub) as running:
        for number in range(100):
            hub.publish(moved(number / 100))

    assert shares(heard) == [number / 100 for number in range(100)]
    assert (running.dropped, running.failures) == (0, 0)
    assert not hub.active


def test_it_delivers_while_it_runs() -> None:
    hub = Hub()
    told = threading.Event()

    with listen(lambda _signal: told.set(), hub=hub):
        hub.publish(moved(0.1))
        assert told.wait(10.0)


def test_only_the_named_types_are_delivered() -> None:
    hub = Hub()
    heard: list[Signal] = []

    with listen(heard.append, RampMoved, hub=hub):
        hub.publish(BreakerReleased(at=0.0, name="db", mode="open"))
        hub.publish(moved(0.5))

    assert shares(heard) == [0.5]
    assert len(heard) == 1


def test_a_callback_that_raises_hears_the_next_signal() -> None:
    hub = Hub()
    heard: list[Signal] = []

    def broken(signal: Signal) -> None:
        heard.append(signal)
        raise ZeroDivisionError

    with listen(broken, hub=hub) as running:
        hub.publish(moved(0.1))
        hub.publish(moved(0.2))

    assert shares(heard) == [0.1, 0.2]
    assert running.failures == 2


def test_a_slow_callback_holds_up_nobody_and_loses_the_oldest() -> None:
    hub = Hub()
    inside, go_on = threading.Event(), threading.Event()
    heard: list[Signal] = []

    def slow(signal: Signal) -> None:
        inside.set()
        go_on.wait(10.0)
        heard.append(signal)

    with listen(slow, hub=hub, capacity=2) as running:
        hub.publish(moved(0.0))
        assert inside.wait(10.0)
        for number in range(1, 6):
            hub.publish(moved(number))
        assert running.dropped == 3
        go_on.set()

    assert shares(heard) == [0.0, 4.0, 5.0]


def test_closing_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "JOIN_TIMEOUT_S", 0.0)
    hub = Hub()
    inside, go_on = threading.Event(), threading.Event()

    def hanging(_signal: Signal) -> None:
        inside.set()
        go_on.wait(10.0)

    running = listen(hanging, hub=hub)
    hub.publish(moved(0.0))
    assert inside.wait(10.0)
    running.close()
    running.close()
    go_on.set()


def test_the_callback_can_close_its_own_listener() -> None:
    hub = Hub()
    closed = threading.Event()
    running: list[Listener] = []
    ready = threading.Event()

    def last(_signal: Signal) -> None:
        ready.wait(10.0)
        running[0].close()
        closed.set()

    running.append(listen(last, hub=hub))
    ready.set()
    hub.publish(moved(0.0))

    assert closed.wait(10.0)
    assert not hub.active
