"""The benchmark's instruments see what they are for: each is shown a proxy that does the wrong thing."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from benchmarks.proxying import bulk, idle, processes, shares
from benchmarks.proxying.client import Client, RefusedError
from benchmarks.proxying.cluster import INSTALLED, cluster
from benchmarks.proxying.endpoints import Endpoint
from tests.conformance.peers import pipelines, suites
from tests.conformance.peers.arena import Address
from tests.conformance.peers.outcomes import PASSED

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not any(INSTALLED.glob("*/bin/initdb")), reason="no PostgreSQL of the system here"),
]

MB = 1_000_000
HOARDER = """
import collections, selectors, socket, sys

# Takes in whatever comes, at once, and hands it on as fast as the other side likes.
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
other, hoard = {}, {}
while True:
    for key, mask in selector.select():
        if key.fileobj is listener:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
            other[client], other[server] = server, client
            for one in (client, server):
                one.setblocking(False)
                hoard[one] = collections.deque()
                selector.register(one, selectors.EVENT_READ)
            continue
        here = key.fileobj
        if here not in other:
            continue
        there = other[here]
        if mask & selectors.EVENT_READ:
            data = here.recv(262144)
            if not data:
                for one in (here, there):
                    selector.unregister(one)
                    one.close()
                    del other[one], hoard[one]
                continue
            hoard[there].append(data)
            selector.modify(there, selectors.EVENT_READ | selectors.EVENT_WRITE)
        if mask & selectors.EVENT_WRITE:
            waiting = hoard[here]
            while waiting:
                try:
                    sent = here.send(waiting[0])
                except BlockingIOError:
                    break
                if sent < len(waiting[0]):
                    waiting[0] = waiting[0][sent:]
                    break
                waiting.popleft()
            if not waiting:
                selector.modify(here, selectors.EVENT_READ)
"""


@pytest.fixture(scope="module")
def server():
    with cluster({"shared_buffers": "32MB"}) as running:
        yield running


@contextmanager
def hoarder(port):
    """A relay that knows no back-pressure."""
    with subprocess.Popen(
        [sys.executable, "-c", HOARDER, str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield Endpoint("hoarder", int(process.stdout.readline()), (process,))
        finally:
            process.kill()


def test_a_relay_without_back_pressure_is_seen_growing(server):
    with hoarder(server.port) as relay:
        out = bulk.measure(relay, lambda: bulk.read(relay, "postgres", bulk.copy_out_of(150 * MB), 0.5))
        assert out.moved >= 150 * MB
        assert out.growth > 64 * MB
    with hoarder(server.port) as relay:
        into = bulk.measure(relay, lambda: bulk.copy_in(relay, server, "postgres", 200 * MB, 0.5))
        assert into.growth > 64 * MB
        assert into.moved_in_stall > 64 * MB


def test_copy_in_is_held_up_while_the_server_stands_still(server):
    direct = Endpoint("direct", server.port)
    moved, in_stall = bulk.copy_in(direct, server, "postgres", 60 * MB, 0.3)
    assert moved == 60 * MB
    assert in_stall < 20 * MB


def test_an_error_in_the_middle_of_an_answer_is_no_transfer(server):
    direct = Endpoint("direct", server.port)
    with pytest.raises(RefusedError, match="division by zero"):
        bulk.read(direct, "postgres", "COPY (SELECT 1 / (5 - n) FROM generate_series(1, 9) n) TO STDOUT", 0)


def test_idle_clients_that_were_cut_are_not_counted(server):
    with idle.crowd(server.port, 5, "postgres") as crowd:
        crowd.wait_ready()
        assert crowd.ask() == 5
        with server.client() as client:
            client.simple(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        assert crowd.ask() == 0


def test_idle_clients_that_cannot_come_in_are_told(server):
    with pytest.raises(idle.IdleClientsError), idle.crowd(server.port, 3, "nowhere") as crowd:
        crowd.wait_ready()


def test_shares_name_the_process_that_answered(server):
    with hoarder(server.port) as relay:
        with relay_table(server):
            found = shares.served(relay, clients=4, seconds=0.2, database="postgres")
        assert list(found) == [relay.running[0].pid]
        assert sum(found.values()) >= 4


@contextmanager
def relay_table(server):
    with server.client() as client:
        client.simple("CREATE TABLE pgbench_accounts AS SELECT 1 AS aid, 0 AS abalance")
        try:
            yield
        finally:
            client.simple("DROP TABLE pgbench_accounts")


def test_cpu_time_is_that_of_the_process():
    # Of a process that does nothing else: here, threads of other tests end and take their time along.
    work = "import sys; print(sum(range(3_000_000)), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline()
        assert processes.cpu_s([child.pid]) > 0.001
        child.stdin.close()


def test_a_refused_login_is_told_and_leaves_no_socket(server):
    with pytest.raises(RefusedError, match="does not exist"):
        Client(server.port, "nowhere")


def test_a_bare_server_answers_every_pipeline_as_written(server, tmp_path):
    visit = suites.Visit(Address("127.0.0.1", server.port), "postgres", tmp_path, "pipelines", "session")
    found = pipelines.run(visit)
    assert set(found.values()) == {PASSED}, (tmp_path / "report-pipelines.log").read_text()
    assert len(found) == 2 * len(pipelines.CASES)


def test_an_answer_that_is_not_as_written_is_told(server):
    query = pipelines.query("SELECT 1")
    for expected, fault in (("T D C ZI", ""), ("T D D ZI", "wanted T D D ZI, heard T D C ZI")):
        with server.client() as client:
            assert fault in pipelines.difference(client, [(query, expected)])
            assert bool(pipelines.difference(client, [(query, expected)])) == bool(fault)


def test_an_answer_that_does_not_come_is_told(server, monkeypatch):
    monkeypatch.setattr(pipelines, "PATIENCE_S", 0.1)
    with server.client() as client:
        assert "nothing more" in pipelines.difference(client, [(pipelines.parse("", "SELECT 1"), "1")])
