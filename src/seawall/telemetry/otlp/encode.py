"""From a list of spans to requests, in steps short enough for an event loop.

Encoding two thousand spans takes milliseconds, in a thread no less: pure Python holds the interpreter there
as well, five milliseconds at a time. So the work is a generator that gives control back after every step of
about 0.1 ms, and whoever drives it lets the loop turn in between::

    for request in encoder.steps(spans):
        if request is not None:
            ...
        await asyncio.sleep(0)

Steps are measured by what they made (spans, bytes), not by a clock. What doesn't change from span to span,
such as resource, scope, keys and common values, is encoded once and kept in bounded memories.

Pure; the exporter drives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, final

from seawall.telemetry.otlp.protobuf import Described, ProtobufForm, Scoped
from seawall.telemetry.otlp.shapes import SpanLike

__all__ = ["STEP_SPANS", "Encoder", "Form", "Request", "spans"]

STEP_SPANS: Final = 16
"""Most spans of a step; one costs 2 to 6 µs."""

JOIN_SPANS: Final = 32
"""Encoded spans are joined by so many, lest the end of a batch be one long step over all of them."""

DESCRIBED_LIMIT: Final = 256
"""Encoded resources and scopes that are kept; a process has one resource and a scope per library."""


class Form(Protocol):
    """How spans look on the wire: Protocol Buffers or JSON."""

    @property
    def content_type(self) -> str:
        """What HTTP calls it."""
        ...

    @property
    def separator(self) -> bytes:
        """What stands between two spans."""
        ...

    @property
    def step_bytes(self) -> int:
        """Bytes after which a step ends even if it has few spans: about 0.1 ms."""
        ...

    def span(self, span: SpanLike, /) -> bytes:
        """One span."""
        ...

    def resource(self, resource: Any, /) -> Described:  # noqa: ANN401 -- see SpanLike
        """One resource."""
        ...

    def scope(self, scope: Any, /) -> Described:  # noqa: ANN401 -- see SpanLike
        """One scope."""
        ...

    def request(self, groups: Sequence[tuple[Described, Sequence[Scoped]]], /) -> list[bytes]:
        """All of it."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One ``ExportTraceServiceRequest``.

    Attributes:
        pieces: Its bytes, in order.
        spans: How many spans it holds.
        size: How many bytes it has.
    """

    pieces: tuple[bytes, ...]
    spans: int
    size: int


@final
class _Group:
    """The encoded spans of one resource and scope."""

    __slots__ = ("_blocks", "_latest", "_separator", "resource", "scope")

    def __init__(self, resource: Described, scope: Described, separator: bytes) -> None:
        self.resource = resource
        self.scope = scope
        self._separator = separator
        self._blocks: list[bytes] = []
        self._latest: list[bytes] = []

    def add(self, encoded: bytes) -> None:
        """One more span."""
        latest = self._latest
        latest.append(encoded)
        if len(latest) >= JOIN_SPANS:
            self._blocks.append(self._separator.join(latest))
            latest.clear()

    def blocks(self) -> list[bytes]:
        """All of them, joined to larger pieces; nothing is added afterwards."""
        if self._latest:
            self._blocks.append(self._separator.join(self._latest))
        return self._blocks


@final
class Encoder:
    """Encodes spans, and counts those that it can't.

    Args:
        form: Protocol Buffers unless said otherwise.
        resource: For spans that have none of their own.
        request_bytes: A request is ended before it grows beyond this; a span that is longer alone is left
            out.
        step_spans: Most spans of one step.

    Attributes:
        unencodable: Spans left out because something about them was wrong.
        too_large: Spans left out because they exceed a request.
    """

    __slots__ = (
        "_described",
        "_form",
        "_request_bytes",
        "_resource",
        "_step_bytes",
        "_step_spans",
        "too_large",
        "unencodable",
    )

    def __init__(
        self,
        form: Form | None = None,
        *,
        resource: object = None,
        request_bytes: int = 3 * 1024 * 1024,
        step_spans: int = STEP_SPANS,
    ) -> None:
        self._form: Final = form or ProtobufForm()
        self._resource = resource
        self._request_bytes = request_bytes
        self._step_spans = step_spans
        self._step_bytes = self._form.step_bytes
        # The objects are kept with what they became: an id means nothing once its object is gone.
        self._described: dict[tuple[bool, int], tuple[object, Described]] = {}
        self.unencodable = 0
        self.too_large = 0

    def steps(self, batch: Iterable[SpanLike]) -> Iterator[Request | None]:
        """Encode; a step per value.

        Args:
            batch: Finished spans.

        Yields:
            None after a step, a request when one is full and when all is done. No spans, no request.
        """
        groups = _Groups(self._form)
        spans_left, bytes_left = self._step_spans, self._step_bytes
        for span in batch:
            encoded = self._span(span)
            if encoded is None:
                continue
            if groups.size + len(encoded) > self._request_bytes and groups.count:
                yield groups.request()
                groups = _Groups(self._form)
            group = self._group(groups, span)
            groups.add(group, encoded)
            spans_left -= 1
            bytes_left -= len(encoded)
            if spans_left <= 0 or bytes_left <= 0:
                yield None
                spans_left, bytes_left = self._step_spans, self._step_bytes
        if groups.count:
            yield groups.request()

    def _span(self, span: SpanLike) -> bytes | None:
        """The encoded span; None if it has to be left out."""
        try:
            encoded = self._form.span(span)
        except Exception:  # noqa: BLE001 -- spans are objects of strangers; one must not cost a batch
            self.unencodable += 1
            return None
        if len(encoded) > self._request_bytes:
            self.too_large += 1
            return None
        return encoded

    def _group(self, groups: _Groups, span: SpanLike) -> _Group:
        resource = getattr(span, "resource", None)
        if resource is None:
            resource = self._resource
        scope = getattr(span, "instrumentation_scope", None)
        group = groups.known(resource, scope)
        if group is None:
            group = groups.join(
                resource,
                scope,
                self._describe(resource, is_scope=False),
                self._describe(scope, is_scope=True),
            )
        return group

    def _describe(self, described: object, *, is_scope: bool) -> Described:
        known = self._described.get((is_scope, id(described)))
        if known is not None:
            return known[1]
        form = self._form
        try:
            encoded = form.scope(described) if is_scope else form.resource(described)
        except Exception:  # noqa: BLE001 -- an odd resource: its spans go without one
            encoded = form.scope(None) if is_scope else form.resource(None)
        if len(self._described) >= DESCRIBED_LIMIT:
            self._described.clear()
        self._described[is_scope, id(described)] = described, encoded
        return encoded


@final
class _Groups:
    """A request in the making."""

    __slots__ = ("_by_bytes", "_by_id", "_form", "count", "size")

    def __init__(self, form: Form) -> None:
        # Two objects that say the same are one group, found by their bytes; nearly always the object is the
        # same.
        self._by_bytes: dict[tuple[Described, Described], _Group] = {}
        self._by_id: dict[tuple[int, int], tuple[_Group, object, object]] = {}
        self._form = form
        self.count = 0
        self.size = 0

    def known(self, resource: object, scope: object) -> _Group | None:
        """The group of these very objects."""
        found = self._by_id.get((id(resource), id(scope)))
        return None if found is None else found[0]

    def join(
        self, resource: object, scope: object, resource_bytes: Described, scope_bytes: Described
    ) -> _Group:
        """The group of what these objects say; a new one if there is none."""
        key = (resource_bytes, scope_bytes)
        group = self._by_bytes.get(key)
        if group is None:
            group = self._by_bytes[key] = _Group(resource_bytes, scope_bytes, self._form.separator)
            self.size += sum(map(len, resource_bytes + scope_bytes))
        self._by_id[id(resource), id(scope)] = group, resource, scope
        return group

    def add(self, group: _Group, encoded: bytes) -> None:
        """One more span."""
        group.add(encoded)
        self.size += len(encoded)
        self.count += 1

    def request(self) -> Request:
        """Enclose what is there."""
        by_resource: dict[Described, list[Scoped]] = {}
        for group in self._by_bytes.values():
            by_resource.setdefault(group.resource, []).append((group.scope, group.blocks()))
        pieces = tuple(self._form.request(list(by_resource.items())))
        return Request(pieces, self.count, sum(map(len, pieces)))


def spans(
    batch: Iterable[SpanLike], resource: object = None, *, encoder: Encoder | None = None
) -> Iterator[bytes]:
    """Encode spans into one Protocol Buffers message (or several that mean one when joined).

    Args:
        batch: Finished spans.
        resource: For spans that have none of their own.
        encoder: Whose memories to use; a new one if none is given.

    Yields:
        Nothing (``b""``) after a step of work, or a piece; all pieces in a row are the message.

    Example:
        >>> b"".join(spans([]))
        b''
    """
    for request in (encoder or Encoder(resource=resource)).steps(batch):
        if request is None:
            yield b""
        else:
            yield b"".join(request.pieces)
