"""A real cluster behind a running proxy that replaces its primary and rescues its clients."""

import os
import signal
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager

import psycopg

from seawall.app.build import in_front_of, promoting
from seawall.app.embedded_hooks import EmbeddedHooks
from seawall.proxy.settings import Database, Replay, ReplayMode
from seawall.proxy.supervisor import Supervisor
from seawall.proxy.topology import NodeRole, Phase, Topology
from tests.proxy.running import RunningProxy, settings_for

WAIT_S = 20
DATABASES = {
    "*": Database(name="*"),
    "off": Database(name="off", server_name="postgres", replay=ReplayMode.OFF),
    "shadow": Database(name="shadow", server_name="postgres", replay=ReplayMode.SHADOW),
}


class Field(RunningProxy):
    """The proxy before a cluster, and what tests do to both."""

    def __init__(self, cluster, **changes):
        told = settings_for(
            *cluster.nodes,
            size=40,
            replay=Replay(mode=ReplayMode.ON, pin_sequences=True),
            databases=DATABASES,
            timeouts={"drain_s": 0.5, "unavailable_s": WAIT_S},
            **changes,
        )
        told = in_front_of(told, cluster.nodes, cluster.primary)
        super().__init__(promoting(told) if len(cluster.nodes) > 1 else told)
        self.cluster = cluster

    def __enter__(self):
        self.thread.start()
        self.supervisor = Supervisor(self.settings, self.lines.append, EmbeddedHooks(self.cluster))
        self.running = self.call(self.supervisor.start())
        self.settle()
        return self

    # --- the servers --------------------------------------------------------------------------------------

    @property
    def topology(self):
        generation, text = self.supervisor._block.topology()
        return Topology.from_json(text) if generation else None

    @property
    def primary(self):
        return self.cluster.node(self.topology.primary)

    @property
    def replicas(self):
        return [node for node in self.cluster.nodes if node.name != self.topology.primary]

    def sql(self, text, *values, node=None):
        """Ask the primary, or another server, directly."""
        with psycopg.connect((node or self.primary).dsn(), autocommit=True) as conn:
            cursor = conn.execute(text, values or None)
            return cursor.fetchall() if cursor.description else []

    def settle(self):
        """Wait until a primary serves and all others stream from it."""
        count = len(self.cluster.nodes) - 1

        def settled():
            topology = self.topology
            if topology is None or topology.phase is not Phase.SERVING or not topology.primary:
                return False
            roles = [node.role for node in topology.nodes]
            if roles.count(NodeRole.REPLICA) != count:
                return False
            streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
            try:
                return self.sql(streaming) == [(count,)]
            except psycopg.Error:
                return False

        self.until(settled)

    def until(self, condition):
        """Wait for something that is on its way."""
        end = time.monotonic() + WAIT_S
        while not (found := condition()):
            assert time.monotonic() < end, (self.topology, self.lines[-10:])
            threading.Event().wait(0.01)
        return found

    def replaced(self, old):
        """Wait until another server is the primary."""
        self.until(lambda: self.topology.phase is Phase.SERVING and self.topology.primary not in (None, old))

    def backend(self, like, node=None):
        """Process and port of the one backend that has said this last."""
        rows = self.until(
            lambda: self.sql(
                "SELECT pid, client_port FROM pg_stat_activity WHERE query LIKE %s"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
                like,
                node=node,
            )
        )
        assert len(rows) == 1
        return rows[0]

    def waiting(self, event, count=1):
        """Wait until so many backends wait for something; their transactions' numbers."""
        text = "SELECT backend_xid::text FROM pg_stat_activity WHERE %s IN (wait_event, wait_event_type)"
        return self.until(lambda: rows if len(rows := self.sql(text, event)) >= count else None)

    @contextmanager
    def stopped(self, node, kind):
        """Stop a server's processes of a kind for a while; those that are killed meanwhile stay dead."""
        rows = self.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = %s", kind, node=node)
        assert rows
        for (pid,) in rows:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for (pid,) in rows:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    continue

    def unread(self, client_port):
        """Wait until a backend that is stopped has something to read from its client."""
        local = f"0100007F:{self.primary.port:04X}"
        remote = f"0100007F:{client_port:04X}"

        def arrived():
            with open("/proc/net/tcp") as table:
                rows = [line.split() for line in table]
            return any(row[1:3] == [local, remote] and not row[4].endswith(":00000000") for row in rows)

        self.until(arrived)

    # --- clients ------------------------------------------------------------------------------------------

    def connect(self, database="postgres", **more):
        return psycopg.connect(self.dsn(database), **more)

    def show(self, what):
        """Rows of the console by column name."""
        with psycopg.connect(self.dsn("seawall"), autocommit=True, row_factory=psycopg.rows.dict_row) as conn:
            return conn.execute(f"SHOW {what}").fetchall()


def later(call, *values, **more):
    """Have a call made beside the test."""
    future = Future()

    def run():
        try:
            future.set_result(call(*values, **more))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
