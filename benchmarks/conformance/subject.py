"""What a case may do with a library: guard functions, make calls, hold calls in flight, let time pass.

A ``Subject`` is one breaker under one ``Setup``. Adapters say how the library guards a function and tells
a rejection; everything else is derived here, so that all libraries are asked the same question in the
same way. A feature that a library does not have is named in ``lacks`` and makes a case not applicable.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar

T = TypeVar("T")

BLOCKED_AFTER_S = 0.15
"""How long a real thread may take to reach the backend before it counts as blocked."""


class ServiceError(Exception):
    """The backend failed."""


class BusinessError(Exception):
    """The caller's own mistake: says nothing about the backend."""


Kind = Literal["ok", "fail", "business"]
Status = Literal["pass", "fail", "n/a"]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The policy a case asks for; an adapter takes what its library has.

    ``ratio`` and ``minimum`` are for libraries with a window; ``failures`` in a row trip the others.
    ``system_clock`` asks for the clock that users get, where a library would otherwise take ours.
    """

    failures: int = 5
    open_for_s: float = 0.12
    slow_s: float | None = None
    ratio: float = 0.5
    minimum: int = 5
    window_s: float = 10.0
    in_a_row: bool = True
    system_clock: bool = False
    listener: Callable[[], None] | None = None


@dataclass(frozen=True)
class Verdict:
    """What came of one case: the status and one line of evidence."""

    status: Status
    evidence: str


@dataclass(frozen=True)
class Result:
    """One finished call: whether the backend saw it, and what the caller got."""

    reached: bool
    error: BaseException | None


class Held(Protocol):
    """A call that is still out."""

    @property
    def reached(self) -> bool: ...

    @property
    def blocked(self) -> bool: ...

    def end(self, kind: Kind) -> None: ...

    def cancel(self) -> None: ...


class BudgetedCalls(Protocol):
    """Calls that are retried as far as a budget lets them."""

    def attempts(self, *, failing: bool) -> int: ...


class NotSupportedError(Exception):
    """A case asked for what the library lacks; its ``needs`` are incomplete."""

    def __init__(self, library: str, feature: str, value: object) -> None:
        super().__init__(
            f"{library} has no {feature} (asked with {value!r}); add {feature!r} to the case's needs"
        )


def backend(kind: Kind) -> int:
    """Answer at once: 1, a service error or a business error."""
    if kind == "fail":
        raise ServiceError("down")
    if kind == "business":
        raise BusinessError("no such order")
    return 1


class TaskHeld:
    """A call held in a task on the subject's own event loop."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._loop = subject.loop
        self._answer: asyncio.Future[Kind] = self._loop.create_future()
        self.reached = False
        self.blocked = False

        async def call() -> int:
            self.reached = True
            return backend(await self._answer)

        guarded = subject.guard_async(call)

        async def run() -> int:
            return await guarded()

        self._task = self._loop.create_task(run())
        self._settle()

    def end(self, kind: Kind) -> None:
        """Let the backend answer."""
        if not self._answer.done():
            self._answer.set_result(kind)
        self._settle()

    def cancel(self) -> None:
        """Cancel the call from outside, as a caller who lost interest does."""
        self._task.cancel()
        self._settle()

    def _settle(self) -> None:
        self._subject.spin()
        if self._task.done() and not self._task.cancelled():
            self._task.exception()


class ThreadHeld:
    """A call held in a thread, for libraries without async."""

    def __init__(self, subject: Subject) -> None:
        self._answer = threading.Event()
        self._kind: Kind = "ok"
        self._reached = threading.Event()
        self._finished = threading.Event()

        def call() -> int:
            self._reached.set()
            self._answer.wait(5.0)
            return backend(self._kind)

        guarded = subject.guard_sync(call)

        def run() -> None:
            try:
                guarded()
            except Exception:
                return
            finally:
                self._finished.set()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + BLOCKED_AFTER_S
        while time.monotonic() < deadline and not (self._reached.is_set() or self._finished.is_set()):
            time.sleep(0.001)

    @property
    def reached(self) -> bool:
        """True when the backend has seen the call."""
        return self._reached.is_set()

    @property
    def blocked(self) -> bool:
        """True when the call is neither with the backend nor rejected."""
        return not self._reached.is_set() and not self._finished.is_set()

    def end(self, kind: Kind) -> None:
        """Let the backend answer."""
        self._kind = kind
        self._answer.set()
        self._finished.wait(BLOCKED_AFTER_S)

    def cancel(self) -> None:
        """Threads cannot be cancelled."""
        raise RuntimeError("cancel: a thread cannot be cancelled; the subject should lack 'async'")


