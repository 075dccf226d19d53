"""What users hold while a guarded thing happens: a permit, an attempt, the result of a non-raising call.

Made by ``guard``; thin shells around ``plan.Call``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from seawall.kernel.errors import AvailabilityError, CallRejected, Outcome, UsageError
from seawall.resilience import aio, threads
from seawall.resilience.plan import Call, Plan

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """How a non-raising call ended.

    Attributes:
        value: what the function returned, or the fallback; ``None`` after an error.
        error: what it raised, or why it was not called.
    """

    value: T | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    @property
    def rejected(self) -> bool:
        """Whether the function was not called at all."""
        return isinstance(self.error, CallRejected)

    def unwrap(self) -> T:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error it is a T


class Permit:
    """The right to make one call, for code that can't be wrapped in a function: proxies, message handlers.

    Settle it exactly once. As a context manager it settles itself by how the block ends.

    Example:
        >>> permit = guard("db").try_acquire()  # doctest: +SKIP
        >>> if permit is not None:
        ...     permit.ok()
    """

    __slots__ = ("_call", "_open")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._open = True

    @classmethod
    def begin(cls, call: Call) -> Permit:
        """A permit for a call that has its place; raises what ``Call.begin`` raises."""
        now = call.plan.now()
        try:
            call.begin(now)
        except BaseException:
            call.leave(now)
            raise
        return cls(call)

    @classmethod
    def at_once(cls, plan: Plan) -> Permit | None:
        """A permit if there is one without waiting."""
        now = plan.now()
        call = Call(plan, now)
        try:
            return cls.begin(call) if call.enter(now) else None
        except AvailabilityError:
            return None

    def ok(self) -> None:
        """The call succeeded.

        Raises:
            UsageError: the permit was settled before; so with the other three.
        """
        self._settle(Outcome.OK)

    def fail(self, error: BaseException | None = None) -> None:
        """The call failed; ``error`` is classified, and without one it is a plain failure."""
        if error is None:
            self._settle(Outcome.FAILED)
        else:
            self._settle(self._call.plan.classifier.error(error).outcome)

    def ignore(self) -> None:
        """The call got a proper refusal that says nothing about health."""
        self._settle(Outcome.IGNORED)

    def drop(self) -> None:
        """The call did not take place or was cancelled: counts as nothing."""
        self._settle(Outcome.VOID)

    def _settle(self, outcome: Outcome) -> None:
        if not self._open:
            raise UsageError(f"a permit of {self._call.plan.name!r} was settled twice")
        self._open = False
        now = self._call.plan.now()
        self._call.end(outcome, now)
        self._call.leave(now)

    def __enter__(self) -> Permit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._open:
            return
        if error is None:
            self.ok()
        else:
            self.fail(error)

    def __del__(self) -> None:
        # A forgotten permit must not hold a probe's lease or a place in the bulkhead for ever.
        if getattr(self, "_open", False):
            self.drop()


class Attempt:
    """One attempt of an attempts loop; a context manager around the work."""

    __slots__ = ("_loop", "number")

    def __init__(self, loop: Attempts, number: int) -> None:
        self._loop = loop
        self.number = number
        """1 for the first."""

    def __enter__(self) -> Attempt:
        self._loop.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._loop.ended(error)


class Attempts:
    """The attempts of one call as a loop, for work that is a block and not a function.

    ``for attempt in guard.attempts(): with attempt: ...`` and the same with ``async for``. The loop ends after the
    first success; an error that is not retried comes out of the ``with``.
    """

    __slots__ = ("_call", "_delay_s", "_done", "_plan")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._call: Call | None = None
        self._delay_s: float = 0.0
        self._done = False

    def __iter__(self) -> Iterator[Attempt]:
        return self

    def __next__(self) -> Attempt:
        if self._done:
            raise StopIteration
        if self._call is None:
            self._call = threads.enter(self._plan)
        else:
            self._plan.sleep(self._delay_s)
        return Attempt(self, self._call.attempt + 1)

    def __aiter__(self) -> AsyncIterator[Attempt]:
        return self

    async def __anext__(self) -> Attempt:
        if self._done:
            raise StopAsyncIteration
        if self._call is None:
            self._call = await aio.enter(self._plan)
        else:
            await aio.pause(self._delay_s)
        return Attempt(self, self._call.attempt + 1)

    def begin(self) -> None:
        """The block starts."""
        call = self._call
        if call is None or self._done:
            raise UsageError("an attempt is entered once, inside its loop")
        now = self._plan.now()
        try:
            call.begin(now)
        except BaseException as error:
            # A rejection may be worth a wait, but there is no way to skip a with-block: it comes out here.
            call.failed(error, now)
            self._finish(now)
            raise

    def ended(self, error: BaseException | None) -> bool:
        """The block ended; true if the loop goes on in spite of ``error``."""
        call = self._call
        assert call is not None  # begin() looked
        now = self._plan.now()
        if error is None:
            call.end(Outcome.OK, now)
            self._finish(now)
            return False
        delay_s = call.failed(error, now)
        if delay_s is None:
            self._finish(now)
            return False
        self._delay_s = delay_s
        return True

    def _finish(self, now: float) -> None:
        self._done = True
        if self._call is not None:
            self._call.leave(now)

    def __del__(self) -> None:
        # The loop was left with ``break`` between attempts.
        if not getattr(self, "_done", True):
            self._finish(self._plan.now())
