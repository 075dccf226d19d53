"""The code that ``test_stock.py`` tests, by itself, on a cluster that lives as long as the program."""

from stock import Stock

from seawall.embedded import Cluster

with Cluster.create() as cluster:
    stock = Stock(cluster.primary.dsn())
    stock.prepare()
    stock.put("lamp", 2)
    for _ in range(3):
        print("lamp:", stock.take("lamp"))
    print("chair:", stock.take("chair"))
