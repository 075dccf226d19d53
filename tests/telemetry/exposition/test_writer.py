"""Slices, clashes, losses, compression, and that a scrape sees a registry that is up to date."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import FrozenInstanceError

import pytest

from seawall.kernel.errors import PolicyError
from seawall.telemetry.exposition import Format, Sample, SampleFamily, Settings, Writer
from seawall.telemetry.exposition.settings import SLICE_SERIES
from seawall.telemetry.exposition.writer import SOURCES_MAX
from seawall.telemetry.metrics import Block, Collector, Kind, Layout, Metric, Registry, Sheet
from tests.telemetry.exposition.metrics_proto import decoded
from tests.telemetry.exposition.registries import OPENMETRICS, PROTOBUF, TEXT, counters, every_kind


def series(piece: bytes) -> int:
    return sum(not line.startswith(b"#") for line in piece.splitlines())


@pytest.mark.parametrize("form", [TEXT, OPENMETRICS], ids=lambda form: form.name)
@pytest.mark.parametrize("limit", [1, 2, 7, SLICE_SERIES])
@pytest.mark.parametrize("aliases", [False, True])
def test_no_slice_of_text_has_more_series_than_it_may(form: Format, limit: int, aliases: bool) -> None:
    registry = every_kind()
    family = registry.declare(
        Metric(name="many", kind=Kind.GAUGE, help="Many.", labels=("n",), values_limit=900)
    )
    for number in range(450):
        family.cell(str(number)).set(number)
    pieces = list(Writer(registry, Settings(slice_series=limit, aliases=aliases)).slices(form))
    assert max(map(series, pieces)) <= limit
    assert len(pieces) >= 450 / limit
    assert b"".join(pieces) == Writer(registry, Settings(aliases=aliases)).write(form)


def test_a_histogram_with_more_lines_than_a_slice_holds_is_cut() -> None:
    registry = Registry()
    bounds = tuple(map(float, range(200)))
    registry.declare(Metric(name="h", kind=Kind.HISTOGRAM, help="H.", buckets=bounds)).cell().observe(3)
    pieces = list(Writer(registry).slices(TEXT))
    assert [series(piece) for piece in pieces if piece] == [200, 3]
    assert b"".join(pieces).count(b"\n") == 205


def test_many_families_of_one_series_are_slices_too() -> None:
    registry = Registry()
    for number in range(200):
        registry.declare(Metric(name=f"g{number}", kind=Kind.GAUGE, help="G.")).cell()
    pieces = [series(piece) for piece in Writer(registry).slices(TEXT)]
    assert sum(pieces) == 200
    assert max(pieces) <= SLICE_SERIES // 10


def test_protobuf_pauses_while_it_gathers_a_family_and_sends_it_in_pieces() -> None:
    writer = Writer(counters(1_000))
    pieces = list(writer.slices(PROTOBUF))
    assert pieces.count(b"") >= 4
    assert max(piece.count(b"\x1a\x09\x09") for piece in pieces) == 200
    (family,) = decoded(b"".join(pieces))
    assert [metric.counter.value for metric in family.metric] == list(range(1_000))


def test_what_comes_between_two_slices_does_not_break_the_scrape() -> None:
    registry = counters(500)
    (family,) = registry.families()
    slices = Writer(registry).slices(TEXT)
    text = next(slices)
    family.remove("499")
    registry.declare(Metric(name="zz", kind=Kind.GAUGE, help="New.")).cell()
    text += b"".join(slices)
    assert series(text) == 500, "the family as it was when it was begun"
    assert b'n="499"' not in Writer(registry).write(TEXT)


def test_a_scrape_lets_time_pass_in_slices_before_it_writes() -> None:
    now = 0.0
    registry = Registry()
    family = registry.declare(
        Metric(name="size", kind=Kind.GAUGE, help="Size.", labels=("n",), values_limit=900, idle_s=60.0)
    )
    for number in range(450):
        family.cell(str(number)).set(number)
    writer = Writer(registry, clock=lambda: now)
    pieces = list(writer.slices(TEXT))
    assert pieces[:2] == [b"", b""]
    assert series(b"".join(pieces)) == 450
    now = 60.0
    family.cell("7").set(1)
    assert writer.write(TEXT).decode().splitlines()[2:] == ['seawall_size{n="7"} 1.0']


def test_a_scrape_sums_up_the_workers_first() -> None:
    metric = Metric(name="jobs", kind=Kind.COUNTER, help="Jobs.")
    block = Block(Layout([metric], rows=2))
    cells = [Registry(cells=Sheet(block, row)).declare(metric).cell() for row in range(2)]
    writer = Writer(Collector(block))
    for cell in cells:
        cell.inc()
    assert writer.write(TEXT).decode().endswith("\nseawall_jobs_total 2.0\n")
    cells[0].inc()
    assert writer.write(TEXT).decode().endswith("\nseawall_jobs_total 3.0\n")
    block.close()


def test_a_registry_that_cannot_be_brought_up_to_date_is_written_as_it_was() -> None:
    writer = Writer(counters(1), clock=lambda: 1 // 0)
    assert b"seawall_many_total" in writer.write(TEXT)
    assert writer.statistics().refreshes_failed == 1


def test_statistics_count_what_was_written() -> None:
    writer = Writer(counters(5))
    writer.write(TEXT)
    writer.write(OPENMETRICS)
    now = writer.statistics()
    assert (now.scrapes, now.series) == (2, 10)
    with pytest.raises(FrozenInstanceError):
        now.scrapes = 0  # type: ignore[misc]
    assert "scrapes=2" in repr(writer)


class Source:
    def __init__(self, *families: SampleFamily, error: Exception | None = None) -> None:
        self.families = families
        self.error = error

    def collect(self) -> Iterator[SampleFamily]:
        yield from self.families
        if self.error is not None:
            raise self.error


def gauge(name: str, value: float = 1.0) -> SampleFamily:
    return SampleFamily(name, "gauge", "G.", "", [Sample(name, (), value)])


def test_a_source_that_fails_loses_its_rest_and_nothing_else() -> None:
    broken = Source(gauge("first"), error=OSError("gone"))
    writer = Writer(counters(1), sources=[broken, Source(gauge("second"))])
    text = writer.write(TEXT).decode()
    assert "\nfirst 1.0\n" in text
    assert "\nsecond 1.0\n" in text
    assert writer.statistics().sources_failed == 1


@pytest.mark.parametrize("form", list(Format), ids=lambda form: form.name)
@pytest.mark.parametrize("wrong", ["samples", "name", "value"])
def test_a_family_of_a_source_that_makes_no_sense_costs_the_others_nothing(form: Format, wrong: str) -> None:
    samples = {"samples": 5, "name": [Sample(None, (), 1.0)], "value": [Sample("a", ((1, 2),), 1.0)]}[wrong]
    families = [SampleFamily("broken", "gauge", "", "", samples), gauge("second")]  # type: ignore[arg-type]
    writer = Writer(counters(1), sources=[Source(*families)])
    found = writer.write(form)
    assert b"seawall_many_total" in found
    assert b"second" in found
    if wrong == "samples":
        assert writer.statistics().families_dropped == 1


@pytest.mark.parametrize("form", list(Format), ids=lambda form: form.name)
@pytest.mark.parametrize("name", ["seawall_many", "seawall_many_total", "seawall_many_created"])
def test_a_name_is_written_once(form: Format, name: str) -> None:
    writer = Writer(counters(1), sources=[Source(gauge(name, 77.0))])
    alone = Writer(counters(1)).write(form)
    assert writer.write(form) == alone
    assert writer.statistics().families_clashing == 1


def test_a_family_that_cannot_be_read_costs_the_others_nothing() -> None:
    registry = every_kind()
    (family,) = (found for found in registry.families() if found.metric.name == "calls")
    del family.cell("eu-1", "ok").value
    writer = Writer(registry)
    assert b"seawall_calls" not in writer.write(TEXT)
    assert len(decoded(writer.write(PROTOBUF))) == 5
    assert b"seawall_wait_seconds_sum" in writer.write(OPENMETRICS)
    assert writer.statistics().families_dropped == 3


def test_there_are_only_so_many_sources() -> None:
    with pytest.raises(ValueError, match="at most 16"):
        Writer(Registry(), sources=[Source()] * (SOURCES_MAX + 1))


def test_compressed_slices_are_one_gzip_stream() -> None:
    registry = counters(3_000)
    plain = Writer(registry).scrape(None, None)
    packed = Writer(registry).scrape(None, "gzip")
    whole = b"".join(packed.slices)
    assert gzip.decompress(whole) == b"".join(plain.slices)
    assert len(whole) < 30_000
    assert dict(plain.headers) == {
        "content-type": "text/plain; version=0.0.4; charset=utf-8",
        "vary": "accept, accept-encoding",
    }
    assert dict(packed.headers)["content-encoding"] == "gzip"


def test_a_compressed_scrape_can_be_left_unfinished() -> None:
    scrape = Writer(counters(3_000)).scrape(None, "gzip")
    first = next(scrape.slices)
    assert first[:2] == b"\x1f\x8b"
    text = zlib.decompressobj(31).decompress(first + next(scrape.slices))
    assert b"".join(Writer(counters(3_000)).slices()).startswith(text)


def test_settings_name_every_mistake() -> None:
    with pytest.raises(PolicyError) as caught:
        Settings(namespace="a b", state_numbering="x", slice_series=0)  # type: ignore[arg-type]
    assert [problem.key for problem in caught.value.problems] == [
        "namespace",
        "state_numbering",
        "slice_series",
    ]


def test_what_a_source_says_that_makes_no_sense_costs_no_more_than_its_number() -> None:
    samples = [
        Sample("odd_bucket", (("le", "wide"),), 2.0),
        Sample("odd_bucket", (), 2.0),
        Sample("odd_else", (("le", "1.0"),), 2.0),
        Sample("odd_sum", (), None),  # type: ignore[arg-type]
    ]
    writer = Writer(Registry(), sources=[Source(SampleFamily("odd", "histogram", "", "", samples))])
    assert "\nodd_sum NaN\n" in writer.write(TEXT).decode()
    (family,) = decoded(writer.write(PROTOBUF))
    histogram = family.metric[0].histogram
    assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in histogram.bucket] == [
        (float("inf"), 2)
    ]
    assert histogram.sample_count == 2
