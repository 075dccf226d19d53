"""The ``tracestate`` field: what each tracing system on the way wants to find again, newest first.

A value is a tuple of pairs. Text with a fault in it gives the empty one, since nobody can say what else in it
is wrong; this never affects ``traceparent``. A key that comes twice is no fault: the first one is the newest,
the others are left off.

Source: W3C Trace Context, level 2, sections "tracestate Header Field Values" and "Mutating the tracestate
    Field".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from seawall.kernel.errors import UsageError

Members: TypeAlias = tuple[tuple[str, str], ...]
"""Keys and values, newest first, no key twice."""

MEMBERS_MAX: Final = 32
"""Of the specification: a longer list is read as none, and what is added to a full one drops the oldest."""
CHARACTERS_MAX: Final = 512
"""What everybody has to pass on; we pass on no more, for strangers decide on the length of what they send."""
LARGE_MEMBER: Final = 128
"""Members longer than this are the first to go when a list is too long."""
INPUT_MAX: Final = MEMBERS_MAX * (256 + 1 + 256) + MEMBERS_MAX - 1
"""The longest list that obeys the grammar; what is longer is not looked at."""

_KEY: Final = r"[a-z0-9][a-z0-9_\-*/@]{0,255}"
_VALUE: Final = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_IS_MEMBER: Final = re.compile(rf"({_KEY})=({_VALUE})").fullmatch
_IS_KEY: Final = re.compile(_KEY).fullmatch
_IS_VALUE: Final = re.compile(_VALUE).fullmatch


def parse_tracestate(fields: Iterable[str]) -> Members:
    """Read the field, which may come in several pieces; they are one list, in the order of their arrival.

    Only to be called where ``traceparent`` was read.

    Returns:
        The members; none for text that breaks the grammar, and for text that has more than
        :data:`MEMBERS_MAX`.
    """
    found: dict[str, str] = {}
    characters = count = 0
    for field in fields:
        characters += len(field)
        if characters > INPUT_MAX:
            return ()
        for piece in field.split(","):
            member = piece.strip(" \t")
            if not member:
                continue
            # Leading spaces belong to the value, so only the ends of the whole member are stripped.
            match = _IS_MEMBER(member)
            count += 1
            if match is None or count > MEMBERS_MAX:
                return ()
            key, value = match.groups()
            found.setdefault(key, value)
    return tuple(found.items())


def format_tracestate(members: Members, limit: int = CHARACTERS_MAX) -> str:
    """Write members as one field.

    Args:
        members: What :func:`parse_tracestate` and :func:`put_member` give.
        limit: Characters; if there are more, whole members go: first those longer than :data:`LARGE_MEMBER`,
            from the oldest on, then any from the oldest on.

    Returns:
        The text; empty if there is nothing to send.
    """
    texts = [f"{key}={value}" for key, value in members]
    text = ",".join(texts)
    if len(text) <= limit:
        return text
    left = len(text)
    for at in range(len(texts) - 1, -1, -1):
        if left <= limit:
            break
        if len(texts[at]) > LARGE_MEMBER:
            left -= len(texts.pop(at)) + 1
    while texts and left > limit:
        left -= len(texts.pop()) + 1
    return ",".join(texts)


def put_member(members: Members, key: str, value: str) -> Members:
    """Put a member first; one of that key moves there with its new value, the oldest falls off a full list.

    Raises:
        UsageError: Key or value break the grammar.
    """
    if not valid_member(key, value):
        raise UsageError(
            f"tracestate member {key!r} = {value!r}: a key is a lower-case letter or digit and up to 255 of"
            " a-z 0-9 _ - * / @; a value is 1 to 256 printable ASCII characters without comma and equals sign"
            " that don't end in a space"
        )
    others = drop_member(members, key)
    return ((key, value), *others[: MEMBERS_MAX - 1])


def drop_member(members: Members, key: str) -> Members:
    """The same without one key. For keys of our own: others have a right to find theirs again."""
    return tuple(member for member in members if member[0] != key)


def valid_member(key: object, value: object) -> bool:
    """Whether a key and its value are text that obeys the grammar."""
    return (
        isinstance(key, str)
        and isinstance(value, str)
        and _IS_KEY(key) is not None
        and _IS_VALUE(value) is not None
    )
