"""One id for all steps of a saga and for the compensations that undo them.

A compensation may run much later than its step, in another process, with no request that leads to it. The
trace of the step is long over by then; what holds the two together is the saga's id. It travels as baggage,
before all other entries so that it is the last to be dropped, and beside it which step is being undone::

    baggage: seawall.saga=order-4711,seawall.compensates=charge-card

Two entries, not one with a property: services that know no sagas pass both on, and some lose properties.

Between a step and its compensation the saga's log keeps the fields, which are short ASCII texts::

    PROPAGATOR.inject(kept)  # with the step, into a dict
    context = compensating("charge-card", PROPAGATOR.extract(kept))  # when it is undone

The context then has the step's span as a remote parent. Much later, link to that span instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.context.context import Context

from seawall.telemetry.propagation.propagator import BAGGAGE_KEY
from seawall.telemetry.tracing.current import get_current

SAGA_NAME: Final = "seawall.saga"
"""The entry of baggage that holds the id."""
COMPENSATES_NAME: Final = "seawall.compensates"
"""The entry that names the step which is being undone; absent while a saga goes forwards."""


def begin_saga(saga: str, context: Context | None = None) -> Context:
    """Say that what follows belongs to a saga.

    Args:
        saga: Its id: any text that names this one run, such as the order's number. It replaces another one.
        context: The current one, if none is given.

    Returns:
        A context to attach.
    """
    return _with({SAGA_NAME: saga}, context)


def saga_id(context: Context | None = None) -> str | None:
    """The saga that this belongs to; None if it belongs to none.

    Args:
        context: The current one, if none is given.
    """
    return _text(SAGA_NAME, context)


def compensating(step: str, context: Context | None = None) -> Context:
    """Say that what follows undoes a step of the saga; its id stays what it is.

    Args:
        step: Which step, as the saga calls it.
        context: The current one, if none is given.

    Returns:
        A context to attach; the same one, if it belongs to no saga.
    """
    saga = saga_id(context)
    if saga is None:
        return get_current() if context is None else context
    return _with({SAGA_NAME: saga, COMPENSATES_NAME: step}, context)


def compensated_step(context: Context | None = None) -> str | None:
    """The step that is being undone; None outside of compensations.

    Args:
        context: The current one, if none is given.
    """
    return _text(COMPENSATES_NAME, context)


def _baggage(context: Context | None) -> Mapping[str, object]:
    held = (get_current() if context is None else context).get(BAGGAGE_KEY)
    return held if isinstance(held, dict) else {}


def _text(name: str, context: Context | None) -> str | None:
    value = _baggage(context).get(name)
    return str(value) if isinstance(value, str) else None


def _with(saga: dict[str, object], context: Context | None) -> Context:
    """The context with these entries in front of the others, in place of those of another saga."""
    values = dict(get_current() if context is None else context)
    held = _baggage(context)
    others = {name: held[name] for name in held if name not in {SAGA_NAME, COMPENSATES_NAME}}
    values[BAGGAGE_KEY] = {**saga, **others}
    return Context(values)
