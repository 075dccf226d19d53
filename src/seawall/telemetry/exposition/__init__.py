"""What a scraper reads: a registry as text, as OpenMetrics, as protobuf, in slices.

What it is not: a server, and a registry. ``Writer`` is the door; its ``scrape`` takes a request's headers and
answers with headers and slices.

Reading order: ``sources`` (what is read), ``formats`` and ``negotiation`` (what is asked for), ``settings``
and ``views`` (how a family is called), ``lines``, ``text``, ``openmetrics`` and ``protobuf`` (how it is
written), ``readings`` and ``grouping`` (the general way), ``writer``.
"""

from seawall.telemetry.exposition.formats import FORMATS, Format, Syntax
from seawall.telemetry.exposition.names import Escaping
from seawall.telemetry.exposition.negotiation import accepts_gzip, negotiate
from seawall.telemetry.exposition.settings import SLICE_SERIES, Settings, StateNumbering
from seawall.telemetry.exposition.sources import Native, Sample, SampleFamily, Source
from seawall.telemetry.exposition.writer import Scrape, Writer, WriterStatistics

__all__ = [
    "FORMATS",
    "SLICE_SERIES",
    "Escaping",
    "Format",
    "Native",
    "Sample",
    "SampleFamily",
    "Scrape",
    "Settings",
    "Source",
    "StateNumbering",
    "Syntax",
    "Writer",
    "WriterStatistics",
    "accepts_gzip",
    "negotiate",
]
