"""Against a server on threads of this process."""

import contextlib
import gzip
import socket
import ssl
import threading

import pytest

from seawall.telemetry.otlp import OtlpSettings
from seawall.telemetry.otlp import http as under_test
from seawall.telemetry.otlp.http import BODY_LIMIT, HttpTransport
from seawall.telemetry.otlp.verdict import Answer, Verdict
from tests.telemetry.otlp.collectors import (
    GIVE_UP_S,
    Collector,
    accept,
    early,
    hang,
    partial,
    raw,
    refused_port,
    reply,
    trickle,
)
from tests.telemetry.otlp.reading import requests_of
from tests.telemetry.otlp.samples import light

ACCEPTED = Verdict(answer=Answer.ACCEPTED)
SHORT_S = 0.05


@contextlib.contextmanager
def transport_to(url, **how):
    transport = HttpTransport(
        OtlpSettings(**{"endpoint": url, "compression": "none", **how}), wall=lambda: 0.0
    )
    try:
        yield transport
    finally:
        transport.close()


def verdict_of(*answers, timeout_s=GIVE_UP_S, body=b"x", **how):
    """What one attempt comes to."""
    with Collector(*answers) as collector, transport_to(collector.url, **how) as transport:
        return transport.send(body, 4, timeout_s)


def sent(*answers, count=2):
    """So many attempts over one transport: the verdicts, and the collector."""
    with Collector(*answers) as collector, transport_to(collector.url) as transport:
        return [transport.send(b"%d" % number, 4, GIVE_UP_S) for number in range(count)], collector


def test_a_request_as_the_protocol_wants_it():
    how = {"headers": (("authorization", "Bearer x"), ("X-Tenant", "7")), "compression": "gzip"}
    (request,) = requests_of(light(3))
    with Collector() as collector, transport_to(collector.url, **how) as transport:
        assert transport.send(request.body, 3, GIVE_UP_S) == ACCEPTED
    (received,) = collector.requests
    assert received.line == "POST /v1/traces HTTP/1.1"
    assert received.names == ["GET /orders"] * 3
    assert gzip.decompress(received.raw) == request.body
    user_agent = received.headers.pop("user-agent")
    assert user_agent.startswith("OTel-OTLP-Exporter-Python-Seawall/")
    assert received.headers == {
        "host": f"127.0.0.1:{collector.port}",
        "accept-encoding": "identity",
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
        "content-length": str(len(received.raw)),
        "authorization": "Bearer x",
        "x-tenant": "7",
    }


def test_without_compression_and_with_a_user_agent_of_ones_own():
    with Collector() as collector:
        with transport_to(collector.url, headers=(("user-agent", "mine"),)) as transport:
            assert transport.send(b"body", 1, GIVE_UP_S) == ACCEPTED
    (received,) = collector.requests
    assert (received.raw, received.headers["user-agent"]) == (b"body", "mine")
    assert "content-encoding" not in received.headers


def test_an_endpoint_without_a_path():
    with Collector() as collector, transport_to(f"http://127.0.0.1:{collector.port}") as transport:
        assert transport.send(b"", 0, GIVE_UP_S) == ACCEPTED
    assert collector.requests[0].line == "POST / HTTP/1.1"


def test_a_large_body_arrives():
    body = bytes(range(256)) * 8_000
    with Collector() as collector, transport_to(collector.url) as transport:
        assert transport.send(body, 1, GIVE_UP_S) == ACCEPTED
    assert collector.requests[0].raw == body


# --- connections --------------------------------------------------------------------------------------------


def test_a_connection_is_kept_until_it_is_closed():
    with Collector() as collector, transport_to(collector.url) as transport:
        for _ in range(5):
            assert transport.send(b"x", 1, GIVE_UP_S) == ACCEPTED
        assert (collector.connections, "connected" in repr(transport)) == (1, True)
        transport.close()
        transport.close()
        assert "idle" in repr(transport)
        assert transport.send(b"x", 1, GIVE_UP_S) == ACCEPTED
        assert collector.connections == 2


@pytest.mark.parametrize(
    "last",
    [
        reply(headers="Connection: close\r\n"),
        raw(b"HTTP/1.0 200 OK\r\n\r\n"),
        reply(body=b"\x00" * (BODY_LIMIT + 1)),
    ],
)
def test_a_connection_that_is_over_or_of_no_use_is_not_used_again(last):
    verdicts, collector = sent(last)
    assert [verdict.answer for verdict in verdicts] == [Answer.ACCEPTED] * 2
    assert collector.connections == 2


