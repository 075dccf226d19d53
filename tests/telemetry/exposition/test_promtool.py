"""The exposition as Prometheus' own linter sees it."""

import shutil
import subprocess

import pytest

from seawall.telemetry.exposition import Writer
from tests.telemetry.exposition.registries import TEXT, every_kind

PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_has_nothing_to_object() -> None:
    assert PROMTOOL is not None
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"],
        input=Writer(every_kind()).write(TEXT),
        capture_output=True,
        check=False,
        timeout=10,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
