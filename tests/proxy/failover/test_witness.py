"""Asking other proxies: how, as whom, and what their tables mean."""

import asyncio

import pytest

from seawall.proxy.connect import LoginFailed
from seawall.proxy.failover import witness
from seawall.proxy.failover.link import Login
from seawall.proxy.failover.witness import ASK, ask, console_login, verdict_of
from seawall.proxy.settings import Auth, Backend, Failover, ProxySettings, User
from seawall.testing import VirtualClock, run

NODE = Backend(name="one", host="10.0.0.1", port=5433)
COLUMNS = ("name", "host", "port", "role", "state")


def table(*rows):
    return [list(row) for row in rows]


@pytest.mark.parametrize(
    ("role", "verdict"),
    [("primary", True), ("replica", True), ("zombie", True), ("down", False), ("unknown", None), ("", None)],
)
def test_roles_say_whether_a_server_is_reached(role, verdict):
    assert verdict_of(COLUMNS, table(("one", "10.0.0.1", "5433", role, "x")), NODE) is verdict


def test_a_server_is_known_by_its_place_or_else_by_its_name():
    rows = table(("other", "10.0.0.1", "5433", "down", ""), ("one", "10.0.0.9", "5433", "primary", ""))
    assert verdict_of(COLUMNS, rows, NODE) is False
    assert verdict_of(COLUMNS, rows[1:], NODE) is True
    assert verdict_of(COLUMNS, table(("two", "10.0.0.2", "5433", "down", "")), NODE) is None


@pytest.mark.parametrize("columns", [(), ("x",), ("name", "host", "port")])
def test_tables_that_are_none_say_nothing(columns):
    assert verdict_of(columns, table(("one", "10.0.0.1", "5433", "down", "")), NODE) is None
    assert verdict_of(COLUMNS, [[]], NODE) is None


def settings(*witnesses, users=(), **auth):
    return ProxySettings(
        backends=(NODE,),
        auth=Auth(users={user.name: user for user in users}, **auth),
        failover=Failover(witnesses=witnesses, user="watcher", secret="w"),
    )


def test_whoever_may_look_here_looks_there():
    users = (User(name="boss", secret="b"), User(name="eye", secret="e"), User(name="blind"))
    assert console_login(settings()) == Login(user="watcher", database="seawall", password="w")
    both = settings(users=users, admin_users=frozenset({"boss"}), stats_users=frozenset({"blind", "eye"}))
    assert console_login(both) == Login(user="eye", database="seawall", password="e")
    boss = settings(users=users, admin_users=frozenset({"boss", "stranger"}))
    assert console_login(boss) == Login(user="boss", database="seawall", password="b")


class Console:
    """Another proxy's console."""

    columns = ()

    def __init__(self, place, role):
        self.place, self.role = place, role
        self.closed = False

    async def log_in(self, login):
        if self.role == "locked":
            raise LoginFailed("no", "28000")
        if self.role == "silent":
            await asyncio.sleep(1000)

    def send(self, sql):
        assert sql == ASK

    async def reply(self):
        self.columns = COLUMNS
        return table(("one", "10.0.0.1", "5433", self.role, ""))

    def close(self):
        self.closed = True


def asked(roles):
    """Ask witnesses that see these roles; ``None`` is one that isn't there."""
    places = {f"10.1.0.{index}:{6432 + index}": role for index, role in enumerate(roles)}
    consoles = []

    async def connect(place):
        role = places[place.name]
        assert place.name == f"{place.host}:{place.port}"
        if role is None:
            raise ConnectionRefusedError(111, "x")
        consoles.append(Console(place, role))
        return consoles[-1]

    found = run(ask(settings(*places), NODE, connect), VirtualClock())
    assert all(console.closed for console in consoles)
    return found


def test_votes_are_counted_and_the_others_explained():
    count, detail = asked(["down", "primary", "down", "unknown", None, "locked", "silent"])
    assert count == 2
    assert detail.split("; ") == [
        "10.1.0.0:6432 doesn't reach it",
        "10.1.0.1:6433 reaches it",
        "10.1.0.2:6434 doesn't reach it",
        "10.1.0.3:6435 can't tell",
        "10.1.0.4:6436: Connection refused",
        "10.1.0.5:6437: no",
        "10.1.0.6:6438: no answer",
    ]


def test_an_address_of_the_sixth_version_has_brackets():
    seen = []

    async def connect(place):
        seen.append((place.host, place.port))
        raise ConnectionRefusedError(111, "x")

    run(ask(settings("[::1]:6432"), NODE, connect), VirtualClock())
    assert seen == [("::1", 6432)]
    assert witness.TIMEOUT_S < 1.0