def test_a_kept_connection_that_the_collector_closed_costs_no_attempt():
    """It was closed just when we wrote, and said nothing: a fresh one is tried at once."""
    verdicts, collector = sent(accept, raw(b""))
    assert verdicts == [ACCEPTED] * 2
    assert [each.raw for each in collector.requests] == [b"0", b"1", b"1"]


def test_a_fresh_connection_that_is_closed_costs_one():
    verdicts, collector = sent(accept, raw(b""), raw(b""))
    assert [verdict.reason for verdict in verdicts] == ["", "connection"]
    assert len(collector.requests) == 3


def test_words_that_nobody_asked_for_are_not_taken_for_an_answer():
    heard, said = threading.Event(), threading.Event()

    def accept_and_complain(connection):
        accept(connection)
        heard.wait(GIVE_UP_S)
        connection.wfile.write(b"HTTP/1.1 408 Too slow\r\nContent-Length: 0\r\n\r\n")
        said.set()
        return True

    with Collector(accept_and_complain) as collector, transport_to(collector.url) as transport:
        assert transport.send(b"x", 1, GIVE_UP_S) == ACCEPTED
        heard.set()
        assert said.wait(GIVE_UP_S)
        assert transport.send(b"x", 1, GIVE_UP_S) == ACCEPTED
        assert collector.connections == 2


def test_a_child_lets_go_of_the_parents_connection_without_ending_it():
    with Collector() as collector, transport_to(collector.url) as transport:
        assert transport.send(b"x", 1, GIVE_UP_S) == ACCEPTED
        with socket.socket(fileno=transport._connection._sock.dup().detach()) as parents:
            parents.settimeout(GIVE_UP_S)
            transport.forked()
            assert transport.send(b"x", 1, GIVE_UP_S) == ACCEPTED
            assert collector.connections == 2
            parents.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            assert parents.recv(100).startswith(b"HTTP/1.1 200")


