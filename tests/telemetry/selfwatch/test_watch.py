"""What the parts count is in a scrape, grows only, and nothing that fails in a part fails a scrape."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.errors import UsageError
from seawall.telemetry.catalogue.own import OWN
from seawall.telemetry.exposition import Writer
from seawall.telemetry.logs.handle import configure
from seawall.telemetry.logs.settings import LogSettings
from seawall.telemetry.metrics import Block, Collector, Layout, Registry, Sheet
from seawall.telemetry.otlp import Exporter
from seawall.telemetry.selfwatch import SOURCES_MAX, SelfWatch, Watched
from seawall.telemetry.tracing import Sampling
from tests.telemetry.tracing.world import World

SAMPLE = re.compile(r"^(?P<name>\w+)(?P<labels>\{.*\})? (?P<value>\S+)$", re.MULTILINE)


def scraped(writer: Writer) -> dict[str, float]:
    found = SAMPLE.finditer(writer.write().decode())
    return {match["name"] + (match["labels"] or ""): float(match["value"]) for match in found}


@pytest.fixture
def parts(tmp_path):
    registry = Registry()
    watch = SelfWatch(registry)
    writer = Writer(Watched(registry, watch))
    world = World(sampling=Sampling(ratio=1.0))
    logs = configure(LogSettings(service="orders", destination=tmp_path / "log", format="json"))
    exporter = Exporter(world.lane)
    watch.tracing(world.provider)
    watch.exporter(exporter)
    watch.logs(logs)
    watch.writer(writer)
    yield SimpleNamespace(registry=registry, watch=watch, writer=writer, world=world, logs=logs)
    logs.close()


def test_every_row_is_in_a_scrape_of_all_parts(parts) -> None:
    values = scraped(parts.writer)
    names = {name.partition("{")[0] for name in values}
    # Their labels are the names of what happened, and nothing has.
    silent = {"seawall_telemetry_log_write_errors_total", "seawall_telemetry_unreadable_total"}
    for row in OWN:
        own = {f"seawall_{name}" for name in row.sample_names}
        assert own & names or own & silent, row.name


def test_the_numbers_are_the_parts_own(parts) -> None:
    for name in ("a", "b"):
        parts.world.root(name).end()
    values = scraped(parts.writer)
    assert values['seawall_telemetry_spans_total{fate="kept"}'] == 2
    assert values['seawall_telemetry_segments_total{fate="ratio"}'] == 2
    assert values["seawall_telemetry_lane_depth"] == 2
    assert values["seawall_telemetry_lane_capacity"] == parts.world.lane.statistics().capacity
    assert values["seawall_telemetry_scrapes_total"] == 0
    again = scraped(parts.writer)
    # The first scrape made the series that the second one tells.
    assert again["seawall_telemetry_series"] == parts.registry.statistics().series
    assert again["seawall_telemetry_scrapes_total"] == 1
    assert again['seawall_telemetry_spans_total{fate="kept"}'] == 2
    assert again["seawall_telemetry_scrape_series_total"] > len(OWN)


def test_a_record_that_was_written_is_counted(parts) -> None:
    import logging

    logging.getLogger("orders").warning("said")
    parts.logs.close()
    assert scraped(parts.writer)['seawall_telemetry_log_records_total{fate="written"}'] == 1


def test_errors_of_writing_are_counted_by_their_names() -> None:
    names = ("written", "dropped", "failed", "queued", "queued_bytes", "errors", "masked", "truncated")
    now = SimpleNamespace(**dict.fromkeys(names, 0), write_errors=(("ENOSPC", 2),))
    registry = Registry()
    watch = SelfWatch(registry, process=False)
    watch.logs(SimpleNamespace(statistics=lambda: now))
    values = scraped(Writer(Watched(registry, watch)))
    assert values['seawall_telemetry_log_write_errors_total{errno="ENOSPC"}'] == 2


class Exports:
    """An exporter's statistics as a test wants them."""

    def __init__(self) -> None:
        self.now = SimpleNamespace(
            exported=0, dropped={"expired": 0}, pending=0, attempts=0, failed={}, faults=0, troubles=0
        )

    def statistics(self):
        return self.now


@given(st.lists(st.integers(0, 100)))
def test_a_counter_only_grows_however_often_its_part_begins_anew(totals) -> None:
    registry, exports = Registry(), Exports()
    watch = SelfWatch(registry, process=False)
    watch.exporter(exports)
    family = next(each for each in registry.families() if each.metric.name == "telemetry_spans_exported")
    expected = before = 0
    for total in totals:
        exports.now.exported = total
        watch.refresh()
        expected += total - before if total >= before else total
        before = total
        assert family.cell().value == expected


def test_gauges_of_two_parts_are_added_up_and_counters_too() -> None:
    registry, one, two = Registry(), Exports(), Exports()
    watch = SelfWatch(registry, process=False)
    watch.exporter(one)
    watch.exporter(two)
    one.now.pending, two.now.pending = 3, 4
    one.now.exported, two.now.exported = 5, 6
    for _ in range(2):
        watch.refresh()
        cells = {each.metric.name: each for each in registry.families()}
        assert cells["telemetry_export_pending"].cell().value == 7
        assert cells["telemetry_spans_exported"].cell().value == 11


def test_a_part_that_fails_is_counted_and_the_others_are_read() -> None:
    class Broken:
        def statistics(self):
            raise RuntimeError("not today")

    registry, exports = Registry(), Exports()
    watch = SelfWatch(registry, process=False)
    watch.tracing(Broken())
    watch.exporter(exports)
    exports.now.exported = 5
    values = scraped(Writer(Watched(registry, watch)))
    assert values['seawall_telemetry_unreadable_total{part="tracing"}'] == 1
    assert values["seawall_telemetry_spans_exported_total"] == 5


def test_there_are_not_more_parts_than_the_limit() -> None:
    watch = SelfWatch(Registry())
    with pytest.raises(UsageError, match="16 parts"):
        for _ in range(SOURCES_MAX):
            watch.exporter(Exports())


def test_each_part_is_a_slice() -> None:
    watch = SelfWatch(Registry(), process=False)
    watch.exporter(Exports())
    assert len(list(watch.refreshing())) == 2


def test_it_counts_in_a_shared_block_as_well() -> None:
    block = Block(Layout(OWN, rows=1))
    try:
        registry, exports = Registry(cells=Sheet(block, 0)), Exports()
        collector = Collector(block)
        watch = SelfWatch(registry, collector=collector)
        watch.exporter(exports)
        exports.now.exported = 5
        writer = Writer(Watched(collector, watch))
        scraped(writer)
        values = scraped(writer)
        # Those of the first scrape, which the second one tells.
        assert values["seawall_telemetry_series"] == collector.statistics().series > 10
        assert values["seawall_telemetry_series_limit"] == collector.statistics().series_limit
        assert values["seawall_telemetry_spans_exported_total"] == 5
        assert values["seawall_process_resident_memory_bytes"] > 1_000_000
        assert any(name.startswith("seawall_build_info{") for name in values)
    finally:
        block.close()


def test_its_repr_names_the_parts() -> None:
    watch = SelfWatch(Registry())
    watch.exporter(Exports())
    assert repr(watch) == "<SelfWatch registry exporter>"
    assert repr(Watched(Registry(), watch)).startswith("<Watched <Registry")
