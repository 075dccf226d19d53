"""Breakers by key (tenant, host, query pattern …), many of them, in bounded memory.

Most keys are seen a few times and are well.  Such a key costs one :class:`KeyedBreaker` and one cohort; only
when it has been called more than a few times, or when something goes wrong, does it grow a full
``CircuitBreaker``.  The semantics are the same before and after: calls in flight are handed over with their
cohort.

When the registry is full, an old key that nobody used lately goes (second chance, F. J. Corbató 1968: one bit
per entry and no bookkeeping on a hit).  Keys that are not closed are spared while there is anything else to
evict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Final

from seawall.kernel.errors import Outcome
from seawall.kernel.signals import EvictedKey, Hub
from seawall.resilience.breaker import CircuitBreaker
from seawall.resilience.states import BreakerRules, State
from seawall.resilience.windows import AT_ONCE, Cohort, Ticket, grain_for

LIGHT_CALLS: Final = 10
"""A key that was called more often than this counts in windows."""
KEYS_MAX_DEFAULT: Final = 100_000
EVICTION_STEPS_MAX: Final = 64
"""Entries looked at per eviction; then the oldest one goes, whatever it is."""


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    """What a registry holds.

    Attributes:
        keys: breakers now.
        light: those that have not grown.
        limit: most keys it will hold.
        evicted: keys that had to go since birth.
        evicted_open: those of them that were not closed.
    """

    keys: int
    light: int
    limit: int
    evicted: int
    evicted_open: int


class KeyedBreaker:
    """The breaker of one key; light until it needs to be more.

    Users get it from :meth:`Registry.get`; its methods are those of ``CircuitBreaker``.
    """

    __slots__ = ("_cohort", "_grown", "_registry", "key", "used")

    def __init__(self, registry: Registry, key: str) -> None:
        self._registry: Registry = registry
        self.key: str = key
        self._cohort: Cohort = Cohort(0, AT_ONCE)
        self._grown: CircuitBreaker | None = None
        self.used: bool = False

    def admit(self, now: float) -> Ticket | None:
        """As ``CircuitBreaker.admit``."""
        grown = self._grown
        if grown is not None:
            return grown.admit(now)
        cohort = self._cohort
        if cohort.started == cohort.fast:
            cohort.start = now
        elif now >= cohort.start + self._registry.grain_s:
            return self.grow(now).admit(now)
        if cohort.started >= LIGHT_CALLS:
            return self.grow(now).admit(now)
        cohort.started += 1
        return cohort

    def settle(self, ticket: Ticket, outcome: Outcome, started_at: float, now: float) -> None:
        """As ``CircuitBreaker.settle``."""
        grown = self._grown
        if grown is None:
            if (
                outcome is Outcome.OK
                and now - started_at < self._registry.slow_s
                and isinstance(ticket, Cohort)
            ):
                ticket.fast += 1
                return
            grown = self.grow(now)
        grown.settle(ticket, outcome, started_at, now)

    def poll(self, now: float) -> None:
        """As ``CircuitBreaker.poll``; a light breaker has nothing to do unless calls hang."""
        if self._grown is not None:
            self._grown.poll(now)
        elif self._cohort.started > self._cohort.fast:
            self.grow(now).poll(now)

    def allows(self) -> bool:
        """As ``CircuitBreaker.allows``."""
        return self._grown is None or self._grown.admitting

    @property
    def light(self) -> bool:
        """Whether it has not grown."""
        return self._grown is None

    @property
    def forced(self) -> bool:
        """Whether an operator's order holds."""
        return self._grown is not None and self._grown.override is not None

    @property
    def spared(self) -> bool:
        """Whether it knows something that should not be forgotten: it is not closed, or forced."""
        return self.forced or self.state is not State.CLOSED

    @property
    def state(self) -> State:
        """As ``CircuitBreaker.state``."""
        return State.CLOSED if self._grown is None else self._grown.state

    def grow(self, now: float) -> CircuitBreaker:
        """The full breaker of this key, made if need be."""
        with self._registry.lock:
            grown = self._grown
            if grown is None:
                cohort = self._cohort
                if cohort.started > 0:
                    grown = self._registry.make(self.key, cohort.start)
                    grown.adopt(cohort)
                else:
                    grown = self._registry.make(self.key, now)
                self._grown = grown
        return grown

    def reload(self, rules: BreakerRules, now: float) -> None:
        """As ``CircuitBreaker.reload``; a light breaker follows its registry."""
        if self._grown is not None:
            self._grown.reload(rules, now)

    def __repr__(self) -> str:
        return f"<KeyedBreaker {self.key!r} light>" if self._grown is None else repr(self._grown)


