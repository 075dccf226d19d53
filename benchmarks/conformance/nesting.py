"""Cases about calls inside calls: locks, recursion, listeners, retries and their budget."""

from __future__ import annotations

import threading
from collections.abc import Callable

from benchmarks.conformance.subject import Case, Make, ServiceError, Subject, Verdict, verdict

PATIENCE_S = 0.4


def _within(function: Callable[[], object], seconds: float = PATIENCE_S) -> tuple[bool, BaseException | None]:
    """Run a callable in a thread; return whether it ended in time and what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive(), raised[0] if raised else None


def lock_across_call(make: Make) -> Verdict:
    """Two threads must be able to be inside guarded calls at the same time."""
    subject = make()
    first_in, both_in = threading.Event(), threading.Event()

    def first() -> bool:
        first_in.set()
        return both_in.wait(PATIENCE_S)

    def second() -> bool:
        both_in.set()
        return True

    met: list[bool] = []
    thread = threading.Thread(target=lambda: met.append(subject.guard_sync(first)()), daemon=True)
    thread.start()
    first_in.wait(PATIENCE_S)
    subject.guard_sync(second)()
    thread.join(2 * PATIENCE_S)
    overlapped = met == [True]
    return verdict(overlapped, "two calls overlap" if overlapped else "the second call waits for the first")


def recursion(make: Make) -> Verdict:
    """A guarded function that calls through the same breaker must not lock itself out."""
    subject = make()
    inner = subject.guard_sync(lambda: 1)
    outer = subject.guard_sync(lambda: 1 + inner())
    ended, error = _within(outer)
    text = "nested calls return" if ended and error is None else f"nested call: {error!r}"
    return verdict(ended and error is None, text if ended else "deadlock: a nested call never returns")


def raising_listener(make: Make) -> Verdict:
    """A listener that raises must neither change what the caller gets nor stop the breaker."""

    def explode() -> None:
        raise ZeroDivisionError("listener")

    subject = make(listener=explode)
    errors: list[BaseException | None] = []
    for _ in range(12):
        errors.append(subject.call("fail").error)
        if subject.is_open:
            break
    leaked = any(isinstance(error, ZeroDivisionError) for error in errors)
    opened = subject.is_open
    if leaked:
        return verdict(False, "the listener's error reaches the caller")
    return verdict(opened, "contained, breaker open" if opened else "contained, but the breaker did not open")


def listener_calls_breaker(make: Make) -> Verdict:
    """A listener that uses the breaker it listens to must not deadlock or recurse for ever."""
    subjects: list[Subject] = []
    seen: list[bool] = []

    def nested() -> None:
        if subjects and len(seen) < 50:
            seen.append(subjects[0].call("ok").reached)

    subject = make(listener=nested)
    subjects.append(subject)
    ended, error = _within(subject.trip, 2 * PATIENCE_S)
    if not ended:
        return verdict(False, "deadlock when a listener calls the breaker")
    if error is not None:
        return verdict(False, f"a listener that calls the breaker breaks it: {error!r}")
    return verdict(0 < len(seen) < 50, f"{len(seen)} call(s) from listeners, all returned")


def rejection_not_retried(make: Make) -> Verdict:
    """With retries around the breaker, a rejection ends the call at once."""
    subject = make(open_for_s=30.0)
    retried = subject.retrying(attempts=4)
    subject.trip()
    reached = 0

    def call() -> int:
        nonlocal reached
        reached += 1
        return 1

    before = subject.rejections()
    error: BaseException | None = None
    try:
        retried(call)()
    except Exception as raised:
        error = raised
    asked = subject.rejections() - before
    return verdict(
        reached == 0 and error is not None and asked <= 1,
        f"{asked} rejection(s), {reached} call(s) to the backend, {type(error).__name__} to the caller",
    )


def retry_counts_attempts(make: Make) -> Verdict:
    """Every attempt is felt by the backend and counts; one call's attempts alone do not open."""
    subject = make(failures=5, minimum=5)
    retried = subject.retrying(attempts=3)
    reached = 0

    def call() -> int:
        nonlocal reached
        reached += 1
        raise ServiceError("down")

    try:
        retried(call)()
    except ServiceError:
        once_open = subject.is_open
    else:
        return verdict(False, "the error did not reach the caller")
    for _ in range(5):
        try:
            retried(call)()
        except Exception:
            continue
    text = f"open after one call: {once_open}, after six: {subject.is_open} ({reached} attempts)"
    return verdict(not once_open and subject.is_open, text)


def budget_lock_up(make: Make) -> Verdict:
    """A spent budget refuses retries only, and comes back with time and with calls."""
    subject = make(failures=10_000, ratio=0.99, in_a_row=False)
    budget = subject.budgeted()
    spent = sum(budget.attempts(failing=True) for _ in range(300))
    healthy = sum(budget.attempts(failing=False) for _ in range(1000))
    subject.wait(10.0)
    again = budget.attempts(failing=True)
    ok = healthy == 1000 and again > 1
    text = f"300 failing calls made {spent} attempts; then {healthy} of 1000 healthy calls pass"
    return verdict(ok, f"{text}; a retry is granted again: {again > 1}")


CASES = (
    Case("lock across the call", "calls in two threads overlap", (), lock_across_call),
    Case("recursion", "a guarded function may call through its own breaker", (), recursion),
    Case("raising listener", "a listener's error stays with the listener", ("listener",), raising_listener),
    Case("listener calls breaker", "a listener may use the breaker", ("listener",), listener_calls_breaker),
    Case("rejection retried", "a rejection is not retried", ("retry",), rejection_not_retried),
    Case(
        "breaker x retry", "attempts count, one call alone does not open", ("retry",), retry_counts_attempts
    ),
    Case(
        "budget lock-up",
        "a spent retry budget refuses no first attempt and refills",
        ("budget",),
        budget_lock_up,
    ),
)
