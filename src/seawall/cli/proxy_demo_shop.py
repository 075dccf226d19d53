"""The demo's shop: its tables, one checkout in PostgreSQL's protocol, and the audit at the end.

A checkout is the transaction that hurts when it is lost: it reads the cart, is paid for outside of the
database, and is told the number of its order before it has committed. Each client numbers its checkouts and
writes the number into the order; client and number together are the checkout's token. So it can be told
afterwards, checkout by checkout, what was lost, what was done twice, and whether the order has the number
that its client was told.

Pure: the statements are text and bytes; others send them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from seawall.wire.pgwire import messages

__all__ = ["PREPARE", "Audit", "Book", "audit", "begin", "commit", "deliver", "order", "tables"]

DATABASE: Final = "shop"
CARTS: Final = 400
"""Full carts that each client has; with an empty one it stops."""
ITEMS: Final = 2
"""Products in a cart."""
SHELF: Final = 10
"""Products that only one client buys: no checkout waits for another's, and none can deadlock."""
STOCK: Final = 100_000
"""Of every product in the beginning; ``SUMS`` knows it, too."""
UNKNOWN_CODE: Final = "08007"
"""Says that nobody knows whether a COMMIT was done."""

Rows = Iterable[Sequence[str | None]]

ORDERS: Final = (
    "SELECT o.client, o.number, o.id, o.total, coalesce(i.count, 0),"
    " EXISTS (SELECT FROM cart_items c WHERE c.client = o.client AND c.number = o.number)"
    " FROM orders o LEFT JOIN (SELECT order_id, count(*) FROM order_items GROUP BY order_id) i"
    " ON i.order_id = o.id"
)
SUMS: Final = (
    "SELECT (SELECT count(*) FROM orders), (SELECT coalesce(sum(total), 0) FROM orders),"
    " (SELECT coalesce(sum(quantity), 0) FROM order_items), (SELECT count(*) FROM cart_items),"
    " (SELECT sum(100000 - stock) FROM products)"
)
"""Orders, what they cost, products that were sold, items left in carts, products that left the stock."""

_STATEMENTS: Final = {
    "begin": "BEGIN",
    "cart": "SELECT sum(price * quantity), count(*) FROM cart_items WHERE client = $1 AND number = $2",
    "order": "INSERT INTO orders (client, number, total) VALUES ($1, $2, $3) RETURNING id",
    "items": "INSERT INTO order_items SELECT $1, product, quantity, price FROM cart_items"
    " WHERE client = $2 AND number = $3",
    "stock": "UPDATE products SET stock = stock - quantity FROM cart_items"
    " WHERE id = product AND client = $1 AND number = $2",
    "clear": "DELETE FROM cart_items WHERE client = $1 AND number = $2",
    "commit": "COMMIT",
}
PREPARE: Final = b"".join(messages.parse(name, sql) for name, sql in _STATEMENTS.items()) + messages.sync()
"""Prepares what a checkout needs, once per connection to the proxy."""

ROLLBACK: Final = messages.query("ROLLBACK")


def tables(clients: int) -> str:
    """Statements that make the tables and fill the carts."""
    # Stocks change all the time: with room in the page, the changes stay there.
    return f"""
        CREATE TABLE products (id int PRIMARY KEY, stock int NOT NULL) WITH (fillfactor = 50);
        INSERT INTO products SELECT i, {STOCK} FROM generate_series(0, {clients * SHELF - 1}) AS i;
        CREATE TABLE cart_items (
            client int, number int, product int, price int NOT NULL, quantity int NOT NULL
        );
        INSERT INTO cart_items
        SELECT c, n, c * {SHELF} + (n * {ITEMS} + i) % {SHELF}, 5 + (c + n * i) % 95, 1 + (n + i) % 3
        FROM generate_series(0, {clients - 1}) AS c, generate_series(1, {CARTS}) AS n,
            generate_series(0, {ITEMS - 1}) AS i;
        CREATE INDEX ON cart_items (client, number);
        CREATE TABLE orders (
            id bigserial PRIMARY KEY, client int NOT NULL, number int NOT NULL, total int NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        CREATE TABLE order_items (
            order_id bigint NOT NULL, product int NOT NULL, quantity int NOT NULL, price int NOT NULL
        );
        CREATE INDEX ON order_items (order_id);
        ANALYZE
    """  # noqa: S608 -- ours


