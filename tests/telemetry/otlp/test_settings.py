import dataclasses

import pytest

from seawall.kernel.errors import PolicyError
from seawall.telemetry.otlp import OtlpSettings, from_environment
from seawall.telemetry.otlp.settings import TEXT_LIMIT

GENERAL = "OTEL_EXPORTER_OTLP_"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_"


def read(base=None, **variables):
    settings, problems = from_environment(variables, base)
    assert problems == ()
    return settings


def test_without_variables_the_defaults_hold():
    assert from_environment({}) == (OtlpSettings(), ())
    settings = OtlpSettings()
    assert settings.url.geturl() == "http://localhost:4318/v1/traces"
    assert (settings.port, settings.secure, settings.compression) == (4318, False, "gzip")


def test_a_general_endpoint_is_a_base():
    for given in ("http://collector:4318", "http://collector:4318/"):
        assert read(**{GENERAL + "ENDPOINT": given}).endpoint == "http://collector:4318/v1/traces"
    assert read(**{GENERAL + "ENDPOINT": "https://c/prefix"}).endpoint == "https://c/prefix/v1/traces"


def test_an_endpoint_for_traces_is_taken_as_it_is_and_wins():
    variables = {GENERAL + "ENDPOINT": "http://other", TRACES + "ENDPOINT": "https://collector/in"}
    settings = read(**variables)
    assert (settings.endpoint, settings.port, settings.secure) == ("https://collector/in", 443, True)
    assert OtlpSettings(endpoint="http://collector").port == 80


@pytest.mark.parametrize("suffix", ["HEADERS", "TIMEOUT", "COMPRESSION", "CERTIFICATE", "PROTOCOL"])
def test_a_variable_for_traces_wins(suffix):
    values = {
        "HEADERS": ("a=1", "a=2", "headers", (("a", "2"),)),
        "TIMEOUT": ("1", "2500", "timeout_s", 2.5),
        "COMPRESSION": ("gzip", "none", "compression", "none"),
        "CERTIFICATE": ("/a.pem", "/b.pem", "certificate", "/b.pem"),
        "PROTOCOL": ("http/protobuf", "grpc", "protocol", "grpc"),
    }
    general, traces, key, wanted = values[suffix]
    assert getattr(read(**{GENERAL + suffix: general, TRACES + suffix: traces}), key) == wanted
    assert getattr(read(**{GENERAL + suffix: traces, TRACES + suffix: ""}), key) == wanted  # empty is unset


def test_all_variables_at_once():
    settings = read(
        **{
            GENERAL + "ENDPOINT": "https://collector:4317",
            GENERAL + "PROTOCOL": "GRPC",
            GENERAL + "HEADERS": "Authorization=Bearer%20abc%3D, x-tenant = 7 ,,X-TENANT=8",
            GENERAL + "COMPRESSION": "None",
            GENERAL + "TIMEOUT": " 500 ",
            GENERAL + "CERTIFICATE": "/ca.pem",
            GENERAL + "CLIENT_KEY": "/key.pem",
            GENERAL + "CLIENT_CERTIFICATE": "/client.pem",
        }
    )
    assert settings == OtlpSettings(
        endpoint="https://collector:4317",
        protocol="grpc",
        headers=(("authorization", "Bearer abc="), ("x-tenant", "8")),
        compression="none",
        timeout_s=0.5,
        certificate="/ca.pem",
        client_certificate="/client.pem",
        client_key="/key.pem",
    )


@pytest.mark.parametrize(
    ("endpoint", "insecure", "wanted", "port"),
    [
        ("collector:4317", None, "https://collector:4317", 4317),
        ("collector:4317", "true", "http://collector:4317", 4317),
        ("collector:4317", "TRUE", "http://collector:4317", 4317),
        ("collector:4317", "yes", "https://collector:4317", 4317),
        ("https://collector:1", "true", "https://collector:1", 1),
        ("http://collector", "false", "http://collector", 4317),
        ("https://collector", None, "https://collector", 443),
    ],
)
def test_an_endpoint_of_grpc(endpoint, insecure, wanted, port):
    variables = {GENERAL + "PROTOCOL": "grpc", GENERAL + "ENDPOINT": endpoint}
    if insecure is not None:
        variables[GENERAL + "INSECURE"] = insecure
    settings = read(**variables)
    assert (settings.endpoint, settings.port) == (wanted, port)


def test_grpc_has_a_default_endpoint_of_its_own():
    assert read(**{GENERAL + "PROTOCOL": "grpc"}).url.geturl() == "http://localhost:4317"


