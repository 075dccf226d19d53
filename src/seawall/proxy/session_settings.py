"""What a session has set beyond its server connection: values to compare, and messages to send.

Settings are interned: two that are equal are one object, so ``is`` tells whether a connection is as its next
client wants it. What else a session may hold is ``ledger``'s business, which makes most settings; the worker
sends the batches. No I/O here.

Source: PostgreSQL documentation, chapters "Server Configuration" (setting parameters), "System Administration
Functions" (set_config) and "Frontend/Backend Protocol" (pipelining; StartupMessage and its ``options``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from seawall.kernel.errors import ValidationError
from seawall.wire.pgwire import messages
from seawall.wire.pgwire.sqlstate import INTERNAL_ERROR, SYNTAX_ERROR

SETTINGS_MAX: Final = 256
"""Settings that one session may have beyond its server's; a client that wants more keeps its connection."""

SETTINGS_CHARACTERS_MAX: Final = 32_768
"""Length of their names and values together."""

BATCHES_KEPT: Final = 128
"""Batches kept ready, by where they start and where they lead."""

TEXT_OID: Final = 25
"""Of the type ``text``, as which names and values are bound."""

_SET_CONFIG: Final = messages.parse("", "SELECT pg_catalog.set_config($1, $2, false)", (TEXT_OID, TEXT_OID))
_RESET_ALL: Final = messages.parse("", "RESET ALL") + messages.bind("", "", []) + messages.execute()
_IDENTITY: Final = ("session_authorization", "role")
"""In the order in which both are given up and taken on: becoming somebody else ends a role. What the
session's own user may set, such a role may not, so everything else is set in between."""

_LIMITS: Final = ("statement_timeout", "transaction_timeout")
"""Lifted first and set last, so that they don't hit the batch itself."""

_APART: Final = frozenset({"client_encoding", *_IDENTITY, *_LIMITS})
"""Settings with a place of their own in the batch."""

_NO_SETTINGS: Final = frozenset({"user", "database", "replication", "options"})
"""Parameters of a startup packet that are not settings."""

_ESCAPE: Final = "\\"


class Settings:
    """An immutable set of settings, names in lower case; :func:`settings_of` makes equal ones one object.

    Values don't show in its ``repr``: custom settings carry tokens and people's names.
    """

    __slots__ = ("__weakref__", "_values")

    def __init__(self, values: dict[str, str]) -> None:
        self._values: Final = values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __repr__(self) -> str:
        return f"<Settings: {', '.join(self._values) or 'none'}>"

    def get(self, name: str) -> str | None:
        """The value of a setting by its name in lower case, ``None`` if it is not set."""
        return self._values.get(name)

    def keys(self) -> Iterable[str]:
        """The names, sorted."""
        return self._values.keys()

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values, sorted by name."""
        return self._values.items()


_INTERNED: Final[WeakValueDictionary[tuple[tuple[str, str], ...], Settings]] = WeakValueDictionary()
"""Bounded by those who hold one: clients and server connections."""


def settings_of(values: Mapping[str, str]) -> Settings:
    """The one object for these settings.

    Raises:
        ValidationError: They are too many or too long, a name is empty, or there is a NUL.
    """
    pairs = tuple(sorted((folded(name), value) for name, value in values.items()))
    found = _INTERNED.get(pairs)
    if found is None:
        _check(pairs)
        found = _INTERNED[pairs] = Settings(dict(pairs))
    return found


def _check(pairs: tuple[tuple[str, str], ...]) -> None:
    if not fits(pairs):
        raise ValidationError(
            f"settings: {len(pairs)} of them; allowed are {SETTINGS_MAX} with {SETTINGS_CHARACTERS_MAX}"
            " characters in all; set fewer or shorter ones"
        )
    for name, value in pairs:
        if not name or "\0" in name or "\0" in value:
            raise ValidationError(f"settings: {name!r} is an empty name, or there is a NUL in it; remove it")


def fits(pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether these names and values are within the bounds of one :class:`Settings`."""
    lengths = [len(name) + len(value) for name, value in pairs]
    return len(lengths) <= SETTINGS_MAX and sum(lengths) <= SETTINGS_CHARACTERS_MAX


