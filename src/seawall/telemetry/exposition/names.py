"""Names on the wire: prefixes, suffixes, and what becomes of a character that old scrapers cannot read.

Facts from Prometheus' documentation ("Metric and label naming", "Escaping schemes"): a plain metric name is
``[a-zA-Z_:][a-zA-Z0-9_:]*``, a plain label name the same without the colon. Scrapers since 3.0 can read any
UTF-8 name in quotes and say so by ``escaping=allow-utf-8``; for the others a name is rewritten by the
scheme they ask for. Values of labels are never rewritten.

It renders no lines; the dialects call it once per family.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

__all__ = [
    "Escaping",
    "base_name",
    "escape_label",
    "escape_metric",
    "is_plain_label",
    "is_plain_metric",
]

_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC_CHARACTER: Final = re.compile(r"[a-zA-Z0-9_:]")
_LABEL_CHARACTER: Final = re.compile(r"[a-zA-Z0-9_]")
_SURROGATES: Final = range(0xD800, 0xE000)

_TOTAL: Final = "_total"
_INFO: Final = "_info"


class Escaping(Enum):
    """What a scraper wants done to names that are not plain."""

    ALLOW_UTF_8 = "allow-utf-8"
    UNDERSCORES = "underscores"
    DOTS = "dots"
    VALUES = "values"


def is_plain_metric(name: str) -> bool:
    """Whether every scraper can read this metric name as it stands."""
    return _METRIC.fullmatch(name) is not None


def is_plain_label(name: str) -> bool:
    """Whether every scraper can read this label name as it stands."""
    return _LABEL.fullmatch(name) is not None


def escape_metric(name: str, scheme: Escaping) -> str:
    """The metric name as the scheme has it; unchanged under ``ALLOW_UTF_8``."""
    if scheme is Escaping.ALLOW_UTF_8 or (scheme is not Escaping.DOTS and is_plain_metric(name)):
        return name
    return _rewritten(name, scheme, _METRIC_CHARACTER)


def escape_label(name: str, scheme: Escaping) -> str:
    """The label name as the scheme has it; unchanged under ``ALLOW_UTF_8``."""
    if scheme is Escaping.ALLOW_UTF_8 or (scheme is not Escaping.DOTS and is_plain_label(name)):
        return name
    return _rewritten(name, scheme, _LABEL_CHARACTER)


def base_name(name: str, *, kind: str, unit: str, namespace: str) -> str:
    """The family's name: prefix and unit, without the suffixes of its samples.

    Args:
        name: Name in the catalogue; a ``_total``, an ``_info`` or the unit may already be at its end.
        kind: Name of the kind, such as ``"COUNTER"``.
        unit: Unit, or empty.
        namespace: Prefix without its underscore, or empty.
    """
    if kind == "COUNTER":
        name = name.removesuffix(_TOTAL)
    elif kind == "INFO":
        name = name.removesuffix(_INFO)
    if unit and kind not in {"INFO", "STATE_SET"} and name != unit and not name.endswith(f"_{unit}"):
        name = f"{name}_{unit}"
    return f"{namespace}_{name}" if namespace else name


def _rewritten(name: str, scheme: Escaping, allowed: re.Pattern[str]) -> str:
    pieces = ["U__"] if scheme is Escaping.VALUES else []
    for index, character in enumerate(name):
        plain = allowed.match(character) is not None and (index > 0 or not character.isdigit())
        if scheme is Escaping.UNDERSCORES:
            pieces.append(character if plain else "_")
        elif scheme is Escaping.DOTS:
            pieces.append(_dotted(character, plain=plain))
        else:
            pieces.append(_valued(character, plain=plain))
    return "".join(pieces)


def _dotted(character: str, *, plain: bool) -> str:
    if character == ".":
        return "_dot_"
    return character if plain and character != "_" else "__"


def _valued(character: str, *, plain: bool) -> str:
    if character == "_":
        return "__"
    if plain:
        return character
    code = ord(character)
    return "_FFFD_" if code in _SURROGATES else f"_{code:x}_"
