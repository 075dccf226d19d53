"""The messages of prometheus/client_model's metrics.proto, built at run time; their reader is the oracle."""

from collections.abc import Iterator

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

PACKAGE = "io.prometheus.client"
F = descriptor_pb2.FieldDescriptorProto

TYPES = {
    "string": F.TYPE_STRING,
    "double": F.TYPE_DOUBLE,
    "uint64": F.TYPE_UINT64,
    "uint32": F.TYPE_UINT32,
    "int64": F.TYPE_INT64,
    "sint32": F.TYPE_SINT32,
    "sint64": F.TYPE_SINT64,
}

# name, type, number; a star for repeated
MESSAGES = {
    "LabelPair": [("name", "string", 1), ("value", "string", 2)],
    "Gauge": [("value", "double", 1)],
    "Counter": [("value", "double", 1), ("exemplar", "Exemplar", 2), ("created_timestamp", "Timestamp", 3)],
    "Quantile": [("quantile", "double", 1), ("value", "double", 2)],
    "Summary": [
        ("sample_count", "uint64", 1),
        ("sample_sum", "double", 2),
        ("quantile", "Quantile*", 3),
        ("created_timestamp", "Timestamp", 4),
    ],
    "Untyped": [("value", "double", 1)],
    "Histogram": [
        ("sample_count", "uint64", 1),
        ("sample_count_float", "double", 4),
        ("sample_sum", "double", 2),
        ("bucket", "Bucket*", 3),
        ("created_timestamp", "Timestamp", 15),
        ("schema", "sint32", 5),
        ("zero_threshold", "double", 6),
        ("zero_count", "uint64", 7),
        ("zero_count_float", "double", 8),
        ("negative_span", "BucketSpan*", 9),
        ("negative_delta", "sint64*", 10),
        ("negative_count", "double*", 11),
        ("positive_span", "BucketSpan*", 12),
        ("positive_delta", "sint64*", 13),
        ("positive_count", "double*", 14),
        ("exemplars", "Exemplar*", 16),
    ],
    "Bucket": [
        ("cumulative_count", "uint64", 1),
        ("cumulative_count_float", "double", 4),
        ("upper_bound", "double", 2),
        ("exemplar", "Exemplar", 3),
    ],
    "BucketSpan": [("offset", "sint32", 1), ("length", "uint32", 2)],
    "Exemplar": [("label", "LabelPair*", 1), ("value", "double", 2), ("timestamp", "Timestamp", 3)],
    "Metric": [
        ("label", "LabelPair*", 1),
        ("gauge", "Gauge", 2),
        ("counter", "Counter", 3),
        ("summary", "Summary", 4),
        ("untyped", "Untyped", 5),
        ("histogram", "Histogram", 7),
        ("timestamp_ms", "int64", 6),
    ],
    "MetricFamily": [
        ("name", "string", 1),
        ("help", "string", 2),
        ("type", "MetricType", 3),
        ("metric", "Metric*", 4),
        ("unit", "string", 5),
    ],
}
ENUM = ["COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM"]


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="io/prometheus/client/metrics.proto",
        package=PACKAGE,
        syntax="proto2",
        dependency=["google/protobuf/timestamp.proto"],
    )
    enum = file.enum_type.add(name="MetricType")
    for number, name in enumerate(ENUM):
        enum.value.add(name=name, number=number)
    for message, fields in MESSAGES.items():
        found = file.message_type.add(name=message)
        for name, described, number in fields:
            repeated = described.endswith("*")
            kind = described.removesuffix("*")
            field = found.field.add(name=name, number=number)
            field.label = F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL
            if kind in TYPES:
                field.type = TYPES[kind]
            elif kind == "MetricType":
                field.type, field.type_name = F.TYPE_ENUM, f".{PACKAGE}.MetricType"
            elif kind == "Timestamp":
                field.type, field.type_name = F.TYPE_MESSAGE, ".google.protobuf.Timestamp"
            else:
                field.type, field.type_name = F.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    return file


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(_file())
    return pool


POOL = _pool()
MetricFamily = message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.MetricFamily"))
Histogram = message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.Histogram"))


def decoded(stream: bytes) -> list:
    """The families of a delimited stream; fails if a byte is left over or unknown to the messages."""
    families = []
    for part in _parts(stream):
        family = MetricFamily()
        assert family.ParseFromString(part) == len(part)
        shallow = family.SerializeToString()
        family.DiscardUnknownFields()
        assert family.SerializeToString() == shallow, "a field that metrics.proto doesn't have"
        families.append(family)
    return families


def _parts(stream: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(stream):
        length = shift = 0
        while True:
            byte = stream[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        assert at + length <= len(stream), "a message is cut short"
        yield stream[at : at + length]
        at += length
