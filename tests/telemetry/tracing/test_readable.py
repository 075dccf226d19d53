"""Resources and scopes, shaped as the SDK's."""

from seawall.telemetry.tracing.readable import InstrumentationScope, Resource


def test_a_resource_owns_its_attributes():
    hosts = ["a"]
    resource = Resource({"hosts": hosts}, "https://schema")
    hosts.append("b")
    assert (resource.attributes, resource.schema_url) == ({"hosts": ("a",)}, "https://schema")
    assert repr(resource) == "<Resource {'hosts': ('a',)}>"


def test_a_scope_is_its_name_version_schema_and_attributes():
    scope = InstrumentationScope("lib", "1", None, {"x": 1})
    assert scope == InstrumentationScope("lib", "1", "", {"x": 1})
    assert hash(scope) == hash(InstrumentationScope("lib", "1"))
    assert scope != InstrumentationScope("lib", "1")
    assert scope != "lib"
    assert repr(scope) == "<InstrumentationScope 'lib' 1>"
