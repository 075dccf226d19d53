"""The ``baggage`` field: names and values that an application sends along with its requests.

Members that break the grammar are left off one by one and counted; the rest is good. A name may come more
than once, and order is kept: what that means is for the application to say. Values, and values of properties,
are text that is percent-encoded on the wire; names and names of properties are tokens and mean themselves,
percent signs included.

Source: W3C Baggage, section "Header Content". Unlike forms, it knows no plus sign for a space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

MEMBERS_MAX: Final = 180
"""The grammar's limit; everybody has to pass on 64."""
BYTES_MAX: Final = 8_192
"""What everybody has to pass on. No member is ever cut in two."""

_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_OCTET: Final = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]"
_IS_PAIR: Final = re.compile(rf"({_NAME})[ \t]*=[ \t]*({_OCTET}*)").fullmatch
_IS_TOKEN: Final = re.compile(_NAME).fullmatch
# A plus sign may stand for itself, but is a space to peers that decode values like forms; encoded it is clear
# to all.
_PLAIN: Final = "".join(
    c for c in map(chr, range(0x21, 0x7F)) if re.fullmatch(_OCTET, c) is not None and c not in "%+"
)
_IS_PLAIN: Final = re.compile(f"[{re.escape(_PLAIN)}]*").fullmatch


class Property(NamedTuple):
    """Something about a value.

    Attributes:
        name: A token.
        value: Any text; None for a property that is only a name.
    """

    name: str
    value: str | None = None


class Entry(NamedTuple):
    """One member.

    Attributes:
        name: A token.
        value: Any text.
        properties: In their order; a name may come more than once.
    """

    name: str
    value: str
    properties: tuple[Property, ...] = ()


class Baggage(NamedTuple):
    """What a field held.

    Attributes:
        entries: In their order.
        dropped: Members that broke the grammar or a limit.
    """

    entries: tuple[Entry, ...] = ()
    dropped: int = 0


class BaggageText(NamedTuple):
    """A field to send.

    Attributes:
        text: Empty if there is nothing to send.
        dropped: Entries whose name is no token, or that were too much.
    """

    text: str
    dropped: int = 0


def parse_baggage(fields: Iterable[str]) -> Baggage:
    """Read the field, which may come in several pieces; the limits are those of all of them together."""
    text = ",".join(fields)
    dropped = 0
    if len(text) > BYTES_MAX:
        cut = max(0, text.rfind(",", 0, BYTES_MAX + 1))
        dropped = text.count(",", cut + 1) + 1
        text = text[:cut]
    entries: list[Entry] = []
    for piece in text.split(","):
        member = piece.strip(" \t")
        if not member:
            continue
        entry = _entry(member) if len(entries) < MEMBERS_MAX else None
        if entry is None:
            dropped += 1
        else:
            entries.append(entry)
    return Baggage(tuple(entries), dropped)


def format_baggage(entries: Iterable[Entry]) -> BaggageText:
    """Write entries as one field, as many as the limits allow; behind one that is too much others may fit."""
    members: list[str] = []
    dropped = 0
    size = -1
    for entry in entries:
        member = _member(entry)
        if member is None or len(members) == MEMBERS_MAX or size + 1 + len(member) > BYTES_MAX:
            dropped += 1
        else:
            size += 1 + len(member)
            members.append(member)
    return BaggageText(",".join(members), dropped)


def _entry(member: str) -> Entry | None:
    first, *rest = member.split(";")
    pair = _IS_PAIR(first.rstrip(" \t"))
    if pair is None:
        return None
    properties = []
    for piece in rest:
        text = piece.strip(" \t")
        pair_of_property = _IS_PAIR(text)
        if pair_of_property is not None:
            properties.append(Property(pair_of_property[1], _decoded(pair_of_property[2])))
        elif _IS_TOKEN(text) is not None:
            properties.append(Property(text))
        else:
            return None
    return Entry(pair[1], _decoded(pair[2]), tuple(properties))


def _decoded(value: str) -> str:
    return unquote(value) if "%" in value else value


def _member(entry: Entry) -> str | None:
    if _IS_TOKEN(entry.name) is None:
        return None
    text = f"{entry.name}={_encoded(entry.value)}"
    for name, value in entry.properties:
        if _IS_TOKEN(name) is None:
            return None
        text += f";{name}" if value is None else f";{name}={_encoded(value)}"
    return text


def _encoded(value: str) -> str:
    # Half a surrogate pair is no text and has no bytes; everything else comes out as it went in.
    return value if _IS_PLAIN(value) is not None else quote(value, safe=_PLAIN, errors="replace")
