"""The cells: the numbers themselves, and the few lines that change them on the way of every call.

A cell has no name and no labels (``families``) and is no text (the writer keeps what it renders in ``line``).
Whoever counts holds on to the cell and calls it; whoever is scraped reads its attributes.

Threads
-------
CPython with the GIL hands over to another thread (and runs signal handlers) at function entry, after a call
has returned and at a loop's back edge, and nowhere else. So between the first read and the last write of each
step below there is no call and no loop: the step is indivisible, without a lock. A stress test holds this to
it. Of a build without the GIL nothing is claimed here, as elsewhere in Seawall.

A fork copies cells like everything else; what parent and child count from then on is each one's own.

No cell raises, blocks or logs. What makes no sense (a negative step of a counter, NaN, an unknown state, a
value that is no number) changes nothing but ``refused``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import frexp, inf, isfinite, nan
from typing import Any, Final

from seawall.telemetry.metrics.locks import FOLDING
from seawall.telemetry.metrics.native import (
    BUCKETS_MAX,
    LARGEST,
    ZERO_THRESHOLD,
    Exponential,
    bounds_of,
    key_of,
    lowered,
)

__all__ = [
    "EXEMPLARS_MAX",
    "Cell",
    "Counter",
    "Exemplar",
    "Gauge",
    "Histogram",
    "Info",
    "NativeHistogram",
    "StateSet",
]

EXEMPLARS_MAX: Final = 10
"""Exemplars of one native histogram; the oldest gives way."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation that can be looked up elsewhere.

    Attributes:
        labels: Where to look, usually the trace and the span.
        value: What was observed.
        at: When, in seconds since 1970; NaN if nobody knows.
    """

    labels: tuple[tuple[str, str], ...]
    value: float
    at: float


class Cell:
    """What every cell has.

    Attributes:
        line: Belongs to the writer: what it has rendered of this series.
        refused: Calls that made no sense and changed nothing else.
    """

    __slots__ = ("line", "refused")

    def __init__(self) -> None:
        self.line: Any = None
        self.refused: int = 0


class Counter(Cell):
    """A total that only grows.

    Attributes:
        value: The total.
        exemplar: The last one given.
    """

    __slots__ = ("exemplar", "value")

    def __init__(self) -> None:
        super().__init__()
        self.value: float = 0
        self.exemplar: Exemplar | None = None

    def inc(self, amount: float = 1, exemplar: Exemplar | None = None) -> None:
        """Add ``amount``, which is finite and not negative."""
        try:
            # The usual step first: it saves three comparisons. Written out, since += shuffles the stack.
            if exemplar is None and amount == 1:
                self.value = self.value + 1
                return
            if 0 <= amount < inf:
                self.value += amount
            else:
                self.refused += 1
                return
        except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
            self.refused += 1
            return
        if exemplar is not None:
            self.exemplar = exemplar

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.value}>"


class Gauge(Cell):
    """A number that goes up and down.

    Attributes:
        value: The number.
        function: Called at every scrape instead, when it is set; whoever sets it sees that it is quick.
        used: Whether it was written since somebody last cleared this; so idleness needs no clock here.
        idle_since: When it was last found unused, in the clock of whoever looks.
    """

    __slots__ = ("__weakref__", "function", "idle_since", "used", "value")

    def __init__(self) -> None:
        super().__init__()
        self.value: float = 0
        self.function: Callable[[], float] | None = None
        self.used: bool = True
        self.idle_since: float = inf

    def set(self, value: float) -> None:
        """Replace the number."""
        self.value = value
        self.used = True

    def inc(self, amount: float = 1) -> None:
        """Add ``amount``."""
        try:
            self.value += amount
        except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
            self.refused += 1
        self.used = True

    def dec(self, amount: float = 1) -> None:
        """Subtract ``amount``."""
        try:
            self.value -= amount
        except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
            self.refused += 1
        self.used = True

    def read(self) -> float:
        """The number for a scrape; NaN if the function fails or what was set is no number."""
        function = self.function
        try:
            return float(self.value if function is None else function())
        except Exception:  # noqa: BLE001  # a function is a user's, and a scrape goes on without it
            self.refused += 1
            return nan

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.value}>"


class Histogram(Cell):
    """Counts by bucket, with bounds that were declared.

    Args:
        bounds: Upper bounds, ascending, without +Inf.

    Attributes:
        bounds: The same.
        counts: Observations by bucket, not cumulated; the last one is for what is above all bounds.
        sum: Sum of all observations.
        exemplars: The last one by bucket; ``None`` until there is one.
    """

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        super().__init__()
        self.bounds: tuple[float, ...] = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.sum: float = 0.0
        self.exemplars: list[Exemplar | None] | None = None

    @property
    def count(self) -> int:
        """All observations."""
        return sum(self.counts)

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        """Count one observation; a value that equals a bound belongs below it."""
        try:
            index = bisect_left(self.bounds, value)
            if value == value:  # noqa: PLR0124  # NaN is in no bucket, and isnan() would be a call
                # The sum first: only it can fail, and then nothing has been counted.
                self.sum += value
                self.counts[index] += 1
            else:
                self.refused += 1
                return
        except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
            self.refused += 1
            return
        if exemplar is not None:
            self._keep(index, exemplar)

    def add(self, counts: Sequence[int], total: float) -> None:
        """Count many observations at once, which somebody has sorted by the same bounds.

        It is no single step: a cell in a shared block that is added to has one thread that writes it.

        Args:
            counts: By bucket; the last one is for what is above all bounds. They are refused, and counted as
                one refusal, unless there is one for each bucket and none is below 0.
            total: The sum of the observations.
        """
        if self._fits(counts, total):
            self.sum += total
            for index, count in enumerate(counts):
                self.counts[index] += count

    def _fits(self, counts: Sequence[int], total: float) -> bool:
        try:
            fits = len(counts) == len(self.counts) and min(counts) >= 0 and isfinite(total)
        except Exception:  # noqa: BLE001  # as in observe
            fits = False
        self.refused += not fits
        return fits

    def _keep(self, index: int, exemplar: Exemplar) -> None:
        if self.exemplars is None:
            self.exemplars = [None] * len(self.counts)
        self.exemplars[index] = exemplar

    def __repr__(self) -> str:
        return f"<{type(self).__name__} count={self.count} sum={self.sum:g}>"


class NativeHistogram(Cell):
    """Counts by exponential bucket: nobody has to know the bounds beforehand.

    It starts at a resolution and lowers it by itself when there are more than ``BUCKETS_MAX`` buckets.

    Lowering replaces the tables by empty ones first and then adds the old counts to them, so that
    observations of other threads always find a table. ``_era`` tells an observation, which has worked out its
    key before, that it did so for tables that are gone.

    Args:
        schema: Resolution to start with.

    Attributes:
        schema: Resolution now.
        zero_count: Values up to the zero threshold.
        positive: Counts by key. Read them through ``snapshot`` where other threads observe.
        negative: Counts by key of the magnitude.
        sum: Sum of all observations.
        exemplars: The latest ones; ``None`` until there is one.
    """

    __slots__ = ("_bounds", "_era", "exemplars", "negative", "positive", "schema", "sum", "zero_count")

    def __init__(self, schema: int = 3) -> None:
        super().__init__()
        self.schema: int = schema
        self.zero_count: int = 0
        self.positive: dict[int, int] = {}
        self.negative: dict[int, int] = {}
        self.sum: float = 0.0
        self.exemplars: deque[Exemplar] | None = None
        self._bounds: tuple[float, ...] = bounds_of(schema)
        self._era: int = 0

    @property
    def count(self) -> int:
        """All observations."""
        return self.zero_count + sum(self.positive.copy().values()) + sum(self.negative.copy().values())

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        """Count one observation."""
        try:
            era = self._era
            key = None
            if ZERO_THRESHOLD < value <= LARGEST and (bounds := self._bounds):
                fraction, exponent = frexp(value)
                key = bisect_left(bounds, fraction) + (exponent - 1) * len(bounds)
            positive = self.positive
            # From here to the end of the block nothing is called.
            if key in positive and era == self._era:
                self.sum += value
                positive[key] += 1
            else:
                self._place(value)
        except Exception:  # noqa: BLE001  # whatever kind of number it is, it must not reach the caller
            self.refused += 1
            return
        if exemplar is not None:
            self._keep(exemplar)

    def snapshot(self) -> Exponential:
        """A schema with its buckets, whatever other threads do meanwhile.

        The sum may be ahead of them by what came in between.
        """
        with FOLDING:
            while True:
                era = self._era
                state = Exponential(
                    schema=self.schema,
                    zero_count=self.zero_count,
                    positive=self.positive.copy(),
                    negative=self.negative.copy(),
                    sum=self.sum,
                )
                # Else it was loaded meanwhile, which takes no lock.
                if era == self._era:
                    return state

    def load(self, state: Exponential) -> None:
        """Become what ``state`` says; nobody may observe meanwhile."""
        bounds, positive, negative = bounds_of(state.schema), dict(state.positive), dict(state.negative)
        # Assignments that call nothing: all at once for other threads.
        self.schema = state.schema
        self._bounds = bounds
        self.zero_count = state.zero_count
        self.positive = positive
        self.negative = negative
        self.sum = state.sum
        self._era += 1

    def _place(self, value: float) -> int | None:
        """Count one observation the long way.

        Returns:
            Twice the key, plus one for a negative value; ``None`` if it is in no bucket.

        Raises:
            ValueError: It is not a number.
        """
        magnitude = abs(value)
        if magnitude <= ZERO_THRESHOLD:
            self.sum += value
            self.zero_count += 1
            return None
        if magnitude != magnitude:  # noqa: PLR0124  # NaN
            raise ValueError("NaN is in no bucket")
        while True:
            era = self._era
            key = key_of(magnitude, self.schema)
            table = self.positive if value > 0 else self.negative
            # From here to the end of the loop nothing is called.
            if era != self._era:
                continue
            self.sum += value
            if key in table:
                table[key] += 1
            else:
                table[key] = 1
            break
        if len(self.positive) + len(self.negative) > BUCKETS_MAX:
            self._coarsen()
        return 2 * key + (value < 0)

    def _coarsen(self) -> None:
        # If another thread folds or reads now, the next new bucket comes here again: nobody has to wait.
        if not FOLDING.acquire(blocking=False):
            return
        try:
            while len(self.positive) + len(self.negative) > BUCKETS_MAX:
                self._lower()
        finally:
            FOLDING.release()

    def _lower(self) -> None:
        schema = self.schema - 1
        bounds = bounds_of(schema)
        positive: dict[int, int] = {}
        negative: dict[int, int] = {}
        # Assignments that call nothing: all at once for other threads.
        old_positive, old_negative = self.positive, self.negative
        self.positive, self.negative = positive, negative
        self.schema = schema
        self._bounds = bounds
        self._era += 1
        for old, new in ((old_positive, positive), (old_negative, negative)):
            for key, count in old.items():
                coarse = lowered(key, 1)
                # Other threads count here as well, so this has no call between reading and writing either.
                if coarse in new:
                    new[coarse] += count
                else:
                    new[coarse] = count

    def _keep(self, exemplar: Exemplar) -> None:
        if self.exemplars is None:
            self.exemplars = deque(maxlen=EXEMPLARS_MAX)
        self.exemplars.append(exemplar)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} count={self.count} sum={self.sum:g} schema={self.schema}>"


class StateSet(Cell):
    """Which one of several states holds.

    Args:
        states: Their names; the first one holds until another is set.

    Attributes:
        states: The same.
        state: Position of the one that holds.
    """

    __slots__ = ("_positions", "state", "states")

    def __init__(self, states: tuple[str, ...]) -> None:
        super().__init__()
        self.states: tuple[str, ...] = states
        self.state: int = 0
        self._positions: dict[str, int] = {name: position for position, name in enumerate(states)}

    def set(self, name: str) -> None:
        """Say that this state holds now."""
        try:
            self.state = self._positions[name]
        except Exception:  # noqa: BLE001  # a name that is no state, or can't even be looked up
            self.refused += 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.states[self.state]}>"


class Info(Cell):
    """Facts that are told by labels alone; the number is always 1."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<Info>"
