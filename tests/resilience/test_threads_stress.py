"""Budget, limiter and bulkhead under threads that are switched as often as CPython can.

Two kinds of proof. The stress shows that no race is found, and first that the same stress does find one in
code that calls between reading and writing. The bytecode tests show why: what must be one step has no point
to switch at.
"""

import dis
import itertools
import random
import threading
from collections.abc import Iterator
from types import FunctionType

import pytest

from seawall.resilience.budget import RetryBudget
from seawall.resilience.bulkhead import Bulkhead, Ticket
from seawall.resilience.limits import RateLimiter
from tests.resilience.crowd import THREADS, hectic, loses_updates, together

ROUNDS = 2_000


@pytest.fixture(autouse=True)
def switched_often() -> Iterator[None]:
    with hectic():
        yield


def test_the_crowd_finds_lost_updates_where_there_are_any() -> None:
    assert loses_updates(), "no update was lost in 50 runs: the stress shows nothing on this machine"


def test_the_budget_loses_no_deposit_and_pays_nothing_twice() -> None:
    budget = RetryBudget(ratio=0.25, min_per_s=1.0, capacity=1e9)
    budget._balance = 0.0

    def work(_number: int) -> int:
        granted = 0
        for _ in range(ROUNDS):
            budget.deposit(5.0)
            granted += budget.try_spend(5.0)
        return granted

    granted = sum(together(work))
    now = budget.statistics()
    assert now.deposits == THREADS * ROUNDS
    assert now.granted == granted
    assert now.granted + now.refused == THREADS * ROUNDS
    assert now.balance == now.deposits * 0.25 - now.granted, "quarters are exact: not a token more or less"


def test_threads_with_clocks_out_of_order_earn_each_second_once() -> None:
    budget = RetryBudget(ratio=0.0, min_per_s=1.0, capacity=1e9)
    budget._balance = 0.0
    budget.deposit(0.0)

    def work(number: int) -> int:
        granted = 0
        for step in range(ROUNDS):
            granted += budget.try_spend((step * THREADS + number) / 16.0)
        return granted

    granted = sum(together(work))
    last = ((ROUNDS - 1) * THREADS + THREADS - 1) / 16.0
    assert budget.balance(last) + granted == last


def test_the_limiter_admits_exactly_its_burst_in_one_instant() -> None:
    limiter = RateLimiter(1.0, 1_000)

    def work(_number: int) -> int:
        return sum(limiter.try_acquire(7.0) == 0.0 for _ in range(ROUNDS))

    assert sum(together(work)) == 1_000
    now = limiter.statistics()
    assert (now.admitted, now.refused) == (1_000, THREADS * ROUNDS - 1_000)


def test_the_limiter_keeps_its_bound_with_clocks_out_of_order() -> None:
    limiter = RateLimiter(64.0, 10)

    def work(number: int) -> int:
        return sum(limiter.try_acquire((step * THREADS + number) / 1024.0) == 0.0 for step in range(ROUNDS))

    admitted = sum(together(work))
    seconds = ROUNDS * THREADS / 1024.0
    assert 10 <= admitted <= 10 + 64.0 * seconds
    assert limiter.statistics().admitted == admitted


def wake(ticket: Ticket | None) -> None:
    if ticket is not None:
        assert ticket.wake is not None
        ticket.wake()


