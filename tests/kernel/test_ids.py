import uuid

import pytest

from seawall.kernel.errors import UsageError
from seawall.kernel.ids import MAX_UNIX_MS, new_id


def zeros(count):
    return bytes(count)


def ones(count):
    return b"\xff" * count


def test_the_example_of_the_standard():
    # RFC 9562, appendix A.6; the bits that the version and the variant take are set to ones here.
    random = bytes.fromhex("fcc3d8c4dc0c0c07398f")
    assert new_id(lambda count: random, 0x017F22E279B0) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.mark.parametrize("rng_bytes", [zeros, ones])
@pytest.mark.parametrize("unix_ms", [0, 1, 1_700_000_000_000, MAX_UNIX_MS])
def test_version_and_variant_are_right_whatever_the_bits(rng_bytes, unix_ms):
    parsed = uuid.UUID(new_id(rng_bytes, unix_ms))
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == unix_ms


def test_later_ones_sort_after_earlier_ones():
    assert new_id(ones, 1_000) < new_id(zeros, 1_001)


@pytest.mark.parametrize("unix_ms", [-1, MAX_UNIX_MS + 1])
def test_a_time_that_does_not_fit(unix_ms):
    with pytest.raises(UsageError, match="allowed are milliseconds from 0"):
        new_id(zeros, unix_ms)


def test_too_little_randomness():
    with pytest.raises(UsageError, match=r"rng_bytes\(10\) gave 9 bytes"):
        new_id(lambda count: bytes(count - 1), 0)
