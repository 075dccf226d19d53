import dataclasses
import math

import pytest

from seawall.kernel.commands import (
    FORCE_MODES,
    Command,
    ForceBreaker,
    ReleaseBreaker,
    ReloadPolicy,
    ResetBreaker,
)
from seawall.kernel.errors import UsageError
from seawall.kernel.units import MAX_DURATION_S

FORCE = {"target": "db", "owner": "ann", "mode": "open", "reason": "drill", "for_s": 60.0}


@pytest.mark.parametrize("mode", FORCE_MODES)
def test_every_mode_can_be_forced(mode):
    assert ForceBreaker(**{**FORCE, "mode": mode}).mode == mode


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"target": " "}, "target = ' ': allowed is any text that is not blank; name the guard"),
        ({"owner": ""}, "owner = ''"),
        ({"reason": ""}, "reason = ''"),
        ({"mode": "ajar"}, "mode = 'ajar': allowed are open, closed, disabled, shadow"),
        ({"for_s": 0.0}, "for_s = 0.0"),
        ({"for_s": -1.0}, "for_s = -1.0"),
        ({"for_s": math.nan}, "for_s = nan"),
        ({"for_s": MAX_DURATION_S * 2}, "for_s = "),
    ],
)
def test_a_force_that_makes_no_sense_is_refused(change, text):
    with pytest.raises(UsageError) as caught:
        ForceBreaker(**{**FORCE, **change})
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    "command",
    [
        ReleaseBreaker(target="db", owner="ann"),
        ResetBreaker(target="db/eu", owner="ann"),
        ReloadPolicy(target="db", owner="ann", policy={"errors": "5%"}),
    ],
)
def test_commands_are_frozen_and_owned(command):
    assert isinstance(command, Command)
    assert command.owner == "ann"
    with pytest.raises(dataclasses.FrozenInstanceError):
        command.owner = "bob"


@pytest.mark.parametrize("kind", [ReleaseBreaker, ResetBreaker])
def test_an_order_of_nobody_is_refused(kind):
    with pytest.raises(UsageError, match="say who gives the order"):
        kind(target="db", owner="")
