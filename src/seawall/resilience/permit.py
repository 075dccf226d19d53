"""What users hold while a guarded thing happens: a permit, a block, an attempt, a result.

Made by ``guard``; thin shells around ``plan.Call``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from seawall.kernel.errors import AvailabilityError, CallRejected, DeadlineExceeded, Outcome, UsageError
from seawall.resilience import aio, deadline, threads
from seawall.resilience.deadline import DeadlineScope
from seawall.resilience.plan import Call, Plan
from seawall.resilience.windows import NEVER

T = TypeVar("T")


@dataclass(frozen=True)  # no slots: with them, CPython 3.11 can't make a Result[int](7)
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
        """Whether a guard refused to call: this one, or one further in."""
        return isinstance(self.error, CallRejected)

    def unwrap(self) -> T:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error it is a T


class Permit:
    """The right to make one call, for code that can't be wrapped in a function: proxies, message handlers.

    Settle it exactly once. As a context manager it settles itself by how the block ends. Forgotten, it is
    given back when it is collected.

    Attributes:
        until: when the call has to be over, in the guard's monotonic seconds; infinity: never. A permit can't
            interrupt; what is settled as good after this time counts as failed.

    Example:
        >>> permit = guard("db").try_acquire()  # doctest: +SKIP
        >>> if permit is not None:
        ...     permit.ok()
    """

    __slots__ = ("_call", "_open", "until")

    def __init__(self, call: Call, until: float) -> None:
        self._call = call
        self._open = True
        self.until: Final = until

    @classmethod
    def begin(cls, call: Call) -> Permit:
        """A permit for a call that has its place; raises what ``Call.begin`` raises."""
        now = call.plan.now()
        try:
            until = call.begin(now)
        except BaseException:
            call.leave(now)
            raise
        return cls(call, until)

    @classmethod
    def at_once(cls, plan: Plan) -> Permit | None:
        """A permit if there is one without waiting."""
        now = plan.now()
        if plan.probe is not None:
            threads.watch(plan, now)
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
        self._close()
        now = self._call.plan.now()
        self._call.done(now)
        self._call.leave(now)

    def fail(self, error: BaseException | None = None) -> None:
        """The call failed; ``error`` is classified, and without one it is a plain failure."""
        if error is None:
            self._settle(Outcome.FAILED)
            return
        self._close()
        now = self._call.plan.now()
        try:
            self._call.judge(error, now)
        finally:
            self._call.leave(now)

    def ignore(self) -> None:
        """The call got a proper refusal that says nothing about health."""
        self._settle(Outcome.IGNORED)

    def drop(self) -> None:
        """The call did not take place or was cancelled: counts as nothing."""
        self._settle(Outcome.VOID)

    @property
    def settled(self) -> bool:
        """Whether it was settled."""
        return not self._open

    def expired(self) -> DeadlineExceeded:
        """The error for a call that was interrupted because its time was over."""
        return self._call.expired(self._call.plan.now(), "attempt")

    def _settle(self, outcome: Outcome) -> None:
        self._close()
        now = self._call.plan.now()
        self._call.end(outcome, now)
        self._call.leave(now)

    def _close(self) -> None:
        if not self._open:
            raise UsageError(f"a permit of {self._call.plan.name!r} was settled twice")
        self._open = False

    def __enter__(self) -> Self:
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


class Block:
    """A ``with`` or ``async with`` block of a guard: its permit, and the deadline inside it.

    A guard is one object for any number of blocks at once, so the blocks that a task or thread is in are kept
    in a context variable, as a linked list with the innermost first.
    """

    __slots__ = ("_limit", "_scope", "outer", "owner", "permit")

    def __init__(self, owner: object, permit: Permit) -> None:
        self.owner = owner
        self.permit = permit
        self.outer: Block | None = None
        self._scope: DeadlineScope | None = None
        self._limit: aio.Limit | None = None

    @classmethod
    def of(cls, owner: object, name: str) -> Block:
        """The innermost open block of ``owner``, which is about to end.

        Blocks of other guards may be further in: a generator's block goes on while its consumer has opened
        others.

        Raises:
            UsageError: it began in another context.
        """
        inner: Block | None = None
        block = _BLOCKS.get()
        while block is not None:
            if block.owner is owner and not block.permit.settled:
                break
            inner, block = block, block.outer
        else:
            raise UsageError(
                f"a block of guard {name!r} ends in another task than it began in: use "
                "'with guard.acquire():', which remembers by itself"
            )
        if inner is None:
            _BLOCKS.set(block.outer)
        else:
            inner.outer = block.outer
        return block

    def enter(self) -> None:
        """The block begins."""
        self.outer = _BLOCKS.get()
        _BLOCKS.set(self)
        if self.permit.until != NEVER:
            self._scope = deadline.scope(self.permit.until)
            self._scope.__enter__()

    def exit(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The block has ended."""
        if self._scope is not None:
            self._scope.__exit__(kind, error, trace)
        self.permit.__exit__(kind, error, trace)

    async def aenter(self, now: float) -> None:
        """The ``async with`` block begins."""
        try:
            self._limit = aio.Limit(self.permit.until, now)
            await self._limit.enter()
        except BaseException:
            self.permit.drop()
            raise
        self.outer = _BLOCKS.get()
        _BLOCKS.set(self)

    async def aexit(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The ``async with`` block has ended.

        Raises:
            DeadlineExceeded: it was interrupted.
        """
        if self._limit is not None and await self._limit.leave(kind, error, trace):
            late = self.permit.expired()
            self.permit.fail(late)
            raise late from None
        self.permit.__exit__(kind, error, trace)


_BLOCKS: ContextVar[Block | None] = ContextVar("seawall_blocks", default=None)


class Attempt:
    """One attempt of an attempts loop; a context manager around the work.

    ``async with`` interrupts the work when the attempt's timeout or the deadline is over; ``with`` can't.
    """

    __slots__ = ("_limit", "_loop", "_scope", "number")

    def __init__(self, loop: Attempts, number: int) -> None:
        self._loop = loop
        self._scope: DeadlineScope | None = None
        self._limit: aio.Limit | None = None
        self.number: Final = number
        """1 for the first."""

    def __enter__(self) -> Self:
        until = self._loop.begin(self.number)
        if until != NEVER:
            self._scope = deadline.scope(until)
            self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._scope is not None:
            self._scope.__exit__(kind, error, trace)
        return self._loop.ended(error)

    async def __aenter__(self) -> Self:
        if self._loop.blocking:
            self._loop.finish(self._loop.now())
            raise UsageError(
                "'async with attempt' needs 'async for': a plain loop waits by blocking the event loop"
            )
        until = self._loop.begin(self.number)
        try:
            self._limit = aio.Limit(until, self._loop.now())
            await self._limit.enter()
        except BaseException:
            self._loop.finish(self._loop.now())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._limit is not None and await self._limit.leave(kind, error, trace):
            late = self._loop.expired()
            if self._loop.ended(late):
                return True
            raise late from None
        return self._loop.ended(error)


class Attempts:
    """The attempts of one call as a loop, for work that is a block and not a function.

    ``for attempt in guard.attempts(): with attempt: ...``, and the same with ``async for`` and ``async
    with``. The loop ends after the first success; an error that is not retried comes out of the ``with``.
    """

    __slots__ = ("_call", "_delay_s", "_done", "_handed_out", "_plan", "blocking")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._call: Call | None = None
        self._delay_s: float = 0.0
        self._done = False
        self._handed_out = 0
        self.blocking = False
        """The loop is a plain ``for``, which waits by blocking."""

    def __iter__(self) -> Iterator[Attempt]:
        return self

    def __next__(self) -> Attempt:
        if self._done:
            raise StopIteration
        self.blocking = True
        if self._call is None:
            self._call = threads.enter(self._plan)
        else:
            self._check_used(self._call)
            try:
                self._plan.sleep(self._delay_s)
            except BaseException:
                self.finish(self.now())
                raise
        return self._hand_out(self._call)

    def __aiter__(self) -> AsyncIterator[Attempt]:
        return self

    async def __anext__(self) -> Attempt:
        if self._done:
            raise StopAsyncIteration
        if self._call is None:
            self._call = await aio.enter(self._plan)
        else:
            self._check_used(self._call)
            try:
                await aio.pause(self._delay_s)
            except BaseException:
                self.finish(self.now())
                raise
        return self._hand_out(self._call)

    def _hand_out(self, call: Call) -> Attempt:
        self._handed_out = call.attempt + 1
        return Attempt(self, self._handed_out)

    def _check_used(self, call: Call) -> None:
        if call.attempt == self._handed_out:
            return
        self.finish(self.now())
        raise UsageError(
            f"an attempt of guard {self._plan.name!r} was not entered, so nothing was guarded: write "
            "'for attempt in guard.attempts():' and inside it 'with attempt:'"
        )

    def now(self) -> float:
        """The guard's time."""
        return self._plan.now()

    def begin(self, number: int) -> float:
        """The block of attempt ``number`` starts; returns when it has to be over.

        Raises:
            UsageError: this attempt was entered before, or is not the current one.
        """
        call = self._call
        if call is None or self._done or number != call.attempt + 1:
            raise UsageError("an attempt is entered once, inside its loop")
        now = self._plan.now()
        try:
            return call.begin(now)
        except BaseException:
            # A rejection may be worth a wait, but there is no way to skip a with-block: it comes out here.
            self.finish(now)
            raise

    def ended(self, error: BaseException | None) -> bool:
        """The block ended; true if the loop goes on in spite of ``error``."""
        call = self._call
        assert call is not None  # begin() looked
        now = self._plan.now()
        if error is None:
            call.done(now)
            self.finish(now)
            return False
        delay_s = None
        try:
            delay_s = call.failed(error, now)
        finally:
            if delay_s is None:
                self.finish(now)
        if delay_s is None:
            return False
        self._delay_s = delay_s
        return True

    def expired(self) -> DeadlineExceeded:
        """The error for an attempt that was interrupted because its time was over."""
        assert self._call is not None  # begin() looked
        return self._call.expired(self.now(), "attempt")

    def finish(self, now: float) -> None:
        """No attempt follows, whatever became of the last one."""
        self._done = True
        if self._call is not None:
            self._call.leave(now)

    def __del__(self) -> None:
        # The loop was left with ``break`` between attempts.
        if not getattr(self, "_done", True):
            self.finish(self._plan.now())
