"""What a running proxy tells of itself: spans, metrics, health, status and lines, and what it never tells."""

import contextlib
import os
import re
import signal
import socket
import time

import psycopg
import pytest
from psycopg import sql as composed

from seawall.wire.pgwire import messages
from seawall.wire.pgwire.framing import COPY_DATA, HEADER
from tests.app.observation.scraping import total
from tests.app.observation.told import TRACE_ID
from tests.embedded.servers import until
from tests.integration.field import later
from tests.integration.observed import FORMATS, PAGES, RESOURCES, observed, parent_of, sent, written
from tests.integration.test_up import running
from tests.proxy.raw import letters, result
from tests.telemetry.otlp.collectors import Collector, hang, refused_port

pytestmark = pytest.mark.timeout(60)

NS = 1_000_000_000
CLOCKS_NS = 20_000_000
"""What a monotonic time may be off when it is told as one of the calendar."""
SLOW_S = 0.3
COPY_DONE = HEADER.pack(ord("c"), 4)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """What a machine says about OTLP is not what these tests say."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def commented(text, number, *, sampled=True):
    """A statement whose parent is the span of that number."""
    return f"{text} /*traceparent='00-{TRACE_ID}-{number:016x}-{'01' if sampled else '00'}'*/"


def copied(*rows):
    return b"".join(HEADER.pack(COPY_DATA, 4 + len(row)) + row for row in rows)


def parsed(text, name=""):
    return messages.parse(name, text)


def run(name=""):
    rest = messages.bind("", name, []), messages.describe_portal(""), messages.execute(""), messages.sync()
    return b"".join(rest)


def say(client, *said, ready=1):
    """Say something and read its answer."""
    client.send(*said)
    return result(client.until("Z", ready))


def settled(proxy, made, unsampled):
    """Wait until so many queries were looked at; there must be no more of them."""
    until(lambda: (proxy.spans()["made"], proxy.spans()["unsampled"]) >= (made, unsampled))
    assert (proxy.spans()["made"], proxy.spans()["unsampled"]) == (made, unsampled)


# --- spans --------------------------------------------------------------------------------------------------


def converse(client):
    """All ways to say a query, most with a trace; the spans to be expected: name, parent, SQLSTATE."""
    expected = []

    def traced(text, number, name, error=""):
        expected.append((name, number, error))
        return commented(text, number)

    assert say(client, messages.query("CREATE TEMP TABLE scratch (n int)")) == []
    assert say(client, messages.query("SELECT 1 FROM observed")) == []
    # Said simply.
    assert say(client, messages.query(traced("SELECT * FROM observed", 1, "SELECT observed"))) == []
    # In the extended protocol: unnamed, and prepared once and run twice.
    text = traced("INSERT INTO observed VALUES (1, 'a')", 2, "INSERT observed")
    assert say(client, parsed(text) + run()) == []
    text = traced("UPDATE observed SET name = 'b'", 3, "UPDATE observed")
    assert say(client, parsed(text, "mine") + run("mine")) == []
    expected.append(expected[-1])
    assert say(client, run("mine")) == []
    # Two batches at once, of which the second has a trace.
    text = traced("DELETE FROM observed", 4, "DELETE observed")
    assert say(client, parsed("SELECT 2") + run() + parsed(text) + run(), ready=2) == [("2",)]
    # Copies, in and out.
    client.send(messages.query(traced("COPY observed FROM STDIN", 5, "COPY observed")))
    client.until("G")
    assert say(client, copied(b"5\tcopied\n", b"6\tcopied too\n") + COPY_DONE) == []
    assert letters(copy_out(client, traced("COPY observed TO STDOUT", 6, "COPY observed"))).startswith("Hdd")
    # Those that fail, with a trace, with one that nobody records, and without.
    assert say(client, messages.query(traced("SELECT 1/0", 7, "SELECT", "22012"))) == "22012"
    assert say(client, messages.query(commented("SELECT 1/0", 8, sampled=False))) == "22012"
    expected.append(("SELECT", 8, "22012"))
    assert say(client, parsed("INSERT INTO observed VALUES (5, 'c')") + run()) == "23505"
    expected.append(("INSERT observed", None, "23505"))
    # Slow ones, likewise.
    assert say(client, messages.query("SELECT pg_sleep(0.35)")) == [("",)]
    assert say(client, parsed(commented("SELECT pg_sleep(0.35)", 9, sampled=False)) + run()) == [("",)]
    expected += [("SELECT", None, ""), ("SELECT", 9, "")]
    # And fast ones in a trace that nobody records.
    for number in (10, 11):
        assert say(client, messages.query(commented("SELECT 3", number, sampled=False))) == [("3",)]
        assert say(client, parsed(commented("SELECT 4", number, sampled=False)) + run()) == [("4",)]
    return expected


def copy_out(client, text):
    client.send(messages.query(text))
    return client.until("Z")


def test_each_query_that_is_worth_one_has_a_span_and_no_other(server, tmp_path):
    node = server.primary
    node.execute("DROP TABLE IF EXISTS observed")
    node.execute("CREATE TABLE observed (n int PRIMARY KEY, name text)")
    with Collector() as collector, observed(tmp_path, node, endpoint=collector.url) as proxy:
        before_ns = time.time_ns()
        with proxy.client() as client:
            expected = converse(client)
        settled(proxy, len(expected), 4)
        after_ns = time.time_ns()
        assert proxy.program.stop(signal.SIGTERM) == 0
        spans = sent(collector)
    found = [(span.name, parent_of(span), told.get("db.response.status_code", "")) for span, told in spans]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    for span, told in spans:
        assert (span.trace_id.hex() == TRACE_ID) is (parent_of(span) is not None)
        assert (
            before_ns - CLOCKS_NS
            <= span.start_time_unix_nano
            < span.end_time_unix_nano
            <= after_ns + CLOCKS_NS
        )
        assert (told["server.port"], told["db.namespace"]) == (node.port, "postgres")
        lasted_s = (span.end_time_unix_nano - span.start_time_unix_nano) / NS
        assert lasted_s == pytest.approx(
            told["seawall.server_s"] + told["seawall.queue_s"] + told["seawall.checkout_s"], abs=0.001
        )
        assert (lasted_s >= SLOW_S) is (told["seawall.server_s"] >= SLOW_S)
    assert sum(told["seawall.server_s"] >= SLOW_S for _, told in spans) == 2
    # One after another, as they were said.
    ends = [span.end_time_unix_nano for span, _ in spans]
    assert ends == sorted(ends)


def test_a_span_tells_who_waited_for_whom(server, tmp_path):
    node = server.primary
    with (
        Collector() as collector,
        observed(tmp_path, node, endpoint=collector.url, size=1) as proxy,
        proxy.client() as first,
        proxy.client() as second,
        proxy.client() as third,
    ):
        first.query("BEGIN")
        second.send(messages.query(commented("SELECT 1", 1)))
        third.send(messages.query("BEGIN"))
        until(lambda: sum(one["clients_waiting"] for one in proxy.show("workers")) == 2)
        node.execute("SELECT pg_sleep(0.4)")  # the first client does nothing meanwhile
        first.query(commented("SELECT 2", 2))
        first.query("COMMIT")
        assert result(second.until("Z")) == [("1",)]
        third.until("Z")
        node.execute("SELECT pg_sleep(0.2)")
        third.query(commented("SELECT 3", 3))
        third.query("COMMIT")
        for client in (first, second, third):
            client.socket.close()
        assert proxy.program.stop(signal.SIGTERM) == 0
        spans = {parent_of(span): (span, told) for span, told in sent(collector)}
    lasted = {
        number: (span.end_time_unix_nano - span.start_time_unix_nano) / NS
        for number, (span, _) in spans.items()
    }
    queued, idle, later_one = (spans[number][1] for number in (1, 2, 3))
    assert queued["seawall.queue_s"] >= 0.4
    assert lasted[1] >= queued["seawall.queue_s"]
    assert "seawall.client_s" not in queued
    assert idle["seawall.client_s"] >= 0.4
    assert idle["seawall.queue_s"] < 0.4  # it waited for its server's login at most
    assert lasted[2] < 0.4
    # Its transaction had waited, but this query had not.
    assert later_one["seawall.queue_s"] >= 0.4
    assert later_one["seawall.client_s"] >= 0.2
    assert lasted[3] < 0.2


# --- what is never told -------------------------------------------------------------------------------------

PASSWORD = "planted-password-1"
WRONG = "planted-password-2"
TOKEN = "planted-token-0123456789"
LITERAL, PARAMETER, ROW, COMMENT = (f"planted-{name}" for name in ("literal", "parameter", "row", "comment"))


def test_no_secret_and_no_value_is_told(cluster, tmp_path):
    made = cluster(auth="scram-sha-256", password=PASSWORD)
    node = made.primary
    node.execute("CREATE TABLE kept (x text PRIMARY KEY)")
    sections = f"""
        [[auth.users]]
        name = "postgres"
        password = "{PASSWORD}"
        [failover]
        password = "{PASSWORD}"
        [telemetry.metrics]
        token = "{TOKEN}"
        [telemetry.status]
        port = 0
        token = "{TOKEN}"
    """
    with Collector() as collector:
        with observed(tmp_path, node, sections=sections, endpoint=collector.url, trust=False) as proxy:
            dsn = proxy.dsn.replace("postgres@", f"postgres:{PASSWORD}@")
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(dsn.replace(PASSWORD, WRONG))
            with psycopg.connect(dsn, autocommit=True) as connection:
                tell_secrets(connection)
            told = everything(proxy)
            lines = proxy.show("telemetry", token=TOKEN)["logs"]
            assert lines["offered"] == lines["accepted"] + lines["dropped"] >= lines["written"] > 0
            assert proxy.get("/metrics").status == proxy.get("/api/v1/workers").status == 401
            assert proxy.get("/metrics", token=TOKEN + "x").status == 401
            assert proxy.program.stop(signal.SIGTERM) == 0
            told["log"] = proxy.program.said()
        assert {row[0] for row in node.execute("SELECT x FROM kept")} == {LITERAL, PARAMETER, ROW, COMMENT}
        told["spans"] = b"".join(request.body for request in collector.requests).decode("latin-1")
        errors = [attributes.get("error.type") for _, attributes in sent(collector)]
    assert errors.count("23505") == 4
    assert "INSERT kept" in told["spans"]
    assert "seawall_proxy_query_errors_total" in told["/metrics text/plain"]
    for place, text in told.items():
        assert "planted" not in text, (place, re.findall(".{40}planted.{20}", text)[:3])


def tell_secrets(connection):
    """Have values of every sort reach the server; each is shown to have, by the error that has it."""
    insert = composed.SQL("INSERT INTO kept VALUES ({}) /*traceparent='{}',token='{}'*/")
    for value in (LITERAL, COMMENT):
        text = insert.format(
            composed.Literal(value), composed.SQL(f"00-{TRACE_ID}-{7:016x}-01"), composed.SQL(COMMENT)
        )
        connection.execute(text)
        with pytest.raises(psycopg.errors.UniqueViolation, match=rf"\(x\)=\({value}\)"):
            connection.execute(text)
    for prepare in (False, True):
        with contextlib.suppress(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO kept VALUES (%s)", [PARAMETER], prepare=prepare)
    with connection.cursor() as cursor, cursor.copy("COPY kept FROM STDIN") as copy:
        copy.write_row([ROW])
    with pytest.raises(psycopg.errors.UniqueViolation, match=rf"\(x\)=\({ROW}\)"):
        with connection.cursor() as cursor, cursor.copy("COPY kept FROM STDIN") as copy:
            copy.write_row([ROW])
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match=LITERAL):
        connection.execute(f"SELECT '{LITERAL}'::int, pg_sleep(0.4)")
    with pytest.raises(psycopg.errors.RaiseException, match=LITERAL):
        connection.execute(f"DO $$ BEGIN RAISE 'no: {LITERAL}'; END $$")
    connection.execute("SELECT pg_sleep(0.35), %s", [PARAMETER])


def everything(proxy):
    """All that can be read of a proxy."""
    found = {path: proxy.get(path, token=TOKEN).body.decode() for path in (*PAGES, "/openapi.json")}
    for form in FORMATS:
        found[f"/metrics {form}"] = proxy.get("/metrics", token=TOKEN, accept=form).body.decode("latin-1")
    for name in RESOURCES:
        page = proxy.get(f"/api/v1/{name}", token=TOKEN)
        assert page.status == 200
        found[name] = page.body.decode()
    return found


def test_an_address_that_others_reach_needs_a_token_or_a_word(server, tmp_path):
    sections = '[telemetry.metrics]\nhost = "0.0.0.0"\n'
    file = written(tmp_path / "seawall.toml", server.primary, sections=sections)
    with running(tmp_path / "log", "proxy", "--config", file) as program:
        assert program.process.wait(20) == 2
    said = program.said()
    assert "telemetry.metrics.host" in said
    assert "write token or token_file" in said
    assert "Traceback" not in said


def test_a_collector_that_can_be_none_is_told_at_once(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector:4318")
    file = written(
        tmp_path / "seawall.toml", server.primary, sections="[telemetry.tracing]\nenabled = true\n"
    )
    with running(tmp_path / "log", "proxy", "--config", file) as program:
        assert program.process.wait(20) == 2
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in program.said()
    assert "Traceback" not in program.said()


# --- faults -------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_takes_no_total_along(server, tmp_path):
    with observed(tmp_path, server.primary, workers=2) as proxy:
        clients = [proxy.client() for _ in range(16)]
        for client in clients:
            client.query("SELECT 1")
            client.query("SELECT 1/0")
        until(lambda: total(proxy.metrics(), "seawall_proxy_queries_total") >= 32)
        assert proxy.metrics()["seawall_proxy_clients"] == 16
        assert proxy.get("/ready").status == 200
        owned = {one["number"]: one["clients"] for one in proxy.show("workers")}
        assert all(owned.values())
        os.kill(proxy.pids[0], signal.SIGKILL)
        seen = [proxy.metrics()]
        until(lambda: proxy.get("/ready").status == 503)
        restarts = "seawall_proxy_worker_restarts_total"
        give_up = time.monotonic() + 20
        while not (seen[-1][restarts] and seen[-1]["seawall_proxy_workers"] == 2):
            assert time.monotonic() < give_up
            seen.append(proxy.metrics())
        until(lambda: proxy.get("/ready").status == 200)
        until(lambda: proxy.metrics().get("seawall_proxy_clients") == owned[1])
        for client in clients:
            client.socket.close()
        with proxy.client() as client:
            client.query("SELECT 1")
        seen.append(proxy.metrics())
        log = proxy.program.said()
    totals = [name for name in seen[0] if name.partition("{")[0].endswith(("_total", "_count", "_sum"))]
    assert totals
    for name in totals:
        values = [page[name] for page in seen]
        assert values == sorted(values), name
    assert seen[-1][restarts] == 1
    assert "worker 0 ended with status -9" in log


@pytest.mark.slow
def test_a_failover_is_told_everywhere(cluster, tmp_path):
    made = cluster(replicas=1)
    old, new = made.primary, next(node for node in made.nodes if node is not made.primary)
    sections = '[failover]\nauthority = "self"\nsole_proxy = true\ndown_after = "800ms"\n'
    with Collector() as collector:
        with observed(tmp_path, *made.nodes, sections=sections, endpoint=collector.url) as proxy:
            until(lambda: proxy.get("/ready").status == 200)
            until(lambda: proxy.metrics().get(f'seawall_proxy_primary{{backend="{old.name}"}}') == 1)
            before = proxy.metrics()
            with proxy.client() as client:
                assert client.query("SELECT 1") == [("1",)]
            old.kill()
            waiting = later(ask, proxy)
            until(lambda: proxy.get("/ready").status == 503)
            assert "clients wait" in proxy.get("/ready").body.decode()
            assert waiting.result(20) == [("1",)]
            until(lambda: proxy.get("/ready").status == 200)
            key = 'seawall_proxy_failovers_total{kind="unplanned",outcome="done"}'
            until(lambda: proxy.metrics().get(key) == 1)
            until(lambda: proxy.metrics()[f'seawall_proxy_primary{{backend="{new.name}"}}'] == 1)
            found = proxy.metrics()
            (entry,) = proxy.show("failovers")
            (topology,) = proxy.show("topology")
            lines = [line["message"] for line in proxy.lines if "failover" in line["message"]]
            assert proxy.program.stop(signal.SIGTERM) == 0
        spans = [(span, told) for span, told in sent(collector) if span.name.startswith("failover")]
    took_s = found['seawall_proxy_failover_duration_seconds_sum{kind="unplanned"}']
    assert found['seawall_proxy_failover_duration_seconds_count{kind="unplanned"}'] == 1
    assert 0.5 < took_s < 20
    assert found["seawall_proxy_topology_epoch"] > before["seawall_proxy_topology_epoch"]
    assert found[f'seawall_proxy_primary{{backend="{old.name}"}}'] == 0
    assert found[f'seawall_proxy_backend_state{{backend="{new.name}",state="primary"}}'] == 1
    assert found[f'seawall_proxy_backend_state{{backend="{old.name}",state="down"}}'] == 1
    assert (entry["kind"], entry["outcome"], entry["new_primary"]) == ("unplanned", "done", new.name)
    assert entry["took_ms"] == pytest.approx(took_s * 1000, abs=1)
    assert topology["primary"] == new.name
    assert any(line.startswith(f"unplanned failover of {old.name} to {new.name}: done in") for line in lines)
    ((span, told),) = spans
    assert (span.name, told["seawall.failover.new_primary"]) == ("failover unplanned", new.name)
    lasted_s = (span.end_time_unix_nano - span.start_time_unix_nano) / NS
    assert lasted_s == pytest.approx(took_s, abs=0.001)


def ask(proxy):
    with proxy.client() as client:
        return client.query("SELECT 1")


def test_a_collector_that_is_away_costs_no_query_and_gets_its_spans_when_it_is_back(
    server, tmp_path, monkeypatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "500")
    port = refused_port()
    endpoint = f"http://127.0.0.1:{port}/v1/traces"
    with observed(tmp_path, server.primary, endpoint=endpoint) as proxy, proxy.client() as client:

        def failed():
            return proxy.show("telemetry")["export"]["failed_attempts"]

        for number in range(1, 6):
            assert client.query(commented(f"SELECT {number}", number)) == [(str(number),)]
        until(lambda: failed() >= 1)
        before = failed()
        with Collector(hang, port=port) as collector:  # it takes the first request and says nothing
            until(lambda: collector.requests)
            until(lambda: failed() > before)
            assert client.query("SELECT 6") == [("6",)]
            assert proxy.get("/ready").status == 200
            until(lambda: proxy.show("telemetry")["export"]["exported"] == 5)
            assert len(collector.names) == 2 * 5
        export = proxy.show("telemetry")["export"]
        assert export["taken"] == export["exported"] + export["dropped"] + export["pending"] == 5
        assert "Traceback" not in proxy.program.said()


def test_a_port_that_is_taken_keeps_no_client_out(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sections = f"[observability]\nmetrics_port = {port}\n"
        with observed(tmp_path, server.primary, sections=sections) as proxy:
            with proxy.client() as client:
                assert client.query("SELECT 1") == [("1",)]
            told = "telemetry is not served, and will be tried again"
            until(lambda: told in proxy.program.said())
            assert proxy.get("/api/v1/workers").status == 200
            assert proxy.program.said().count(told) == 1
            assert f"metrics    http://127.0.0.1:{port}/metrics" in proxy.program.said()


def test_a_proxy_with_a_worker_that_hangs_or_that_drains_is_not_ready_and_still_tells(server, tmp_path):
    with observed(tmp_path, server.primary) as proxy, proxy.client() as client:
        client.query("BEGIN")
        until(lambda: proxy.get("/ready").status == 200)
        os.kill(proxy.pids[0], signal.SIGSTOP)
        try:
            until(lambda: proxy.get("/ready").status == 503)
            assert "no sign of life from worker 0" in proxy.get("/ready").body.decode()
            assert proxy.get("/health").status == 200
        finally:
            os.kill(proxy.pids[0], signal.SIGCONT)
        until(lambda: proxy.get("/ready").status == 200)
        proxy.program.process.send_signal(signal.SIGTERM)
        until(lambda: proxy.get("/ready").status == 503)
        assert "the proxy is shutting down" in proxy.get("/ready").body.decode()
        assert proxy.metrics()["seawall_proxy_clients"] == 1
        client.query("COMMIT")
        assert proxy.program.process.wait(20) == 0
