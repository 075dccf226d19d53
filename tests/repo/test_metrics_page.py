"""The page of metrics has a table for every group of the catalogue."""

import re

from seawall.telemetry.catalogue import GROUPS
from tests.repo import tree


def test_every_group_of_the_catalogue_is_on_the_page() -> None:
    page = (tree.ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^```\{seawall-metrics\} (\S+)$", page, re.MULTILINE)) == {*GROUPS, "others"}
