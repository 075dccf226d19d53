import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.otlp.http1 import BODY_LIMIT, HEAD_LIMIT, Garbled, Reply, ReplyReader, request_head

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n002\r\nlo\r\n0\r\nX: z\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + LENGTH
BARE = b"HTTP/1.1 200\nContent-Length: 5\n\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
UNTIL_THE_END = b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nhello"


def fed(data, sizes=None):
    """Feed in pieces; the reply, or None."""
    reader = ReplyReader()
    at = 0
    for size in sizes or [len(data)]:
        reply = reader.feed(data[at : at + size])
        at += size
        if reply is not None:
            return reply
        if at >= len(data):
            break
    return reader.feed(data[at:]) if at < len(data) else None


def test_a_reply_with_a_length():
    assert fed(LENGTH) == Reply(200, {"content-length": "5", "x-a": "1, 2"}, b"hello", reusable=True)


@pytest.mark.parametrize("data", [CHUNKED, INTERIM, BARE, LENGTH])
def test_all_ways_to_write_a_body(data):
    reply = fed(data)
    assert (reply.body, reply.reusable) == (b"hello", True)


def test_no_body():
    assert fed(EMPTY).body == b""
    assert fed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").body == b""


def test_a_body_that_ends_with_the_connection():
    reader = ReplyReader()
    assert reader.feed(UNTIL_THE_END) is None
    assert reader.feed(b" world") is None
    assert reader.end() == Reply(200, {"server": "old"}, b"hello world", reusable=False)


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_whether_another_request_may_follow(head, reusable):
    assert fed(head + b"Content-Length: 0\r\n\r\n").reusable is reusable


def test_bytes_that_nobody_asked_for_end_the_connection():
    assert not fed(LENGTH + b"HTTP/1.1 200 OK\r\n").reusable


@given(
    st.sampled_from([LENGTH, CHUNKED, INTERIM, BARE, EMPTY]),
    st.lists(st.integers(1, 9), min_size=200, max_size=200),
)
def test_it_doesnt_matter_where_the_bytes_are_cut(data, sizes):
    assert fed(data, sizes) == fed(data)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 999 No\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhehello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (BODY_LIMIT + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * (HEAD_LIMIT // 4),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * (HEAD_LIMIT + 1),
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * (BODY_LIMIT + 1),
        b"x" * (HEAD_LIMIT + 1),
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * HEAD_LIMIT + b"\r\n",
    ],
    ids=lambda data: repr(data[:60]),
)
def test_what_is_no_reply_is_refused(data):
    with pytest.raises(Garbled):
        fed(data)


@given(st.sampled_from([LENGTH, CHUNKED, INTERIM]), st.integers(0, 200))
def test_a_reply_that_is_cut_is_refused(data, at):
    reader = ReplyReader()
    if reader.feed(data[: min(at, len(data) - 1)]) is None:
        with pytest.raises(Garbled, match="closed"):
            reader.end()


@given(st.binary(max_size=200), st.sampled_from([b"", LENGTH[:40], CHUNKED[:60]]))
def test_any_bytes_are_a_reply_or_refused(data, start):
    reader = ReplyReader()
    with contextlib.suppress(Garbled):  # anything else is a fault of ours
        reply = reader.feed(start + data) or reader.end()
        assert 200 <= reply.status < 600


def test_whether_something_has_come():
    reader = ReplyReader()
    assert not reader.begun
    reader.feed(b"H")
    assert reader.begun


def test_the_head_of_a_request():
    assert request_head("/v1/traces?x=1", [("Host", "c:1"), ("X", "ü")]) == (
        "POST /v1/traces?x=1 HTTP/1.1\r\nHost: c:1\r\nX: ü\r\n\r\n".encode("latin-1")
    )
