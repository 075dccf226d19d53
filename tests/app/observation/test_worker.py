"""What a worker counts into the shared block and passes on, with a real block and real sockets."""

import os
import pickle
import socket
import subprocess
import sys
from math import inf
from types import SimpleNamespace

import pytest

from seawall.app.observation.records import digest, unpack
from seawall.app.observation.worker import COUNT_EVERY, WorkerAttachment, WorkerObserver, layout_of
from seawall.proxy.pool import TOOK_BOUNDS_S
from seawall.proxy.watching import FACTS_MAX, FACTS_RESERVED, Watch
from seawall.telemetry.catalogue import proxy as rows
from seawall.telemetry.metrics import Block, Collector, Sheet
from seawall.wire.pgwire import messages
from tests.app.observation.scraping import page_of, samples, total
from tests.app.observation.told import fact
from tests.proxy.test_client_relay import World

DAMAGED = object()
"""In place of a fact: what no record can be made of."""


class Pool(SimpleNamespace):
    """As far as it is looked at."""

    def __init__(self, database="shop", user="ada", **changes):
        told = {
            "queries": 0,
            "transactions": 0,
            "errors": 0,
            "waited_s": 0.0,
            "connect_errors": 0,
            "opened_count": 0,
            "waiting": [],
            "servers": [],
            "idle": [],
            "took": [0] * (len(TOOK_BOUNDS_S) + 1),
            "busy_s": 0.0,
        }
        super().__init__(database=database, user=user, **{**told, **changes})

    def add_up(self):
        """Whatever there is, the test has put there."""


def fake_worker(*pools, number=0):
    return SimpleNamespace(
        number=number,
        watch=Watch(1.0, FACTS_MAX),
        pools=dict(enumerate(pools)),
        clients={},
        clients_total=0,
        refused_at_door=0,
        queue_overflows=0,
        cancels=0,
        statements=SimpleNamespace(evicted=0),
        rescue=SimpleNamespace(counts={}),
        backends=SimpleNamespace(connections={"one": 0}),
    )


class Scene:
    """A block, a channel, and observers of it."""

    def __init__(self, workers=2):
        self.block = Block(layout_of(workers))
        self.collector = Collector(self.block)
        self.reader, self.channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.reader.setblocking(False)
        self.channel.setblocking(False)

    def observer(self, worker):
        return WorkerObserver(worker, Sheet(self.block, worker.number), self.channel)

    def read(self):
        return samples(page_of(self.collector))

    def records(self):
        found = []
        while True:
            try:
                found += unpack(self.reader.recv(1 << 18))
            except BlockingIOError:
                return found

    def close(self):
        self.reader.close()
        self.channel.close()
        self.block.close()


@pytest.fixture
def scene():
    made = Scene()
    yield made
    made.close()


def fates(found):
    return {
        fate: found.get(f'seawall_proxy_spans_offered_total{{fate="{fate}"}}', 0)
        for fate in ("accepted", "full", "channel")
    }


def remember(worker, count, *, failed=False):
    """Have facts offered as the relay does: what finds no place is dropped."""
    watch = worker.watch
    for _ in range(count):
        if len(watch.facts) >= (FACTS_MAX if failed else FACTS_MAX - FACTS_RESERVED):
            watch.dropped += 1
        else:
            watch.accepted += 1
            watch.facts.append(fact(said=messages.query("SELECT 1 FROM orders")))


# --- counts -------------------------------------------------------------------------------------------------


def test_totals_are_what_the_worker_counts_and_come_once_a_second(scene):
    pool = Pool(queries=5, transactions=3, errors=1, waited_s=0.5, connect_errors=2, opened_count=4)
    worker = fake_worker(pool)
    worker.clients_total, worker.cancels = 7, 2
    observer = scene.observer(worker)
    observer.swept(0.0)
    labels = '{database="shop",user="ada"}'
    found = scene.read()
    assert found[f"seawall_proxy_queries_total{labels}"] == 5
    assert found[f"seawall_proxy_transactions_total{labels}"] == 3
    assert found[f"seawall_proxy_query_errors_total{labels}"] == 1
    assert found[f"seawall_proxy_wait_seconds_total{labels}"] == 0.5
    assert found[f"seawall_proxy_connect_errors_total{labels}"] == 2
    assert found[f"seawall_proxy_servers_opened_total{labels}"] == 4
    assert found["seawall_proxy_client_connections_total"] == 7
    assert found["seawall_proxy_cancels_total"] == 2
    pool.queries = 9
    for _ in range(COUNT_EVERY - 1):
        observer.swept(0.0)
    assert scene.read()[f"seawall_proxy_queries_total{labels}"] == 5
    observer.swept(0.0)
    assert scene.read()[f"seawall_proxy_queries_total{labels}"] == 9


