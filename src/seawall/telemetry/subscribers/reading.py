"""Numbers that guards count anyway, read when a registry is scraped.

Guards are watched by weak references: telemetry keeps none alive, and those that are gone leave the gauges.
Totals become counters by what they have grown since the last reading, so that a counter only grows: a total
that is smaller than before belongs to an engine that a reload has made anew, and begins at 0. What a guard
counted before it was watched, and after its last reading, is not there.

Nothing of ``resilience`` is imported; whatever has these attributes can be watched.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final, Protocol

from seawall.kernel.errors import UsageError
from seawall.kernel.signals import Hub
from seawall.telemetry.catalogue.resilience import (
    BREAKER_CALLS,
    BREAKER_FAILURES,
    BREAKER_OUTCOMES,
    BREAKER_STATES,
    BUDGET_TOKENS,
    BULKHEAD_IN_FLIGHT,
    BULKHEAD_LIMIT,
    BULKHEAD_WAITING,
    GUARD_KEYS,
    OUTCOMES,
    SIGNALS_DROPPED,
    SIGNALS_PUBLISHED,
)
from seawall.telemetry.metrics.cells import Counter
from seawall.telemetry.metrics.registry import Registry
from seawall.telemetry.subscribers.standing import Standing

__all__ = ["READ_SLICE", "WATCHED_MAX", "Readings", "Watched"]

WATCHED_MAX: Final = 1_000
"""Guards watched at once: each is asked at every scrape, which takes some hundredths of a millisecond."""
READ_SLICE: Final = 10
"""Guards read before an event loop gets its turn."""

_CALLS: Final = "calls"
_FORCED: Final = "forced_"


class BreakerFigures(Protocol):
    """What is read of a breaker's statistics; its counts by outcome are read by their names."""

    @property
    def state(self) -> str:
        """Its state."""
        ...

    @property
    def share(self) -> float:
        """The share of calls it admits."""
        ...

    @property
    def enforcement(self) -> str:
        """What is done with its verdict."""
        ...

    @property
    def calls(self) -> int:
        """Calls it knows the end of."""
        ...


class BulkheadFigures(Protocol):
    """What is read of a bulkhead's statistics."""

    @property
    def inside(self) -> int:
        """Places taken."""
        ...

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        ...

    @property
    def limit(self) -> int:
        """Places."""
        ...


class BudgetFigures(Protocol):
    """What is read of a retry budget's statistics."""

    @property
    def balance(self) -> float:
        """Tokens."""
        ...


class KeysFigures(Protocol):
    """What is read of a keyed guard's statistics."""

    @property
    def keys(self) -> int:
        """Keys held."""
        ...


class Figures(Protocol):
    """What is read of a guard's statistics; ``None`` for a part it does not have."""

    @property
    def breaker(self) -> BreakerFigures | None:
        """Of its breaker."""
        ...

    @property
    def bulkhead(self) -> BulkheadFigures | None:
        """Of its bulkhead."""
        ...

    @property
    def budget(self) -> BudgetFigures | None:
        """Of its retry budget."""
        ...

    @property
    def keys(self) -> KeysFigures | None:
        """Of its keys."""
        ...


class Watched(Protocol):
    """A guard, or what looks like one; it can be referred to weakly."""

    name: str

    def statistics(self) -> Figures:
        """Its counters at this moment."""
        ...


@dataclass(slots=True)
class _Watch:
    """One guard and the totals of its last reading."""

    guard: weakref.ref[Watched]
    name: str
    totals: dict[str, int]


@dataclass(slots=True)
class _Sums:
    """What the guards of one name have together; ``None`` where none of them has such a part."""

    state: str | None = None
    share: float = 1.0
    forced: bool = False
    in_flight: int | None = None
    waiting: int = 0
    limit: int = 0
    tokens: float | None = None
    keys: int | None = None

    def add(self, figures: Figures) -> None:
        """Add one guard's figures: levels are added up, of states the worst stands."""
        breaker, bulkhead, budget, keys = figures.breaker, figures.bulkhead, figures.budget, figures.keys
        if breaker is not None:
            self.share = breaker.share if self.state is None else min(self.share, breaker.share)
            if self.state is None or _rank(breaker.state) > _rank(self.state):
                self.state = breaker.state
            self.forced = self.forced or breaker.enforcement.startswith(_FORCED)
        if bulkhead is not None:
            self.in_flight = (self.in_flight or 0) + bulkhead.inside
            self.waiting += bulkhead.waiting
            self.limit += bulkhead.limit
        if budget is not None:
            self.tokens = budget.balance if self.tokens is None else min(self.tokens, budget.balance)
        if keys is not None:
            self.keys = (self.keys or 0) + keys.keys