class Registry:
    """The breakers of all keys under one name.

    Args:
        rules: what each breaker goes by.
        name: whose keys these are.
        limit: most keys held.
        rng: for the jitter of open times.
        hub: where transitions and evictions are announced.
        make_lock: gives each full breaker its lock, and the registry its own.
        probing: the owner runs active probes.

    Raises:
        ValueError: the limit is below 1.
    """

    __slots__ = (
        "_entries",
        "_hub",
        "_make_lock",
        "_name",
        "_probing",
        "_rng",
        "_rules",
        "evicted",
        "evicted_open",
        "grain_s",
        "limit",
        "lock",
        "slow_s",
    )

    def __init__(
        self,
        rules: BreakerRules,
        *,
        name: str = "",
        limit: int = KEYS_MAX_DEFAULT,
        rng: Callable[[], float] | None = None,
        hub: Hub | None = None,
        make_lock: Callable[[], AbstractContextManager[object]] = nullcontext,
        probing: bool = False,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit = {limit!r}: allowed is a whole number from 1 up")
        self._entries: dict[str, KeyedBreaker] = {}
        self._name: str = name
        self._rng: Callable[[], float] | None = rng
        self._hub: Hub | None = hub
        self._make_lock: Callable[[], AbstractContextManager[object]] = make_lock
        self._probing: bool = probing
        self.lock: AbstractContextManager[object] = make_lock()
        self.limit: int = limit
        self.evicted: int = 0
        self.evicted_open: int = 0
        self._use(rules)

    def _use(self, rules: BreakerRules) -> None:
        self._rules: BreakerRules = rules
        full = CircuitBreaker(rules)
        self.slow_s: float = full.slow_s
        self.grain_s: float = grain_for(rules.slow_s, rules.slower_s, rules.stall_s if self._probing else 0.0)

    def get(self, key: str, now: float = 0.0) -> KeyedBreaker:
        """The breaker of ``key``; a new one may push an old one out."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.used = True
            return entry
        with self.lock:
            entry = self._entries.get(key)
            if entry is None:
                gone = self._evict() if len(self._entries) >= self.limit else None
                entry = KeyedBreaker(self, key)
                self._entries[key] = entry
            else:
                gone = None
        if gone is not None and self._hub is not None and self._hub.active:
            self._hub.publish(EvictedKey(at=now, name=self._name, key=gone, limit=self.limit))
        return entry

    def _evict(self) -> str:
        entries = self._entries
        steps = min(EVICTION_STEPS_MAX, len(entries))
        for _ in range(steps):
            key = next(iter(entries))
            entry = entries.pop(key)
            if not entry.used and not entry.spared:
                self.evicted += 1
                return key
            entry.used = False
            entries[key] = entry
        # All were used or are spared: the oldest goes, but an operator's order only if there is nothing else.
        oldest = list(islice(entries.items(), steps))
        key = next((key for key, entry in oldest if not entry.forced), oldest[0][0])
        if entries.pop(key).spared:
            self.evicted_open += 1
        self.evicted += 1
        return key

    def make(self, key: str, now: float) -> CircuitBreaker:
        """A full breaker for ``key``."""
        return CircuitBreaker(
            self._rules,
            name=self._name,
            key=key,
            now=now,
            rng=self._rng,
            hub=self._hub,
            lock=self._make_lock(),
            probing=self._probing,
        )

    def reload(self, rules: BreakerRules, now: float) -> None:
        """Let every breaker, present and future, go by ``rules``."""
        self._use(rules)
        for entry in list(self._entries.values()):
            entry.reload(rules, now)

    def poll(self, now: float) -> None:
        """Let time pass for every key."""
        for entry in list(self._entries.values()):
            entry.poll(now)

    def holds(self, breaker: KeyedBreaker) -> bool:
        """Whether ``breaker`` is still the one of its key, and was not evicted."""
        return self._entries.get(breaker.key) is breaker

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._entries))

    def statistics(self) -> RegistryStatistics:
        """A frozen picture."""
        entries = list(self._entries.values())
        return RegistryStatistics(
            keys=len(entries),
            light=sum(entry.light for entry in entries),
            limit=self.limit,
            evicted=self.evicted,
            evicted_open=self.evicted_open,
        )
