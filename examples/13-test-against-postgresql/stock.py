"""Code that stands on a database, and has to live with the moments when it is not there."""

from typing import Any

import psycopg


class Stock:
    """How much there is of what; each call is a transaction on a connection of its own.

    Args:
        dsn: how to connect.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def prepare(self) -> None:
        """Make the table."""
        self._run("CREATE TABLE IF NOT EXISTS stock (item text PRIMARY KEY, pieces int CHECK (pieces >= 0))")

    def put(self, item: str, pieces: int) -> None:
        """Add some."""
        self._run(
            "INSERT INTO stock VALUES (%s, %s)"
            " ON CONFLICT (item) DO UPDATE SET pieces = stock.pieces + excluded.pieces",
            (item, pieces),
        )

    def take(self, item: str) -> str:
        """Take one, and say what became of it."""
        try:
            taken = self._run(
                "UPDATE stock SET pieces = pieces - 1 WHERE item = %s RETURNING pieces", (item,)
            )
        except psycopg.errors.CheckViolation:
            return "sold out"
        except psycopg.OperationalError:
            return "ask again later"
        return f"{taken[0][0]} left" if taken else "unknown"

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._dsn, connect_timeout=2) as connection:
            cursor = connection.execute(sql.encode(), values)
            return cursor.fetchall() if cursor.description else []
