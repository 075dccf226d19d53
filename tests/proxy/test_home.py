"""A home counts, and is nothing without a pool."""

import pytest

from seawall.proxy.home import Home, Signals


def test_it_takes_a_pool_to_be_one():
    with pytest.raises(TypeError):
        Home(database="d", session=False, statement_mode=False, statements_per_client=1, signals=Signals(0.0))


def test_it_begins_with_nothing_counted():
    from tests.proxy.test_client_relay import World

    pool = World().pool
    assert isinstance(pool, Home)
    assert (pool.database, pool.session, pool.statement_mode) == ("d", False, False)
    assert (pool.transactions, pool.queries, pool.errors, pool.busy_s) == (0, 0, 0, 0.0)
