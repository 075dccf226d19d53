"""A ``tracestate`` that came with a request, as OpenTelemetry's API wants to see it.

The API's own class has an older grammar for keys, drops everything when a key comes twice, refuses what is
added to a full list, and writes log lines. This one follows the specification, says nothing, and isn't read
before somebody asks: most requests only pass it on.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Sequence, ValuesView
from typing import final

from opentelemetry.trace import TraceState

from seawall.wire.tracecontext.tracestate import (
    Members,
    drop_member,
    format_tracestate,
    parse_tracestate,
    put_member,
    valid_member,
)


@final
class CarriedState(TraceState):
    """Members of a ``tracestate``, newest first.

    Args:
        fields: The pieces of the field as they came.
        members: The members, if they are known; then ``fields`` don't matter.
    """

    def __init__(self, fields: Sequence[str] = (), members: Members | None = None) -> None:
        # Not the parent's: it keeps a dict, which is made here when it is asked for.
        self._fields = fields
        self._members = members
        self._values: dict[str, str] | None = None

    @classmethod
    def from_header(cls, header_list: list[str]) -> CarriedState:
        """The state of a field that came in these pieces."""
        return cls(tuple(header_list))

    @property
    def members(self) -> Members:
        """The members; none if the field was faulty."""
        members = self._members
        if members is None:
            members = self._members = parse_tracestate(self._fields)
            self._fields = ()
        return members

    def _mapping(self) -> dict[str, str]:
        values = self._values
        if values is None:
            values = self._values = dict(self.members)
        return values

    def __contains__(self, item: object) -> bool:
        return item in self._mapping()

    def __getitem__(self, key: str) -> str:
        return self._mapping()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping())

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"<CarriedState {self.to_header()!r}>"

    def keys(self) -> KeysView[str]:
        """The keys, newest first."""
        return self._mapping().keys()

    def values(self) -> ValuesView[str]:
        """The values, newest first."""
        return self._mapping().values()

    def items(self) -> ItemsView[str, str]:
        """The members, newest first."""
        return self._mapping().items()

    def add(self, key: str, value: str) -> TraceState:
        """One more member, in front; the same state if the key is there already, or breaks the grammar."""
        return self if key in self else self.update(key, value)

    def update(self, key: str, value: str) -> TraceState:
        """A member with a new value, in front; the same state if key or value break the grammar."""
        if not valid_member(key, value):
            return self
        return CarriedState(members=put_member(self.members, key, value))

    def delete(self, key: str) -> TraceState:
        """Without one member."""
        return CarriedState(members=drop_member(self.members, key)) if key in self else self

    def to_header(self) -> str:
        """The field to send, cut to what everybody has to pass on."""
        return format_tracestate(self.members)
