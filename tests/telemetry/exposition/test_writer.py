"""Slices, clashes, losses, compression."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import pytest

from seawall.kernel.errors import PolicyError
from seawall.telemetry.exposition import (
    SLICE_SERIES,
    Escaping,
    Format,
    Sample,
    SampleFamily,
    Settings,
    Syntax,
    Writer,
)
from seawall.telemetry.exposition.writer import SOURCES_MAX, VIEWS_MAX
from seawall.telemetry.metrics import Kind, Metric, Registry
from seawall.telemetry.metrics.families import Local
from tests.telemetry.exposition.metrics_proto import decoded
from tests.telemetry.exposition.registries import (
    OPENMETRICS,
    PROTOBUF,
    TEXT,
    counters,
    every_kind,
    text_formats,
)


def series(piece: bytes) -> int:
    return sum(not line.startswith(b"#") for line in piece.splitlines())


@pytest.mark.parametrize("form", text_formats(), ids=lambda form: form.content_type)
@pytest.mark.parametrize("limit", [1, 2, 7, SLICE_SERIES])
@pytest.mark.parametrize("aliases", [False, True])
def test_no_slice_of_text_has_more_series_than_it_may(form: Format, limit: int, aliases: bool) -> None:
    registry = every_kind()
    settings = Settings(slice_series=limit, aliases=aliases, created_at=1.0)
    family = registry.declare(
        Metric(name="many", kind=Kind.GAUGE, help="Many.", labels=("n",), values_limit=900)
    )
    for number in range(450):
        family.cell(str(number)).set(number)
    pieces = list(Writer(registry, settings).slices(form))
    assert max(map(series, pieces)) <= limit
    assert len(pieces) >= 450 / limit
    assert b"".join(pieces) == Writer(registry, Settings(aliases=aliases, created_at=1.0)).write(form)


def test_a_histogram_with_more_lines_than_a_slice_holds_is_cut() -> None:
    registry = Registry()
    bounds = tuple(map(float, range(200)))
    registry.declare(Metric(name="h", kind=Kind.HISTOGRAM, help="H.", buckets=bounds)).cell().observe(3)
    pieces = list(Writer(registry).slices(TEXT))
    assert [series(piece) for piece in pieces if piece] == [200, 3]
    assert b"".join(pieces).count(b"\n") == 205


def test_protobuf_pauses_while_it_gathers_a_family_and_sends_it_in_pieces() -> None:
    writer = Writer(counters(1_000))
    pieces = list(writer.slices(PROTOBUF))
    assert pieces.count(b"") >= 4
    assert [piece.count(b"\x1a\x09\x09") for piece in pieces if piece] == [200] * 5
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


def test_statistics_count_what_was_written() -> None:
    writer = Writer(counters(5))
    writer.write(TEXT)
    writer.write(OPENMETRICS)
    now = writer.statistics()
    assert (now.scrapes, now.series, now.views) == (2, 10, 2)
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


@pytest.mark.parametrize("form", [TEXT, OPENMETRICS, PROTOBUF], ids=lambda form: form.syntax.value)
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


def test_views_are_remembered_up_to_a_limit() -> None:
    kind = SimpleNamespace(name="INFO")
    shape = {"kind": kind, "help": "", "unit": "", "labels": (), "buckets": (), "states": (), "alias": ()}
    families = [
        SimpleNamespace(
            metric=SimpleNamespace(name=f"m{number}", **shape), cells={(): SimpleNamespace(line=None)}
        )
        for number in range(VIEWS_MAX + 3)
    ]
    writer = Writer(SimpleNamespace(namespace="", families=lambda: families))
    for _ in range(2):
        assert writer.write(TEXT).count(b"_info 1\n") == VIEWS_MAX + 3
    assert (writer.statistics().views, writer.statistics().views_refused) == (VIEWS_MAX, 6)


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


def test_names_that_are_not_plain_are_rewritten_as_asked() -> None:
    registry = Registry()
    metric = Metric(name="a", kind=Kind.COUNTER, help="A.", labels=("b_c",), alias=("x.y_total",))
    registry.declare(metric).cell("v").inc()
    writer = Writer(registry, Settings(aliases=True))

    def lines(scheme: Escaping, syntax: Syntax = Syntax.TEXT) -> list[str]:
        form = Format(syntax=syntax, version="1.0.0", escaping=scheme)
        return [line for line in writer.write(form).decode().splitlines() if not line.startswith("#")]

    assert lines(Escaping.ALLOW_UTF_8) == ['seawall_a_total{b_c="v"} 1', '{"x.y_total",b_c="v"} 1']
    assert lines(Escaping.UNDERSCORES) == ['seawall_a_total{b_c="v"} 1', 'x_y_total{b_c="v"} 1']
    assert lines(Escaping.DOTS) == ['seawall__a__total{b__c="v"} 1', 'x_dot_y__total{b__c="v"} 1']
    assert lines(Escaping.VALUES) == ['seawall_a_total{b_c="v"} 1', 'U__x_2e_y__total{b_c="v"} 1']
    families = decoded(writer.write(Format(syntax=Syntax.PROTOBUF, escaping=Escaping.DOTS)))
    assert [(found.name, found.metric[0].label[0].name) for found in families] == [
        ("seawall__a__total", "b__c"),
        ("x_dot_y__total", "b__c"),
    ]


def test_the_general_way_writes_what_the_fast_way_writes() -> None:
    fast = Writer(every_kind()).write(OPENMETRICS).decode()
    slow = (
        Writer(every_kind())
        .write(Format(syntax=Syntax.OPENMETRICS, version="1.0.0", escaping=Escaping.DOTS))
        .decode()
    )
    unescaped = slow.replace("__", "_")
    assert sorted(unescaped.splitlines()) == sorted(fast.splitlines())


@pytest.mark.parametrize("form", [TEXT, OPENMETRICS, PROTOBUF], ids=lambda form: form.syntax.value)
def test_cells_that_count_by_thread_are_written_like_the_others(form: Format) -> None:
    assert Writer(every_kind(Local(threaded=True))).write(form) == Writer(every_kind()).write(form)


def test_settings_name_every_mistake() -> None:
    with pytest.raises(PolicyError) as caught:
        Settings(
            namespace="a b",
            state_numbering="x",
            state_label="a-b",
            created_at=-1.0,
            slice_series=0,  # type: ignore[arg-type]
        )
    assert [problem.key for problem in caught.value.problems] == [
        "namespace",
        "state_numbering",
        "state_label",
        "created_at",
        "slice_series",
    ]


def test_the_general_way_tells_times_of_creation_and_leaves_out_what_the_fast_way_does() -> None:
    registry = counters(1)
    metric = Metric(name="h", kind=Kind.HISTOGRAM, help="H.", buckets=(-1.0, 1.0))
    registry.declare(metric).cell().observe(-2.0)
    form = Format(syntax=Syntax.OPENMETRICS, version="1.0.0", escaping=Escaping.DOTS)
    text = Writer(registry, Settings(created_at=5.0)).write(form).decode()
    assert 'seawall__many__created{n="0"} 5.0\n' in text
    assert "seawall__h__bucket" in text
    assert "h__sum" not in text
    assert "h__count" not in text


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
