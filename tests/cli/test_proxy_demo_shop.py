import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.cli import proxy_demo_shop as shop
from seawall.wire.pgwire import framing
from seawall.wire.pgwire.framing import MessageReader

# What became of a checkout: acknowledged, refused, or cut while COMMIT was under way.
TOLD = st.lists(st.sampled_from(["acknowledged", "refused", "unknown"]), max_size=12)
SUMS = ["1", "5", "9", "3", "9"]


def order_of(client, number, order_id=None, total=50, items=shop.ITEMS, left="f"):
    """A row as servers send it."""
    found = client * 100 + number if order_id is None else order_id
    return [str(client), str(number), str(found), str(total), str(items), left]


def book_of(client, endings):
    book = shop.Book(client)
    for number, ending in enumerate(endings, start=1):
        book.asked = number
        if ending == "acknowledged":
            book.orders[number] = client * 100 + number, 50
        elif ending == "refused":
            book.refused.add(number)
        else:
            book.unknown[number] = client * 100 + number, 50
    return book


def wrong(found):
    return found.lost, found.doubled, found.uninvited, found.misnumbered, found.incomplete


@given(st.lists(TOLD, max_size=4), st.randoms(use_true_random=False))
def test_an_honest_server_passes_whatever_becomes_of_unknown_checkouts(clients, dice) -> None:
    books = [book_of(client, endings) for client, endings in enumerate(clients)]
    rows = [
        order_of(client, number)
        for client, endings in enumerate(clients)
        for number, ending in enumerate(endings, start=1)
        if ending == "acknowledged" or (ending == "unknown" and dice.random() < 0.5)
    ]
    found = shop.audit(books, rows, SUMS, [SUMS, SUMS])
    assert wrong(found) == (0, 0, 0, 0, 0)
    assert found.balanced
    assert found.replicas_same
    assert found.acknowledged == sum(endings.count("acknowledged") for endings in clients)
    assert found.unknown_done == len(rows) - found.acknowledged


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], (1, 0, 0, 0, 0)),
        ([order_of(0, 1), order_of(0, 1, 7)], (0, 1, 0, 0, 0)),
        ([order_of(0, 1), order_of(0, 2)], (0, 0, 1, 0, 0)),
        ([order_of(0, 1), order_of(9, 1)], (0, 0, 1, 0, 0)),
        ([order_of(0, 1, 7)], (0, 0, 0, 1, 0)),
        ([order_of(0, 1, total=51)], (0, 0, 0, 1, 0)),
        ([order_of(0, 1), order_of(0, 3, 7)], (0, 0, 0, 1, 0)),
        ([order_of(0, 1, items=1)], (0, 0, 0, 0, 1)),
        ([order_of(0, 1, left="t")], (0, 0, 0, 0, 1)),
    ],
)
def test_what_differs_from_what_was_told_is_found(rows, expected) -> None:
    book = book_of(0, ["acknowledged", "refused", "unknown"])
    assert wrong(shop.audit([book], rows, SUMS, [])) == expected


def test_a_stock_or_a_replica_that_differs_is_found() -> None:
    assert not shop.audit([], [], [*SUMS[:4], "8"], []).balanced
    assert not shop.audit([], [], SUMS, [SUMS, [*SUMS[:4], "8"]]).replicas_same


def test_a_client_without_carts_is_done() -> None:
    assert not shop.Book(0, asked=shop.CARTS - 1).full
    assert shop.Book(0, asked=shop.CARTS).full


def test_each_step_of_a_checkout_ends_with_one_sync() -> None:
    steps = (shop.begin(1, 2), shop.order(1, 2, 50), shop.deliver(1, 2, 102), shop.commit(), shop.PREPARE)
    for step, runs in zip(steps, (2, 1, 3, 1, 0), strict=True):
        kinds = [kind for kind, _ in MessageReader(10_000).feed(step)]
        assert kinds[-1] == framing.SYNC
        assert kinds.count(framing.SYNC) == 1
        assert kinds.count(framing.EXECUTE) == kinds.count(framing.DESCRIBE) == runs


def test_every_client_has_its_carts() -> None:
    assert "generate_series(0, 31) AS c" in shop.tables(32)
    assert str(shop.STOCK) in shop.SUMS