class Readings:
    """Reads guards, and the hub, into one registry.

    Args:
        registry: Where the cells are.
        hub: Whose counts are read too.

    Attributes:
        failed: Times that a guard could not be read.
        refused: Guards that were not watched, since there were too many.
    """

    __slots__ = (
        "_calls",
        "_dropped",
        "_failures",
        "_hub",
        "_hub_totals",
        "_in_flight",
        "_keys",
        "_limit",
        "_names",
        "_outcomes",
        "_published",
        "_standing",
        "_tokens",
        "_under_way",
        "_waiting",
        "_watches",
        "failed",
        "refused",
    )

    def __init__(self, registry: Registry, hub: Hub) -> None:
        self._hub = hub
        self._standing = Standing(registry)
        self._calls = registry.counter(BREAKER_CALLS)
        self._failures = registry.counter(BREAKER_FAILURES)
        self._outcomes = registry.counter(BREAKER_OUTCOMES)
        self._in_flight = registry.gauge(BULKHEAD_IN_FLIGHT)
        self._waiting = registry.gauge(BULKHEAD_WAITING)
        self._limit = registry.gauge(BULKHEAD_LIMIT)
        self._tokens = registry.gauge(BUDGET_TOKENS)
        self._keys = registry.gauge(GUARD_KEYS)
        self._published = registry.counter(SIGNALS_PUBLISHED)
        self._dropped = registry.counter(SIGNALS_DROPPED)
        statistics = hub.statistics()
        self._hub_totals = (statistics.published, statistics.dropped)
        self._watches: dict[int, _Watch] = {}
        self._names: set[str] = set()
        self._under_way = Lock()
        self.failed = 0
        self.refused = 0

    @property
    def watched(self) -> int:
        """Guards that are watched."""
        return len(self._watches)

    def watch(self, guard: Watched) -> bool:
        """Read a guard at every scrape from now on, for as long as somebody else holds it.

        Returns:
            Whether there was room; a guard that is watched already needs none.

        Raises:
            UsageError: It can't be referred to weakly.
        """
        place = id(guard)
        if place in self._watches:
            return True
        if len(self._watches) >= WATCHED_MAX:
            self.refused += 1
            return False
        watches = self._watches

        def gone(_: object) -> None:
            watches.pop(place, None)

        try:
            reference = weakref.ref(guard, gone)
        except TypeError as error:
            raise UsageError(f"{guard!r} can't be watched: give its class a slot '__weakref__'") from error
        try:
            totals = _totals(guard.statistics().breaker)
        except Exception:  # noqa: BLE001  # telemetry raises nothing for what is somebody else's fault
            self.failed += 1
            totals = {}
        watches[place] = _Watch(reference, guard.name, totals)
        return True

    def reading(self) -> Iterator[None]:
        """Read everything; nothing if a reading is under way already, whose numbers are as good.

        Yields:
            Nothing, after every :data:`READ_SLICE` guards: an event loop may have its turn.
        """
        if not self._under_way.acquire(blocking=False):
            return
        try:
            yield from self._reading()
        finally:
            self._under_way.release()

    def _reading(self) -> Iterator[None]:
        self._read_hub()
        sums: dict[str, _Sums] = {}
        for looked, watch in enumerate(self._watches.copy().values(), start=1):
            guard = watch.guard()
            if guard is not None:
                try:
                    self._read(guard, watch, sums)
                except Exception:  # noqa: BLE001  # one guard that can't be read leaves the others to be read
                    self.failed += 1
                    # It is still there: what its gauges said last stays.
                    sums.setdefault(watch.name, _Sums())
                del guard
            if looked % READ_SLICE == 0:
                yield
        for name, one in sums.items():
            self._show(name, one)
        for name in self._names - sums.keys():
            self._remove(name)
        self._names = set(sums)

    def _read(self, guard: Watched, watch: _Watch, sums: dict[str, _Sums]) -> None:
        figures, name = guard.statistics(), watch.name
        totals = _totals(figures.breaker)
        if totals:
            _grow(self._calls.cell(name), _CALLS, watch.totals, totals)
            _grow(self._failures.cell(name), "failed", watch.totals, totals)
            for outcome in OUTCOMES:
                _grow(self._outcomes.cell(name, outcome), outcome, watch.totals, totals)
            watch.totals = totals
        sums.setdefault(name, _Sums()).add(figures)

    def _read_hub(self) -> None:
        statistics = self._hub.statistics()
        published, dropped = self._hub_totals
        self._published.cell().inc(max(statistics.published - published, 0))
        # It counts for open subscriptions only, so it shrinks when one is closed.
        self._dropped.cell().inc(max(statistics.dropped - dropped, 0))
        self._hub_totals = (statistics.published, statistics.dropped)

    def _show(self, name: str, sums: _Sums) -> None:
        if sums.state is not None:
            self._standing.state(name, sums.state)
            self._standing.share(name, sums.share)
            self._standing.forced(name, sums.forced)
        if sums.in_flight is not None:
            self._in_flight.cell(name).set(sums.in_flight)
            self._waiting.cell(name).set(sums.waiting)
            self._limit.cell(name).set(sums.limit)
        if sums.tokens is not None:
            self._tokens.cell(name).set(sums.tokens)
        if sums.keys is not None:
            self._keys.cell(name).set(sums.keys)

    def _remove(self, name: str) -> None:
        self._standing.remove(name)
        for family in (self._in_flight, self._waiting, self._limit, self._tokens, self._keys):
            family.remove(name)


def _rank(state: str) -> int:
    return _RANKS.get(state, -1)


_RANKS: Final[Mapping[str, int]] = {state: rank for rank, state in enumerate(BREAKER_STATES)}


def _totals(breaker: BreakerFigures | None) -> dict[str, int]:
    if breaker is None:
        return {}
    return {_CALLS: breaker.calls, **{outcome: getattr(breaker, outcome) for outcome in OUTCOMES}}


def _grow(cell: Counter, key: str, before: Mapping[str, int], now: Mapping[str, int]) -> None:
    total, last = now[key], before.get(key, 0)
    cell.inc(total - last if total >= last else total)
