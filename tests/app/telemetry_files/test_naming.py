"""A query's name for a row is the one that a scrape has, and nonsense is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.app.telemetry_files import Naming
from seawall.kernel.errors import PolicyError, UsageError
from seawall.telemetry.catalogue import EXPOSED
from seawall.telemetry.exposition import Settings, Writer
from seawall.telemetry.metrics import Kind, Metric, Registry


def scrape(metric: Metric, namespace: str) -> str:
    registry = Registry()
    registry.declare(metric).cell(*("x" for _ in metric.labels))
    return Writer(registry, Settings(namespace=namespace)).write().decode()


@given(st.sampled_from(EXPOSED), st.sampled_from(["seawall", "acme_shop", ""]))
def test_the_name_of_a_sample_is_the_writers(metric, namespace) -> None:
    naming = Naming(namespace=namespace)
    exposed = naming.exposed(metric)
    name = naming.buckets(metric) if metric.kind is Kind.HISTOGRAM else exposed.name
    samples = [line for line in scrape(metric, namespace).splitlines() if not line.startswith("#")]
    assert any(line.startswith((f"{name}{{", f"{name} ")) for line in samples)
    for label in exposed.labels:
        assert f'{label}="' in samples[0]


COUNTER = Metric(name="calls", kind=Kind.COUNTER, help="Calls.")
GAUGE = Metric(name="depth", kind=Kind.GAUGE, help="Depth.")
INFO = Metric(name="build", kind=Kind.INFO, help="Build.")
NATIVE = Metric(name="took", kind=Kind.NATIVE_HISTOGRAM, help="Took.", unit="seconds")


@pytest.mark.parametrize(
    ("ask", "wrong"),
    [("counter", GAUGE), ("gauge", COUNTER), ("info", GAUGE), ("buckets", NATIVE), ("native", COUNTER)],
)
def test_what_makes_no_sense_of_a_kind_is_refused(ask, wrong) -> None:
    with pytest.raises(UsageError, match="not a"):
        getattr(Naming(), ask)(wrong)


def test_the_other_names() -> None:
    naming = Naming(namespace="")
    assert naming.counter(COUNTER) == "calls_total"
    assert naming.info(INFO) == "build_info"
    assert naming.native(NATIVE) == "took_seconds"
    assert naming.recorded("job", NATIVE, "p99") == "job:took_seconds:p99"
    assert (naming.prefix, Naming(namespace="acme_shop").prefix) == ("seawall", "acme-shop")


def test_an_open_breaker_has_the_number_of_the_writers_settings() -> None:
    row = Metric(name="circuit_breaker_state", kind=Kind.GAUGE, help="State.")
    for numbering in ("seawall", "helios"):
        registry = Registry()
        registry.gauge(row).cell().set(2)
        text = Writer(registry, Settings(state_numbering=numbering)).write().decode()
        assert text.splitlines()[-1].endswith(f" {float(Naming(state_numbering=numbering).open_state)}")


def test_a_wrong_namespace_is_refused() -> None:
    with pytest.raises(PolicyError, match="namespace"):
        Naming(namespace="a-b")
    with pytest.raises(PolicyError, match="state_numbering"):
        Naming(state_numbering="other")
