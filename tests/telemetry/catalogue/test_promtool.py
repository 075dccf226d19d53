"""The catalogue's names, types and helps as Prometheus' own linter sees them."""

import shutil
import subprocess
from collections.abc import Iterable

import pytest

from seawall.telemetry.catalogue import CATALOGUE
from seawall.telemetry.exposition import Format, Writer
from seawall.telemetry.metrics import Kind, Metric, Registry

PROMTOOL = shutil.which("promtool") or ""

pytestmark = pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed (Debian: prometheus)")


def checked(metrics: Iterable[Metric]) -> tuple[int, str]:
    """Exit code and complaints about a page that has one series of each metric."""
    registry = Registry()
    for metric in metrics:
        registry.declare(metric).cell(*metric.labels)
    page = Writer(registry).write(Format.TEXT)
    assert page.count(b"# TYPE ") == len(registry.families())
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=page, capture_output=True, check=False, timeout=10
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def test_it_has_nothing_to_object_to_any_row() -> None:
    assert checked(CATALOGUE) == (0, "")


def test_it_objects_to_what_no_row_may_be_like() -> None:
    code, complaints = checked([Metric(name="lag", kind=Kind.GAUGE, help="", unit="milliseconds")])
    assert code == 3
    assert "use base unit" in complaints
    assert "no help text" in complaints
