"""Whatever the names and values are, what a scraper reads is what was written."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from seawall.telemetry.exposition import Sample, SampleFamily, Writer
from seawall.telemetry.exposition.protobuf import spans
from seawall.telemetry.exposition.values import number
from seawall.telemetry.metrics import Kind, Metric, NativeHistogram, Registry
from tests.telemetry.exposition.metrics_proto import decoded
from tests.telemetry.exposition.registries import OPENMETRICS, PROTOBUF, TEXT
from tests.telemetry.exposition.test_protobuf import buckets

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: (
        not name.endswith(("_total", "_bucket", "_created", "_info")) and name not in {"le", "quantile"}
    )
)
NUMBERS = st.one_of(st.floats(min_value=0, allow_nan=False, allow_infinity=False), st.integers(0, 2**60))


class Others:
    """A source with one family."""

    def __init__(self, *families: SampleFamily) -> None:
        self.families = families

    def collect(self) -> tuple[SampleFamily, ...]:
        return self.families


@given(name=PLAIN, labels=st.lists(PLAIN, max_size=3, unique=True), rows=st.data())
def test_plain_names_and_any_values_round_trip(name: str, labels: list[str], rows: st.DataObject) -> None:
    registry = Registry()
    family = registry.declare(Metric(name=name, kind=Kind.COUNTER, help="Help.", labels=tuple(labels)))
    written = rows.draw(st.dictionaries(st.tuples(*[VALUES] * len(labels)), NUMBERS, max_size=4))
    for values, amount in written.items():
        family.cell(*values).inc(amount)
    wanted = {tuple(zip(labels, values, strict=True)): amount for values, amount in written.items()}
    writer = Writer(registry)
    for read, form in ((read_text, TEXT), (read_openmetrics, OPENMETRICS)):
        samples = [found for parsed in read(writer.write(form).decode()) for found in parsed.samples]
        assert all(found.name == f"seawall_{name}_total" for found in samples)
        assert {tuple(found.labels.items()): found.value for found in samples} == wanted
    metrics = [metric for found in decoded(writer.write(PROTOBUF)) for metric in found.metric]
    assert {
        tuple((pair.name, pair.value) for pair in metric.label): metric.counter.value for metric in metrics
    } == {pairs: float(amount) for pairs, amount in wanted.items()}


@given(labels=st.dictionaries(PLAIN, VALUES, max_size=3), value=NUMBERS)
def test_samples_of_others_round_trip(labels: dict[str, str], value: float) -> None:
    sample = Sample("theirs", tuple(labels.items()), value)
    writer = Writer(Registry(), sources=[Others(SampleFamily("theirs", "gauge", "Help.", "", [sample]))])
    for read, form in ((read_text, TEXT), (read_openmetrics, OPENMETRICS)):
        (family,) = read(writer.write(form).decode())
        (found,) = family.samples
        assert (found.name, found.labels, found.value) == ("theirs", labels, value)
    (message,) = decoded(writer.write(PROTOBUF))
    assert {pair.name: pair.value for pair in message.metric[0].label} == labels
    assert message.metric[0].gauge.value == float(value)


@given(
    help_text=st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Z"]) | st.sampled_from(' \n"\\'), max_size=30
    )
)
def test_any_help_round_trips(help_text: str) -> None:
    registry = Registry()
    registry.declare(Metric(name="x", kind=Kind.GAUGE, help=help_text)).cell()
    (family,) = decoded(Writer(registry).write(PROTOBUF))
    assert family.help == help_text.strip()
    text = Writer(registry).write(OPENMETRICS).decode()
    (parsed,) = read_openmetrics(text)
    assert parsed.documentation == help_text.strip()


@given(st.floats() | st.integers())
def test_every_number_is_read_as_the_same_number(value: float) -> None:
    read = float(number(value))
    try:
        wanted = float(value)
    except OverflowError:
        wanted = math.copysign(math.inf, value)
    assert read == wanted or (math.isnan(read) and math.isnan(wanted))


@given(st.dictionaries(st.integers(-2000, 2000), st.integers(1, 2**40), max_size=40))
def test_spans_hold_the_counts(counts: dict[int, int]) -> None:
    offsets, deltas = spans(counts)
    assert buckets(offsets, deltas) == counts
    assert sum(length for _, length in offsets) == len(deltas)


@given(st.lists(st.floats(allow_nan=False), max_size=60))
def test_a_native_histogram_loses_no_observation(values: list[float]) -> None:
    registry = Registry()
    cell = registry.declare(Metric(name="n", kind=Kind.NATIVE_HISTOGRAM, help="N.")).cell()
    assert isinstance(cell, NativeHistogram)
    for value in values:
        cell.observe(value)
    (family,) = decoded(Writer(registry).write(PROTOBUF))
    native = family.metric[0].histogram
    positive = buckets([(span.offset, span.length) for span in native.positive_span], native.positive_delta)
    negative = buckets([(span.offset, span.length) for span in native.negative_span], native.negative_delta)
    assert (
        native.sample_count
        == len(values)
        == native.zero_count + sum(positive.values()) + sum(negative.values())
    )
    assert (positive, negative) == (cell.positive, cell.negative)
