"""Many keys in bounded memory: light until it matters, and the same afterwards."""

import threading

import pytest

from seawall.kernel.errors import Outcome
from seawall.kernel.signals import BreakerChanged, EvictedKey, Hub
from seawall.resilience.policy import Breaker
from seawall.resilience.registry import EVICTION_STEPS_MAX, LIGHT_CALLS, KeyedBreaker, Registry
from seawall.resilience.states import State
from seawall.resilience.windows import Window

RULES = Breaker(p95="500ms").rules()


def call(entry: KeyedBreaker, now: float, outcome: Outcome = Outcome.OK, lasts_s: float = 0.01) -> bool:
    ticket = entry.admit(now)
    if ticket is None:
        return False
    entry.settle(ticket, outcome, now, now + lasts_s)
    return True


def open_key(registry: Registry, key: str, now: float = 0.0) -> KeyedBreaker:
    entry = registry.get(key)
    while entry.state is not State.OPEN:
        assert call(entry, now, Outcome.FAILED)
    return entry


def test_a_key_has_one_breaker() -> None:
    registry = Registry(RULES, name="db")
    assert registry.get("a") is registry.get("a")
    assert registry.get("a") is not registry.get("b")
    assert (len(registry), list(registry)) == (2, ["a", "b"])
    assert "a" in registry
    assert "c" not in registry


def test_a_key_that_is_seldom_called_and_well_stays_light() -> None:
    entry = Registry(RULES).get("a")
    assert (entry.allows(), entry.state) == (True, State.CLOSED)
    for second in range(LIGHT_CALLS):
        assert call(entry, float(second))
    assert entry.light
    assert repr(entry) == "<KeyedBreaker 'a' light>"
    entry.poll(100.0)
    entry.reload(RULES, 100.0)
    assert entry.light


def test_it_grows_with_the_calls_and_keeps_them() -> None:
    entry = Registry(RULES, name="db").get("a")
    for second in range(LIGHT_CALLS + 1):
        assert call(entry, float(second))
    assert not entry.light
    assert entry.grow(20.0).statistics().calls == LIGHT_CALLS + 1
    assert repr(entry).startswith("<CircuitBreaker 'db' closed")


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_it_grows_with_the_first_call_that_is_not_plainly_good(outcome: Outcome) -> None:
    entry = Registry(RULES).get("a")
    call(entry, 0.0, outcome)
    assert not entry.light


def test_it_grows_with_a_slow_answer() -> None:
    entry = Registry(RULES).get("a")
    call(entry, 0.0, lasts_s=0.5)
    assert not entry.light


def test_it_grows_when_a_call_is_out_for_longer_than_a_grain() -> None:
    registry = Registry(RULES)
    entry = registry.get("a")
    assert entry.admit(0.0) is not None
    assert entry.admit(registry.grain_s / 2) is not None
    assert entry.light
    assert entry.admit(registry.grain_s) is not None
    assert not entry.light
    assert entry.grow(1.0).statistics().in_flight == 3


def test_polling_sees_calls_that_hang() -> None:
    registry = Registry(RULES)
    entry = registry.get("a")
    entry.poll(0.0)
    for _ in range(LIGHT_CALLS):
        entry.admit(0.0)
    now = 0.0
    while entry.state is State.CLOSED:
        now += 0.01
        registry.poll(now)
    assert now < 0.6
    assert not entry.allows()


def test_calls_in_flight_are_handed_over() -> None:
    entry = Registry(RULES).get("a")
    ticket = entry.admit(0.0)
    assert ticket is not None
    grown = entry.grow(0.001)
    assert grown is entry.grow(0.002)
    entry.settle(ticket, Outcome.OK, 0.0, 0.01)
    assert (grown.statistics().calls, grown.statistics().in_flight) == (1, 0)


def test_a_key_that_was_never_called_can_grow() -> None:
    entry = Registry(RULES).get("a")
    grown = entry.grow(50.0)
    assert grown.next_due == 50.0
    assert grown.statistics().calls == 0


