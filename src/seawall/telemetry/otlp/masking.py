"""Texts of spans that may quote values, masked on the way out: statements, addresses, what failures say.

Instrumentations put statements with their literals, URLs with their tokens and texts of exceptions into
spans. In the exporter's thread there is time to look at them, and nothing leaves the process but through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from seawall.telemetry.redaction.masking import Masks

__all__ = ["MASKED_KEYS", "TEXT_CHARS", "Masking"]

MASKED_KEYS: Final = frozenset(
    {
        *("db.statement", "db.query.text"),
        *("url.full", "url.query", "http.url", "http.target"),
        *("exception.message", "exception.stacktrace", "error.message"),
        *("db.connection_string", "process.command_line"),
    }
)
"""Attributes of OpenTelemetry's conventions whose texts are looked through."""
TEXT_CHARS: Final = 16_384
"""Of a longer text so much is shown."""


class Masking:
    """Masks what spans say."""

    __slots__ = ("_masks",)

    def __init__(self) -> None:
        self._masks = Masks()

    def attributes(self, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same attributes, or a copy in which texts are masked."""
        if MASKED_KEYS.isdisjoint(attributes):
            return attributes
        shown = dict(attributes)
        for key in MASKED_KEYS & shown.keys():
            value = shown[key]
            if isinstance(value, str):
                shown[key] = self._masks.text(value, TEXT_CHARS)
        return shown

    def text(self, text: str) -> str:
        """A text as it may be shown."""
        return self._masks.text(text, TEXT_CHARS)