# --- faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "slow",
    [
        hang,
        trickle(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_a_collector_that_never_ends(slow):
    verdict = verdict_of(slow, timeout_s=SHORT_S)
    assert (verdict.answer, verdict.reason, verdict.text) == (
        Answer.RETRY,
        "timeout",
        "no reply within 0.05 s",
    )


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_a_body_that_never_ends_takes_nothing_back(head):
    assert verdict_of(trickle(head, b"1\r\n\x08\r\n"), timeout_s=SHORT_S).answer is Answer.ACCEPTED


def test_a_collector_that_reads_nothing():
    """The body is larger than all buffers between us, so that writing is what hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        with transport_to(f"http://127.0.0.1:{server.getsockname()[1]}/") as transport:
            assert transport.send(b"x" * 16_000_000, 1, 0.2).reason == "timeout"


def test_no_time_at_all():
    assert verdict_of(timeout_s=0.0).reason == "timeout"


def test_a_collector_that_is_not_there():
    with transport_to(f"http://127.0.0.1:{refused_port()}/") as transport:
        verdict = transport.send(b"x", 1, GIVE_UP_S)
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, "connection")
    assert "refused" in verdict.text


def test_a_name_that_nobody_knows(monkeypatch):
    def lookup(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with transport_to("http://nowhere.test/") as transport:
        assert transport.send(b"x", 1, GIVE_UP_S).reason == "connection"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "connection"),
        (b"HTTP/1.1 20", "garbled"),
        (b"\x15\x03\x01\x00\x02\x02\x46 what is this?\r\n\r\n", "garbled"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "garbled"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "garbled"),
    ],
)
def test_half_answers_and_garbage_are_worth_another_attempt(data, reason):
    verdict = verdict_of(raw(data))
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, reason)


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe", b"\r\n"]
)
def test_an_accepting_status_counts_even_if_the_body_is_cut(rest):
    assert verdict_of(raw(b"HTTP/1.1 200 OK\r\n" + rest)).answer is Answer.ACCEPTED


def test_the_collectors_verdicts():
    verdict = verdict_of(reply(429, "Retry-After: 7\r\n"))
    assert (verdict.answer, verdict.retry_after_s) == (Answer.RETRY, 7.0)
    assert verdict_of(reply(503, "retry-after: Thu, 01 Jan 1970 00:00:09 GMT\r\n")).retry_after_s == 9.0
    assert verdict_of(reply(400)).answer is Answer.REFUSED
    assert verdict_of(partial(3)) == Verdict(answer=Answer.ACCEPTED, rejected=3, text="too old")


def test_a_redirect_is_not_followed():
    assert verdict_of(reply(307, "Location: http://elsewhere/\r\n")).answer is Answer.REFUSED


def test_an_early_answer_is_heard():
    """413, 429: a collector needn't read three megabytes to know that it doesn't want them."""
    answer = early(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
    verdict = verdict_of(answer, body=b"x" * 30_000_000)
    # A reset by the closing server may overtake its answer; both are verdicts, and neither hangs.
    assert verdict.text == "HTTP 413" or verdict.reason == "connection"


def test_an_error_of_our_own_is_a_verdict_without_a_text_of_its_own(monkeypatch):
    def broken(*_, **__):
        raise ValueError("with a secret")

    monkeypatch.setattr(under_test, "http_verdict", broken)
    verdict = verdict_of()
    assert (verdict.answer, verdict.reason, verdict.text) == (Answer.RETRY, "fault", "ValueError")


# --- TLS ----------------------------------------------------------------------------------------------------


def tls_verdict(server, *, host="127.0.0.1", **how):
    with Collector(tls=server) as collector:
        with transport_to(f"https://{host}:{collector.port}/v1/traces", **how) as transport:
            verdicts = [transport.send(b"x" * 200_000, 1, GIVE_UP_S) for _ in range(2)]
    assert verdicts[0].reason == verdicts[1].reason
    if verdicts[0] == ACCEPTED:
        assert collector.connections == 1
    else:
        assert not collector.requests
    return verdicts[0]


def test_a_collector_with_a_certificate_of_our_authority(certificates):
    assert tls_verdict(certificates.server(), certificate=certificates.ca_pem) == ACCEPTED
    assert tls_verdict(certificates.server(), certificate=certificates.ca_pem, host="localhost") == ACCEPTED


def test_a_certificate_is_verified_unless_told_whom_to_trust(certificates):
    verdict = tls_verdict(certificates.server())
    assert (verdict.answer, verdict.reason) == (Answer.RETRY, "tls")
    assert "CERTIFICATE_VERIFY_FAILED" in verdict.text


def test_a_certificate_of_another_authority_is_refused(certificates):
    assert tls_verdict(certificates.server(), certificate=certificates.other_pem).reason == "tls"


def test_a_certificate_for_another_host_is_refused(certificates, monkeypatch):
    lookup = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _, *more, **options: lookup("127.0.0.1", *more, **options)
    )
    verdict = tls_verdict(certificates.server(), certificate=certificates.ca_pem, host="elsewhere.test")
    assert (verdict.reason, "mismatch" in verdict.text) == ("tls", True)


def test_a_collector_that_wants_to_know_us(certificates):
    server = certificates.server(wants_client=True)
    known = {"client_certificate": certificates.client_pem, "client_key": certificates.client_key}
    assert tls_verdict(server, certificate=certificates.ca_pem, **known) == ACCEPTED
    with (
        Collector(tls=server) as collector,
        transport_to(collector.url, certificate=certificates.ca_pem) as stranger,
    ):
        assert stranger.send(b"x", 1, GIVE_UP_S).answer is Answer.RETRY


@pytest.mark.parametrize("name", ["/nowhere.pem", "ca_key"])
def test_a_file_that_is_missing_or_wrong(certificates, name):
    wrong = name if name.startswith("/") else getattr(certificates, name)
    verdict = tls_verdict(certificates.server(), certificate=wrong)
    assert (verdict.answer, verdict.reason in {"connection", "tls"}) == (Answer.RETRY, True)


def test_a_server_that_doesnt_speak_tls():
    with Collector(raw(b"220 mail.test ESMTP\r\n")) as collector:
        with transport_to(f"https://127.0.0.1:{collector.port}/") as transport:
            assert transport.send(b"x", 1, GIVE_UP_S).reason in {"tls", "connection"}


def test_nothing_older_than_tls_1_2(certificates):
    settings = OtlpSettings(certificate=certificates.ca_pem)
    context = under_test.client_context(settings)
    assert (context.minimum_version, context.check_hostname) == (ssl.TLSVersion.TLSv1_2, True)
