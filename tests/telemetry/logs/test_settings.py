"""Settings are checked as a whole."""

import pytest

from seawall.kernel.errors import PolicyError
from seawall.telemetry.logs import LogSettings
from tests.telemetry.logs.lines import PLANTED


def test_all_mistakes_are_named_at_once():
    wrong = {
        "service": "",
        "level": "loud",
        "levels": {"a": "quiet"},
        "format": "xml",
        "destination": -1,
        "context_keys": "state",
        "secrets": [PLANTED, 5],
        "processors": ["x"],
        "capacity": 1,
        "batch_s": True,
        "line_bytes": "9",
        "message_chars": 64.5,
    }
    with pytest.raises(PolicyError) as caught:
        LogSettings(**wrong)
    keys = [problem.key.partition(".")[0] for problem in caught.value.problems]
    assert sorted(keys) == sorted(wrong)
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize("secrets", [["abc"], [""], [f"secret-{number}" for number in range(257)]])
def test_secrets_that_could_not_be_masked_are_refused(secrets):
    with pytest.raises(PolicyError, match="secrets") as caught:
        LogSettings(service="x", secrets=secrets)
    assert "secret-1" not in str(caught.value)


def test_levels_that_are_no_table():
    with pytest.raises(PolicyError, match="levels"):
        LogSettings(service="x", levels=[1])


def test_secrets_are_in_no_repr():
    assert PLANTED not in repr(LogSettings(service="x", secrets=[PLANTED]))


def test_thresholds_have_the_defaults_beneath():
    settings = LogSettings(service="x", level="WARN", levels={"asyncio": "debug", "a": 25})
    assert settings.threshold == 30
    assert settings.thresholds == {"asyncio": 10, "uvicorn.access": 30, "a": 25}