def test_a_worker_in_a_dead_ones_place_goes_on_with_its_totals(scene):
    first = fake_worker(Pool(queries=5, servers=[1, 2]))
    first.clients = {1: None}
    first.rescue.counts["replay:done"] = 2
    scene.observer(first).count()
    scene.block.retire(0)
    found = scene.read()
    labels = '{database="shop",user="ada"}'
    assert found[f"seawall_proxy_queries_total{labels}"] == 5
    assert f"seawall_proxy_servers{labels}" not in found
    assert "seawall_proxy_clients" not in found
    second = fake_worker(Pool(queries=1))
    second.rescue.counts["replay:done"] = 1
    observer = scene.observer(second)
    observer.count()
    observer.count()
    found = scene.read()
    assert found[f"seawall_proxy_queries_total{labels}"] == 6
    assert found['seawall_proxy_rescues_total{what="replay:done"}'] == 3
    assert found["seawall_proxy_clients"] == 0


def test_no_total_falls_whatever_the_worker_says(scene):
    pool = Pool(queries=5)
    observer = scene.observer(fake_worker(pool))
    for queries in (5, 2, 5, 6):
        pool.queries = queries
        observer.count()
    assert total(scene.read(), "seawall_proxy_queries_total") == 6


def test_workers_are_summed_up(scene):
    for number in range(2):
        worker = fake_worker(Pool(queries=3, idle=[1], servers=[1, 2]), number=number)
        worker.backends.connections["one"] = 4
        scene.observer(worker).count()
    found = scene.read()
    assert total(found, "seawall_proxy_queries_total") == 6
    assert total(found, "seawall_proxy_servers") == 4
    assert total(found, "seawall_proxy_servers_idle") == 2
    assert found['seawall_proxy_backend_connections{backend="one"}'] == 8


def test_pools_of_the_same_names_are_one_series(scene):
    worker = fake_worker(Pool(queries=3, servers=[1]), Pool(queries=4, servers=[1, 2]))
    observer = scene.observer(worker)
    observer.count()
    worker.pools[0].queries += 1
    observer.count()
    found = scene.read()
    assert total(found, "seawall_proxy_queries_total") == 8
    assert total(found, "seawall_proxy_servers") == 3


def test_pools_beyond_the_bound_share_a_series_and_nothing_is_lost(scene):
    many = 300
    worker = fake_worker(*[Pool(user=f"user{number}", queries=2, servers=[1]) for number in range(many)])
    observer = scene.observer(worker)
    observer.count()
    observer.count()
    found = scene.read()
    other = '{database="shop",user="__other__"}'
    assert found[f"seawall_proxy_queries_total{other}"] > 2
    assert total(found, "seawall_proxy_queries_total") == 2 * many
    assert total(found, "seawall_proxy_servers") == many
    # Of two labels' values one is beyond its limit; it is told once, however often it is looked at.
    assert found['seawall_metric_overflow_total{metric="proxy_queries"}'] == many - rows.QUERIES.values_limit
    worker.pools[many - 1].servers = []
    observer.count()
    assert total(scene.read(), "seawall_proxy_servers") == many - 1


