"""A ``tracestate`` that came with a request, as OpenTelemetry's API wants to see it.

The API's own class has an older grammar for keys, drops everything when a key comes twice, refuses what is
added to a full list, and writes log lines. This one follows the specification, says nothing, and isn't read
before somebody asks: most requests only pass it on.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Sequence, ValuesView
from itertools import islice
from typing import final

from opentelemetry.trace import TraceState

from seawall.wire.tracecontext.tracestate import (
    MEMBERS_MAX,
    format_tracestate,
    parse_tracestate,
    valid_member,
)


@final
class CarriedState(TraceState):
    """Members of a ``tracestate``, newest first.

    Args:
        fields: The pieces of the field as they came.
        members: The members, if they are known; then ``fields`` don't matter.
    """

    def __init__(self, fields: Sequence[str] = (), members: dict[str, str] | None = None) -> None:
        # Not the parent's: it keeps a dict, which is made here when it is asked for.
        self._fields = fields
        self._members = members

    @classmethod
    def from_header(cls, header_list: list[str]) -> CarriedState:
        """The state of a field that came in these pieces."""
        return cls(tuple(header_list))

    def _read(self) -> dict[str, str]:
        """The members; none if the field was faulty."""
        members = self._members
        if members is None:
            members = self._members = parse_tracestate(self._fields)
        return members

    def __contains__(self, item: object) -> bool:
        return item in self._read()

    def __getitem__(self, key: str) -> str:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"<CarriedState {self.to_header()!r}>"

    def keys(self) -> KeysView[str]:
        """The keys, newest first."""
        return self._read().keys()

    def values(self) -> ValuesView[str]:
        """The values, newest first."""
        return self._read().values()

    def items(self) -> ItemsView[str, str]:
        """The members, newest first."""
        return self._read().items()

    def add(self, key: str, value: str) -> TraceState:
        """One more member, in front; the same state if the key is there already, or breaks the grammar."""
        return self if key in self else self.update(key, value)

    def update(self, key: str, value: str) -> TraceState:
        """A member with a new value, in front; the oldest falls off a full list.

        Returns:
            The new state; the same one if key or value break the grammar.
        """
        if not valid_member(key, value):
            return self
        others = ((name, held) for name, held in self.items() if name != key)
        return CarriedState(members={key: value, **dict(islice(others, MEMBERS_MAX - 1))})

    def delete(self, key: str) -> TraceState:
        """Without one member. For keys of our own: others have a right to find theirs again."""
        if key not in self:
            return self
        return CarriedState(members={name: held for name, held in self.items() if name != key})

    def to_header(self) -> str:
        """The field to send, cut to what everybody has to pass on."""
        return format_tracestate(self._read())
