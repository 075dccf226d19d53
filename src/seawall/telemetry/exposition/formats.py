"""The formats that a scraper can be answered in, and which of them it gets.

Content types are those of Prometheus' documentation ("Content negotiation", "Exposition formats"); the choice
is that of RFC 9110, sections 12.4.2, 12.5.1 and 12.5.3. Each format has the weight of the most specific media
range that matches it. The greatest weight wins; of equal weights the more specific range, then the one the
scraper wrote first, then our own order, in which the plain text format comes first: so a browser, ``curl``
and an absent header get what a person can read.

A scraper that accepts nothing we have gets the plain text format all the same, which section 12.5.1 allows.
For whoever looks after a system that is better than an empty page with a 406. Our names are plain, so the
parameter ``escaping``, which says what may be done to others, makes no difference and is not answered.

A header is a stranger's: what is malformed in it is left out, never an error, and its length is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["HEADER_CHARACTERS_MAX", "RANGES_MAX", "Format", "accepts_gzip", "negotiate"]

HEADER_CHARACTERS_MAX: Final = 4_096
"""Read of one header; Prometheus' longest has some 340."""
RANGES_MAX: Final = 32
"""Media ranges or codings read of one header; Prometheus sends six."""

_WEIGHT: Final = re.compile(r"0(?:\.\d{0,16})?|1(?:\.0{0,16})?")
_QUOTED: Final = re.compile(r"\\(.)")


class Format(Enum):
    """How an exposition is written down; in the order of our preference.

    Attributes:
        media_type: Type and subtype.
        parameters: What a media range must agree with, if it says it.
    """

    TEXT = ("text/plain", (("version", "0.0.4"), ("charset", "utf-8")))
    OPENMETRICS = ("application/openmetrics-text", (("version", "1.0.0"), ("charset", "utf-8")))
    PROTOBUF = (
        "application/vnd.google.protobuf",
        (("proto", "io.prometheus.client.MetricFamily"), ("encoding", "delimited")),
    )

    def __init__(self, media_type: str, parameters: tuple[tuple[str, str], ...]) -> None:
        self.media_type = media_type
        self.parameters = dict(parameters)

    @property
    def content_type(self) -> str:
        """The value of the header."""
        return "; ".join([self.media_type, *(f"{key}={value}" for key, value in self.parameters.items())])


@dataclass(frozen=True, slots=True)
class _Range:
    """One member of a header: a media range or a coding."""

    value: str
    parameters: dict[str, str]
    weight: float
    place: int

    def specificity(self, offer: Format) -> int:
        """How closely it describes the format; -1 if it describes another one."""
        kind = offer.media_type
        if self.value == "*/*":
            closeness = 0
        elif self.value == kind.partition("/")[0] + "/*":
            closeness = 1
        elif self.value == kind:
            closeness = 2
        else:
            return -1
        known = offer.parameters
        for name, value in self.parameters.items():
            if name in known:
                if known[name].lower() != value.lower():
                    return -1
                closeness += 1
        return closeness


def negotiate(accept: str | None) -> Format:
    """The format for a request.

    Args:
        accept: Value of the header ``Accept``, several joined by commas; ``None`` if there is none.
    """
    ranges = list(_ranges(accept or ""))
    best: tuple[tuple[float, int, int], Format] | None = None
    for offer in Format:
        matching = [(found.specificity(offer), -found.place, found.weight) for found in ranges]
        closeness, order, weight = max(matching, default=(-1, 0, 0.0))
        if closeness < 0 or weight == 0.0:
            continue
        rank = (weight, closeness, order)
        if best is None or rank > best[0]:
            best = (rank, offer)
    return Format.TEXT if best is None else best[1]


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether the answer should be compressed.

    Args:
        accept_encoding: Value of the header ``Accept-Encoding``, several joined by commas; ``None`` if
            there is none.

    Returns:
        True if gzip is accepted, by its name or by ``*``, and is not liked less than no compression.
    """
    weights: dict[str, float] = {}
    for coding in _ranges(accept_encoding or ""):
        weights.setdefault("gzip" if coding.value == "x-gzip" else coding.value, coding.weight)
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0.0 and gzip >= weights.get("identity", 0.0)


def _ranges(header: str) -> Iterator[_Range]:
    for place, item in enumerate(_split(header[:HEADER_CHARACTERS_MAX], ",")[:RANGES_MAX]):
        value, *rest = _split(item, ";")
        weight = 1.0
        parameters: dict[str, str] = {}
        for part in rest:
            name, separator, text = part.partition("=")
            name, text = name.strip().lower(), _unquoted(text.strip())
            if name == "q":
                weight = float(text) if _WEIGHT.fullmatch(text) else -1.0
            elif separator:
                parameters.setdefault(name, text)
        value = value.strip().lower()
        if value and weight >= 0.0:
            yield _Range(value, parameters, weight, place)


def _split(text: str, separator: str) -> list[str]:
    """Split where the separator stands outside quotes, in one pass: no header can make it walk twice."""
    if '"' not in text:
        return text.split(separator)
    parts: list[str] = []
    start = 0
    quoted = escaped = False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == '"':
            quoted = not quoted
        elif quoted:
            escaped = character == "\\"
        elif character == separator:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return parts


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        return _QUOTED.sub(r"\1", text[1:-1])
    return text
