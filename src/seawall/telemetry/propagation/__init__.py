"""Trace context and baggage from process to process, whatever carries the request.

:class:`Propagator` is an OpenTelemetry ``TextMapPropagator``: give it to
``opentelemetry.propagate.set_global_textmap``, and whatever instruments an application uses it. ``carriers``
has the getters and setters for the protocols that no instrumentation knows, ``sql`` the comments in
statements, ``saga`` the id that holds the steps of one saga and their compensations together.
"""

from seawall.telemetry.propagation.baggage import BaggageValue
from seawall.telemetry.propagation.carriers import (
    ENVELOPE_GETTER,
    ENVELOPE_SETTER,
    GRPC_GETTER,
    GRPC_SETTER,
    HTTP_GETTER,
    HTTP_SETTER,
    KAFKA_GETTER,
    KAFKA_SETTER,
    MQTT_GETTER,
    MQTT_SETTER,
)
from seawall.telemetry.propagation.propagator import (
    PROPAGATOR,
    PropagationStatistics,
    Propagator,
)
from seawall.telemetry.propagation.saga import (
    begin_saga,
    compensated_step,
    compensating,
    saga_id,
)
from seawall.telemetry.propagation.sql import context_of_sql, sql_with_context

__all__ = [
    "ENVELOPE_GETTER",
    "ENVELOPE_SETTER",
    "GRPC_GETTER",
    "GRPC_SETTER",
    "HTTP_GETTER",
    "HTTP_SETTER",
    "KAFKA_GETTER",
    "KAFKA_SETTER",
    "MQTT_GETTER",
    "MQTT_SETTER",
    "PROPAGATOR",
    "BaggageValue",
    "PropagationStatistics",
    "Propagator",
    "begin_saga",
    "compensated_step",
    "compensating",
    "context_of_sql",
    "saga_id",
    "sql_with_context",
]