def folded(name: str) -> str:
    """The name of a setting as PostgreSQL compares it: without case, for ASCII only."""
    return name.lower() if name.isascii() else "".join(c.lower() if c.isascii() else c for c in name)


EMPTY: Final = settings_of({})
"""No settings beyond the server connection's own."""


def startup_settings(parameters: Mapping[str, str]) -> Settings:
    """The settings in a startup packet, those in its ``options`` included; a parameter beats an option.

    Raises:
        ProtocolViolation: An option is none of ``-c name=value`` and ``--name=value``.
        ValidationError: As :func:`settings_of`.
    """
    values = _options(parameters.get("options", ""))
    for name, value in parameters.items():
        if name not in _NO_SETTINGS and not name.startswith("_pq_."):
            values[folded(name)] = value
    return settings_of(values)


def _options(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    words = iter(_words(text))
    for word in words:
        if word.startswith("--"):
            setting = word[2:]
        elif word.startswith("-c"):
            setting = word[2:] or next(words, "")
        else:
            setting = ""
        name, equals, value = setting.partition("=")
        if not name or not equals:
            # The value is not shown: it may be secret.
            raise messages.ProtocolViolation(
                f"invalid command-line argument for server process: {word.partition('=')[0]}",
                SYNTAX_ERROR,
                hint="options may hold -c name=value and --name=value.",
            )
        values[folded(name.replace("-", "_"))] = value
    return values


def _words(text: str) -> list[str]:
    """Split as PostgreSQL's pg_split_opts does: at white space; a backslash takes the next character."""
    words: list[str] = []
    word: str | None = None
    characters = iter(text)
    for character in characters:
        if character in " \t\n\v\f\r":
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + (next(characters, "") if character == _ESCAPE else character)
    return words if word is None else [*words, word]


class Batch(NamedTuple):
    """Messages of the proxy's own, for a connection that nothing is owed on.

    Attributes:
        data: What to send.
        ready: How many ReadyForQuery will come. Everything before the last is for the proxy alone, but for
            ParameterStatus, of which the client wants what it doesn't know yet.
    """

    data: bytes
    ready: int


@lru_cache(maxsize=BATCHES_KEPT)
def apply_batch(current: Settings | None, wanted: Settings) -> Batch:
    """The batch that turns ``current`` into ``wanted``; ``None`` resets all that RESET ALL knows of first.

    One implicit transaction: if the server refuses a value, nothing has been changed, and
    :func:`describe_failure` has words for the client. Values travel bound (CVE-2025-12819 was string
    building); NULL resets to the connection's own startup value. Names are those of a ledger, in lower case.
    """
    if current is wanted:
        return Batch(b"", 0)
    head = b""
    if current is None:
        head = _SET_CONFIG + b"".join(_step(name, None) for name in _IDENTITY) + _RESET_ALL
        current = EMPTY
    changed = sorted({name for name in (*current, *wanted) if current.get(name) != wanted.get(name)})
    steps: list[tuple[str, str | None]] = [
        (name, None) for name in _LIMITS if name in changed and name in current
    ]
    steps += [(name, None) for name in _IDENTITY if name in current]
    # Values are bytes in the client's own encoding: everything behind this is read in it.
    steps += [(name, wanted.get(name)) for name in changed if name == "client_encoding"]
    steps += [(name, wanted.get(name)) for name in changed if name not in _APART]
    steps += [(name, wanted[name]) for name in _IDENTITY if name in wanted]
    steps += [(name, wanted[name]) for name in _LIMITS if name in changed and name in wanted]
    body = _SET_CONFIG + b"".join(_step(name, value) for name, value in steps) if steps else b""
    return Batch(head + body + messages.sync(), 1)


def _step(name: str, value: str | None) -> bytes:
    bound = None if value is None else messages.encode(name, value)
    return messages.bind("", "", [messages.encode("name", name), bound]) + messages.execute()


def describe_failure(fields: Mapping[str, str]) -> tuple[str, str, str]:
    """SQLSTATE, message and DETAIL for the client whose settings a server did not take.

    Args:
        fields: Of the ErrorResponse that ended the batch, by their letters.
    """
    said = fields.get("M", "")
    detail = " ".join(text for text in ("The server refused one of them.", fields.get("D", "")) if text)
    return fields.get("C") or INTERNAL_ERROR, f"settings of the session cannot be restored: {said}", detail