class Subject(ABC):
    """One breaker of one library."""

    name: ClassVar[str]
    lacks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- what an adapter says ---------------------------------------------------------------------

    @abstractmethod
    def guard_sync(self, function: Callable[[], T]) -> Callable[[], T]:
        """Return the function guarded by this breaker."""

    @abstractmethod
    def guard_async(self, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """Return the coroutine function guarded by this breaker."""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """True when the breaker does not let normal traffic through, as its own state says."""

    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Apply the library's decorator as a user would, whatever the function is."""
        return self.guard_sync(function)

    def wait(self, seconds: float) -> None:
        """Let time pass; really, unless the library takes a clock."""
        time.sleep(seconds)

    def hint_s(self, error: BaseException) -> float | None:
        """Return how long a rejection says to wait, None when it does not say."""
        del error
        return None

    def retrying(self, attempts: int) -> Callable[[Callable[[], T]], Callable[[], T]]:
        """Return a decorator with retries around this breaker."""
        raise NotSupportedError(self.name, "retry", attempts)

    def rejections(self) -> int:
        """Return how many calls the breaker has rejected so far."""
        raise NotSupportedError(self.name, "retry", None)

    def budgeted(self) -> BudgetedCalls:
        """Return a way to make calls with retries on a small budget."""
        raise NotSupportedError(self.name, "budget", None)

    # --- what follows from it ---------------------------------------------------------------------

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The subject's own event loop, made when first needed."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop

    def spin(self) -> None:
        """Run the loop until everything that can run now has run."""

        async def turns() -> None:
            for _ in range(8):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    def call(self, kind: Kind) -> Result:
        """Make one call that the backend answers at once."""
        reached = False

        def call() -> int:
            nonlocal reached
            reached = True
            return backend(kind)

        try:
            self.guard_sync(call)()
        except Exception as error:
            return Result(reached, error)
        return Result(reached, None)

    def calls(self, *kinds: Kind) -> list[Result]:
        """Make several calls in a row."""
        return [self.call(kind) for kind in kinds]

    def trip(self) -> None:
        """Fail until the breaker is open.

        Raises:
            RuntimeError: It does not open; the case cannot be judged.
        """
        for _ in range(200):
            if self.is_open:
                return
            self.call("fail")
        raise RuntimeError(f"{self.name}: still closed after 200 failed calls")

    def begin(self) -> Held:
        """Start a call and leave it with the backend."""
        return ThreadHeld(self) if "async" in self.lacks else TaskHeld(self)

    def close(self) -> None:
        """Release what the subject holds."""
        if self._loop is not None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self.spin()
            self._loop.close()


Make = Callable[..., Subject]
"""Makes a subject: ``make(failures=5, ...)`` takes the fields of ``Setup``."""


@dataclass(frozen=True)
class Case:
    """One trap: what must hold, which features it needs, and how to see it."""

    key: str
    must: str
    needs: tuple[str, ...]
    check: Callable[[Make], Verdict]

    def run(self, kind: type[Subject]) -> Verdict:
        """Run the case against one library and clean up after it."""
        for feature in self.needs:
            if feature in kind.lacks:
                return Verdict("n/a", kind.lacks[feature])
        made: list[Subject] = []

        def make(**setup: Any) -> Subject:  # noqa: ANN401 - the fields of Setup
            made.append(kind(Setup(**setup)))
            return made[-1]

        try:
            return self.check(make)
        finally:
            for subject in made:
                subject.close()


def verdict(passed: bool, evidence: str) -> Verdict:  # noqa: FBT001 - reads as a sentence at the call
    """Return a verdict that passed or failed."""
    return Verdict("pass" if passed else "fail", evidence)
