"""The formats that a scraper can be answered in, and their content types.

The content types are those of Prometheus' documentation ("Content negotiation", "Exposition formats"). Only
the text format 1.0.0 and OpenMetrics 1.0.0 may hold quoted names, so only they (and protobuf, which needs
no quotes) can be asked for ``allow-utf-8``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from seawall.telemetry.exposition.names import Escaping

__all__ = ["FORMATS", "Format", "Syntax"]


class Syntax(Enum):
    """How families are written down."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"
    PROTOBUF = "protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One answer that a scraper can be given.

    Attributes:
        syntax: How families are written down.
        version: Version of the text formats; empty for protobuf.
        escaping: What is done to names that are not plain.
        says_escaping: Whether the content type names the scheme: older scrapers, who never ask, are not told.
    """

    syntax: Syntax
    version: str = ""
    escaping: Escaping = Escaping.UNDERSCORES
    says_escaping: bool = False

    @property
    def parameters(self) -> dict[str, str]:
        """What a media range must agree with, if it says it."""
        if self.syntax is Syntax.PROTOBUF:
            return {"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"}
        return {"version": self.version, "charset": "utf-8"}

    @property
    def media_type(self) -> str:
        """Type and subtype."""
        return _MEDIA_TYPES[self.syntax]

    @property
    def quotes(self) -> bool:
        """Whether a name that is not plain can be written at all."""
        return self.syntax is Syntax.PROTOBUF or self.version == "1.0.0"

    @property
    def content_type(self) -> str:
        """The value of the header."""
        parameters = dict(self.parameters)
        if self.says_escaping or self.escaping is not Escaping.UNDERSCORES:
            parameters["escaping"] = self.escaping.value
        return "; ".join([self.media_type, *(f"{key}={value}" for key, value in parameters.items())])


_MEDIA_TYPES: Final = {
    Syntax.TEXT: "text/plain",
    Syntax.OPENMETRICS: "application/openmetrics-text",
    Syntax.PROTOBUF: "application/vnd.google.protobuf",
}

FORMATS: Final = (
    Format(syntax=Syntax.TEXT, version="0.0.4"),
    Format(syntax=Syntax.TEXT, version="1.0.0", says_escaping=True),
    Format(syntax=Syntax.OPENMETRICS, version="1.0.0"),
    Format(syntax=Syntax.OPENMETRICS, version="0.0.1"),
    Format(syntax=Syntax.PROTOBUF),
)
"""In the order of our preference, which decides where a scraper likes several equally, as ``*/*`` does."""
