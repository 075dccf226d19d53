"""A value that is planted wherever applications have data comes out in nothing that leaves the process."""

import contextlib
import logging

import pytest
from opentelemetry.trace import Status, StatusCode

from seawall import Breaker, Retry, guard
from seawall.kernel.signals import Hub
from seawall.telemetry.exposition import Format, Writer
from seawall.telemetry.logs import LogSettings, configure, get_logger
from seawall.telemetry.metrics import Registry
from seawall.telemetry.otlp.encode import Encoder
from seawall.telemetry.otlp.masking import Masking
from seawall.telemetry.subscribers import observe
from seawall.telemetry.tracing import Sampling, TracerProvider
from seawall.testing import VirtualClock

PLANTED = "pLanted-9f3c-Valu3"


class UniqueViolation(Exception):
    """As a driver raises it: the text quotes the row."""

    sqlstate = "23505"


def transfer(account: str) -> None:
    password = account
    try:
        raise UniqueViolation(f"DETAIL:  Key (account)=({password}) already exists.")
    except UniqueViolation as error:
        raise RuntimeError(f"the transfer of {password!r} failed") from error


def work(provider: TracerProvider, hub: Hub, registry: Registry) -> list[str]:
    """Do what applications do, with a value that nobody may see; what it was told on the way."""
    clock = VirtualClock()
    bank = guard(
        "bank",
        breaker=Breaker(errors="5%"),
        retry=Retry(attempts=2, base="100ms", jitter="none"),
        clock=clock,
        rng=lambda: 0.0,
        hub=hub,
    )
    tracer = provider.get_tracer("shop")
    plain, structured = logging.getLogger("shop"), get_logger("shop.orders")
    told = []
    with observe(hub, registry=registry, guards=[bank]):
        for _ in range(40):
            with contextlib.suppress(Exception):
                with tracer.start_as_current_span("transfer") as span:
                    span.set_attribute("db.query.text", f"INSERT INTO t VALUES ('{PLANTED}')")
                    span.set_attribute("url.full", f"https://bank.example/?token={PLANTED}")
                    try:
                        bank.at(PLANTED).call(transfer, PLANTED)
                    except Exception as error:
                        told.append(f"{error} {error.__cause__} {error.__class__.__name__}")
                        span.set_status(Status(StatusCode.ERROR, f"Key (a)=({PLANTED}) exists."))
                        plain.exception("transfer failed for password=%s", PLANTED)
                        structured.exception("transfer_failed", account=PLANTED, password=PLANTED)
                        structured.warning(f"INSERT INTO t VALUES ('{PLANTED}') failed")
                        raise
    told.append(str(bank.statistics()))
    return told


@pytest.fixture
def outputs(tmp_path) -> dict[str, bytes]:
    """All that leaves the process, by what it is; and what applications were told themselves."""
    registry, hub = Registry(), Hub()
    provider = TracerProvider(sampling=Sampling(ratio=1.0))
    path = tmp_path / "log"
    with configure(LogSettings(service="shop", level="DEBUG", destination=path)):
        told = work(provider, hub, registry)
    spans = provider.lane.take(10_000)
    requests = Encoder(pytest.fail, request_bytes=1 << 20, masking=Masking()).steps(spans)
    writer = Writer(registry)
    return {
        "told": "\n".join(told).encode(),
        "log": path.read_bytes(),
        "spans": b"".join(request.body for request in requests if request is not None),
        **{form.name: writer.write(form) for form in Format},
    }


def test_the_value_reached_the_application(outputs) -> None:
    assert outputs["told"].count(PLANTED.encode()) >= 5


def test_every_output_tells_of_what_happened(outputs) -> None:
    assert outputs["log"].count(b"transfer_failed") == outputs["log"].count(b'"transfer failed') == 40
    assert b"UniqueViolation" in outputs["log"]
    assert b"23505" in outputs["log"]
    assert outputs["spans"].count(b"exception.stacktrace") >= 40
    assert b"INSERT INTO t" in outputs["spans"]
    assert all(b"bank" in outputs[form.name] for form in Format)


@pytest.mark.parametrize("output", ["log", "spans", *(form.name for form in Format)])
def test_no_output_has_the_value(outputs, output: str) -> None:
    assert PLANTED.encode() not in outputs[output]


def test_it_would_be_found_where_masking_is_off(outputs) -> None:
    provider = TracerProvider(sampling=Sampling(ratio=1.0), exceptions="shown")
    work(provider, Hub(), Registry())
    requests = Encoder(pytest.fail, request_bytes=1 << 20).steps(provider.lane.take(10_000))
    assert PLANTED.encode() in b"".join(request.body for request in requests if request is not None)
