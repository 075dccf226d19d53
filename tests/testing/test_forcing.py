"""What a test forces ends with its block, and the next test finds the guard as it was."""

import pytest

from seawall import Breaker, BreakerOpen, State, UsageError, guard
from seawall.testing import VirtualClock, force


def test_open_rejects_and_afterwards_all_is_as_before() -> None:
    db = guard("db", clock=VirtualClock())

    with force(db, "open") as forced:
        assert forced is db
        with pytest.raises(BreakerOpen):
            db.call(int, "7")

    assert db.state is State.CLOSED
    assert [db.call(int, "7") for _ in range(20)] == [7] * 20


def test_it_ends_when_the_block_raises() -> None:
    db = guard("db", clock=VirtualClock())

    with pytest.raises(LookupError), force(db, "open"):
        raise LookupError

    assert db.call(int, "7") == 7


def test_closed_admits_whatever_happens() -> None:
    db = guard("db", breaker=Breaker(consecutive=1), clock=VirtualClock())

    with force(db, "closed"):
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                db.call(lambda: 1 / 0)

    assert db.state is State.CLOSED


def test_forcing_can_be_nested() -> None:
    db = guard("db", clock=VirtualClock())

    with force(db, "open"):
        with force(db, "closed"):
            assert db.call(int, "7") == 7
        assert db.try_call(int, "7").rejected

    assert db.call(int, "7") == 7


def test_a_guard_that_was_not_closed_has_to_prove_itself() -> None:
    db = guard("db", breaker=Breaker(consecutive=1), clock=VirtualClock())
    with pytest.raises(ZeroDivisionError):
        db.call(lambda: 1 / 0)
    assert db.state is State.OPEN

    with force(db, "open"):
        pass

    assert db.state is State.HALF_OPEN


def test_one_key_can_be_forced() -> None:
    db = guard("db", clock=VirtualClock())

    with force(db.at("a"), "open"):
        assert db.at("a").try_call(int, "7").rejected
        assert db.at("b").call(int, "7") == 7

    assert db.at("a").call(int, "7") == 7


def test_a_guard_without_breaker_can_not_be_forced() -> None:
    with pytest.raises(UsageError, match="no breaker"), force(guard("db", breaker=None), "open"):
        pass