def begin(client: int, number: int) -> bytes:
    """BEGIN, and read the cart."""
    return _run("begin") + _run("cart", client, number) + messages.sync()


def order(client: int, number: int, total: int) -> bytes:
    """The order, behind the payment; the answer tells its number."""
    return _run("order", client, number, total) + messages.sync()


def deliver(client: int, number: int, order_id: int) -> bytes:
    """What was bought leaves the cart and the stock, in one pipeline."""
    return (
        _run("items", order_id, client, number)
        + _run("stock", client, number)
        + _run("clear", client, number)
        + messages.sync()
    )


def commit() -> bytes:
    """The end of a checkout."""
    return _run("commit") + messages.sync()


def _run(statement: str, *values: int) -> bytes:
    # Described every time, as libpq does: only so can a replay tell which column came from a sequence.
    bound = messages.bind("", statement, [b"%d" % value for value in values])
    return bound + messages.describe_portal("") + messages.execute()


@dataclass(slots=True)
class Book:
    """What one client knows of its own checkouts, which are numbered from 1.

    Attributes:
        client: Its number.
        asked: Checkouts that it began; none twice.
        orders: Number and total of the orders that were acknowledged.
        refused: Checkouts whose COMMIT was never sent, or was refused: there must be no order of theirs.
        unknown: The connection was lost while COMMIT was under way: there may be an order, once; with the
            number that was told.
    """

    client: int
    asked: int = 0
    orders: dict[int, tuple[int, int]] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    unknown: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def acknowledged(self) -> int:
        """How many were acknowledged."""
        return len(self.orders)

    @property
    def full(self) -> bool:
        """Whether no cart is left."""
        return self.asked >= CARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the servers have, against what the clients were told.

    Attributes:
        acknowledged: Checkouts whose COMMIT was acknowledged.
        lost: Acknowledged ones of which there is no order.
        doubled: Checkouts of which there is more than one order.
        uninvited: Orders that were refused, or which nobody asked for.
        misnumbered: Orders with another number or total than the client was told.
        incomplete: Orders without all items, or whose cart is not empty.
        unknown: Checkouts whose COMMIT was under way when the connection was lost.
        unknown_done: Those of them of which there is an order.
        orders: How many orders there are.
        sold: Products in the orders.
        taken: Products that left the stock.
        replicas_same: Whether the replicas have the same sums, caught up.
    """

    acknowledged: int
    lost: int
    doubled: int
    uninvited: int
    misnumbered: int
    incomplete: int
    unknown: int
    unknown_done: int
    orders: int
    sold: int
    taken: int
    replicas_same: bool

    @property
    def balanced(self) -> bool:
        """Whether what was sold is what left the stock."""
        return self.sold == self.taken


def audit(
    books: Iterable[Book],
    orders: Rows,
    sums: Sequence[str | None],
    replicas: Iterable[Sequence[str | None]],
) -> Audit:
    """Compare.

    Args:
        books: What the clients know.
        orders: Rows of ``ORDERS``.
        sums: The row of ``SUMS``.
        replicas: The same of each replica, which has replayed everything.
    """
    known = {book.client: book for book in books}
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    incomplete = 0
    for client, number, order_id, total, items, left in orders:
        token = int(client or 0), int(number or 0)
        found.setdefault(token, []).append((int(order_id or 0), int(total or 0)))
        incomplete += int(items or 0) != ITEMS or left != "f"
    told = {(c, n): one for c, book in known.items() for n, one in book.orders.items()}
    unknown = {(c, n): one for c, book in known.items() for n, one in book.unknown.items()}
    return Audit(
        acknowledged=len(told),
        lost=sum(1 for token in told if token not in found),
        doubled=sum(1 for rows in found.values() if len(rows) > 1),
        uninvited=sum(1 for token in found if token not in told and token not in unknown),
        misnumbered=_misnumbered(found, {**unknown, **told}),
        incomplete=incomplete,
        unknown=len(unknown),
        unknown_done=sum(1 for token in unknown if token in found),
        orders=int(sums[0] or 0),
        sold=int(sums[2] or 0),
        taken=int(sums[4] or 0),
        replicas_same=all(list(one) == list(sums) for one in replicas),
    )


def _misnumbered(
    found: Mapping[tuple[int, int], list[tuple[int, int]]], told: Mapping[tuple[int, int], tuple[int, int]]
) -> int:
    return sum(1 for token, rows in found.items() if token in told and told[token] not in rows)
