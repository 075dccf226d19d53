"""The checkout scenario: the reference's function, run by many workers while the primary dies.

The transaction is the reference's, statement by statement, over psycopg2 and its pool; the payment takes
a tenth of a second and happens inside of it. Tables and data are made here: every checkout has a cart and
a user of its own, so that it can be told afterwards whether it happened, and how often.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal

import psycopg2  # type: ignore[import-untyped]
import psycopg2.pool  # type: ignore[import-untyped]

from seawall.embedded import Node

WORKERS = 50
READERS = 50
PAYMENT_S = 0.1
ITEMS = 3
"""Products in a cart."""
PRODUCTS = 200
READER_REST_S = 0.05
RETRY = "40001"

MAKE = """
DROP TABLE IF EXISTS order_items, orders, cart_items, products;
CREATE TABLE products (
    product_id int PRIMARY KEY, name text NOT NULL, category int NOT NULL,
    price numeric(10, 2) NOT NULL, stock_quantity int NOT NULL
) WITH (fillfactor = 50);
INSERT INTO products
SELECT i, 'product ' || i, i % 20, 1 + i % 50, 1000000 FROM generate_series(1, {products}) AS i;
CREATE TABLE cart_items (
    cart_id text NOT NULL, user_id int NOT NULL, product_id int NOT NULL,
    product_price numeric(10, 2) NOT NULL, quantity int NOT NULL
);
INSERT INTO cart_items
SELECT 'cart-' || c, c, p.product_id, p.price, 1 + i % 2
FROM generate_series(1, {carts}) AS c, generate_series(1, {items}) AS i, products p
WHERE p.product_id = 1 + (c * {items} + i) % {products};
CREATE INDEX ON cart_items (cart_id);
CREATE TABLE orders (
    order_id bigserial PRIMARY KEY, user_id int NOT NULL, total_amount numeric(12, 2) NOT NULL,
    payment_id text NOT NULL, status text NOT NULL
);
CREATE TABLE order_items (
    order_id bigint NOT NULL, product_id int NOT NULL, quantity int NOT NULL, price numeric(10, 2) NOT NULL
);
CREATE INDEX ON order_items (order_id);
CREATE INDEX ON orders (user_id);
"""


@dataclass(frozen=True, slots=True)
class Done:
    """How one checkout ended, as the reference tells it, with the error's code and detail."""

    cart: int
    began: float
    ended: float
    order_id: int = 0
    total: Decimal = Decimal(0)
    sqlstate: str = ""
    """Of the failure; ``lost`` if there was none."""
    detail: str = ""
    lost: bool = False
    """Its connection ended."""

    @property
    def success(self) -> bool:
        """As the reference names it."""
        return self.order_id != 0


class CheckoutService:
    """The reference's service.

    Args:
        database_url: of the proxy.
    """

    def __init__(self, database_url: str) -> None:
        self.pool = psycopg2.pool.ThreadedConnectionPool(
            minconn=10, maxconn=100, dsn=database_url, connect_timeout=5
        )

    def process_checkout(self, cart: int) -> Done:
        """Process one checkout transaction."""
        cart_id, user_id = f"cart-{cart}", cart
        began = time.monotonic()
        conn = self.pool.getconn()
        try:
            cur = conn.cursor()
            cur.execute("BEGIN")
            cur.execute(
                """
                SELECT SUM(product_price * quantity) as total, COUNT(*) as item_count
                FROM cart_items WHERE cart_id = %s AND user_id = %s
                """,
                (cart_id, user_id),
            )
            total_amount, item_count = cur.fetchone()
            if item_count == 0:
                raise ValueError("Cart is empty")
            payment_id = self._process_payment()
            cur.execute(
                """
                INSERT INTO orders (user_id, total_amount, payment_id, status)
                VALUES (%s, %s, %s, 'CONFIRMED') RETURNING order_id
                """,
                (user_id, total_amount, payment_id),
            )
            order_id = cur.fetchone()[0]
            cur.execute(
                """
                INSERT INTO order_items (order_id, product_id, quantity, price)
                SELECT %s, product_id, quantity, product_price FROM cart_items WHERE cart_id = %s
                """,
                (order_id, cart_id),
            )
            cur.execute("DELETE FROM cart_items WHERE cart_id = %s", (cart_id,))
            cur.execute(
                """
                UPDATE products p SET stock_quantity = stock_quantity - ci.quantity
                FROM cart_items ci WHERE ci.cart_id = %s AND p.product_id = ci.product_id
                """,
                (cart_id,),
            )
            conn.commit()
            return Done(cart, began, time.monotonic(), order_id=int(order_id), total=total_amount)
        except (psycopg2.Error, ValueError) as error:
            with contextlib.suppress(psycopg2.Error):
                conn.rollback()
            diagnosis = getattr(error, "diag", None)
            return Done(
                cart,
                began,
                time.monotonic(),
                sqlstate=getattr(error, "pgcode", None) or ("lost" if conn.closed else str(error)),
                detail=(diagnosis.message_detail if diagnosis else "") or "",
                lost=bool(conn.closed),
            )
        finally:
            self.pool.putconn(conn, close=bool(conn.closed))

    def _process_payment(self) -> str:
        """The external service."""
        time.sleep(PAYMENT_S)
        return f"PAY-{int(time.time())}"


