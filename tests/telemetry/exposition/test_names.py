"""Names on the wire; the expected rewritings are those of Prometheus' documentation and its own client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import exposition as theirs

from seawall.telemetry.exposition.names import Escaping, base_name, escape_label, escape_metric

NAMES = ["plain_name", "http.status:sum", "label with 😱", "1starts", "a__b", "花火", "a\ud800b", "x٣", "²"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", [Escaping.UNDERSCORES, Escaping.VALUES])
def test_the_schemes_agree_with_the_client_for_metrics(name: str, scheme: Escaping) -> None:
    # Within a name that has to be rewritten their client takes the colon for not plain; the document doesn't.
    if ":" not in name:
        assert escape_metric(name, scheme) == theirs.escape_metric_name(name, scheme.value)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
        lambda name: not name.startswith("__")
    )
)
@pytest.mark.parametrize("scheme", [Escaping.UNDERSCORES, Escaping.VALUES, Escaping.DOTS])
def test_the_schemes_agree_with_the_client_for_labels(scheme: Escaping, name: str) -> None:
    assert escape_label(name, scheme) == theirs.escape_label_name(name, scheme.value)


@pytest.mark.parametrize(
    ("name", "scheme", "wanted"),
    [
        ("http.status:sum", Escaping.UNDERSCORES, "http_status:sum"),
        ("http.status:sum", Escaping.DOTS, "http_dot_status:sum"),
        ("http.status:sum", Escaping.VALUES, "U__http_2e_status:sum"),
        ("no:escaping_required", Escaping.DOTS, "no:escaping__required"),
        ("no:escaping_required", Escaping.VALUES, "no:escaping_required"),
        ("a.b", Escaping.ALLOW_UTF_8, "a.b"),
    ],
)
def test_the_schemes_of_the_document(name: str, scheme: Escaping, wanted: str) -> None:
    assert escape_metric(name, scheme) == wanted


@pytest.mark.parametrize(
    ("name", "kind", "unit", "wanted"),
    [
        ("calls", "COUNTER", "", "seawall_calls"),
        ("calls_total", "COUNTER", "", "seawall_calls"),
        ("wait", "HISTOGRAM", "seconds", "seawall_wait_seconds"),
        ("wait_seconds", "HISTOGRAM", "seconds", "seawall_wait_seconds"),
        ("seconds", "GAUGE", "seconds", "seawall_seconds"),
        ("build", "INFO", "", "seawall_build"),
        ("build_info", "INFO", "", "seawall_build"),
        ("door", "STATE_SET", "ratio", "seawall_door"),
    ],
)
def test_suffixes_are_added_once(name: str, kind: str, unit: str, wanted: str) -> None:
    assert base_name(name, kind=kind, unit=unit, namespace="seawall") == wanted
