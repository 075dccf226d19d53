"""What a server reports of itself and the session: ParameterStatus, by name, shared by all who see the same.

Thousands of clients see the same fifteen values, so equal sets are one object, compared by identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from weakref import WeakValueDictionary


class Reported:
    """An immutable set of reported parameters; made by ``reported_of`` only."""

    __slots__ = ("__weakref__", "_values")

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def get(self, name: str) -> str | None:
        """The value of a parameter, by its name as reported."""
        return self._values.get(name)

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values."""
        return self._values.items()

    def changed(self, name: str, value: str) -> Reported:
        """The set with one value changed; itself if it has that value."""
        if self._values.get(name) == value:
            return self
        return reported_of({**self._values, name: value})


_INTERNED: WeakValueDictionary[tuple[tuple[str, str], ...], Reported] = WeakValueDictionary()


def reported_of(values: Mapping[str, str]) -> Reported:
    """The one object for these parameters."""
    pairs = tuple(sorted(values.items()))
    found = _INTERNED.get(pairs)
    if found is None:
        found = _INTERNED[pairs] = Reported(dict(pairs))
    return found
