"""Who is writing which registry right now, so that no family goes round in a circle.

Someone may register our collector in ``prometheus_client``'s registry and also add that registry to our
exposition. Then our families would come back to us. While a source collects for our writer, our own
collectors keep still.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

__all__ = ["MERGING"]

MERGING: Final[ContextVar[bool]] = ContextVar("seawall_merging", default=False)
"""True while a source asks their registry on behalf of our writer."""
