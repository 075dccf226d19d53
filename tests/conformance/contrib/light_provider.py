"""A plugin of pytest that puts this library's provider and propagator where a suite uses the SDK's.

It is loaded into the foreign suite's own interpreter (``-p light_provider``), so it imports nothing of these
tests. Spans reach the suite's exporter through the SDK's own processor, as they would in an application.
"""

from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.test.test_base import TestBase

from seawall.telemetry.propagation import PROPAGATOR
from seawall.telemetry.tracing import Sampling, TracerProvider

MARK = "spans by seawall:"
"""Begins the line that says how many there were: a suite that went past the plugin proves nothing."""

_providers = []


def create_tracer_provider(*, sampler=None, **options):
    """What ``TestBase`` makes for every test.

    Args:
        sampler: The SDK's, which is to keep a share of the traces; said in our words.
        options: Whatever else a suite gives the SDK's provider; what ours doesn't have is an error.
    """
    ratio = 1.0 if sampler is None else sampler._root.rate
    provider = TracerProvider(sampling=Sampling(ratio=ratio), exceptions="shown", **options)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    _providers.append(provider)
    return provider, exporter


def pytest_terminal_summary(terminalreporter):
    """Tell how many spans of ours there were, and what went wrong within them unseen."""
    found = [provider.statistics().segments for provider in _providers]
    spans = sum(each.spans_kept + each.spans_dropped + each.spans_open for each in found)
    unseen = sum(each.failed + each.processor_errors for each in found) + PROPAGATOR.statistics().failures
    terminalreporter.write_line(f"{MARK} {spans}, failures: {unseen}")


TestBase.create_tracer_provider = staticmethod(create_tracer_provider)
set_global_textmap(PROPAGATOR)
