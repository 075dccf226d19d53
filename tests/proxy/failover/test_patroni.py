"""Patroni's REST API: what it says is read, what is none of it is refused, and nothing takes for ever."""

import asyncio
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from seawall.kernel.errors import ServiceUnavailable, ValidationError
from seawall.proxy.failover.patroni import ANSWER_BYTES_MAX, MEMBERS_MAX, Member, Patroni, backend_of, parse
from seawall.proxy.settings import Backend

CLUSTER = {
    "members": [
        {
            "name": "one",
            "role": "leader",
            "state": "running",
            "api_url": "http://10.0.0.1:8008/patroni",
            "host": "10.0.0.1",
            "port": 5432,
            "timeline": 5,
            "tags": {"clonefrom": True},
        },
        {
            "name": "two",
            "role": "sync_standby",
            "state": "streaming",
            "api_url": "http://10.0.0.2:8008/patroni",
            "host": "10.0.0.2",
            "port": 5433,
            "timeline": 5,
            "lag": 0,
        },
        {
            "name": "three",
            "role": "replica",
            "state": "starting",
            "api_url": "http://10.0.0.3:8008/patroni",
            "host": "10.0.0.3",
            "port": 5432,
            "lag": "unknown",
        },
    ],
    "scope": "shop",
    "scheduled_switchover": {"at": "2026-09-24T10:36:00+02:00", "from": "one"},
}


def cluster(**changes):
    return json.dumps({**CLUSTER, **changes}).encode()


def led_by(*names):
    members = [{**one, "role": "leader" if one["name"] in names else "replica"} for one in CLUSTER["members"]]
    return cluster(members=members)


class FakePatroni(ThreadingHTTPServer):
    """Answers ``GET /cluster`` as a member of Patroni's does."""

    daemon_threads = True

    def __init__(self, body, status=200):
        self.body, self.status, self.asked = body, status, 0
        self.headers, self.silent = {}, threading.Event()
        self.silent.set()
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        self.server.silent.wait(5)
        known = self.path == "/cluster"
        self.send_response(self.server.status if known else 404)
        self.send_header("Content-Type", "application/json")
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.server.body if known else b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def patroni():
    with contextlib.ExitStack() as stack:

        def make(body=None, status=200):
            server = FakePatroni(cluster() if body is None else body, status)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            stack.callback(server.silent.set)
            return server

        yield make


def test_members_are_read_as_they_are_documented():
    found = parse(cluster())
    assert found.members == (
        Member("one", "leader", "running", "10.0.0.1", 5432, 5, None),
        Member("two", "sync_standby", "streaming", "10.0.0.2", 5433, 5, 0),
        Member("three", "replica", "starting", "10.0.0.3", 5432, 0, None),
    )
    assert found.leader == found.members[0]
    assert not found.paused
    assert parse(cluster(pause=True)).paused


@pytest.mark.parametrize("names", [(), ("one", "two")], ids=["between two leaders", "two at once"])
def test_there_is_a_leader_or_none(names):
    assert parse(led_by(*names)).leader is None


def test_who_leads_a_standby_cluster_is_no_primary():
    members = [{**CLUSTER["members"][0], "role": "standby_leader"}]
    assert parse(cluster(members=members)).leader is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"7",
        b"{}",
        b'{"members": 7}',
        b'{"members": [7]}',
        b'{"members": [{"name": "one"}]}',
        b'{"members": [{"name": 1, "role": "leader"}]}',
        b'{"members": [{"name": "one", "role": null}]}',
        b'{"members": [{"name": "one", "role": "leader", "state": []}]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_answer_is_refused(body):
    with pytest.raises(ValidationError, match="Patroni"):
        parse(body)


def test_more_members_than_any_cluster_has_are_refused():
    members = [{"name": "one", "role": "replica"}] * (MEMBERS_MAX + 1)
    with pytest.raises(ValidationError, match=f"at most {MEMBERS_MAX}"):
        parse(cluster(members=members))


@pytest.mark.parametrize("odd", [None, "unknown", True, 1.5, []])
def test_what_is_no_number_is_unknown(odd):
    member = {**CLUSTER["members"][1], "lag": odd, "timeline": odd, "port": odd, "host": None}
    (found,) = parse(cluster(members=[member])).members
    assert (found.lag_bytes, found.timeline, found.port, found.host) == (None, 0, 0, "")


def test_a_backend_is_known_by_its_place_before_its_name():
    one, two = Backend(name="two", host="10.0.0.1"), Backend(name="other", host="10.0.0.2", port=5433)
    first, second, third = parse(cluster()).members
    assert backend_of(first, [one, two]) is one
    assert backend_of(second, [one, two]) is two
    assert backend_of(second, [one]) is one
    assert backend_of(third, [one, two]) is None


def test_the_cluster_is_asked_for(patroni):
    server = patroni()
    assert asyncio.run(Patroni([server.url + "/"]).ask()).leader.name == "one"
    assert server.asked == 1


@pytest.mark.parametrize("body", [None, b"nonsense"], ids=["an error", "nonsense"])
def test_the_next_address_is_asked_when_one_fails_and_from_then_on_first(patroni, body):
    bad, good = patroni(body, 503 if body is None else 200), patroni(led_by("two"))
    rest = Patroni([bad.url, good.url])

    async def ask_twice():
        return [(await rest.ask()).leader.name, (await rest.ask()).leader.name]

    assert asyncio.run(ask_twice()) == ["two", "two"]
    assert (bad.asked, good.asked) == (1, 2)
    assert repr(rest) == f"Patroni({good.url}, {bad.url})"


def test_nobody_answering_is_told_with_a_reason(patroni):
    server = patroni()
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(ServiceUnavailable, match=rf"{url}.*refused"):
        asyncio.run(Patroni([url]).ask())
    with pytest.raises(ServiceUnavailable, match="no URL is configured"):
        asyncio.run(Patroni([]).ask())
    with pytest.raises(ServiceUnavailable, match="unknown url type"):
        asyncio.run(Patroni(["file:///etc"]).ask())


def test_who_is_silent_is_left_after_the_time_limit(patroni):
    server = patroni()
    server.silent.clear()
    with pytest.raises(ServiceUnavailable, match="timed out"):
        asyncio.run(Patroni([server.url], timeout_s=0.05).ask())


def test_an_answer_without_end_is_cut_off(patroni):
    server = patroni(b" " * (ANSWER_BYTES_MAX + 2))
    with pytest.raises(ServiceUnavailable, match="longer than"):
        asyncio.run(Patroni([server.url]).ask())


def test_nobody_is_followed_elsewhere(patroni):
    elsewhere = patroni()
    server = patroni(b"", 302)
    server.headers["Location"] = f"{elsewhere.url}/cluster"
    with pytest.raises(ServiceUnavailable, match="302"):
        asyncio.run(Patroni([server.url]).ask())
    assert elsewhere.asked == 0


def test_a_proxy_in_the_environment_is_not_used(patroni, monkeypatch):
    server = patroni()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert asyncio.run(Patroni([server.url]).ask()).leader.name == "one"
