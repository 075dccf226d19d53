"""``guard(...)``: one object that carries a name's policies and guards calls with them.

It builds the engines, keeps them across a reload, and offers every way to use them: decorator, ``with``
block, call, permit, attempts loop, non-raising call, per-key view.  How a call runs is told in ``plan``; the
edges ``threads`` and ``aio`` do the waiting.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from seawall.kernel.clock import Clock
from seawall.kernel.commands import Command, ForceBreaker, ReleaseBreaker, ReloadPolicy, ResetBreaker
from seawall.kernel.errors import UsageError
from seawall.kernel.signals import Hub, PolicyChange, PolicyReloaded
from seawall.kernel.units import parse_duration
from seawall.resilience import aio, threads, wrap
from seawall.resilience.breaker import BreakerStatistics, CircuitBreaker
from seawall.resilience.budget import BudgetStatistics
from seawall.resilience.build import Builder
from seawall.resilience.bulkhead import BulkheadStatistics
from seawall.resilience.classify import ErrorClassifier, ResultClassifier
from seawall.resilience.explain import Explanation, explain
from seawall.resilience.limits import RateLimiterStatistics
from seawall.resilience.permit import Attempts, Block, Permit, Result
from seawall.resilience.plan import AnyBreaker, Fallback, Plan, Probe
from seawall.resilience.policy import Breaker, Bulkhead, Policy, RateLimit, Retry, differences
from seawall.resilience.registry import KEYS_MAX_DEFAULT, KeyedBreaker, Registry, RegistryStatistics
from seawall.resilience.retry import RetryStatistics
from seawall.resilience.settings import Duration
from seawall.resilience.states import Enforcement, Override, State
from seawall.resilience.system import HUB, SYSTEM_CLOCK, new_lock, system_rng

P = ParamSpec("P")
R = TypeVar("R")

_MODES: Final = {
    "open": Enforcement.FORCED_OPEN,
    "closed": Enforcement.FORCED_CLOSED,
    "disabled": Enforcement.DISABLED,
    "shadow": Enforcement.SHADOW,
}

_NO_RESULT: Final = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
"""Calling such a function only makes an object; its body runs later, outside the guard."""


@dataclass(frozen=True, slots=True)
class GuardStatistics:
    """All counters of a guard; ``None`` for a part it does not have."""

    name: str
    breaker: BreakerStatistics | None
    bulkhead: BulkheadStatistics | None
    rate: RateLimiterStatistics | None
    retry: RetryStatistics | None
    budget: BudgetStatistics | None
    keys: RegistryStatistics | None
    fallbacks: int


class Guard:
    """A name's policies at work; made by :func:`guard`.

    Use it as a decorator, in a ``with`` or ``async with`` statement, or through its methods. One guard may be
    used by any number of threads and tasks at once.
    """

    # Weakly referred to by who only watches it: telemetry keeps no guard alive.
    __slots__ = ("__weakref__", "_builder", "_keys_max", "_lock", "_plan", "_policy", "_registry", "name")

    def __init__(self, name: str, policy: Policy, builder: Builder, keys_max: int) -> None:
        self.name = name
        self._builder = builder
        self._keys_max = keys_max
        self._lock = new_lock()
        self._policy = policy
        self._registry: Registry | None = None
        self._plan = builder.build(policy, None, None)

    # -- guarding ------------------------------------------------------------------------------------------

    def __call__(self, fn: Callable[P, R], /) -> Callable[P, R]:
        """Guard every call of ``fn``: a sync or async function, a generator or an async generator.

        Raises:
            UsageError: ``fn`` is not callable, or is a generator and the guard retries.
        """
        return wrap.wrap(self, fn)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the synchronous ``fn`` once, guarded.

        Raises:
            CallRejected: ``fn`` was not called: ``BreakerOpen``, ``BulkheadFull`` or ``RateExceeded``.
            DeadlineExceeded: there was no time left to call it.
            UsageError: ``fn`` is async (see :meth:`acall`) or a generator (decorate it).
        """
        code = getattr(fn, "__code__", None)
        if code is not None and code.co_flags & _NO_RESULT:
            raise UsageError(
                f"{getattr(fn, '__qualname__', fn)} is async or a generator, and call() would only start it: "
                "use 'await guard.acall(...)', or decorate it"
            )
        return threads.once(self._plan, fn, args, kwargs)

    async def acall(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await the asynchronous ``fn`` once, guarded; raises as :meth:`call`, and on its own timeout."""
        return await aio.once(self._plan, fn, args, kwargs)

    def try_call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """As :meth:`call`, but errors come back as a value. Cancellation and Ctrl-C still raise."""
        error = self._plan.turned_away()
        if error is not None:
            return Result(None, error)
        try:
            return Result(self.call(fn, *args, **kwargs))
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 -- that is what the caller asked for
            return Result(None, error)

    async def atry_call(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Result[R]:
        """As :meth:`acall`, but errors come back as a value."""
        error = self._plan.turned_away()
        if error is not None:
            return Result(None, error)
        try:
            return Result(await self.acall(fn, *args, **kwargs))
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 -- that is what the caller asked for
            return Result(None, error)

    def acquire(self) -> Permit:
        """A permit for one call that you make yourself; waits for a place in the bulkhead.

        Raises:
            CallRejected: there is none to be had.
            DeadlineExceeded: there is no time left.
        """
        self._single("a permit")
        this = threads.enter(self._plan)
        return Permit.begin(this)

    async def aacquire(self) -> Permit:
        """As :meth:`acquire`, waiting without blocking the event loop."""
        self._single("a permit")
        this = await aio.enter(self._plan)
        return Permit.begin(this)

    def try_acquire(self) -> Permit | None:
        """A permit for one call, or ``None`` if there is none at this moment; never waits, never raises."""
        return Permit.at_once(self._plan)

    def attempts(self) -> Attempts:
        """The attempts of one call, as a loop for ``for`` and ``async for``.

        Example:
            >>> for attempt in guard("db", retry=Retry(attempts=2)).attempts():
            ...     with attempt:
            ...         pass
        """
        if self._plan.fallback is not None:
            raise UsageError(f"guard {self.name!r} has a fallback, which can't stand in for a block")
        return Attempts(self._plan)

    def __enter__(self) -> Self:
        """Guard the block as one attempt; raises as :meth:`acquire`."""
        Block(self, self.acquire()).enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        Block.of(self, self.name).exit(kind, error, trace)

    async def __aenter__(self) -> Self:
        """Guard the block as one attempt; raises as :meth:`aacquire`, also when a timeout interrupts it."""
        await Block(self, await self.aacquire()).aenter(self._plan.now())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await Block.of(self, self.name).aexit(kind, error, trace)

    def _single(self, what: str) -> None:
        """A block can't be run twice, nor replaced: refuse instead of silently not retrying."""
        if self._plan.attempts > 1:
            raise UsageError(
                f"guard {self.name!r} retries, and {what} or a with-block can't be repeated: use "
                "'for attempt in guard.attempts()' or a guard without retry"
            )
        if self._plan.fallback is not None:
            raise UsageError(f"guard {self.name!r} has a fallback, which can't stand in for a block")

    # -- by key --------------------------------------------------------------------------------------------

    def at(self, key: str) -> Guard:
        """This guard for one key (tenant, host, query pattern): a breaker of its own, the rest shared.

        The breakers of all keys are kept in bounded memory; the view itself is cheap and need not be kept.
        One that is kept follows the guard's reloads. The guard's active probe checks the thing as a whole and
        is not run for a key.

        Raises:
            UsageError: the guard has no breaker.
        """
        registry = self._registry
        if registry is None or self._policy.breaker is None:
            registry = self._keys()
        return _KeyView(self, registry, registry.get(key, self._plan.now()))

    def _keys(self) -> Registry:
        with self._lock:
            policy = self._policy.breaker
            if policy is None:
                raise UsageError(f"guard {self.name!r} has no breaker, so there is nothing to keep per key")
            if self._registry is None:
                plan = self._plan
                self._registry = Registry(
                    policy.rules(),
                    name=self.name,
                    limit=self._keys_max,
                    rng=plan.rng,
                    hub=plan.hub,
                    make_lock=new_lock,
                )
            return self._registry

    # -- looking at it -------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """The engines in force."""
        return self._plan

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    @property
    def breaker(self) -> CircuitBreaker:
        """The breaker engine, for reading.

        Raises:
            UsageError: the guard has none.
        """
        breaker = self._plan.breaker
        if breaker is None:
            raise UsageError(f"guard {self.name!r} has no breaker")
        return breaker.grow(self._plan.now()) if isinstance(breaker, KeyedBreaker) else breaker

    @property
    def state(self) -> State:
        """Where the breaker stands; closed if there is none."""
        breaker = self._polled()
        return State.CLOSED if breaker is None else breaker.state

    def allows(self) -> bool:
        """Whether a call would pass the breaker as a matter of course, with time taken into account.

        In a hot loop read ``guard.breaker.allows`` once and call that: one attribute read, no bookkeeping.
        """
        breaker = self._polled()
        return breaker is None or breaker.allows()

    @property
    def share(self) -> float:
        """The share of calls that the breaker admits, 0 to 1."""
        return 1.0 if self._polled() is None else self.breaker.share

    def _polled(self) -> AnyBreaker | None:
        breaker = self._plan.breaker
        if breaker is not None:
            breaker.poll(self._plan.now())
        return breaker

    def explain(self) -> Explanation:
        """What this guard does, in words, and where its settings contradict each other."""
        plan = self._plan
        return explain(
            self._policy, name=self.name, fallback=plan.fallback is not None, probe=plan.probe is not None
        )

    def statistics(self) -> GuardStatistics:
        """All counters, frozen."""
        plan = self._plan
        breaker = self._polled()
        return GuardStatistics(
            name=self.name,
            breaker=None if breaker is None else self.breaker.statistics(),
            bulkhead=None if plan.bulkhead is None else plan.bulkhead.statistics(),
            rate=None if plan.limiter is None else plan.limiter.statistics(),
            retry=None if plan.schedule is None else plan.schedule.statistics(),
            budget=None if plan.budget is None else plan.budget.statistics(),
            keys=None if self._registry is None else self._registry.statistics(),
            fallbacks=plan.fallbacks.value,
        )

    # -- orders --------------------------------------------------------------------------------------------

    def reload(self, policy: Policy, *, owner: str = "") -> tuple[PolicyChange, ...]:
        """Go by another policy from now on; engines whose policy did not change keep their state.

        The breaker keeps its state always and its counts when the windows and slow bounds stay the same.
        Calls that are under way finish under the policy they started with.

        Returns:
            What changed, key by key.

        Raises:
            UsageError: it is no policy.
        """
        if not isinstance(policy, Policy):
            raise UsageError(f"guard {self.name!r} can only go by a Policy, not by {policy!r}")
        with self._lock:
            changes = differences(self._policy, policy)
            if not changes:
                return changes
            plan = self._builder.build(policy, self._policy, self._plan)
            old = self._plan.breaker
            if isinstance(old, CircuitBreaker):
                old.take_long_way(plan.short is not old)
            self._plan, self._policy = plan, policy
            if self._registry is not None and policy.breaker is not None:
                self._registry.reload(policy.breaker.rules(), plan.now())
        if plan.hub.active:
            plan.hub.publish(PolicyReloaded(at=plan.now(), name=self.name, changes=changes, owner=owner))
        return changes

    def change(self, *, owner: str = "", **parts: Any) -> tuple[PolicyChange, ...]:  # noqa: ANN401 -- as Policy's
        """:meth:`reload` with some parts of the policy replaced, such as ``change(timeout="1s")``."""
        return self.reload(replace(self._policy, **parts), owner=owner)

    def force(self, mode: str, *, owner: str, reason: str, for_: Duration) -> None:
        """Put an operator's will above the breaker's, until it ends.

        Args:
            mode: ``open`` rejects all, ``closed`` admits all, ``shadow`` only tells, ``disabled`` does
                nothing.
            owner: who does it.
            reason: why.
            for_: for how long; a forced state without an end is an outage to come.

        Raises:
            UsageError: the mode is unknown, owner or reason is empty, or ``for_`` is zero.
            UnitError: ``for_`` is no duration.
        """
        if mode not in _MODES:
            raise UsageError(f"mode = {mode!r}: allowed are {', '.join(_MODES)}")
        if not owner or not reason:
            raise UsageError("a forced state needs an owner and a reason")
        for_s = parse_duration(for_)
        if for_s <= 0.0:
            raise UsageError(f"for_ = {for_!r}: allowed is any time above 0")
        now = self._plan.now()
        self.breaker.force(Override(_MODES[mode], owner, reason, now + for_s), now)

    def release(self, *, owner: str = "") -> None:
        """End a forced state before its time; ``owner`` says who did."""
        self.breaker.release(self._plan.now(), owner)

    def reset(self) -> None:
        """Believe that all is well: closed, nothing counted, nothing forced."""
        self.breaker.reset(self._plan.now())

    def execute(self, command: Command) -> None:
        """Carry out a typed order for this guard, or with the target ``name/key`` for one key of it.

        Raises:
            UsageError: it is for another guard or of a kind that guards don't know.
        """
        if command.target != self.name:
            name, key = command.target[: len(self.name) + 1], command.target[len(self.name) + 1 :]
            if name != f"{self.name}/" or not key:
                raise UsageError(f"the order is for {command.target!r}, not for {self.name!r}")
            self.at(key).execute(replace(command, target=self.name))
        elif isinstance(command, ForceBreaker):
            self.force(command.mode, owner=command.owner, reason=command.reason, for_=command.for_s)
        elif isinstance(command, ReleaseBreaker):
            self.release(owner=command.owner)
        elif isinstance(command, ResetBreaker):
            self.reset()
        elif isinstance(command, ReloadPolicy) and isinstance(command.policy, Policy):
            self.reload(command.policy, owner=command.owner)
        else:
            raise UsageError(f"guard {self.name!r} does not know the order {command!r}")

    def __repr__(self) -> str:
        breaker = self._plan.breaker
        return f"<Guard {self.name!r} {'without breaker' if breaker is None else repr(breaker)}>"


class _KeyView(Guard):
    """A guard for one key of another; has no state but the key's breaker."""

    __slots__ = ("_breaker", "_own", "_root", "_seen")

    def __init__(self, root: Guard, registry: Registry, breaker: KeyedBreaker) -> None:
        self.name = root.name
        self._registry = registry
        self._root = root
        self._breaker = breaker
        self._seen: Plan | None = root.plan
        self._own = root.plan.with_breaker(breaker.key, breaker)

    @property
    def _plan(self) -> Plan:  # type: ignore[override]  # what is a slot there is derived here
        plan = self._root.plan
        registry = self._registry
        if registry is not None and not registry.holds(self._breaker):
            self._breaker = registry.get(self._breaker.key, plan.now())
            self._seen = None
        if plan is not self._seen:
            own = plan if plan.breaker is None else plan.with_breaker(self._breaker.key, self._breaker)
            self._own, self._seen = own, plan
        return self._own

    @property
    def _policy(self) -> Policy:  # type: ignore[override]  # likewise
        return self._root.policy

    def at(self, key: str) -> Guard:
        return self._root.at(key)

    def reload(self, policy: Policy, *, owner: str = "") -> tuple[PolicyChange, ...]:  # noqa: ARG002 -- as its base
        raise UsageError(f"one key of guard {self.name!r} has no policy of its own: reload the guard")


def guard(
    name: str,
    *,
    breaker: Breaker | None = Breaker(),  # noqa: B008 -- frozen
    retry: Retry | None = None,
    bulkhead: Bulkhead | None = None,
    rate: RateLimit | None = None,
    timeout: Duration | None = None,
    deadline: Duration | None = None,
    policy: Policy | None = None,
    fallback: Fallback | None = None,
    probe: Probe | None = None,
    ignore: tuple[type[BaseException], ...] = (),
    failures: tuple[type[BaseException], ...] = (),
    classify: ErrorClassifier | None = None,
    classify_result: ResultClassifier | None = None,
    clock: Clock = SYSTEM_CLOCK,
    rng: Callable[[], float] = system_rng,
    hub: Hub = HUB,
    keys_max: int = KEYS_MAX_DEFAULT,
) -> Guard:
    """A guard for everything that calls one thing: a database, a service, a topic.

    Args:
        name: what is called; shown in errors, signals and statistics.
        breaker: stops calling what is not well; ``None`` for no breaker.
        retry: tries again.
        bulkhead: bounds the calls inside at once.
        rate: bounds the calls per time.
        timeout: seconds or text, for one attempt.
        deadline: for the whole call; passed on to guards and functions inside.
        policy: all six parts above in one, such as from :func:`load_policies`.
        fallback: gets the error, gives the result instead; not asked about proper refusals (tier 1).
        probe: an active check of the thing, for stalls. A sync one runs on a thread of its own, an async one
            in the event loop, so only async calls can start it.
        ignore: exceptions that are proper answers, not failures.
        failures: if given, other exceptions that carry no known code are not failures.
        classify: decides about an exception, or passes by returning ``None``.
        classify_result: decides about a result, such as status 503.
        clock: monotonic seconds, and ``sleep`` for synchronous retries.
        rng: random numbers from [0, 1), for jitter.
        hub: where signals go.
        keys_max: breakers kept for :meth:`Guard.at`.

    Raises:
        PolicyError: values are out of range; each is named.
        UsageError: there are a policy and parts of one.

    Example:
        >>> guard("orders-db", breaker=Breaker(p95="500ms"), retry=Retry()).call(str.upper, "order 7")
        'ORDER 7'
    """
    builder = Builder(name, fallback, probe, ignore, failures, classify, classify_result, clock, rng, hub)
    # fmt: off
    parts = {
        "breaker": breaker, "retry": retry, "bulkhead": bulkhead, "rate": rate,
        "timeout": timeout, "deadline": deadline,
    }
    # fmt: on
    return Guard(name, builder.accept(policy, parts, keys_max), builder, keys_max)
