"""Getters and setters: where each protocol keeps its fields.

- **HTTP**: a mapping of headers or a list of pairs, text or bytes, names in any case. Of an ASGI scope, its
  ``headers``.
- **MQTT 5**: user properties, a list of pairs of text (W3C Trace Context: MQTT protocol).
- **MQTT 3.1.1** has no such thing: the fields are in the JSON-RPC envelope, in its member ``context``.
- **gRPC**: metadata, pairs with names in lower case.
- **Kafka**: headers, pairs of text and bytes.

A setter replaces what was there. To a getter, values that are no text are absent. Statements of SQL are not
changed in place; ``sql`` has functions for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias, final

from opentelemetry.propagators.textmap import Getter, Setter

Pairs: TypeAlias = Iterable[tuple[Any, Any]]
Headers: TypeAlias = Mapping[str, Any] | Pairs
MutableHeaders: TypeAlias = MutableMapping[str, Any] | list[Any]

ENVELOPE_MEMBER: Final = "context"
"""The member of a JSON-RPC message, beside ``method`` and ``params``, that is an object with the fields."""


def _text(value: object) -> str | None:
    """A name or value as text; None if it is none. Every field is ASCII, so that latin-1 loses nothing."""
    if isinstance(value, str):
        return value
    return value.decode("latin-1") if isinstance(value, bytes | bytearray) else None


def _texts(values: Iterable[object]) -> list[str] | None:
    """The texts of values, each of which may be several; None if there are none."""
    found: list[str] = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        else:
            pieces = value if isinstance(value, list | tuple) else (value,)
            found.extend(text for text in map(_text, pieces) if text is not None)
    return found or None


def _pairs(carrier: Any) -> Pairs:  # noqa: ANN401  # dicts, and the header classes of every framework
    if carrier is None:
        return ()
    items = getattr(carrier, "items", None)
    return carrier if items is None else items()  # type: ignore[no-any-return]  # pairs either way


@final
class HeadersGetter(Getter[Headers]):
    """HTTP headers: a mapping, a multi-mapping or pairs; names in any case, a name as often as it comes."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        """The values of a header."""
        names = (key, key.encode("latin-1"))
        length = len(key)
        # Most names differ in length already, and lowering costs more than all the rest.
        found = [value for name, value in _pairs(carrier) if len(name) == length and name.lower() in names]
        return _texts(found) if found else None

    def keys(self, carrier: Headers) -> list[str]:
        """The names, in lower case."""
        names = (_text(name) for name, _ in _pairs(carrier))
        return [name.lower() for name in names if name is not None]


@final
class HeadersSetter(Setter[MutableHeaders]):
    """HTTP headers in a mapping or a list of pairs; text or bytes, as those that are there already."""

    def set(self, carrier: MutableHeaders, key: str, value: str) -> None:
        """Set a header, whatever case it was written in before."""
        if isinstance(carrier, list):
            as_bytes = bool(carrier) and isinstance(carrier[0][0], bytes)
            texts = {key, key.encode("latin-1")}
            carrier[:] = [
                pair for pair in carrier if len(pair[0]) != len(key) or pair[0].lower() not in texts
            ]
            carrier.append((key.encode("latin-1"), value.encode("latin-1")) if as_bytes else (key, value))
            return
        for name in [name for name in carrier if len(name) == len(key) and name.lower() == key]:
            del carrier[name]
        carrier[key] = value


@final
class PairsGetter(Getter[Pairs | None]):
    """Pairs whose names are what they are: user properties, metadata, Kafka's headers."""

    def get(self, carrier: Pairs | None, key: str) -> list[str] | None:
        """The values of a name."""
        found = [value for name, value in carrier or () if name == key]
        return _texts(found) if found else None

    def keys(self, carrier: Pairs | None) -> list[str]:
        """The names."""
        return [name for name, _ in carrier or ()]


@final
class PairsSetter(Setter[list[tuple[str, Any]]]):
    """A list of pairs whose names are what they are.

    Args:
        as_bytes: Whether values are bytes.
    """

    __slots__ = ("as_bytes",)

    def __init__(self, *, as_bytes: bool = False) -> None:
        self.as_bytes = as_bytes

    def set(self, carrier: list[tuple[str, Any]], key: str, value: str) -> None:
        """Set a name to one value."""
        carrier[:] = [pair for pair in carrier if pair[0] != key]
        carrier.append((key, value.encode("latin-1") if self.as_bytes else value))


@final
class EnvelopeGetter(Getter[Mapping[str, Any]]):
    """The member ``context`` of a JSON-RPC message; of a batch, each message has its own."""

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        """The value of a field."""
        fields = carrier.get(ENVELOPE_MEMBER)
        return _texts((fields.get(key),)) if isinstance(fields, Mapping) else None

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        """The names of the fields."""
        fields = carrier.get(ENVELOPE_MEMBER)
        return [name for name in fields if isinstance(name, str)] if isinstance(fields, Mapping) else []


@final
class EnvelopeSetter(Setter[MutableMapping[str, Any]]):
    """The member ``context`` of a JSON-RPC message, which is made if it isn't there."""

    def set(self, carrier: MutableMapping[str, Any], key: str, value: str) -> None:
        """Set a field."""
        fields = carrier.get(ENVELOPE_MEMBER)
        carrier[ENVELOPE_MEMBER] = {**fields, key: value} if isinstance(fields, Mapping) else {key: value}


HTTP_GETTER: Final = HeadersGetter()
HTTP_SETTER: Final = HeadersSetter()
MQTT_GETTER: Final = PairsGetter()
MQTT_SETTER: Final = PairsSetter()
ENVELOPE_GETTER: Final = EnvelopeGetter()
ENVELOPE_SETTER: Final = EnvelopeSetter()
GRPC_GETTER: Final = PairsGetter()
GRPC_SETTER: Final = PairsSetter()
KAFKA_GETTER: Final = PairsGetter()
KAFKA_SETTER: Final = PairsSetter(as_bytes=True)
