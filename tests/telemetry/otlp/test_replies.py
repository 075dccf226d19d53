import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from seawall.telemetry.otlp.replies import accepted, grpc_verdict, http_verdict, retry_after_s, retry_info_s
from seawall.telemetry.otlp.verdict import FAILURE_REASONS, Answer, Verdict

NOW = 1_790_000_000.0
ACCEPTED = Verdict(answer=Answer.ACCEPTED)


def judged(status, headers=None, body=b"", spans=10):
    return http_verdict(status, headers or {}, body, spans=spans, wall=NOW)


def response(rejected, message=""):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = message
    return answer.SerializeToString()


def details(seconds=None, nanos=0):
    status = Status(code=14)
    other = Any()
    other.Pack(DebugInfo(detail="x"))
    status.details.append(other)
    if seconds is not None:
        info = RetryInfo()
        info.retry_delay.seconds, info.retry_delay.nanos = seconds, nanos
        packed = Any()
        packed.Pack(info)
        status.details.append(packed)
    return status.SerializeToString()


@pytest.mark.parametrize("status", [200, 202, 204])
def test_all_is_well(status):
    assert judged(status) == ACCEPTED


def test_a_partial_success_is_counted():
    wanted = Verdict(answer=Answer.ACCEPTED, rejected=3, text="too old")
    assert judged(200, body=response(3, "too old")) == wanted
    assert accepted(response(3, "too old"), spans=10) == wanted


def test_fields_that_nobody_knows_are_passed_over():
    assert judged(200, body=b"\x10\x05\x0a\x04\x18\x07\x08\x02").rejected == 2
    assert judged(200, body=b"\x08\x05") == ACCEPTED


def test_a_warning_without_rejected_spans():
    assert judged(200, body=response(0, "slow down")) == Verdict(answer=Answer.ACCEPTED, text="slow down")


def test_no_collector_rejects_more_than_it_got():
    assert judged(200, body=response(99)).rejected == 10
    assert judged(200, body=response(-5)).rejected == 0


def test_an_unreadable_answer_takes_nothing_back():
    verdict = judged(200, body=b"\xff\xff")
    assert (verdict.answer, verdict.rejected, verdict.reason) == (Answer.ACCEPTED, 0, "")
    assert "unreadable" in verdict.text


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (429, Answer.RETRY, "throttled"),
        (502, Answer.RETRY, "unavailable"),
        (503, Answer.RETRY, "unavailable"),
        (504, Answer.RETRY, "unavailable"),
        *[(status, Answer.REFUSED, "refused") for status in (301, 400, 401, 404, 408, 413, 500, 501)],
    ],
)
def test_which_statuses_are_worth_another_attempt(status, answer, reason):
    verdict = judged(status)
    assert (verdict.answer, verdict.reason, verdict.text) == (answer, reason, f"HTTP {status}")


def test_a_reason_is_told_to_the_operator():
    assert (
        judged(400, body=Status(code=3, message="bad span").SerializeToString()).text == "HTTP 400 bad span"
    )
    for odd in (b"\xff", b"\x10\x05", b"<html>"):
        assert judged(400, body=odd).text == "HTTP 400"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "99999999999999"}, 999_999_999.0),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "Mon, 21 Sep 2026 13:06:50 GMT"}, 210.0),
        ({"retry-after": "Mon, 21 Sep 2026 13:06:50 GMT", "date": "Mon, 21 Sep 2026 13:06:40 GMT"}, 10.0),
        ({"retry-after": "Mon, 21 Sep 2026 13:06:50 GMT", "date": "yesterday"}, 210.0),
        ({"retry-after": "Mon, 21 Sep 2020 13:06:50 GMT"}, 0.0),
        ({"retry-after": "Mon, 99 Sep 2026 13:06:50 GMT"}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after_s(headers, 1_789_995_800.0) == seconds
    assert http_verdict(429, headers, b"", spans=1, wall=1_789_995_800.0).retry_after_s == seconds


@pytest.mark.parametrize(
    "code", ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]
)
def test_codes_that_are_worth_another_attempt(code):
    assert grpc_verdict(code, "", None).answer is Answer.RETRY
    verdict = grpc_verdict(code, "busy", details(2, 500_000_000))
    assert (verdict.answer, verdict.retry_after_s, verdict.text) == (Answer.RETRY, 2.5, f"{code} busy")
    assert verdict.reason in FAILURE_REASONS


@pytest.mark.parametrize(
    "code", ["INVALID_ARGUMENT", "UNAUTHENTICATED", "UNIMPLEMENTED", "INTERNAL", "UNKNOWN"]
)
def test_codes_that_are_not(code):
    assert grpc_verdict(code, "", details(1)).answer is Answer.REFUSED


def test_exhausted_resources_come_back_if_the_server_says_when():
    assert grpc_verdict("RESOURCE_EXHAUSTED", "", None).answer is Answer.REFUSED
    assert grpc_verdict("RESOURCE_EXHAUSTED", "", details()).answer is Answer.REFUSED
    verdict = grpc_verdict("RESOURCE_EXHAUSTED", "", details(0, 1_000))
    assert (verdict.answer, verdict.reason, verdict.retry_after_s) == (Answer.RETRY, "throttled", 1e-6)


def test_a_delay_that_makes_no_sense_is_none():
    assert retry_info_s(details(-1)) is None
    assert retry_info_s(b"\x1a\xff") is None
    assert retry_info_s(b"") is None
    name = b"type.googleapis.com/google.rpc.RetryInfo"
    address = b"\x0a" + bytes([len(name)]) + name
    for value in (b"\x10\x05", b"\x12\x02\x08\x05", b"\x12\x04\x0a\x02\x0a\x00"):
        detail = address + value
        assert retry_info_s(b"\x1a" + bytes([len(detail)]) + detail) is None


@given(st.binary(max_size=60), st.sampled_from([200, 400, 429, 503]))
def test_any_body_is_judged(body, status):
    assert judged(status, body=body).answer in Answer
    assert 0 <= accepted(body, spans=1).rejected <= 1
    assert grpc_verdict("UNAVAILABLE", "", body).answer is Answer.RETRY
