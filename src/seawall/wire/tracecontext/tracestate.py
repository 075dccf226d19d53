"""The ``tracestate`` field: what each tracing system on the way wants to find again, newest first.

Text with a fault in it gives no members, since nobody can say what else in it is wrong; this never affects
``traceparent``. A key that comes twice is no fault: the first one is the newest, the others are left off.

Source: W3C Trace Context, level 2, sections "tracestate Header Field Values" and "Mutating the tracestate
    Field".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

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


def parse_tracestate(fields: Iterable[str]) -> dict[str, str]:
    """Read the field, which may come in several pieces; they are one list, in the order of their arrival.

    Only to be called where ``traceparent`` was read.

    Returns:
        The members, newest first; none for text that breaks the grammar, and for text that has more than
        :data:`MEMBERS_MAX`.
    """
    found: dict[str, str] = {}
    characters = count = 0
    for field in fields:
        characters += len(field)
        if characters > INPUT_MAX:
            return {}
        for piece in field.split(","):
            member = piece.strip(" \t")
            if not member:
                continue
            # Leading spaces belong to the value, so only the ends of the whole member are stripped.
            match = _IS_MEMBER(member)
            count += 1
            if match is None or count > MEMBERS_MAX:
                return {}
            key, value = match.groups()
            found.setdefault(key, value)
    return found


def format_tracestate(members: Mapping[str, str]) -> str:
    """Write members as one field of at most :data:`CHARACTERS_MAX`.

    Args:
        members: Newest first. If they are too long whole ones go: first those longer than
            :data:`LARGE_MEMBER`, from the oldest on, then any from the oldest on.

    Returns:
        The text; empty if there is nothing to send.
    """
    texts = [f"{key}={value}" for key, value in members.items()]
    left = sum(map(len, texts)) + len(texts) - 1
    for at in range(len(texts) - 1, -1, -1):
        if left <= CHARACTERS_MAX:
            break
        if len(texts[at]) > LARGE_MEMBER:
            left -= len(texts.pop(at)) + 1
    while left > CHARACTERS_MAX:
        left -= len(texts.pop()) + 1
    return ",".join(texts)


def valid_member(key: object, value: object) -> bool:
    """Whether a key and its value are text that obeys the grammar."""
    return isinstance(key, str) and isinstance(value, str) and _IS_MEMBER(f"{key}={value}") is not None
