"""The circuit breaker: counts in ``windows``, judges through ``detector``, walks the table in ``states``.

Pure: it reads no clock, draws no random number of its own and starts nothing.  It is not an interface for
user code (that is ``guard``); the guard, the keyed registry, the proxy and the simulators drive it::

    ticket = breaker.admit(now)  # None: rejected
    breaker.settle(ticket, Outcome.OK, started_at=now, now=later)

The hot path is three attributes: while the breaker is plainly closed, ``due`` is the time of the next roll
and a call that starts before it needs ``cohort.started += 1`` and, when it came back below ``slow_s``,
``cohort.fast += 1``.  In every other situation ``due`` is minus infinity, which sends the call through
:meth:`CircuitBreaker.admit`.

Everything but those increments runs under ``lock``; no user code and no I/O ever does: signals are published
after it has been released.  What moves the state, once the lock is held, is in ``walk``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from seawall.kernel.errors import Outcome
from seawall.kernel.signals import BreakerForced, Hub
from seawall.resilience.detector import Evidence
from seawall.resilience.states import BreakerRules, Enforcement, Event, Override, State
from seawall.resilience.walk import Walk
from seawall.resilience.windows import AT_ONCE, NEVER, Cohort, Ticket, Totals

STALL_SHARE: Final = 0.7
"""This share of recent calls unanswered is a suspicion worth an active probe."""
STALL_BASELINE_FACTOR: Final = 4.0
"""A backend that usually takes this long or more is not suspected at ``stall_after`` but at this multiple."""
STALL_RETRY_S: Final = 0.25
"""A suspicion that the probe refuted is not raised again sooner."""

_OK: Final = Outcome.OK


@dataclass(frozen=True, slots=True)
class BreakerStatistics:
    """What a breaker has seen, at one moment. Counts since birth unless said otherwise."""

    name: str
    state: str
    enforcement: str
    share: float
    generation: int
    calls: int
    in_flight: int
    failed: int
    slow: int
    slower: int
    throttled: int
    ignored: int
    unreachable: int
    voided: int
    late: int
    forgotten: int
    rejected: int
    would_reject: int
    opened: int
    baseline_s: float
    short: Totals
    long: Totals
    minute: Totals


class CircuitBreaker(Walk):
    """One breaker.

    Args:
        rules: what it goes by.
        name: whose calls it guards, for signals and errors.
        key: which of the calls under that name, when breakers are kept per key.
        now: monotonic seconds at birth.
        rng: random numbers from [0, 1), for the jitter of the open time.
        hub: where transitions are announced, if anywhere.
        lock: held for bookkeeping off the hot path; needed as soon as several threads call.
        probing: the owner runs active probes when :meth:`suspects` says so.
    """

    __slots__ = ("_lock", "_probe_after", "_probe_out")

    def __init__(
        self,
        rules: BreakerRules,
        *,
        name: str = "",
        key: str = "",
        now: float = 0.0,
        rng: Callable[[], float] | None = None,
        hub: Hub | None = None,
        lock: AbstractContextManager[object] | None = None,
        probing: bool = False,
    ) -> None:
        super().__init__(rules, name, key, now, rng, hub, probing=probing)
        self._lock: AbstractContextManager[object] = nullcontext() if lock is None else lock
        self._probe_out: bool = False
        self._probe_after: float = AT_ONCE

    # -- the verdict ---------------------------------------------------------------------------------------

    def allows(self) -> bool:
        """Whether calls go through without asking: the verdict as it stands, one attribute read."""
        return self.admitting

    @property
    def share(self) -> float:
        """The share of calls that is admitted, from 0 to 1."""
        if self.admitting:
            return 1.0
        if self._ramp is not None and self._mode() is Enforcement.ENFORCE:
            return self._ramp.share
        return 0.0

    @property
    def override(self) -> Override | None:
        """What an operator forced, if anything."""
        return self._override

    @property
    def enforcement(self) -> Enforcement:
        """What is done with the verdict right now."""
        return self._mode()

    @property
    def rules(self) -> BreakerRules:
        """The numbers in force."""
        return self._rules

    @property
    def generation(self) -> int:
        """The current life; tickets of an older one are late."""
        return self._window.generation

    @property
    def baseline_s(self) -> float:
        """Typical latency of healthy calls in seconds, 0 until enough were sampled."""
        return self._baseline.typical_s

    @property
    def next_due(self) -> float:
        """When :meth:`poll` is next of use, monotonic seconds."""
        if self.state is State.OPEN:
            at = self._retry_at
        elif self._round is not None:
            at = self._round.next_expiry
        else:
            at = self._tick_at
        if self._override is not None:
            at = min(at, self._override.until)
        return at

    def retry_after_s(self, now: float) -> float | None:
        """How long a rejected caller does well to wait, in seconds; ``None`` if nobody knows."""
        if self._override is not None:
            until = self._override.until
            return None if until == NEVER else max(0.0, until - now)
        if self.state is State.OPEN:
            return max(0.0, self._retry_at - now)
        if self.state is State.HALF_OPEN:
            return self._rules.probe_lease_s
        return 0.0

    # -- one call ------------------------------------------------------------------------------------------

    def enter(self, now: float) -> Cohort | None:
        """The hot half of :meth:`admit`: the cohort of a call that starts now; ``None``: the long way."""
        if now < self.due:
            cohort = self.cohort
            cohort.started += 1
            return cohort
        return None

    def leave(self, cohort: Cohort, started_at: float, now: float) -> bool:
        """The hot half of :meth:`settle` for a success; false if the call was slow and has to be settled."""
        if now - started_at < self.slow_s:
            cohort.fast += 1
            return True
        return False

    def admit(self, now: float) -> Ticket | None:
        """A ticket for a call that starts at ``now``, or ``None`` if it is rejected."""
        if now < self.due:
            cohort = self.cohort
            cohort.started += 1
            return cohort
        if now < self.rejects_until:
            self.rejected += 1
            return None
        with self._lock:
            self._advance(now)
            ticket = self._admit(now)
        if self._pending:
            self._publish()
        return ticket

    def settle(self, ticket: Ticket, outcome: Outcome, started_at: float, now: float) -> None:
        """The call of ``ticket``, admitted at ``started_at``, came back at ``now``.

        Slowness is derived from the two times; an ``outcome`` of ``SLOW`` says that the call was slow in a
        way the times do not show.
        """
        if (
            outcome is _OK
            and now < self.due
            and started_at != self._sampled_at
            and now - started_at < self.slow_s
            and isinstance(ticket, Cohort)
        ):
            ticket.fast += 1
            return
        with self._lock:
            sampled = self._samples(started_at, now)
            # Time first: a lease that has ended is not saved by an answer that comes after it.
            self._advance(now)
            self._settle(ticket, outcome, now - started_at, now, sampled=sampled)
        if self._pending:
            self._publish()

    def record(self, ok: bool, latency_s: float, now: float) -> None:  # noqa: FBT001 -- hot, and mypyc calls by position
        """A call that is known only by its result; for callers that cannot draw a ticket first.

        While the breaker recovers, a call that started after the last change of state counts as a probe or as
        traffic of the ramp; an older one is late.
        """
        if ok and now < self.due and latency_s < self.slow_s:
            self._window.passed += 1
            return
        with self._lock:
            self._advance(now)
            self._report(ok=ok, latency_s=latency_s, now=now)
        if self._pending:
            self._publish()

    def poll(self, now: float) -> None:
        """Let time pass when nobody calls: rolls, leases, open times, overrides."""
        with self._lock:
            self._advance(now)
            # The rolls made here pass by the calls; the next one still has to be a sample for the baseline.
            self.due = min(self.due, now)
        if self._pending:
            self._publish()

    def saturation(self, share: float, now: float) -> None:
        """The guarded resource is in use to this ``share``, 0 to 1; too much for a short window opens."""
        limit = self._rules.saturation
        if limit <= 0.0:
            return
        if share < limit:
            self._saturated_at = NEVER
            return
        with self._lock:
            if self._saturated_at == NEVER:
                self._saturated_at = now
            span_s = self._rules.short_s
            if now - self._saturated_at >= span_s and self._judging():
                self._trip(Evidence("saturation", span_s, 0, 0, share, limit, 0.0, now), now)
        if self._pending:
            self._publish()

    # -- the stall path ------------------------------------------------------------------------------------

    def suspects(self, now: float) -> bool:
        """Whether the owner should run its active probe now; true once per suspicion, then :meth:`probed`."""
        if not self.probing or now < self._probe_after:
            return False
        with self._lock:
            self._advance(now)
            suspicious = not self._probe_out and self._judging() and self._stalled(now)
            if suspicious:
                self._probe_out = True
        if self._pending:
            self._publish()
        return suspicious

    def probed(self, ok: bool, now: float) -> None:  # noqa: FBT001 -- called by position like ``record``
        """The active probe that :meth:`suspects` asked for ended; a failed one opens the breaker."""
        with self._lock:
            self._probe_out = False
            self._probe_after = now + STALL_RETRY_S
            if not ok and self._judging():
                self._trip(Evidence("probe", 0.0, 1, 1, 1.0, 0.0, self.stall_after_s, now), now)
        if self._pending:
            self._publish()

    @property
    def stall_after_s(self) -> float:
        """An unanswered call is suspicious after this long: the policy's value, or more if it is usual."""
        return max(self._rules.stall_s, STALL_BASELINE_FACTOR * self._baseline.typical_s)

    def _stalled(self, now: float) -> bool:
        return self._rules.stall_s > 0.0 and self._window.stalled(now, self.stall_after_s, STALL_SHARE)

    # -- orders --------------------------------------------------------------------------------------------

    def force(self, override: Override, now: float) -> None:
        """Put ``override`` above the table until it ends or is released."""
        with self._lock:
            self._advance(now)
            self._override = override
            self._announce(
                BreakerForced(
                    at=now,
                    name=self.name,
                    key=self.key,
                    mode=override.mode.value.removeprefix("forced_"),
                    owner=override.owner,
                    reason=override.reason,
                    until=override.until,
                )
            )
            self._refresh()
        self._publish()

    def release(self, now: float, owner: str = "") -> None:
        """End an override: after a forced open the backend has to prove itself again.

        After a forced closed, counting starts afresh; other modes leave the state where it was.

        Args:
            now: monotonic seconds.
            owner: who ends it, for the signal.
        """
        with self._lock:
            self._release(now, owner)
        self._publish()

    def reset(self, now: float) -> None:
        """An operator's "it is well": closed, with an empty window and without an override."""
        with self._lock:
            self._lift(now, "")
            self._streak = 0
            self._move(Event.RESET, now, "reset by an operator")
        self._publish()

    def reload(self, rules: BreakerRules, now: float) -> bool:
        """Go by other ``rules`` from now on; true if the window's counts could be kept."""
        with self._lock:
            self._advance(now)
            kept = self._change(rules, now)
        if self._pending:
            self._publish()
        return kept

    def take_long_way(self, long: bool) -> None:  # noqa: FBT001 -- a setter
        """Send every call through :meth:`admit` while the guard has other parts than this breaker."""
        with self._lock:
            self.inline = not long
            self._refresh()

    def adopt(self, cohort: Cohort) -> None:
        """Take over a cohort that was counted before this breaker existed."""
        self._window.adopt(cohort)
        self.cohort = cohort

    def _publish(self) -> None:
        """Announce what happened; outside the lock, because a subscriber's wake-up may call the breaker."""
        hub = self._hub
        if hub is None:
            return
        with self._lock:
            pending = self._pending
            self._pending = []
        for signal in pending:
            hub.publish(signal)

    # -- looking at it -------------------------------------------------------------------------------------

    def statistics(self) -> BreakerStatistics:
        """A frozen picture of all counters and windows."""
        with self._lock:
            window = self._window
            now = window.rolled_at
            totals = window.totals(now)
            return BreakerStatistics(
                name=self.name,
                state=self.state.label,
                enforcement=self._mode().value,
                share=self.share,
                generation=window.generation,
                calls=totals.total,
                in_flight=window.in_flight(),
                failed=window.failed,
                slow=window.slow,
                slower=window.slower,
                throttled=window.throttled,
                ignored=window.ignored,
                unreachable=window.unreachable,
                voided=window.voided,
                late=window.late_results(),
                forgotten=window.forgotten,
                rejected=self.rejected,
                would_reject=self.would_reject,
                opened=self.opened,
                baseline_s=self._baseline.typical_s,
                short=totals.since(window.short.far_end(now)),
                long=totals.since(window.long.far_end(now)),
                minute=totals.since(window.minute.far_end(now)),
            )

    def __repr__(self) -> str:
        detail = "" if self.evidence is None or self.admitting else f": {self.evidence.explain()}"
        return (
            f"<CircuitBreaker {self.name!r} {self.state.label} {self._mode().value} {self.share:.0%}{detail}>"
        )
