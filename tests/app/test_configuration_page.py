import difflib
import re
from pathlib import Path

import pytest

from seawall.app import config
from seawall.app.document import Document, entries
from tests.app import configuration_page
from tests.app.configuration_page import PAGE

TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
FOREIGN = ("SEAWALL_CONFIG", "HELIOS_CONFIG", "SEAWALL_LOG_LEVEL", "HELIOS_LOG_LEVEL")


@pytest.fixture(scope="module")
def written() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_page_is_the_one_that_the_declarations_print(written: str) -> None:
    difference = list(
        difflib.unified_diff(
            written.splitlines(),
            configuration_page.page().splitlines(),
            "written",
            "printed",
            lineterm="",
            n=0,
        )
    )
    assert not difference, (
        "run `python -m tests.app.configuration_page --update`, and read what it changed\n"
        + "\n".join(difference)
    )


def test_every_key_has_a_row_below_its_table(written: str) -> None:
    for entry in entries():
        below = written.partition(f"## `{entry.header}`\n")[2].partition("\n## ")[0]
        (row,) = [line for line in below.splitlines() if line.startswith(f"| `{entry.name}` |")]
        assert entry.key.setting.allowed().replace("|", "\\|") in row


def test_every_section_has_a_heading(written: str) -> None:
    headings = set(re.findall(r"^## `\[+([a-z_.]+)\]+`$", written, re.MULTILINE))
    inside = {"auth.users", "backends.instances"}
    inside |= {f"telemetry.{name}" for name in ("metrics", "status", "tracing", "logs")}
    assert headings == set(Document.model_fields) - {"backends"} | inside


def test_what_nothing_acts_on_is_said_to_be_so(written: str) -> None:
    for entry in entries():
        below = written.partition(f"## `{entry.header}`\n")[2].partition("\n## ")[0]
        row = next(line for line in below.splitlines() if line.startswith(f"| `{entry.name}` |"))
        said = configuration_page.DORMANT in below or configuration_page.DORMANT_KEY.strip("()") in row
        assert said is not entry.acts, entry.path


def test_the_files_of_the_page_load(written: str, tmp_path: Path) -> None:
    examples = TOML.findall(written)
    assert examples
    (tmp_path / "shop").write_text("hunter2")
    for text in examples:
        loaded = config.loads(text.replace("/run/secrets/", ""), {}, directory=tmp_path)
        assert loaded.warnings == loaded.notices == ()


def test_the_variables_of_the_page_are_those_of_the_loader(written: str) -> None:
    from seawall.app.config import LOG_LEVEL_VARIABLES
    from seawall.app.environment import CONFIG_VARIABLES

    assert set(CONFIG_VARIABLES + LOG_LEVEL_VARIABLES) == set(FOREIGN)
    assert all(f"`{name}`" in written for name in FOREIGN)