@pytest.mark.parametrize("max_wait_s", [1e9, 50.0], ids=["patient", "impatient"])
def test_the_bulkhead_leaks_no_slot_and_loses_no_wake_up(max_wait_s: float) -> None:
    """Threads enter, wait, cancel and time out; 50 ticks is what a few operations of others take."""
    bulkhead = Bulkhead(2, 3, max_wait_s)
    ticks = itertools.count()
    inside: list[int] = []

    def clock() -> float:
        return float(next(ticks))

    def got_in(dice: random.Random) -> bool:
        if bulkhead.try_enter():
            return True
        parked = threading.Lock()
        parked.acquire()
        ticket = bulkhead.enqueue(clock(), parked.release)
        if ticket is None:
            return False
        if dice.random() < 0.2:
            wake(bulkhead.cancel(ticket, clock()))
            return False
        if ticket.granted or parked.acquire(timeout=0.002 if max_wait_s < 1e9 else 10.0):
            return True
        assert max_wait_s < 1e9, "a patient waiter was never woken"
        wake(bulkhead.cancel(ticket, max(clock(), ticket.expires_at)))
        return False

    def work(number: int) -> int:
        dice, entered = random.Random(number), 0
        for _ in range(ROUNDS):
            if got_in(dice):
                entered += 1
                inside.append(number)
                for _ in range(dice.randrange(300)):  # time to be switched away from with the slot in hand
                    assert len(inside) <= 2, "more inside than the limit"
                inside.pop()
                wake(bulkhead.leave(clock()))
            assert bulkhead.waiting <= 3
        return entered

    entered = sum(together(work))
    now = bulkhead.statistics()
    assert (now.inside, now.waiting, len(bulkhead._queue)) == (0, 0, 0)
    assert now.peak <= 2
    assert now.peak_waiting <= 3
    handed_on = now.entered - entered
    assert 0 <= handed_on <= now.cancelled, "slots that were granted to threads which had just gone"
    attempts = THREADS * (ROUNDS)
    assert attempts == entered + now.rejected_full + now.rejected_expired + now.cancelled


# How bytecodes begin that allow a thread switch or allocate a container (3.11 to 3.13).
SWITCH_POINTS = (
    "CALL",
    "PRECALL",
    "RESUME",
    "JUMP_BACKWARD",
    "POP_JUMP_BACKWARD",
    "FOR_ITER",
    "SEND",
    "YIELD_VALUE",
    "BEFORE_WITH",
    "IMPORT_NAME",
    "BUILD_LIST",
    "BUILD_TUPLE",
    "BUILD_MAP",
    "BUILD_SET",
)


def instructions(method: object) -> list[dis.Instruction]:
    """A method's bytecode without its function entry and without the building of errors."""
    if not isinstance(method, FunctionType):
        pytest.skip("compiled: it has no bytecode, and no switch point but its calls into Python")
    code = list(dis.get_instructions(method))
    raising = [line.positions for line in code if line.opname == "RAISE_VARARGS" and line.positions]
    entry = next(index for index, line in enumerate(code) if line.opname == "RESUME")

    def builds_an_error(line: dis.Instruction) -> bool:
        at = line.positions.lineno if line.positions else None
        return at is not None and any(
            (where.lineno or 0) <= at <= (where.end_lineno or 0) for where in raising
        )

    return [line for line in code[entry + 1 :] if not builds_an_error(line)]


def may_switch(line: dis.Instruction) -> bool:
    return line.opname.startswith(SWITCH_POINTS)


@pytest.mark.parametrize(
    "method",
    [RetryBudget.deposit, RetryBudget.try_spend, RateLimiter.try_acquire, Bulkhead.try_enter],
    ids=lambda method: method.__qualname__,
)
def test_what_must_be_one_step_has_no_point_to_switch_at(method: object) -> None:
    assert [line.opname for line in instructions(method) if may_switch(line)] == []


@pytest.mark.parametrize(
    ("method", "act", "looks"),
    [
        (Bulkhead.enqueue, "append", {"_inside", "_limit", "_waiting", "_queue_limit"}),
        (Bulkhead.leave, "popleft", {"_inside", "_waiting"}),
        (Bulkhead.expire, "popleft", {"expires_at", "_waiting"}),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_the_bulkhead_looks_and_acts_in_one_step(method: object, act: str, looks: set[str]) -> None:
    code = instructions(method)
    acting = next(index for index, line in enumerate(code) if line.argval == act)
    start = acting
    while start > 0 and not may_switch(code[start - 1]):
        start -= 1
    step = code[start:acting]
    assert looks <= {line.argval for line in step if isinstance(line.argval, str)}
    assert any("JUMP" in line.opname for line in step), "the look is a condition"


def test_the_bytecode_test_sees_a_call_in_between() -> None:
    def careless(self: Bulkhead) -> None:
        self._inside = max(self._inside, 1)

    assert any(may_switch(line) for line in instructions(careless))
