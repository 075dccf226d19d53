"""``/metrics``, ``/health`` and ``/ready`` over real sockets."""

import asyncio

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from seawall.telemetry import exposition
from seawall.telemetry.metrics import Kind, Metric, Registry
from seawall.telemetry.serving import Access, Check, CheckFailed, Checks, Probe
from tests.telemetry.serving.serving import (
    PAGE,
    SECRET,
    TEXT,
    TOKENS,
    VIEWER,
    Page,
    bearer,
    checks_of,
    running,
)


def got(path, *, headers=None, where="metrics", method="GET", **options):
    async def scenario(server, client):
        base = server.metrics_url if where == "metrics" else server.status_url
        return await client.request(method, base + path, headers=headers or {})

    return running(scenario, **options)


def test_the_page_is_what_was_written() -> None:
    page = Page(vary="accept, accept-encoding", content_encoding="identity")
    answer = got("/metrics", scraper=page, headers={"Accept": "text/plain", "Accept-Encoding": "gzip;q=0.5"})
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PAGE, TEXT)
    assert answer.headers["vary"] == "accept, accept-encoding"
    assert answer.headers["cache-control"] == "no-store"
    assert page.asked == [("text/plain", "gzip;q=0.5")]


def test_between_slices_the_loop_does_other_work() -> None:
    turns = []

    def slices():
        for number in range(20):
            turns.append(number)
            yield f"line_{number} 1\n".encode()

    async def scenario(server, client):
        others = []

        async def other():
            while len(turns) < 20:
                others.append(len(turns))
                await asyncio.sleep(0)

        neighbour = asyncio.create_task(other())
        answer = await client.get(f"{server.metrics_url}/metrics")
        await neighbour
        return answer, set(others)

    answer, seen = running(scenario, scraper=Page(slices()))
    assert answer.text.count("\n") == 20
    assert seen.issuperset(range(1, 20))  # somebody else had a turn after each slice


def an_exposition(series):
    registry = Registry()
    family = registry.declare(
        Metric(
            name="requests",
            kind=Kind.COUNTER,
            help="Requests.",
            labels=("route",),
            limit=2 * series,
            values_limit=2 * series,
        )
    )
    for number in range(series):
        family.cell(f"r{number}").inc(number)
    return exposition.Writer(registry)


def test_a_real_registry_is_served_as_text_and_compressed() -> None:
    async def scenario(server, client):
        url = f"{server.metrics_url}/metrics"
        plain = await client.get(url, headers={"Accept-Encoding": "identity"})
        packed = await client.get(url, headers={"Accept-Encoding": "gzip"})
        return plain, packed

    plain, packed = running(scenario, scraper=an_exposition(3_000))
    assert plain.status_code == packed.status_code == 200
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert (packed.headers["content-encoding"], packed.text) == ("gzip", plain.text)
    read = {
        sample.labels["route"]: sample.value
        for family in text_string_to_metric_families(plain.text)
        for sample in family.samples
        if sample.name == "seawall_requests_total"
    }
    assert read == {f"r{number}": float(number) for number in range(3_000)}


def test_openmetrics_is_negotiated_by_the_exposition() -> None:
    answer = got(
        "/metrics",
        scraper=an_exposition(2),
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_empty_slices_are_pauses_and_do_not_end_the_page() -> None:
    assert got("/metrics", scraper=Page([b"", b"a 1\n", b"", b"b 2\n", b""])).content == b"a 1\nb 2\n"
    for slices in ([b"", b""], []):
        answer = got("/metrics", scraper=Page(slices))
        assert (answer.status_code, answer.content) == (200, b"")


def test_head_asks_for_no_slice() -> None:
    taken = []

    def slices():
        taken.append(1)
        yield PAGE

    answer = got("/metrics", method="HEAD", scraper=Page(slices()))
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", TEXT)
    assert taken == []


def test_a_writer_that_fails_at_once_is_a_500_without_its_words() -> None:
    class Broken(Page):
        def scrape(self, accept=None, accept_encoding=None):
            raise RuntimeError(SECRET)

    def first():
        raise RuntimeError(SECRET)
        yield b""

    for page in (Broken(), Page(first())):
        answer = got("/metrics", scraper=page)
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "hunter2" not in answer.text


def test_a_page_that_breaks_off_does_not_look_whole() -> None:
    def slices():
        yield PAGE
        raise RuntimeError(SECRET)

    async def scenario(server, client):
        with pytest.raises(httpx.HTTPError):
            await client.get(f"{server.metrics_url}/metrics")
        again = await client.get(f"{server.metrics_url}/health")
        return again.status_code, server.statistics()

    status, statistics = running(scenario, scraper=Page(slices()))
    assert status == 200
    assert (statistics.gates["metrics"].failed, statistics.listeners["metrics"].cut) == (1, 1)


@pytest.mark.parametrize("where", ["metrics", "status"])
def test_a_process_is_alive_whatever_its_dependencies_do(where) -> None:
    answer = got("/health", where=where, checks=checks_of(database=lambda: False))
    assert answer.status_code == 200
    assert answer.json()["status"] == "healthy"
    assert answer.json()["checks"] == {}


@pytest.mark.parametrize("where", ["metrics", "status"])
def test_readiness_names_each_check(where) -> None:
    def broken():
        raise CheckFailed("no primary", {"seen": 0})

    answer = got("/ready", where=where, checks=checks_of(database=broken, cache=lambda: {"entries": 3}))
    assert answer.status_code == 503
    shown = answer.json()
    assert (shown["status"], shown["probe"]) == ("unhealthy", "readiness")
    assert shown["checks"]["database"]["reason"] == "no primary"
    assert shown["checks"]["database"]["details"] == {"seen": 0}
    assert shown["checks"]["cache"]["status"] == "healthy"
    assert shown["checks"]["cache"]["details"] == {"entries": 3}


def test_a_hanging_check_is_named_over_the_wire_as_well() -> None:
    checks = Checks()
    checks.add(Check(name="database", call=lambda: asyncio.Event().wait(), timeout_s=0.05))
    checks.add(Check(name="cache", call=lambda: True))
    shown = got("/ready", checks=checks).json()["checks"]
    assert shown["database"]["reason"] == "no answer within 50ms"
    assert shown["cache"]["status"] == "healthy"


def test_a_dead_part_makes_the_process_unhealthy() -> None:
    checks = Checks()
    checks.add(Check(name="loop", call=lambda: False, probes=frozenset({Probe.LIVENESS, Probe.READINESS})))
    assert got("/health", checks=checks).status_code == 503


def test_probes_need_no_token_and_strangers_see_names_only() -> None:
    def broken():
        raise CheckFailed("no primary at 10.0.0.7")

    options = {"access": Access(tokens=TOKENS)}
    stranger = got("/ready", checks=checks_of(database=broken), **options)
    viewer = got("/ready", headers=bearer(VIEWER), checks=checks_of(database=broken), **options)
    assert stranger.status_code == viewer.status_code == 503
    assert "10.0.0.7" not in stranger.text
    assert stranger.json()["checks"]["database"]["status"] == "unhealthy"
    assert viewer.json()["checks"]["database"]["reason"] == "no primary at 10.0.0.7"
    assert got("/health", **options).status_code == 200


@pytest.mark.parametrize(("alias", "page"), [("/healthz/live", "/health"), ("/healthz/ready", "/ready")])
@pytest.mark.parametrize("well", [True, False])
def test_what_manifests_ask_for_is_the_same_page(alias: str, page: str, well: bool) -> None:
    answers = [got(path, checks=checks_of(database=lambda: well)) for path in (alias, page)]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].json()["status"] == answers[1].json()["status"]
