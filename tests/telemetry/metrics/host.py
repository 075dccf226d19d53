"""Workers of one block that are all in this process, and memory that changes while it is read."""

from typing import Any

from seawall.telemetry.metrics.gathering import Collector
from seawall.telemetry.metrics.layout import Layout
from seawall.telemetry.metrics.metric import Aggregation, Kind, Metric
from seawall.telemetry.metrics.registry import Registry
from seawall.telemetry.metrics.shared import Block, Sheet

CALLS = Metric(name="calls", kind=Kind.COUNTER, help="Calls.", labels=("path",), limit=3, values_limit=5)
TOTAL = Metric(name="total", kind=Kind.COUNTER, help="All.")
SIZE = Metric(name="size", kind=Kind.GAUGE, help="Size.", labels=("pool",), idle_s=10.0)
OLDEST = Metric(name="oldest", kind=Kind.GAUGE, help="Age.", aggregation=Aggregation.MAX)
YOUNGEST = Metric(name="youngest", kind=Kind.GAUGE, help="Age.", aggregation=Aggregation.MIN)
WAIT = Metric(name="wait", kind=Kind.HISTOGRAM, help="Waits.", buckets=(0.1, 1.0))
TIME = Metric(name="time", kind=Kind.NATIVE_HISTOGRAM, help="Times.", schema=8)
STATE = Metric(
    name="state", kind=Kind.STATE_SET, help="State.", states=("closed", "open"), labels=("breaker",)
)
BUILD = Metric(name="build", kind=Kind.INFO, help="Build.", labels=("version",))

METRICS = (CALLS, TOTAL, SIZE, OLDEST, YOUNGEST, WAIT, TIME, STATE, BUILD)


class Host:
    """A block with workers that are all in this process."""

    def __init__(self, rows: int = 3, row_bytes: int = 256 * 1024) -> None:
        self.block = Block(Layout(METRICS, rows=rows, row_bytes=row_bytes))
        self.collector = Collector(self.block)
        self.sheets: dict[int, Sheet] = {}

    def worker(self, number: int) -> Registry:
        sheet = Sheet(self.block, number)
        self.sheets[number] = sheet
        registry = Registry(cells=sheet)
        for metric in METRICS:
            registry.declare(metric)
        return registry

    def collected(self) -> dict[str, dict]:
        """The cells of all metrics that have some."""
        passed(self.collector)
        return {family.metric.name: family.cells for family in self.collector.families() if family.cells}

    def seen(self, metric: Metric, *values: str) -> Any:
        return self.collected().get(metric.name, {}).get(values)


def cell(registry: Registry, metric: Metric, *values: str) -> Any:
    return registry.declare(metric).cell(*values)


def passed(source: Registry | Collector, now: float = 0.0) -> int:
    """Let time pass at once; how many pauses it has made."""
    return sum(1 for _ in source.refreshing(now))


class Turning:
    """A word that others change while it is read: gives one value after the other, then the last for ever."""

    def __init__(self, words: memoryview, at: int, values: list[int | float]) -> None:
        self.words, self.at, self.values = words, at, values

    def __getitem__(self, index: int | slice) -> Any:
        if index == self.at and self.values:
            self.words[index] = self.values.pop(0)
        return self.words[index]
