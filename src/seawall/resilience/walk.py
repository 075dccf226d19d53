"""How a breaker walks the table in ``states``: what moves it, and what each state needs.

No interface of its own: ``breaker`` inherits it, adds the hot path, and calls everything here under its lock.
Time is a parameter; signals are only collected here, because they are published after the lock is released.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from seawall.kernel.errors import Outcome
from seawall.kernel.signals import BreakerChanged, BreakerReleased, Hub, RampMoved, Signal
from seawall.resilience.detector import Detector, Evidence
from seawall.resilience.recovery import Baseline, Probe, ProbeRound, Ramp
from seawall.resilience.states import TRANSITIONS, BreakerRules, Enforcement, Event, Override, State
from seawall.resilience.windows import AT_ONCE, NEVER, Cohort, Ticket, Window

DOUBLINGS_MAX: Final = 32
"""Further failed recoveries do not lengthen the open time, whatever its limit is."""

_UNCOUNTED: Final = Ticket(-1)
"""Admitted without being measured: disabled, or in shadow while it would have been rejected."""


class Walk:
    """The state of one breaker and everything that changes it.

    Args:
        rules: what it goes by.
        name: whose calls it guards.
        key: which of the calls under that name.
        now: monotonic seconds at birth.
        rng: random numbers from [0, 1), for the jitter of the open time.
        hub: where transitions are announced, if anywhere.
        probing: the owner runs active probes.
    """

    __slots__ = (
        "_baseline",
        "_detector",
        "_hub",
        "_override",
        "_pending",
        "_ramp",
        "_ramp_slow",
        "_retry_at",
        "_rng",
        "_round",
        "_rules",
        "_sampled_at",
        "_saturated_at",
        "_since",
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
        "rejects_until",
        "slow_s",
        "state",
        "would_reject",
    )

    def __init__(
        self,
        rules: BreakerRules,
        name: str,
        key: str,
        now: float,
        rng: Callable[[], float] | None,
        hub: Hub | None,
        *,
        probing: bool,
    ) -> None:
        self.name: str = name
        self.key: str = key
        self._rng: Callable[[], float] | None = rng
        self._hub: Hub | None = hub
        self.probing: bool = probing
        self.inline: bool = True
        self._pending: list[Signal] = []
        self._override: Override | None = None
        self._baseline: Baseline = Baseline()
        self.state: State = State.CLOSED
        self.evidence: Evidence | None = None
        self.opened: int = 0
        self.rejected: int = 0
        self.rejects_until: float = AT_ONCE
        self.would_reject: int = 0
        self._streak: int = 0
        self._since: float = now
        self._retry_at: float = AT_ONCE
        self._round: ProbeRound | None = None
        self._ramp: Ramp | None = None
        self._ramp_slow: int = 0
        self._sampled_at: float = AT_ONCE
        self._saturated_at: float = NEVER
        self._use(rules)
        self._window: Window = self._new_window(now)
        self.slow_s: float = self._window.slow_s
        self.cohort: Cohort = self._window.cohort
        # The first call takes the long way, and with it the first look at what the function really returns.
        self._tick_at: float = now
        self.due: float = AT_ONCE
        self.admitting: bool = True
        self._refresh()

    def _use(self, rules: BreakerRules) -> None:
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

    def _new_window(self, now: float) -> Window:
        rules = self._rules
        return Window(
            now,
            slow_s=rules.slow_s,
            slower_s=rules.slower_s,
            short_s=rules.short_s,
            long_s=rules.long_s,
            stall_s=rules.stall_s if self.probing else 0.0,
        )

    def _new_round(self) -> ProbeRound:
        rules = self._rules
        return ProbeRound(rules.probes, rules.probes_needed, rules.probe_concurrency, rules.probe_lease_s)

    def _change(self, rules: BreakerRules, now: float) -> bool:
        """Go by other ``rules``; true if the window could be kept."""
        kept = self._rules.same_window(rules)
        self._use(rules)
        if not kept:
            # Calls that are out belong to the old window; a generation of its own keeps them from being
            # misread here.  The probes among them can't settle any more, so their round starts again.
            old = self._window
            self._window = self._new_window(now)
            self._window.succeed(old, now)
            self.slow_s = self._window.slow_s
            if self._round is not None:
                self._round = self._new_round()
        self._track(now)
        return kept

    # -- what holds now ------------------------------------------------------------------------------------

    def _mode(self) -> Enforcement:
        return self._rules.enforcement if self._override is None else self._override.mode

    def _frozen(self) -> bool:
        """Whether an override stops the walk; a forced shadow only stops the rejecting."""
        return self._override is not None and self._override.mode is not Enforcement.SHADOW

    def _judging(self) -> bool:
        return (
            not self._frozen()
            and self._rules.enforcement is not Enforcement.DISABLED
            and (self.state is State.CLOSED or self.state is State.RAMPING)
        )

    def _refresh(self) -> None:
        """Derive the hot attributes from the state and the mode."""
        mode = self._mode()
        closed = self.state is State.CLOSED
        if mode is Enforcement.ENFORCE:
            self.admitting = closed
        else:
            self.admitting = mode is not Enforcement.FORCED_OPEN
        rejecting = self.state is State.OPEN and mode is Enforcement.ENFORCE
        self.rejects_until = self._retry_at if rejecting else AT_ONCE
        plain = closed and self.inline and (mode is Enforcement.ENFORCE or mode is Enforcement.SHADOW)
        self.due = self._tick_at if plain else AT_ONCE

    def _track(self, now: float) -> None:
        """Roll the window and follow its current cohort."""
        self._tick_at = self._window.roll(now)
        self.cohort = self._window.cohort
        self._refresh()

    # -- one call ------------------------------------------------------------------------------------------

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
            # One sample at a time, whatever it lasts: a newer one would leave only calls that end sooner.
            if now - self._sampled_at >= self.slow_s:
                self._sampled_at = now
            self._refresh()
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

    def _samples(self, started_at: float, now: float) -> bool:
        """Whether the call that ends now tells the baseline: the one chosen at its start, or one per tick."""
        chosen = started_at == self._sampled_at
        if chosen:
            self._sampled_at = AT_ONCE
        # Some callers settle only the slow calls one by one, so those are not taken by the tick.
        return chosen or (now >= self._tick_at and now - started_at < self.slow_s)

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
            window.stray(ticket)
            return
        bad = window.settle(ticket, outcome, latency_s)
        if outcome is Outcome.OK and sampled and self.state is State.CLOSED:
            self._baseline.sample(latency_s)
        # A slow call reaches the ramp through the window's slow count, once.
        fast = latency_s < self.slow_s and outcome is not Outcome.SLOW
        if fast and self._ramp is not None and (bad or outcome is Outcome.OK):
            self._ramp.observe(ok=not bad, latency_s=latency_s)
        if bad:
            if outcome is Outcome.FAILED or outcome is Outcome.UNREACHABLE:
                self._detector.failed(window)
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

    def _report(self, *, ok: bool, latency_s: float, now: float) -> None:
        """Take in a call that had no ticket."""
        window = self._window
        if self._mode() is Enforcement.DISABLED:
            return
        if self.state is not State.CLOSED and now - latency_s < self._since:
            window.late += 1
            return
        fast = latency_s < self.slow_s
        if self._round is not None:
            self._round.report(ok=ok and fast)
            self._conclude(self._round, now)
            return
        window.reported(ok=ok, latency_s=latency_s)
        if ok and fast and self.state is State.CLOSED:
            self._baseline.sample(latency_s)
        if fast and self._ramp is not None:
            self._ramp.observe(ok=ok, latency_s=latency_s)
        if not ok:
            self._detector.failed(window)
        self._judge(now)

    def _judge(self, now: float) -> None:
        if not self._judging():
            return
        evidence = self._detector.judge(self._window, now)
        if evidence is not None:
            self._trip(evidence, now)

    # -- steps of the table --------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Everything that time alone does."""
        if self._override is not None and now >= self._override.until:
            self._release(now, "")
        if self._frozen():
            if now >= self._tick_at:
                self._track(now)
            return
        if self.state is State.OPEN:
            if now >= self._retry_at:
                self._move(Event.WAITED, now, "the open time is over")
        elif self._round is not None:
            self._round.expire(now)
            self._conclude(self._round, now)
        else:
            if now >= self._tick_at:
                self._track(now)
                self._judge(now)
            if self._ramp is not None:
                self._climb(self._ramp, now)

    def _conclude(self, round_: ProbeRound, now: float) -> None:
        if self._frozen():
            return
        if round_.accepted:
            without = self._rules.ramp.kind == "none"
            self._move(
                Event.ACCEPTED_FULL if without else Event.ACCEPTED,
                now,
                f"{round_.successes} of {round_.needed} probes succeeded",
            )
        elif round_.refused:
            lost = f" ({round_.expired} of them never came back)" if round_.expired else ""
            self._move(Event.REFUSED, now, f"{round_.failures} of {round_.needed} probes failed{lost}")

    def _climb(self, ramp: Ramp, now: float) -> None:
        slow = self._window.slow
        if slow > self._ramp_slow:
            ramp.overdue(slow - self._ramp_slow)
            self._ramp_slow = slow
        before = ramp.share
        moved = ramp.step(now)
        if ramp.complete:
            self._move(Event.FULL, now, "the ramp is complete")
        elif moved and self._hub is not None and self._hub.active:
            self._pending.append(
                RampMoved(at=now, name=self.name, key=self.key, old=before, share=ramp.share)
            )

    def _trip(self, evidence: Evidence, now: float) -> None:
        self.evidence = evidence
        self.opened += 1
        if self.state is State.CLOSED and now - self._since >= self._rules.open_for_max_s:
            self._streak = 0
        self._move(Event.TRIP, now, evidence.explain())

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
        self._since = now
        if self.state is State.OPEN:
            self._retry_at = now + self._open_time_s()
            self._streak += 1
        elif self.state is State.HALF_OPEN:
            self._round = self._new_round()
        elif self.state is State.RAMPING:
            limit = rules.errors if rules.errors > 0.0 else rules.slow
            self._ramp = Ramp(rules.ramp, self._baseline.typical_s, limit, now)
            self._ramp_slow = self._window.slow
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
        base = min(rules.open_for_s * 2.0 ** min(self._streak, DOUBLINGS_MAX), rules.open_for_max_s)
        draw = self._rng() if self._rng is not None else 0.0
        return base * (1.0 + rules.open_jitter * draw)

    # -- overrides -----------------------------------------------------------------------------------------

    def _lift(self, now: float, owner: str) -> Override | None:
        """Take the override away and tell; what it was, if there was one."""
        override = self._override
        if override is not None:
            self._override = None
            self._announce(
                BreakerReleased(
                    at=now,
                    name=self.name,
                    key=self.key,
                    mode=override.mode.value.removeprefix("forced_"),
                    owner=owner,
                )
            )
        return override

    def _release(self, now: float, owner: str) -> None:
        override = self._lift(now, owner)
        if override is None:
            return
        if override.mode is Enforcement.FORCED_OPEN:
            self._move(Event.RETRIAL, now, f"the open state forced by {override.owner} ended")
        elif override.mode is Enforcement.FORCED_CLOSED:
            self._move(Event.RESET, now, f"the closed state forced by {override.owner} ended")
        else:
            self._refresh()

    def _announce(self, signal: Signal) -> None:
        if self._hub is not None and self._hub.active:
            self._pending.append(signal)