def test_a_grown_key_behaves_like_any_breaker() -> None:
    hub = Hub()
    registry = Registry(RULES, name="db", hub=hub)
    with hub.subscribe(BreakerChanged) as heard:
        entry = open_key(registry, "a")
        [changed] = heard.take()
    assert isinstance(changed, BreakerChanged)
    assert (changed.name, changed.key, changed.new) == ("db", "a", "open")
    assert not entry.allows()
    assert not call(entry, 1.0)
    entry.poll(10.0)
    assert entry.state is State.HALF_OPEN


def test_the_grain_of_light_keys_is_that_of_their_windows() -> None:
    for probing in (False, True):
        for rules in (RULES, Breaker().rules(), Breaker(p95="10ms", p99="5s").rules()):
            registry = Registry(rules, probing=probing)
            window = Window(0.0, rules.slow_s, rules.slower_s, stall_s=rules.stall_s if probing else 0.0)
            assert registry.grain_s == window.grain_s
            assert registry.slow_s == window.slow_s


def test_reloading_reaches_every_key_present_and_future() -> None:
    registry = Registry(RULES)
    grown, light = registry.get("grown"), registry.get("light")
    grown.grow(0.0)
    call(light, 0.0)
    rules = Breaker(p95="1s").rules()
    registry.reload(rules, 1.0)
    assert registry.slow_s == 1.0
    assert grown.grow(1.0).rules is rules
    assert light.light
    assert light.grow(1.0).rules is rules
    assert registry.get("new").grow(1.0).rules is rules


def test_a_full_registry_forgets_a_key_that_nobody_used_lately() -> None:
    hub = Hub()
    registry = Registry(RULES, name="db", limit=3, hub=hub)
    for key in "abc":
        registry.get(key)
    registry.get("a")
    with hub.subscribe(EvictedKey) as heard:
        registry.get("d", 7.0)
        assert heard.take() == [EvictedKey(at=7.0, name="db", key="b", limit=3)]
    assert sorted(registry) == ["a", "c", "d"]
    registry.get("e")
    assert "c" not in registry, "a's second chance is used up only after the others' first"


def test_open_keys_are_spared_while_there_is_anything_else() -> None:
    registry = Registry(RULES, limit=3)
    open_key(registry, "a")
    for key in "bcdefg":
        registry.get(key)
    assert "a" in registry
    assert registry.statistics().evicted_open == 0


def test_an_eviction_takes_a_bounded_time() -> None:
    registry = Registry(RULES, limit=2 * EVICTION_STEPS_MAX)
    for number in range(registry.limit):
        registry.get(str(number))
        registry.get(str(number))
    registry.get("new")
    assert str(EVICTION_STEPS_MAX) not in registry, "the first that was not looked at"
    seen = registry.statistics()
    assert (seen.keys, seen.evicted, seen.evicted_open) == (registry.limit, 1, 0)


def test_when_all_are_open_one_of_them_has_to_go() -> None:
    registry = Registry(RULES, limit=2)
    for key in "ab":
        open_key(registry, key)
    registry.get("c")
    seen = registry.statistics()
    assert (seen.keys, seen.light, seen.limit, seen.evicted, seen.evicted_open) == (2, 1, 2, 1, 1)


def test_two_threads_that_want_one_new_key_get_one_breaker() -> None:
    """The second one waits for the lock and finds the key made."""
    lock = threading.Lock()

    class Intruding:
        entered = False

        def __enter__(self) -> bool:
            lock.acquire()
            if not self.entered:
                self.entered = True
                lock.release()
                registry.get("a")
                lock.acquire()
            return True

        def __exit__(self, *details: object) -> None:
            lock.release()

    registry = Registry(RULES, make_lock=Intruding)
    entry = registry.get("a")
    assert entry is registry.get("a")
    assert len(registry) == 1


def test_a_registry_holds_at_least_one_key() -> None:
    with pytest.raises(ValueError, match="limit = 0: allowed is a whole number from 1 up"):
        Registry(RULES, limit=0)
