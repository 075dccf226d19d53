"""The ``traceparent`` field: which trace, which caller, which flags.

Version 00 is read to the letter. Of a higher version is read what this one knows, as the specification asks,
so that a trace doesn't end at the first service that is older than its neighbours. What cannot be read starts
a new trace: there is no error to report to anybody, so the answer is None.

Source: W3C Trace Context, level 2, sections "traceparent Header Field Values" and "Versioning of
    traceparent".
"""

from __future__ import annotations

import re
from typing import Final

from seawall.kernel.errors import UsageError

SAMPLED: Final = 0x01
"""The caller may have recorded its part of the trace."""
RANDOM: Final = 0x02
"""At least the lower 56 bits of the trace id are random."""
KNOWN_FLAGS: Final = SAMPLED | RANDOM
"""The other bits belong to versions to come; whoever sends version 00 has to clear them."""

# Two digits each way: looking a number up is faster than computing it.
FLAG_TEXTS: Final = tuple(f"-{flags:02x}" for flags in range(KNOWN_FLAGS + 1))
"""How a ``traceparent`` ends, by its known flags."""
_FLAGS_OF: Final = {f"{flags:02x}": flags & KNOWN_FLAGS for flags in range(256)}

_OURS: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch
# What follows the flags of a later version is not ours to judge, unless it touches them.
_LATER: Final = re.compile(
    r"(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?![^-])",
).match


def parse_traceparent(text: str) -> tuple[int, int, int] | None:
    """Read one ``traceparent``; spaces and tabs around it don't matter.

    Returns:
        The trace's id, the caller's span (the parent of what happens here) and its flags, of which unknown
        ones are cleared. The ids are never 0. None for anything that is not a ``traceparent``: the trace then
        starts anew, and ``tracestate`` must not be read.
    """
    match = _OURS(text)
    if match is None:
        text = text.strip(" \t")
        match = _OURS(text) or _LATER(text)
        if match is None:
            return None
    trace, span, flags = match.groups()
    trace_id = int(trace, 16)
    span_id = int(span, 16)
    return (trace_id, span_id, _FLAGS_OF[flags]) if trace_id and span_id else None


def format_traceparent(trace_id: int, span_id: int, flags: int = 0) -> str:
    """Write a ``traceparent`` of version 00.

    Args:
        trace_id: 1 to 2**128 - 1.
        span_id: 1 to 2**64 - 1.
        flags: Unknown bits are left off.

    Raises:
        UsageError: An id is out of its range.
    """
    if trace_id and span_id:
        try:
            # Faster than a format with padding.
            trace = trace_id.to_bytes(16).hex()
            return f"00-{trace}-{span_id.to_bytes(8).hex()}{FLAG_TEXTS[flags & KNOWN_FLAGS]}"
        except OverflowError:
            pass
    raise UsageError(
        f"trace_id = {trace_id!r}, span_id = {span_id!r}: must be 1 to 2**128 - 1 and 1 to 2**64 - 1"
    )