def test_what_the_base_says_holds_where_no_variable_does():
    base = OtlpSettings(endpoint="http://base/v1/traces", batch_spans=7)
    settings = read(base, **{TRACES + "TIMEOUT": "1000"})
    assert settings == dataclasses.replace(base, timeout_s=1.0)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("PROTOCOL", "carrier pigeon"),
        ("PROTOCOL", "http/json"),
        ("ENDPOINT", "ftp://collector"),
        ("ENDPOINT", "http://"),
        ("ENDPOINT", "http://collector:70000"),
        ("ENDPOINT", "http://collector:0"),
        ("ENDPOINT", "http://coll ector"),
        ("ENDPOINT", "http://käse"),
        ("ENDPOINT", "http://[::1"),
        ("ENDPOINT", "http://collector/?key=1"),
        ("COMPRESSION", "brotli"),
        ("TIMEOUT", "10s"),
        ("TIMEOUT", "-1"),
        ("TIMEOUT", "0"),
        ("TIMEOUT", "9" * 400),
        ("HEADERS", "no pairs"),
        ("HEADERS", "bad name=1"),
        ("HEADERS", "content-length=5"),
        ("HEADERS", "x=%C3%A4"),
        ("CLIENT_KEY", "/key.pem"),
    ],
)
def test_a_variable_that_makes_no_sense_is_left_out_and_reported(suffix, text):
    settings, (problem,) = from_environment({TRACES + suffix: text, GENERAL + "CERTIFICATE": "/ca.pem"})
    assert settings == OtlpSettings(certificate="/ca.pem")
    assert problem.key == TRACES + suffix
    assert problem.allowed


def test_a_line_break_in_a_header_is_refused():
    settings, (problem,) = from_environment({GENERAL + "HEADERS": "x=a%0d%0aHost:%20evil"})
    assert settings.headers == ()
    assert "evil" not in str(problem)


@pytest.mark.parametrize("name", ["grpc-timeout", "GRPC-Status", "trace-bin"])
def test_headers_that_grpc_doesnt_take_from_users(name):
    headers = ((name, "x"),)
    assert OtlpSettings(headers=headers).headers == headers
    with pytest.raises(PolicyError, match=name):
        OtlpSettings(headers=headers, protocol="grpc")


def test_secrets_are_never_shown():
    secret = "hunter2"
    shown = [repr(OtlpSettings(headers=(("authorization", secret),)))]
    for variables in (
        {GENERAL + "HEADERS": f"x={secret},broken"},
        {GENERAL + "HEADERS": f"Authorization: Bearer {secret}="},
        {GENERAL + "ENDPOINT": f"http://user:{secret}@collector"},
        {GENERAL + "ENDPOINT": f"http://collector:0?key={secret}"},
        {TRACES + "ENDPOINT": f"http://user:{secret}@[::1"},
    ):
        shown += [str(each) for each in from_environment(variables)[1]]
    for wrong in (
        {"endpoint": f"http://{secret}@collector"},
        {"endpoint": f"http://collector?key={secret}"},
        {"headers": (("a", f"{secret}\n"),)},
        {"headers": ((f"Authorization: {secret}", ""),)},
    ):
        with pytest.raises(PolicyError) as caught:
            OtlpSettings(**wrong)
        shown.append(str(caught.value))
    assert len(shown) == 10
    assert all(secret not in text for text in shown)


def test_a_complaint_that_repeats_our_headers_is_shown_without_them():
    settings = OtlpSettings(headers=(("authorization", "Bearer hunter2"), ("x-short", "7")))
    assert settings.presentable("no such token: hunter2") == "no such token: <not shown>"
    assert "hunter2" not in settings.presentable("x" * (TEXT_LIMIT - 3) + "Bearer hunter2")
    assert settings.presentable("HTTP 307") == "HTTP 307"


def test_a_strangers_text_is_one_short_line():
    assert OtlpSettings().presentable("a\nb\x1b[31m") == "a b [31m"
    assert len(OtlpSettings().presentable("x" * 1_000)) == TEXT_LIMIT + 1


def test_wrong_values_in_code_are_all_named_at_once():
    with pytest.raises(PolicyError) as caught:
        OtlpSettings(
            endpoint="collector",
            protocol="udp",
            compression="lzma",
            headers=(("a b", "1"), ("host", "x")),
            timeout_s=0,
            batch_spans=0,
            poll_s=float("nan"),
            retry_max_s=1e9,
            client_key="key.pem",
        )
    keys = [problem.key for problem in caught.value.problems]
    wanted = (
        "endpoint protocol compression headers headers client_key batch_spans timeout_s poll_s retry_max_s"
    )
    assert keys == wanted.split()
