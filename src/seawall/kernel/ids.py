"""Identifiers that sort by the time of their making: UUID version 7 (RFC 9562, section 5.7).

Pure: the caller gives time and randomness. It makes no promise about the order of two identifiers of the same
millisecond. Commands, correlation ids and stored records are named by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from seawall.kernel.errors import UsageError

__all__ = ["MAX_UNIX_MS", "new_id"]

MAX_UNIX_MS: Final = 2**48 - 1
"""The year 10889."""

_RANDOM_BYTES: Final = 10


def new_id(rng_bytes: Callable[[int], bytes], unix_ms: int) -> str:
    """Make an identifier.

    Args:
        rng_bytes: Gives so many random bytes, such as ``secrets.token_bytes``.
        unix_ms: Milliseconds since 1970-01-01T00:00Z.

    Returns:
        36 characters, lower case, such as ``"017f22e2-79b0-7cc3-98c4-dc0c0c07398f"``.

    Raises:
        UsageError: If the time does not fit 48 bits or there are too few random bytes.
    """
    if not 0 <= unix_ms <= MAX_UNIX_MS:
        raise UsageError(f"unix_ms = {unix_ms!r}: allowed are milliseconds from 0 to {MAX_UNIX_MS}")
    random = rng_bytes(_RANDOM_BYTES)
    if len(random) != _RANDOM_BYTES:
        raise UsageError(
            f"rng_bytes({_RANDOM_BYTES}) gave {len(random)} bytes: it has to give as many as it is asked"
        )
    bits = int.from_bytes(random, "big")
    # 80 random bits: the version takes the place of the top 4, the variant of the 2 after the next 12.
    rand_a = (bits >> 64) & 0xFFF
    rand_b = bits & 0x3FFF_FFFF_FFFF_FFFF
    digits = f"{unix_ms << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
