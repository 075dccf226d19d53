"""The circuit breaker: counts through ``windows``, judges through ``detector``, walks the table in ``states``.

Pure: it reads no clock, draws no random number of its own and starts nothing.  It is not an interface for user code
(that is ``guard``); the guard, the keyed registry, the proxy and the simulators drive it::

    ticket = breaker.admit(now)  # None: rejected
    breaker.settle(ticket, Outcome.OK, started_at=now, now=later)

The hot path is three attributes: while the breaker is plainly closed, ``due`` is the time of the next roll and a call
that starts before it needs ``cohort.started += 1`` and, when it came back below ``slow_s``, ``cohort.fast += 1``.  In
every other situation ``due`` is minus infinity, which sends the call through :meth:`CircuitBreaker.admit`.

Everything but those increments runs under ``lock``; no user code and no I/O ever does: signals are published after it
has been released.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from seawall.kernel.errors import Outcome
from seawall.kernel.signals import BreakerChanged, BreakerForced, BreakerReleased, Hub, RampMoved, Signal
from seawall.resilience.detector import Detector, Evidence
from seawall.resilience.recovery import Baseline, Probe, ProbeRound, Ramp
from seawall.resilience.states import TRANSITIONS, BreakerRules, Enforcement, Event, Override, State
from seawall.resilience.windows import Cohort, Ticket, Totals, Window

NEVER: Final = math.inf
AT_ONCE: Final = -math.inf
STALL_SHARE: Final = 0.7
"""This share of recent calls unanswered is a suspicion worth an active probe."""
STALL_BASELINE_FACTOR: Final = 4.0
"""A backend that usually takes this long or more is not suspected at ``stall_after`` but at this multiple."""
STALL_RETRY_S: Final = 0.25
"""A suspicion that the probe refuted is not raised again sooner."""

_OK: Final = Outcome.OK
_UNCOUNTED: Final = Ticket(-1)
"""Admitted without being measured: disabled, or in shadow while it would have been rejected."""


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


class CircuitBreaker:
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

    __slots__ = (
        "_baseline",
        "_closed_at",
        "_detector",
        "_hub",
        "_lock",
        "_override",
        "_pending",
        "_probe_after",
        "_probe_out",
        "_ramp",
        "_ramp_slow",
        "_retry_at",
        "_rng",
        "_round",
        "_rules",
        "_sampled_at",
        "_saturated_at",
        "_streak",
        "_tick_at",
        "_window",
        "admitting",
        "cohort",
        "due",
        "evidence",
        "inline",
        "key",
        "name",
        "opened",
        "probing",
        "rejected",
        "slow_s",
        "state",
        "would_reject",
    )

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
        self.name: str = name
        self.key: str = key
        self._rng: Callable[[], float] | None = rng
        self._hub: Hub | None = hub
        self._lock: AbstractContextManager[object] = nullcontext() if lock is None else lock
        self.probing: bool = probing
        self.inline: bool = True
        self._pending: list[Signal] = []
        self._override: Override | None = None
        self._baseline: Baseline = Baseline()
        self.state: State = State.CLOSED
        self.evidence: Evidence | None = None
        self.opened: int = 0
        self.rejected: int = 0
        self.would_reject: int = 0
        self._streak: int = 0
        self._closed_at: float = now
        self._retry_at: float = AT_ONCE
        self._round: ProbeRound | None = None
        self._ramp: Ramp | None = None
        self._ramp_slow: int = 0
        self._sampled_at: float = AT_ONCE
        self._saturated_at: float = NEVER
        self._probe_out: bool = False
        self._probe_after: float = AT_ONCE
        self._use(rules, now)

    def _use(self, rules: BreakerRules, now: float) -> None:
        self._rules: BreakerRules = rules
        self._detector: Detector = Detector(
            z=rules.confidence,
            errors=rules.errors,
            slow=rules.slow,
            slower=rules.slower,
            throttled=rules.throttled,
            slow_s=rules.slow_s,
            slower_s=rules.slower_s,
            consecutive=rules.consecutive,
            minimum_requests=rules.minimum_requests,
            static=rules.static,
        )
        self._window: Window = Window(
            now,
            slow_s=rules.slow_s,
            slower_s=rules.slower_s,
            short_s=rules.short_s,
            long_s=rules.long_s,
            keep_s=2.0 * rules.stall_s if self.probing else 0.0,
        )
        self.slow_s: float = self._window.slow_s
        self.cohort: Cohort = self._window.cohort
        # The first call takes the long way, and with it the first look at what the function really returns.
        self._tick_at: float = now
        self.due: float = AT_ONCE
        self.admitting: bool = True
        self._refresh()

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
        at = NEVER
        if self.state is State.OPEN:
            at = self._retry_at
        elif self.state is State.HALF_OPEN and self._round is not None:
            at = self._round.next_expiry
        elif self.state is not State.HALF_OPEN:
            at = self._tick_at
        if self._override is not None:
            at = min(at, self._override.until)
        return at

    def retry_after_s(self, now: float) -> float:
        """How long a rejected caller does well to wait, in seconds."""
        if self._override is not None:
            return max(0.0, self._override.until - now)
        if self.state is State.OPEN:
            return max(0.0, self._retry_at - now)
        if self.state is State.HALF_OPEN:
            return self._rules.probe_lease_s
        return 0.0

    # -- one call ------------------------------------------------------------------------------------------

    def admit(self, now: float) -> Ticket | None:
        """A ticket for a call that starts at ``now``, or ``None`` if it is rejected."""
        if now < self.due:
            cohort = self.cohort
            cohort.started += 1
            return cohort
        if self.state is State.OPEN and now < self._retry_at and self._mode() is Enforcement.ENFORCE:
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

        Slowness is derived from the two times; an ``outcome`` of ``SLOW`` says that the call was slow in a way the
        times do not show.
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
            self._settle(ticket, outcome, now - started_at, now, sampled=started_at == self._sampled_at)
            self._advance(now)
        if self._pending:
            self._publish()

    def record(self, ok: bool, latency_s: float, now: float) -> None:  # noqa: FBT001 -- hot, and mypyc calls by position
        """A call that is known only by its result; for callers that cannot draw a ticket first."""
        if ok and now < self.due and latency_s < self.slow_s:
            self._window.passed += 1
            return
        with self._lock:
            self._advance(now)
            if self.state is State.CLOSED:
                self._window.reported(ok=ok, latency_s=latency_s)
                if ok and latency_s < self.slow_s:
                    self._baseline.sample(latency_s)
                if not ok:
                    self._detector.failed(self._window)
                self._judge(now)
        if self._pending:
            self._publish()

    def poll(self, now: float) -> None:
        """Let time pass when nobody calls: rolls, leases, open times, overrides."""
        with self._lock:
            self._advance(now)
        if self._pending:
            self._publish()

    def saturation(self, share: float, now: float) -> None:
        """The guarded resource is in use to this ``share`` (0 to 1); too much for a whole short window opens."""
        limit = self._rules.saturation
        if limit <= 0.0:
            return
        if share < limit:
            self._saturated_at = NEVER
            return
        with self._lock:
            if self._saturated_at is NEVER:
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
            if self._probe_out or not self._judging() or not self._stalled(now):
                return False
            self._probe_out = True
        return True

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
        """An unanswered call is suspicious after this long: the policy's value, or more for a slower backend."""
        return max(self._rules.stall_s, STALL_BASELINE_FACTOR * self._baseline.typical_s)

    def _stalled(self, now: float) -> bool:
        after_s = self.stall_after_s
        if after_s <= 0.0:
            return False
        self._window.keep_s = 2.0 * after_s
        return self._window.stalled(now, after_s, STALL_SHARE)

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
                    mode=override.mode.value,
                    owner=override.owner,
                    reason=override.reason,
                    until=override.until,
                )
            )
            self._refresh()
        self._publish()

    def release(self, now: float) -> None:
        """End an override: after a forced open the backend has to prove itself, else counting starts afresh."""
        with self._lock:
            self._release(now)
        self._publish()

    def reset(self, now: float) -> None:
        """An operator's "it is well": closed, with an empty window and without an override."""
        with self._lock:
            self._override = None
            self._streak = 0
            self._move(Event.RESET, now, "reset by an operator")
        self._publish()

    def reload(self, rules: BreakerRules, now: float) -> bool:
        """Go by other ``rules`` from now on; true if the window's counts could be kept."""
        with self._lock:
            window = self._window
            kept = self._rules.same_window(rules)
            self._use(rules, now)
            if kept:
                self._window = window
            else:
                # Calls that are out belong to the old window; a number of its own keeps them from being misread here.
                self._window.generation = window.generation
                self._window.renew(now)
            self._track(now)
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

    # -- inside the lock -----------------------------------------------------------------------------------

    def _mode(self) -> Enforcement:
        return self._rules.enforcement if self._override is None else self._override.mode

    def _judging(self) -> bool:
        return self._override is None and (self.state is State.CLOSED or self.state is State.RAMPING)

    def _refresh(self) -> None:
        """Derive the hot attributes from the state and the mode."""
        mode = self._mode()
        closed = self.state is State.CLOSED
        if mode is Enforcement.ENFORCE:
            self.admitting = closed
        else:
            self.admitting = mode is not Enforcement.FORCED_OPEN
        plain = closed and self.inline and (mode is Enforcement.ENFORCE or mode is Enforcement.SHADOW)
        self.due = self._tick_at if plain else AT_ONCE

    def _track(self, now: float) -> None:
        """Roll the window and follow its current cohort."""
        self._tick_at = self._window.roll(now)
        self.cohort = self._window.cohort
        self._refresh()

    def _admit(self, now: float) -> Ticket | None:
        mode = self._mode()
        if mode is Enforcement.DISABLED:
            return _UNCOUNTED
        if mode is Enforcement.FORCED_OPEN:
            self.rejected += 1
            return None
        ticket: Ticket | None = None
        if mode is Enforcement.FORCED_CLOSED or self.state is State.CLOSED:
            ticket = self._enter()
            self._sampled_at = now
        elif self._ramp is not None:
            if self._ramp.admit():
                ticket = self._enter()
        elif self._round is not None:
            ticket = self._round.lease(self._window.generation, now)
        if ticket is None:
            if mode is Enforcement.SHADOW:
                self.would_reject += 1
                return _UNCOUNTED
            self.rejected += 1
        return ticket

    def _enter(self) -> Cohort:
        cohort = self.cohort
        cohort.started += 1
        return cohort

    def _settle(
        self, ticket: Ticket, outcome: Outcome, latency_s: float, now: float, *, sampled: bool
    ) -> None:
        if isinstance(ticket, Probe):
            self._settle_probe(ticket, outcome, latency_s, now)
            return
        if not isinstance(ticket, Cohort):
            return
        window = self._window
        if ticket.generation != window.generation:
            ticket.fast += 1  # the cohort is an orphan: this only shows in the count of late results
            return
        bad = False
        if outcome is Outcome.OK:
            if latency_s < self.slow_s:
                ticket.fast += 1
            else:
                window.tardy(ticket, latency_s)
            if sampled and self.state is State.CLOSED:
                self._baseline.sample(latency_s)
        elif outcome is Outcome.IGNORED:
            window.ignore(ticket, latency_s)
        elif outcome is Outcome.VOID:
            window.void(ticket)
        elif outcome is Outcome.THROTTLED:
            window.throttle(ticket, latency_s)
            bad = True
        elif outcome is Outcome.SLOW:
            window.void(ticket)
            window.voided -= 1
            window.reported(ok=True, latency_s=max(latency_s, self.slow_s))
            bad = True
        else:
            window.fail(ticket, latency_s)
            if outcome is Outcome.UNREACHABLE:
                window.unreachable += 1
            self._detector.failed(window)
            bad = True
        if self._ramp is not None and (bad or outcome is Outcome.OK) and latency_s < self.slow_s:
            # A call past the slow bound reaches the ramp through its cohort, once.
            self._ramp.observe(ok=not bad, latency_s=latency_s)
        if bad:
            self._judge(now)

    def _settle_probe(self, probe: Probe, outcome: Outcome, latency_s: float, now: float) -> None:
        round_ = self._round
        if round_ is None or probe.generation != self._window.generation:
            self._window.late += 1
            return
        if outcome is Outcome.IGNORED or outcome is Outcome.VOID:
            round_.give_back(probe)
            return
        round_.settle(probe, ok=outcome is Outcome.OK and latency_s < self.slow_s)
        self._conclude(round_, now)

    def _conclude(self, round_: ProbeRound, now: float) -> None:
        if round_.accepted:
            without = self._rules.ramp.kind == "none"
            self._move(
                Event.ACCEPTED_FULL if without else Event.ACCEPTED,
                now,
                f"{round_.successes} of {round_.needed} probes succeeded",
            )
        elif round_.refused:
            self._move(
                Event.REFUSED,
                now,
                f"{round_.failures} probes failed ({round_.expired} of them never came back)",
            )

    def _judge(self, now: float) -> None:
        if not self._judging():
            return
        evidence = self._detector.judge(self._window, now)
        if evidence is not None:
            self._trip(evidence, now)

    def _trip(self, evidence: Evidence, now: float) -> None:
        self.evidence = evidence
        self.opened += 1
        if self.state is State.CLOSED and now - self._closed_at >= self._rules.open_for_max_s:
            self._streak = 0
        self._move(Event.TRIP, now, evidence.explain())

    def _advance(self, now: float) -> None:
        """Everything that time alone does."""
        override = self._override
        if override is not None:
            if now < override.until:
                if now >= self._tick_at:
                    self._track(now)
                return
            self._release(now)
        if self.state is State.OPEN:
            if now >= self._retry_at:
                self._move(Event.WAITED, now, "the open time is over")
        elif self.state is State.HALF_OPEN:
            if self._round is not None:
                self._round.expire(now)
                self._conclude(self._round, now)
        else:
            if now >= self._tick_at:
                self._track(now)
                self._judge(now)
            if self._ramp is not None:
                self._climb(self._ramp, now)

    def _climb(self, ramp: Ramp, now: float) -> None:
        slow = self._window.slow
        if slow > self._ramp_slow:
            ramp.overdue(slow - self._ramp_slow)
            self._ramp_slow = slow
        before = ramp.share
        if not ramp.step(now):
            return
        if ramp.complete:
            self._move(Event.FULL, now, "the ramp is complete")
        elif self._hub is not None and self._hub.active:
            self._pending.append(
                RampMoved(at=now, name=self.name, key=self.key, old=before, share=ramp.share)
            )

    def _move(self, event: Event, now: float, reason: str) -> None:
        """Walk one step of the table and set up what the new state needs."""
        old = self.state
        self.state = TRANSITIONS[old, event]
        rules = self._rules
        if self.state is not State.HALF_OPEN or event is Event.RETRIAL:
            if event is not Event.FULL:
                self._window.renew(now)
            self._detector.reset()
        self._round = None
        self._ramp = None
        self._saturated_at = NEVER
        if self.state is State.OPEN:
            self._retry_at = now + self._open_time_s()
            self._streak += 1
        elif self.state is State.HALF_OPEN:
            self._round = ProbeRound(
                rules.probes, rules.probes_needed, rules.probe_concurrency, rules.probe_lease_s
            )
        elif self.state is State.RAMPING:
            limit = rules.errors if rules.errors > 0.0 else rules.slow
            self._ramp = Ramp(rules.ramp, self._baseline.typical_s, limit, now)
            self._ramp_slow = self._window.slow
        else:
            self._closed_at = now
        self._track(now)
        if self._hub is not None and self._hub.active:
            self._pending.append(
                BreakerChanged(
                    at=now,
                    name=self.name,
                    key=self.key,
                    old=old.label,
                    new=self.state.label,
                    reason=reason,
                    evidence=self.evidence if event is Event.TRIP else None,
                    generation=self._window.generation,
                )
            )

    def _open_time_s(self) -> float:
        """Exponential in the failed recoveries, capped; the jitter only ever adds."""
        rules = self._rules
        base = min(rules.open_for_s * 2.0 ** min(self._streak, 32), rules.open_for_max_s)
        draw = self._rng() if self._rng is not None else 0.0
        return base * (1.0 + rules.open_jitter * draw)

    def _release(self, now: float) -> None:
        override = self._override
        if override is None:
            return
        self._override = None
        self._announce(
            BreakerReleased(
                at=now, name=self.name, key=self.key, mode=override.mode.value, owner=override.owner
            )
        )
        if override.mode is Enforcement.FORCED_OPEN:
            self._move(Event.RETRIAL, now, f"{override.owner} released the forced open")
        elif override.mode is Enforcement.FORCED_CLOSED:
            self._move(Event.RESET, now, f"{override.owner} released the forced closed")
        else:
            self._refresh()

    def _announce(self, signal: Signal) -> None:
        if self._hub is not None and self._hub.active:
            self._pending.append(signal)

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
            now = max(window.rolled_at, self._sampled_at)
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