def test_durations_are_added_to_the_histogram_once(scene):
    assert TOOK_BOUNDS_S == rows.REQUEST_BUCKETS
    pool, same = Pool(), Pool(user="bob")
    observer = scene.observer(fake_worker(pool, same))
    pool.took[0], pool.took[-1], pool.busy_s = 3, 1, 20.0
    same.took[0], same.busy_s = 1, 0.25
    observer.count()
    observer.count()
    name = "seawall_proxy_transaction_duration_seconds"
    found = scene.read()
    assert found[f'{name}_count{{database="shop"}}'] == 5
    assert found[f'{name}_sum{{database="shop"}}'] == 20.25
    assert found[f'{name}_bucket{{database="shop",le="0.0005"}}'] == 4
    pool.took[1], pool.busy_s = 2, 21.0
    observer.count()
    assert scene.read()[f'{name}_sum{{database="shop"}}'] == 21.25


def test_names_in_any_encoding_are_counted(scene):
    scene.observer(fake_worker(Pool(database="caf\udce9", user="\0", queries=1))).count()
    assert total(scene.read(), "seawall_proxy_queries_total") == 1


# --- what is passed on --------------------------------------------------------------------------------------


def test_facts_are_passed_on_with_every_sweep(scene):
    worker = fake_worker(number=1)
    observer = scene.observer(worker)
    for _ in range(3):
        remember(worker, 2)
        observer.swept(0.0)
        assert worker.watch.facts == []
        found = scene.records()
        assert [(one.worker, *digest(one)[:2]) for one in found] == [(1, "SELECT", "orders")] * 2


def test_every_fact_that_was_offered_has_one_fate(scene):
    worker = fake_worker()
    observer = scene.observer(worker)
    arrived = 0
    remember(worker, FACTS_MAX)  # more than find a place
    remember(worker, FACTS_MAX, failed=True)
    observer.swept(0.0)
    arrived += len(scene.records())
    while not observer._lost:  # until the channel is full
        remember(worker, 5)
        observer.swept(0.0)
    arrived += len(scene.records())
    scene.reader.close()  # then nobody reads at all
    remember(worker, 4)
    observer.swept(0.0)
    observer.count()
    found = fates(scene.read())
    assert found["accepted"] == arrived
    assert found["full"] == worker.watch.dropped == FACTS_RESERVED + FACTS_MAX - FACTS_RESERVED
    assert found["channel"] >= 9
    assert sum(found.values()) == worker.watch.offered


def test_facts_that_no_record_can_be_made_of_are_counted_as_lost(scene):
    worker = fake_worker()
    observer = scene.observer(worker)
    remember(worker, 3)
    worker.watch.facts[1] = DAMAGED
    with pytest.raises(AttributeError):
        observer.swept(0.0)
    assert worker.watch.facts == []
    observer.count()
    assert fates(scene.read()) == {"accepted": 0, "full": 0, "channel": 3}
    remember(worker, 1)
    observer.swept(0.0)
    assert len(scene.records()) == 1


# --- attaching ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spans", [True, False])
def test_an_attachment_makes_the_observer_of_a_real_worker(scene, spans):
    inherited = os.dup(scene.block.descriptor)
    made = WorkerAttachment(
        block=inherited, channel=scene.channel.fileno(), workers=2, slow_s=0.5, spans=spans
    )
    attachment = pickle.loads(pickle.dumps(made))
    assert attachment.descriptors == (inherited, scene.channel.fileno())
    world = World()
    observer = attachment.attach(world.worker)
    scene.channel.detach()  # it is the observer's from now on
    scene.channel = observer._channel
    assert (world.worker.watch.slow_s, world.worker.watch.limit) == ((0.5, FACTS_MAX) if spans else (inf, 0))
    world.say(0, messages.query("rows 1"))
    world.say(0, messages.query("fail"))
    observer.swept(0.0)
    found = scene.read()
    assert total(found, "seawall_proxy_queries_total") == 2
    assert total(found, "seawall_proxy_transactions_total") == 2
    assert total(found, "seawall_proxy_query_errors_total") == 1
    assert found['seawall_proxy_transaction_duration_seconds_count{database="d"}'] == 2
    assert len(scene.records()) == spans


def test_what_telemetry_needs_is_loaded_in_no_worker():
    code = (
        "import sys, pickle; from seawall.app.observation.worker import WorkerAttachment\n"
        "import seawall.proxy.process\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"opentelemetry", "starlette", "uvicorn", "structlog", "pydantic"} & set(loaded)
