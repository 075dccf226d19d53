"""What a scraper reads: a registry as text, as OpenMetrics, as protobuf, in slices.

What it is not: a server, and a registry. ``Writer`` is the door; its ``scrape`` takes a request's headers and
answers with headers and slices.

Reading order: ``formats`` (what is asked for), ``settings``, ``samples`` and ``views`` (what is read, and how
it is called), ``values``, ``text``, ``protobuf`` and ``grouping`` (how it is written), ``writer``.
"""

from seawall.telemetry.exposition.formats import Format
from seawall.telemetry.exposition.samples import Sample, SampleFamily, Source
from seawall.telemetry.exposition.settings import Settings, StateNumbering
from seawall.telemetry.exposition.writer import Scrape, Writer, WriterStatistics

__all__ = [
    "Format",
    "Sample",
    "SampleFamily",
    "Scrape",
    "Settings",
    "Source",
    "StateNumbering",
    "Writer",
    "WriterStatistics",
]
