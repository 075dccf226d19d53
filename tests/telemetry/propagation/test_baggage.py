"""Baggage as OpenTelemetry's API shows it: a text with properties is a text."""

import copy
import pickle

from seawall.telemetry.propagation.baggage import BaggageValue, to_entries, to_mapping
from seawall.wire.tracecontext.baggage import Entry, Property


def test_a_value_with_properties_is_a_text() -> None:
    value = BaggageValue("v", [Property("p", "1")])
    assert value == "v"
    assert hash(value) == hash("v")
    assert value.properties == (Property("p", "1"),)
    assert BaggageValue("v").properties == ()
    for other in (copy.copy(value), pickle.loads(pickle.dumps(value))):
        assert (other, other.properties) == (value, value.properties)


def test_to_the_api_and_back() -> None:
    entries = [Entry("a", "1"), Entry("b", "2", (Property("p"),))]
    mapping = to_mapping(entries)
    assert mapping == {"a": "1", "b": "2"}
    assert type(mapping["a"]) is str
    assert to_entries(mapping) == entries


def test_of_a_name_that_comes_twice_the_last() -> None:
    assert to_mapping([Entry("a", "1"), Entry("a", "2")]) == {"a": "2"}


def test_what_is_no_text_is_written_as_one() -> None:
    assert to_entries({"a": 1, "b": None}) == [Entry("a", "1"), Entry("b", "None")]
