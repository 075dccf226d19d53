"""Cases about half-open: who may probe, what a probe proves, and what happens when it never ends."""

from __future__ import annotations

from benchmarks.conformance.subject import Case, Held, Make, Verdict, verdict

CROWD = 100
CROWD_OF_THREADS = 12
PROBES_MAX = 10


def half_open_stampede(make: Make) -> Verdict:
    """After the wait a crowd meets a hung backend: only a few may get through."""
    subject = make()
    subject.trip()
    subject.wait(subject.setup.open_for_s * 1.5)
    crowd = CROWD_OF_THREADS if "async" in subject.lacks else CROWD
    held = [subject.begin() for _ in range(crowd)]
    through = sum(call.reached for call in held)
    waiting = sum(call.blocked for call in held)
    for call in held:
        call.end("fail")
    queued = f"; {waiting} more wait for its lock" if waiting else ""
    return verdict(through <= PROBES_MAX, f"{through} of {crowd} calls went to a hung backend{queued}")


def stuck_probe(make: Make) -> Verdict:
    """Probes that never end must not keep a healthy backend shut out for good."""
    subject = make()
    subject.trip()
    subject.wait(subject.setup.open_for_s * 1.5)
    stuck: list[Held] = []
    while len(stuck) < PROBES_MAX:
        call = subject.begin()
        if not call.reached:
            break
        stuck.append(call)
    if not stuck:
        return verdict(False, "no probe was admitted after the wait")
    quarters = 0
    while quarters < 40:
        quarters += 1
        subject.wait(subject.setup.open_for_s / 4)
        later = subject.begin()
        if later.reached:
            later.end("ok")
            break
        if later.blocked:
            for call in stuck:
                call.end("ok")
            return verdict(False, "the next call blocks behind the hung probe's lock")
    else:
        for call in stuck:
            call.end("ok")
        return verdict(False, f"with {len(stuck)} hung, 40 of 40 calls rejected up to 10 x the wait")
    for call in stuck:
        call.end("ok")
    return verdict(True, f"with {len(stuck)} hung, a call is admitted {quarters / 4:g} x the wait later")


def late_success(make: Make) -> Verdict:
    """A success that started before the trip must not close the open breaker."""
    subject = make(open_for_s=30.0)
    early = subject.begin()
    subject.trip()
    early.end("ok")
    still = subject.is_open
    rejected = not subject.call("ok").reached
    return verdict(still and rejected, "stays open" if still and rejected else "a late success closed it")


def late_probe(make: Make) -> Verdict:
    """Results of calls from before the trip are no probe results."""
    subject = make()
    early = [subject.begin() for _ in range(3 * PROBES_MAX)]
    subject.trip()
    subject.wait(subject.setup.open_for_s * 1.5)
    probe = subject.begin()
    for call in early:
        call.end("ok")
    still = subject.is_open
    probe.end("fail")
    return verdict(still, "late results do not count" if still else "closed by calls that are no probes")


def cancelled_probe(make: Make) -> Verdict:
    """A cancelled probe gives its permit back: the next call may probe."""
    subject = make()
    subject.trip()
    subject.wait(subject.setup.open_for_s * 1.5)
    cancelled = 0
    for _ in range(3 * PROBES_MAX):
        probe = subject.begin()
        if not probe.reached:
            return verdict(False, f"after {cancelled} cancelled probes no further probe is admitted")
        probe.cancel()
        cancelled += 1
        if not subject.is_open:
            return verdict(False, f"{cancelled} cancelled probe(s) closed it")
    return verdict(True, f"{cancelled} probes cancelled, the next one is still admitted")


def excluded_probe(make: Make) -> Verdict:
    """Business errors answer nothing about recovery: they must neither close the breaker nor use it up."""
    subject = make()
    subject.trip()
    subject.wait(subject.setup.open_for_s * 1.5)
    for count in range(1, 2 * PROBES_MAX + 1):
        result = subject.call("business")
        if not result.reached:
            return verdict(False, f"no further probe is admitted after {count - 1} business errors")
        if not subject.is_open:
            return verdict(False, f"{count} business error(s) closed it")
    return verdict(True, f"{2 * PROBES_MAX} business errors prove nothing: still half-open")


CASES = (
    Case("half-open stampede", "after the wait only a few calls try a hung backend", (), half_open_stampede),
    Case("stuck probe", "a probe that never ends does not block recovery", (), stuck_probe),
    Case("late result", "a success from before the trip does not close", ("concurrent",), late_success),
    Case("late result as probe", "calls from before the trip are no probes", ("concurrent",), late_probe),
    Case(
        "cancelled probe",
        "a cancelled probe returns its permit and proves nothing",
        ("async",),
        cancelled_probe,
    ),
    Case("excluded probe", "a business error does not certify recovery", ("exclude",), excluded_probe),
)
