"""An embedded cluster as hooks: which of its calls is made, in a thread, and what a failure says."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from seawall.app.embedded_hooks import EmbeddedHooks
from seawall.embedded.errors import ClusterError, StatementFailed
from seawall.kernel.errors import UsageError
from seawall.proxy.failover.hooks import PROMOTE, HookFailed, Hooks


class Servers:
    """Stands for a cluster."""

    def __init__(self):
        self.done = []
        self.fails = None

    def node(self, name):
        if name == "nobody":
            raise UsageError("there is no node 'nobody' in this cluster")
        return SimpleNamespace(
            stop=lambda mode, timeout_s: self.note("stop", name, mode),
            kill=lambda: self.note("kill", name),
            execute=lambda sql, timeout_s: self.note("execute", name, sql),
        )

    def follow(self, name):
        self.note("follow", name)

    def rejoin(self, name):
        self.note("rejoin", name)

    def note(self, *what):
        assert threading.current_thread() is not threading.main_thread()
        if self.fails is not None:
            raise self.fails
        self.done.append(what)


CALLS = [
    (lambda hooks: hooks.fence("pg1", clean=False), ("kill", "pg1")),
    (lambda hooks: hooks.fence("pg1", clean=True), ("stop", "pg1", "fast")),
    (lambda hooks: hooks.promote("pg2"), ("execute", "pg2", PROMOTE)),
    (lambda hooks: hooks.repoint("pg2", ["pg3"]), ("follow", "pg2")),
    (lambda hooks: hooks.rejoin("pg1", "pg2"), ("rejoin", "pg1")),
]


@pytest.mark.parametrize(("call", "done"), CALLS, ids=[done[0] for _, done in CALLS])
def test_each_does_one_thing_and_says_what_went_wrong(call, done):
    servers = Servers()
    hooks: Hooks = EmbeddedHooks(servers)
    assert hooks.can_fence
    assert hooks.can_rejoin
    asyncio.run(call(hooks))
    assert servers.done == [done]
    for error in (ClusterError("pg1", "it hangs"), StatementFailed("55000", "no"), OSError(28, "no space")):
        servers.fails = error
        with pytest.raises(HookFailed, match=r"hangs|no"):
            asyncio.run(call(hooks))


def test_a_server_that_is_not_there_is_told():
    with pytest.raises(HookFailed, match="no node 'nobody'"):
        asyncio.run(EmbeddedHooks(Servers()).fence("nobody", clean=False))
    assert "Servers" in repr(EmbeddedHooks(Servers()))
