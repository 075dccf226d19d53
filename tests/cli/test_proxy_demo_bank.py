from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.cli import proxy_demo_bank as bank
from seawall.wire.pgwire import framing
from seawall.wire.pgwire.framing import MessageReader

# What became of a transfer: acknowledged, refused, or cut while COMMIT was under way.
TOLD = st.sampled_from(["acknowledged", "void", "unknown"])
DELTA = st.integers(-5000, 5000)


def history_of(transfers):
    """Rows of the history as servers send them."""
    return [(str(client), str(number), str(count), str(delta)) for client, number, count, delta in transfers]


def balances_of(total, rows=0):
    return [str(total)] * 4 + [str(rows)]


def book_of(client, told):
    """A client's book after these transfers, each a pair of ending and delta."""
    book = bank.Book(client)
    for number, (ending, delta) in enumerate(told, start=1):
        book.asked = number
        if ending == "acknowledged":
            book.total += delta
        elif ending == "void":
            book.void.add(number)
        else:
            book.unknown[number] = delta
    return book


@given(st.lists(st.lists(st.tuples(TOLD, DELTA), max_size=12), max_size=4), st.randoms(use_true_random=False))
def test_an_honest_server_passes_whatever_becomes_of_unknown_transfers(clients, dice) -> None:
    books = [book_of(client, told) for client, told in enumerate(clients)]
    done = [
        (client, number, 1, delta)
        for client, told in enumerate(clients)
        for number, (ending, delta) in enumerate(told, start=1)
        if ending == "acknowledged" or (ending == "unknown" and dice.random() < 0.5)
    ]
    total = sum(delta for *_, delta in done)
    found = bank.audit(books, history_of(done), balances_of(total), balances_of(total))
    assert (found.lost, found.doubled, found.uninvited) == (0, 0, 0)
    assert found.balanced
    assert found.replica_same
    endings = Counter(ending for told in clients for ending, _ in told)
    assert found.acknowledged == endings["acknowledged"]
    assert found.unknown == endings["unknown"]
    assert found.unknown_done == len(done) - endings["acknowledged"]


@given(st.lists(st.tuples(TOLD, DELTA), min_size=1, max_size=12), st.data())
def test_one_transfer_that_is_lost_or_doubled_is_found(told, data) -> None:
    book = book_of(0, told)
    done = [(0, number, 1, d) for number, (ending, d) in enumerate(told, start=1) if ending == "acknowledged"]
    if not done:
        return
    victim = data.draw(st.integers(0, len(done) - 1))
    client, number, _, delta = done[victim]
    total = sum(d for *_, d in done)
    without = done[:victim] + done[victim + 1 :]
    lost = bank.audit([book], history_of(without), balances_of(total - delta), balances_of(0))
    assert (lost.lost, lost.doubled) == (1, 0)
    assert lost.balanced is (delta == 0)
    twice = [*without, (client, number, 2, 2 * delta)]
    doubled = bank.audit([book], history_of(twice), balances_of(total + delta), balances_of(0))
    assert (doubled.lost, doubled.doubled) == (0, 1)
    assert doubled.balanced is (delta == 0)


@pytest.mark.parametrize("stranger", [(0, 2), (0, 4), (0, 0), (9, 1)])
def test_what_nobody_was_promised_must_not_be_there(stranger) -> None:
    book = book_of(0, [("acknowledged", 5), ("void", 7), ("unknown", 9)])
    rows = history_of([(0, 1, 1, 5), (*stranger, 1, 7)])
    found = bank.audit([book], rows, balances_of(12), balances_of(12))
    assert (found.lost, found.doubled, found.uninvited) == (0, 0, 1)


def test_a_replica_that_differs_is_found() -> None:
    found = bank.audit([bank.Book(0)], [], balances_of(0), balances_of(0, rows=1))
    assert not found.replica_same


def test_a_book_without_room_says_so() -> None:
    book = bank.Book(0, asked=bank.EXCEPTIONS_MAX)
    book.void.update(range(1, bank.EXCEPTIONS_MAX))
    assert not book.full
    book.unknown[bank.EXCEPTIONS_MAX] = 1
    assert book.full
    assert book.acknowledged == 0


def test_each_half_of_a_transfer_ends_with_one_sync() -> None:
    second = bank.finish(client=1, number=2, account=3, teller=4, branch=5, delta=-6)
    for half, runs in ((bank.begin(3, -6), 2), (second, 4), (bank.PREPARE, 0)):
        kinds = [kind for kind, _ in MessageReader(10_000).feed(half)]
        assert kinds[-1] == framing.SYNC
        assert kinds.count(framing.SYNC) == 1
        assert kinds.count(framing.EXECUTE) == runs
