import re

import pytest

from seawall.kernel.errors import Outcome
from seawall.kernel.outcomes import outcome_for_sqlstate
from seawall.wire.pgwire import sqlstate

CODES = {name: value for name, value in vars(sqlstate).items() if name.isupper() and not name.startswith("_")}


def test_every_constant_is_a_sqlstate_of_its_own() -> None:
    assert len(CODES) > 40
    assert all(re.fullmatch("[0-9A-Z]{5}", code) for code in CODES.values())
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize(
    "code", ["08000", "08006", "08P01", "53300", "53100", "57P01", "57P02", "57P03", "XX000", "XX002"]
)
def test_a_server_in_trouble(code: str) -> None:
    assert sqlstate.is_availability(code)


@pytest.mark.parametrize(
    "code", ["00000", "22023", "28P01", "40001", "42601", "57014", "57P04", "57P05", "", "5", "X"]
)
def test_somebody_elses_trouble(code: str) -> None:
    assert not sqlstate.is_availability(code)


def test_no_code_that_the_kernel_ignores_counts_as_trouble() -> None:
    healthy = {Outcome.OK, Outcome.IGNORED}
    assert not [
        name
        for name, code in CODES.items()
        if sqlstate.is_availability(code) and outcome_for_sqlstate(code) in healthy
    ]
