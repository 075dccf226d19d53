import asyncio

from seawall.cli import proxy_demo_console
from seawall.cli.proxy_demo_client import SessionLost
from seawall.cli.proxy_demo_console import Console

SHOWN = {
    "SHOW BACKENDS": [
        {"name": "pg1", "role": "replica", "state": "reachable"},
        {"name": "pg2", "role": "primary", "state": "reachable"},
    ],
    "SHOW FAILOVERS": [{"old_primary": "pg1", "outcome": "done", "took_ms": "578"}],
    "SHOW REPLAYS": [{"way": "replay", "outcome": "done"}] * 2 + [{"way": "resolve", "outcome": "commit"}],
    "SWITCHOVER": [{"item": "primary", "value": "pg1"}, {"item": "pause_s", "value": None}],
}


class Session:
    async def show(self, sql):
        return SHOWN[sql]

    def close(self):
        """Nothing is open."""


def reachable(monkeypatch):
    async def connect(*_address, **_options):
        return Session()

    monkeypatch.setattr(proxy_demo_console, "connect", connect)


def test_what_is_shown_is_known(monkeypatch) -> None:
    reachable(monkeypatch)
    console = Console("127.0.0.1", 1)
    assert asyncio.run(console.until(lambda: console.replaced("pg1"), 1.0))
    assert console.primary == "pg2"
    assert (console.follows("pg1"), console.follows("pg2"), console.replaced("pg2")) == (True, False, False)
    assert console.last_failover() == "after 0.58 s"
    assert console.replays_told() == "2 said again, 1 found to be committed"
    assert "primary pg2" in repr(console)
    assert asyncio.run(console.order("SWITCHOVER")) == {"primary": "pg1", "pause_s": None}


def test_what_can_not_be_seen_stays_as_it_was(monkeypatch) -> None:
    async def nobody(*_address, **_options):
        raise SessionLost("08006", "nobody listens")

    monkeypatch.setattr(proxy_demo_console, "connect", nobody)
    console = Console("127.0.0.1", 1)
    asyncio.run(console.look())
    assert (console.primary, console.settled, console.replays_told()) == (
        "",
        True,
        "nobody was in a transaction",
    )
    assert console.last_failover() == "after an unknown time"
    assert not asyncio.run(console.until(lambda: False, 0.01))
