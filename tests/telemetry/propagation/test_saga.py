"""A saga's id: the same in every step and every compensation, wherever and whenever they run."""

import json

import pytest
from opentelemetry.baggage import get_all, get_baggage, set_baggage
from opentelemetry.context import Context, attach, detach

from seawall.telemetry.propagation.carriers import KAFKA_GETTER, KAFKA_SETTER, MQTT_GETTER, MQTT_SETTER
from seawall.telemetry.propagation.propagator import PROPAGATOR, Propagator
from seawall.telemetry.propagation.saga import (
    begin_saga,
    compensated_step,
    compensating,
    end_saga,
    recall_saga,
    remember_saga,
    saga_id,
)
from seawall.wire.tracecontext.baggage import BYTES_MAX
from tests.telemetry.propagation.contexts import TRACE_ID, context_with, remote


def test_a_saga_has_one_id_until_it_ends() -> None:
    outside = set_baggage("user", "alice", context_with())
    inside = begin_saga("order-4711", outside)
    assert saga_id(outside) is None
    assert saga_id(inside) == "order-4711"
    assert compensated_step(inside) is None
    after = end_saga(inside)
    assert saga_id(after) is None
    assert get_all(after) == {"user": "alice"}
    assert remote(after).trace_id == TRACE_ID


def test_another_saga_takes_its_place() -> None:
    assert saga_id(begin_saga("b", compensating("s", begin_saga("a", Context())))) == "b"
    assert compensated_step(begin_saga("b", compensating("s", begin_saga("a", Context())))) is None


def test_compensations_keep_the_id_and_name_their_step() -> None:
    inside = begin_saga("order-4711", Context())
    undoing = compensating("charge-card", inside)
    assert (saga_id(undoing), compensated_step(undoing)) == ("order-4711", "charge-card")
    assert compensated_step(compensating("book-flight", undoing)) == "book-flight"
    assert compensated_step(inside) is None


def test_outside_of_a_saga_there_is_nothing_to_compensate() -> None:
    context = context_with()
    assert compensating("charge-card", context) is context
    assert (saga_id(context), compensated_step(context)) == (None, None)


def test_works_on_the_current_context() -> None:
    token = attach(begin_saga("order-4711", Context()))
    try:
        assert saga_id() == "order-4711"
        assert compensated_step(compensating("charge-card")) == "charge-card"
        assert saga_id(end_saga()) is None
        assert saga_id(begin_saga("other")) == "other"
        assert remember_saga() == {"baggage": "seawall.saga=order-4711"}
    finally:
        detach(token)
    assert saga_id() is None
    assert compensating("charge-card") == {}


@pytest.mark.parametrize("saga", ["order-4711", "a b;c,d=e%", "\u00e9\u4f60", ""])
def test_goes_from_service_to_service(saga: str) -> None:
    context = compensating("charge card;", begin_saga(saga, context_with(baggage={"user": "alice"})))
    for getter, setter in ((KAFKA_GETTER, KAFKA_SETTER), (MQTT_GETTER, MQTT_SETTER)):
        carrier: list[object] = []
        PROPAGATOR.inject(carrier, context, setter)
        context = PROPAGATOR.extract(carrier, getter=getter)
        assert (saga_id(context), compensated_step(context)) == (saga, "charge card;")
        assert get_baggage("user", context) == "alice"


def test_services_that_know_no_sagas_pass_it_on() -> None:
    from opentelemetry.baggage.propagation import W3CBaggagePropagator

    theirs = W3CBaggagePropagator()
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier, compensating("charge-card", begin_saga("order-4711", Context())))
    onwards: dict[str, str] = {}
    theirs.inject(onwards, theirs.extract(carrier, Context()))
    context = PROPAGATOR.extract(onwards)
    assert (saga_id(context), compensated_step(context)) == ("order-4711", "charge-card")


def test_is_the_last_entry_to_be_dropped() -> None:
    propagator = Propagator()
    crowded = context_with(baggage={f"k{at}": "v" * 100 for at in range(200)})
    carrier: dict[str, str] = {}
    propagator.inject(carrier, begin_saga("order-4711", crowded))
    assert len(carrier["baggage"]) <= BYTES_MAX
    assert saga_id(propagator.extract(carrier)) == "order-4711"
    assert propagator.statistics().baggage_dropped > 0


def test_a_compensation_long_after_its_step() -> None:
    step = begin_saga("order-4711", context_with(baggage={"user": "alice"}))
    kept = json.loads(json.dumps(remember_saga(step)))
    assert all(isinstance(value, str) and value.isascii() for value in kept.values())
    undoing = recall_saga(kept, "charge-card")
    assert (saga_id(undoing), compensated_step(undoing)) == ("order-4711", "charge-card")
    assert get_baggage("user", undoing) == "alice"
    assert (remote(undoing).trace_id, remote(undoing).is_remote) == (TRACE_ID, True)
    onwards = recall_saga(kept)
    assert (saga_id(onwards), compensated_step(onwards)) == ("order-4711", None)


def test_a_log_that_kept_nothing_gives_nothing() -> None:
    assert recall_saga({}, "charge-card") == {}
    assert remember_saga(Context()) == {}
