"""Resources and scopes, shaped as the SDK's."""

import json

from seawall.telemetry.tracing.readable import InstrumentationScope, Resource


def test_a_resource_is_its_attributes():
    one, same = Resource({"a": 1, "b": [1]}), Resource({"b": (1,), "a": 1})
    assert one == same
    assert hash(one) == hash(same)
    assert one != Resource({"a": 1})
    assert one != "text"
    assert one.attributes["b"] == (1,)


def test_merging_lets_the_other_win():
    merged = Resource({"a": 1, "b": 1}, "old").merge(Resource({"b": 2}, "new"))
    assert (merged.attributes, merged.schema_url) == ({"a": 1, "b": 2}, "new")
    assert Resource({}, "old").merge(Resource()).schema_url == "old"


def test_a_resource_as_json():
    assert json.loads(Resource({"a": 1}).to_json(None)) == {"attributes": {"a": 1}, "schema_url": ""}


def test_a_scope_is_its_name_version_schema_and_attributes():
    scope = InstrumentationScope("lib", "1", None, {"x": 1})
    assert scope == InstrumentationScope("lib", "1", "", {"x": 1})
    assert hash(scope) == hash(InstrumentationScope("lib", "1"))
    assert scope != InstrumentationScope("lib", "1")
    assert scope != "lib"
    assert repr(scope) == "<InstrumentationScope 'lib' 1>"
    assert repr(Resource({"a": 1})) == "<Resource {'a': 1}>"
