"""A saga's id: the same in every step and every compensation, wherever and whenever they run."""

import json

import pytest
from opentelemetry.baggage import get_all, get_baggage, set_baggage
from opentelemetry.context import Context, attach, detach

from seawall.telemetry.propagation.carriers import KAFKA_GETTER, KAFKA_SETTER, MQTT_GETTER, MQTT_SETTER
from seawall.telemetry.propagation.propagator import PROPAGATOR, Propagator
from seawall.telemetry.propagation.saga import begin_saga, compensated_step, compensating, saga_id
from seawall.wire.tracecontext.baggage import BYTES_MAX
from tests.telemetry.propagation.contexts import TRACE_ID, context_with, remote


def test_a_saga_has_one_id() -> None:
    outside = set_baggage("user", "alice", context_with())
    inside = begin_saga("order-4711", outside)
    assert saga_id(outside) is None
    assert saga_id(inside) == "order-4711"
    assert compensated_step(inside) is None
    assert get_baggage("user", inside) == "alice"
    assert remote(inside).trace_id == TRACE_ID
    assert get_all(outside) == {"user": "alice"}


def test_another_saga_takes_its_place() -> None:
    other = begin_saga("b", compensating("s", begin_saga("a", Context())))
    assert (saga_id(other), compensated_step(other)) == ("b", None)


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
        assert saga_id(begin_saga("other")) == "other"
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
    kept: dict[str, str] = {}
    PROPAGATOR.inject(kept, begin_saga("order-4711", context_with(baggage={"user": "alice"})))
    kept = json.loads(json.dumps(kept))
    assert all(value.isascii() for value in kept.values())
    undoing = compensating("charge-card", PROPAGATOR.extract(kept))
    assert (saga_id(undoing), compensated_step(undoing)) == ("order-4711", "charge-card")
    assert get_baggage("user", undoing) == "alice"
    assert (remote(undoing).trace_id, remote(undoing).is_remote) == (TRACE_ID, True)
