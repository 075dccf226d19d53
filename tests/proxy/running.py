"""A proxy as it runs: supervisor, worker processes, real sockets."""

import asyncio
import threading
from dataclasses import replace

from seawall.proxy.settings import Auth, Backend, Listen, Pooling, PoolMode, ProxySettings, Timeouts
from seawall.proxy.supervisor import Supervisor

WAIT_S = 30


def settings_for(*nodes, mode="transaction", workers=1, size=5, users=None, method=None, **changes):
    """Settings of a proxy before these servers that trusts whoever is on this machine."""
    auth = Auth(trust_loopback=users is None, users=users or {}, admin_users=frozenset({"boss"}))
    if method is not None:
        auth = replace(auth, method=method)
    pooling = Pooling(mode=PoolMode(mode), size=size, **changes.pop("pooling", {}))
    return ProxySettings(
        backends=tuple(Backend(name=node.name, host=node.host, port=node.port) for node in nodes),
        listen=(Listen(port=0),),
        workers=workers,
        auth=auth,
        pooling=pooling,
        timeouts=Timeouts(**{"drain_s": 5.0, **changes.pop("timeouts", {})}),
        **changes,
    )


class RunningProxy:
    """A proxy in worker processes, supervised from a thread of the test."""

    def __init__(self, settings):
        self.settings = settings
        self.lines = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.supervisor = Supervisor(self.settings, self.lines.append)
        self.running = self.call(self.supervisor.start())
        return self

    def __exit__(self, *failure):
        self.stop(now=failure[0] is not None)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WAIT_S)
        self.loop.close()

    def call(self, coroutine):
        """Run a coroutine in the supervisor's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WAIT_S)

    def stop(self, *, now=False):
        """Drain, or cut."""
        self.call(self.supervisor.stop(now=now))

    @property
    def port(self):
        return self.running.addresses[0].port

    def dsn(self, database="postgres", user="postgres", **more):
        """How libpq connects."""
        parts = {"host": "127.0.0.1", "port": self.port, "dbname": database, "user": user, **more}
        return " ".join(f"{name}={value}" for name, value in parts.items())

    def url(self, scheme="postgresql", database="postgres", user="postgres"):
        """How everybody else connects."""
        return f"{scheme}://{user}@127.0.0.1:{self.port}/{database}"
