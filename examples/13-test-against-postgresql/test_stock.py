"""Tests on a real server, which they may stop and kill. Run it with pytest."""

from collections.abc import Iterator

import pytest
from stock import Stock

from seawall.embedded import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    # Made once and gone at the end, whatever happens; a run that is killed is cleaned up by the next one.
    with Cluster.create() as made:
        yield made


@pytest.fixture
def stock(cluster: Cluster) -> Stock:
    cluster.start()
    made = Stock(cluster.primary.dsn())
    made.prepare()
    return made


def test_the_last_piece_is_sold_once(stock: Stock) -> None:
    stock.put("lamp", 1)
    assert stock.take("lamp") == "0 left"
    assert stock.take("lamp") == "sold out"


def test_a_customer_is_told_when_there_is_no_database(stock: Stock, cluster: Cluster) -> None:
    stock.put("chair", 3)
    cluster.primary.kill()
    assert stock.take("chair") == "ask again later"

    cluster.start()
    assert stock.take("chair") == "2 left"
