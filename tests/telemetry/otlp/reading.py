"""What a reader of Protocol Buffers makes of it, as plain Python."""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from seawall.telemetry.otlp.encode import Encoder


def plain(value):
    """An AnyValue as the Python value that it stands for."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    held = getattr(value, which)
    if which == "array_value":
        return [plain(each) for each in held.values]
    if which == "kvlist_value":
        return pairs(held.values)
    return held


def pairs(found):
    return {pair.key: plain(pair.value) for pair in found}


def listed(value):
    """As ``plain`` gives it: no tuples."""
    if isinstance(value, list | tuple):
        return [listed(each) for each in value]
    if isinstance(value, dict):
        return {key: listed(each) for key, each in value.items()}
    return value


def requests_of(batch, *, drop=None, request_bytes=3 << 20, masking=None):
    """The requests; nothing may be left out unless ``drop`` takes it."""
    left_out = []
    steps = Encoder(drop or left_out.append, request_bytes=request_bytes, masking=masking).steps(batch)
    found = [request for request in steps if request is not None]
    assert not left_out, left_out
    return found


def decoded(*batch, masking=None):
    """All of it as one message."""
    requests = requests_of(batch, masking=masking)
    return ExportTraceServiceRequest.FromString(b"".join(request.body for request in requests))


def spans_in(message):
    return [
        span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans
    ]
