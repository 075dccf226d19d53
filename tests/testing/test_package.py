"""The kit's front door loads what is asked for, and nothing else."""

import pytest

import seawall.testing


def test_every_promised_name_is_there() -> None:
    for name in seawall.testing.__all__:
        assert getattr(seawall.testing, name).__module__.startswith("seawall.testing.")
    assert dir(seawall.testing) == sorted(seawall.testing.__all__)


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="virtual_clock"):
        seawall.testing.virtual_clock  # noqa: B018 -- reading it is the test
