"""What each scraper gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.telemetry.exposition.formats import (
    HEADER_CHARACTERS_MAX,
    RANGES_MAX,
    Format,
    accepts_gzip,
    negotiate,
)

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

PROTO_RANGE = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
OM_1 = "application/openmetrics-text;version=1.0.0"
OM_0 = "application/openmetrics-text;version=0.0.1"
UTF_8 = "escaping=allow-utf-8"
OLD = "text/plain;version=0.0.4"
NEW = "text/plain;version=1.0.0"

SCRAPERS = {
    "2.42": (f"{OM_1},{OM_0};q=0.75,{OLD};q=0.5,*/*;q=0.1", OPENMETRICS),
    "2.42 with native histograms": (
        f"{PROTO_RANGE},{OM_1};q=0.8,{OM_0};q=0.75,{OLD};q=0.5,*/*;q=0.1",
        PROTOBUF,
    ),
    "2.49": (f"{OM_1};q=0.5,{OM_0};q=0.4,{OLD};q=0.3,*/*;q=0.2", OPENMETRICS),
    "2.49 with native histograms": (
        f"{PROTO_RANGE};q=0.5,{OM_1};q=0.4,{OM_0};q=0.3,{OLD};q=0.2,*/*;q=0.1",
        PROTOBUF,
    ),
    "3.x with its scheme everywhere": (
        f"{OM_1};{UTF_8};q=0.5,{OM_0};{UTF_8};q=0.4,{OLD};{UTF_8};q=0.3,*/*;q=0.2",
        OPENMETRICS,
    ),
    "3.x with its scheme everywhere and native histograms": (
        f"{PROTO_RANGE};{UTF_8};q=0.5,{OM_1};{UTF_8};q=0.4,{OM_0};{UTF_8};q=0.3,{OLD};{UTF_8};q=0.2,*/*;q=0.1",
        PROTOBUF,
    ),
    "3.x": (
        f"{OM_1};{UTF_8};q=0.6,{OM_0};q=0.5,{NEW};{UTF_8};q=0.4,{OLD};q=0.3,*/*;q=0.2",
        OPENMETRICS,
    ),
    "3.x with native histograms": (
        f"{PROTO_RANGE};q=0.6,{OM_1};{UTF_8};q=0.5,{OM_0};q=0.4,{NEW};{UTF_8};q=0.3,{OLD};q=0.2,*/*;q=0.1",
        PROTOBUF,
    ),
    "3.x that wants underscores": (
        f"{OM_1};escaping=underscores;q=0.6,{OM_0};q=0.5,{NEW};escaping=underscores;q=0.4,{OLD};q=0.3,*/*;q=0.2",
        OPENMETRICS,
    ),
    "3.15": (
        f"{OM_1};{UTF_8};q=0.7,{OM_0};q=0.6,{NEW};{UTF_8};q=0.5,{OLD};q=0.4,*/*;q=0.3",
        OPENMETRICS,
    ),
    "3.15 with native histograms": (
        f"{PROTO_RANGE};q=0.7,{OM_1};{UTF_8};q=0.6,{OM_0};q=0.5,{NEW};{UTF_8};q=0.4,{OLD};q=0.3,*/*;q=0.2",
        PROTOBUF,
    ),
    "3.x with text first": (
        f"{NEW};{UTF_8};q=0.6,{OLD};q=0.5,{OM_1};{UTF_8};q=0.4,*/*;q=0.3",
        TEXT,
    ),
}


@pytest.mark.parametrize(("accept", "answer"), SCRAPERS.values(), ids=SCRAPERS)
def test_what_prometheus_sends_and_gets(accept: str, answer: str) -> None:
    assert negotiate(accept).content_type == answer


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (None, TEXT),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/*", TEXT),
        ("text/plain", TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
        ("application/json", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/*", OPENMETRICS),
        ("APPLICATION/OpenMetrics-Text; Version=1.0.0", OPENMETRICS),
        ('application/openmetrics-text; version="1.0.0"; charset=UTF-8', OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        (f"{PROTO_RANGE};escaping=values", PROTOBUF),
        (f"application/openmetrics-text;version=2.0.0,{OLD};q=0.2,{PROTO_RANGE};q=0.1", TEXT),
        (f"{OM_0},{OLD};q=0.5,*/*;q=0.1", TEXT),
        (f"{NEW},{OM_1};q=0.5", OPENMETRICS),
        ("text/plain;charset=iso-8859-1,application/*;q=0.1", OPENMETRICS),
        ("text/plain;charset=iso-8859-1,*/*;q=0.1", TEXT),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.Metric;encoding=delimited", TEXT),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", TEXT),
        (f"{OLD};q=0.5,{OM_1};q=0.5", TEXT),
        (f"{OM_1};q=0.5,{OLD};q=0.5", OPENMETRICS),
        (f"*/*,{OM_1}", OPENMETRICS),
        (f"{OLD};q=0.2,text/plain;q=0.9,{OM_1};q=0.5", OPENMETRICS),
        ("text/plain;q=0,*/*;q=0.1", OPENMETRICS),
        (f"{OM_1};q=0,*/*;q=0", TEXT),
        (f"{OM_1};q=2,{OLD};q=0.1", TEXT),
        (f"{OM_1};q=nan", TEXT),
        (f"{OM_1};q=", TEXT),
        (";;,,;q=1,text/plain;;=;q=0.5", TEXT),
        ('"' * 50, TEXT),
        ('"\\"' * 1_000, TEXT),
        (f'text/html;title="a,b;q=1\\",{NEW}",{OM_1};q=0.1', OPENMETRICS),
    ],
)
def test_the_table(accept: str | None, answer: str) -> None:
    assert negotiate(accept).content_type == answer


def test_a_header_is_read_to_its_bounds_only() -> None:
    filler = "application/json," * RANGES_MAX
    assert negotiate(filler.removeprefix("application/json,") + OM_1).content_type == OPENMETRICS
    assert negotiate(filler + OM_1).content_type == TEXT
    assert negotiate("x" * HEADER_CHARACTERS_MAX + f",{OM_1}").content_type == TEXT


@given(
    st.text(st.sampled_from('a*/,;=q01.\\" \n') | st.characters(), max_size=60),
    st.sampled_from(["", OM_1, PROTO_RANGE]),
)
def test_no_header_is_an_error(noise: str, behind: str) -> None:
    answer = negotiate(noise + behind)
    assert answer in Format
    assert accepts_gzip(noise) in {True, False}


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, False),
        ("", False),
        ("identity", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("gzip; q=0.5", True),
        ("*", True),
        ("*;q=0", False),
        ("br, *;q=0.1", True),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("gzip;q=loud", False),
        ("deflate", False),
    ],
)
def test_gzip(header: str | None, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
