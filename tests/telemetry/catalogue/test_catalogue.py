"""The catalogue can be declared whole, and its texts are fit for the people who read them."""

import shutil
import subprocess

import pytest

from seawall.telemetry.catalogue import CATALOGUE, EXPOSED, GROUPS
from seawall.telemetry.exposition import Settings, Writer
from seawall.telemetry.metrics import Layout, Registry

PROMTOOL = shutil.which("promtool")


def test_all_rows_live_in_one_registry() -> None:
    registry = Registry()
    for metric in CATALOGUE:
        registry.declare(metric)
    assert len(registry.families()) == len(CATALOGUE)


def test_all_rows_fit_into_a_shared_block() -> None:
    assert len(Layout(CATALOGUE, rows=2).metrics) == len(CATALOGUE) + 1


def test_every_row_says_what_it_is_in_a_sentence() -> None:
    assert [row.name for row in CATALOGUE if not row.help.endswith(".") or "\n" in row.help] == []


def test_no_alias_is_given_twice() -> None:
    aliases = [alias for row in CATALOGUE for alias in row.alias]
    assert len(aliases) == len(set(aliases))


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("aliases", [False, True])
def test_promtool_has_nothing_to_object(aliases: bool) -> None:
    assert PROMTOOL is not None
    registry = Registry()
    for metric in CATALOGUE:
        registry.declare(metric).cell(*["x"] * len(metric.labels))
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"],
        input=Writer(registry, Settings(aliases=aliases)).write(),
        capture_output=True,
        check=False,
        timeout=10,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_groups_are_the_catalogue() -> None:
    assert [row for rows in GROUPS.values() for row in rows] == list(CATALOGUE)
    assert len({row.name for row in EXPOSED}) == len(EXPOSED) == len(CATALOGUE) + 1
