import sys

import pytest


@pytest.fixture
def rapid_switching():
    """Let the interpreter change threads as often as it can, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