@dataclass
class Outcome:
    """What a run of the scenario came to.

    Attributes:
        done: The last attempt of every checkout.
        first: The first attempts, where there was a second.
        reads: Of the catalogue.
        reading: What went wrong with them, by SQLSTATE.
        wrong: What the audit found.
        seconds: From the first checkout to the last.
    """

    done: list[Done] = field(default_factory=list)
    first: list[Done] = field(default_factory=list)
    reads: int = 0
    reading: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    hit: int = 0
    """Checkouts that were open when the primary was killed."""

    @property
    def successes(self) -> int:
        """Checkouts that the shop believes to have done."""
        return sum(one.success for one in self.done)

    @property
    def failures(self) -> list[Done]:
        """All attempts that failed."""
        return [one for one in (*self.done, *self.first) if not one.success]


class Scenario:
    """Workers and readers on one port.

    Args:
        port: of the proxy.
        each: checkouts of each worker.
        retry: whether a checkout told 40001 is tried once more.
    """

    def __init__(self, port: int, each: int, *, retry: bool) -> None:
        self._dsn = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        self._each = each
        self._retry = retry
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self.outcome = Outcome()

    @property
    def carts(self) -> int:
        """All checkouts."""
        return WORKERS * self._each

    def prepare(self, node: Node) -> None:
        """Make the tables."""
        node.execute(MAKE.format(products=PRODUCTS, items=ITEMS, carts=self.carts), timeout_s=120.0)

    def run(self, strike: Callable[[], float]) -> Outcome:
        """Check everything out; ``strike`` is called when half of it is done and says when it struck."""
        service = CheckoutService(self._dsn)
        readers = [threading.Thread(target=self._read, daemon=True) for _ in range(READERS)]
        struck: list[float] = []
        started = time.monotonic()
        for reader in readers:
            reader.start()
        with ThreadPoolExecutor(WORKERS + 1) as workers:
            killer = workers.submit(self._strike, strike, struck)
            for future in [workers.submit(self._work, service, number) for number in range(WORKERS)]:
                future.result()
            killer.result()
        self.outcome.seconds = time.monotonic() - started
        self._stop.set()
        for reader in readers:
            reader.join(20.0)
        service.pool.closeall()
        every = (*self.outcome.done, *self.outcome.first)
        self.outcome.hit = sum(one.began < struck[0] < one.ended for one in every)
        return self.outcome

    def _strike(self, strike: Callable[[], float], struck: list[float]) -> None:
        while len(self.outcome.done) < self.carts // 2:
            time.sleep(0.005)
        struck.append(strike())

    def _work(self, service: CheckoutService, worker: int) -> None:
        for number in range(self._each):
            done = service.process_checkout(worker * self._each + number + 1)
            if self._retry and done.sqlstate == RETRY:
                with self._guard:
                    self.outcome.first.append(done)
                done = service.process_checkout(done.cart)
            with self._guard:
                self.outcome.done.append(done)

    def _read(self) -> None:
        connection = psycopg2.connect(self._dsn, connect_timeout=10)
        connection.autocommit = True
        category = 0
        while not self._stop.is_set():
            category = (category + 1) % 20
            try:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT product_id, name, price, stock_quantity FROM products WHERE category = %s",
                        (category,),
                    )
                    cursor.fetchall()
            except psycopg2.Error as error:
                with self._guard:
                    self.outcome.reading[error.pgcode or "lost"] += 1
                if connection.closed:
                    connection = psycopg2.connect(self._dsn, connect_timeout=10)
                    connection.autocommit = True
            with self._guard:
                self.outcome.reads += 1
            time.sleep(READER_REST_S)
        connection.close()

    def audit(self, node: Node) -> None:
        """Compare what the shop believes with what the server has."""
        orders: dict[int, list[tuple[int, Decimal, int]]] = {}
        for user, order, total, items in node.execute(
            "SELECT user_id, order_id, total_amount,"
            " (SELECT count(*) FROM order_items i WHERE i.order_id = o.order_id) FROM orders o",
            timeout_s=60.0,
        ):
            orders.setdefault(int(user or 0), []).append(
                (int(order or 0), Decimal(total or 0), int(items or 0))
            )
        left = {int(user or 0) for (user,) in node.execute("SELECT DISTINCT user_id FROM cart_items")}
        wrong = self.outcome.wrong
        for one in self.outcome.done:
            found = orders.pop(one.cart, [])
            if one.success and found != [(one.order_id, one.total, ITEMS)]:
                wrong.append(f"cart {one.cart}: acknowledged as order {one.order_id}, found {found}")
            elif one.sqlstate == RETRY and found:
                wrong.append(f"cart {one.cart}: told 40001, found {found}")
            elif len(found) > 1 or (found and found[0][2] != ITEMS):
                wrong.append(f"cart {one.cart}: told {one.sqlstate}, found {found}")
            if bool(found) == (one.cart in left):
                wrong.append(
                    f"cart {one.cart}: order {found}, but its cart is {'full' if found else 'empty'}"
                )
        wrong += [f"an order of nobody's: {user} {found}" for user, found in orders.items()]
