"""The reference page of the configuration, whose tables are printed from the declarations that check values.

``python -m tests.app.configuration_page`` prints the page as it should be, ``--update`` writes it. What is
above the first table is written by hand and kept.
"""

import inspect
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from seawall.app.document import Entry, entries

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "proxy-configuration.md"

FIRST_TABLE = "## `[proxy]`"
DORMANT = "Read and checked; **nothing acts on it in this release**."
DORMANT_KEY = "(Read and checked; nothing acts on it in this release.)"


def page() -> str:
    """The whole page, with the head that it has."""
    tables = [section(header, list(group)) for header, group in groupby(entries(), _header)]
    head = PAGE.read_text(encoding="utf-8").partition(FIRST_TABLE)[0]
    return head.rstrip("\n") + "\n" + "".join(tables)


def section(header: str, keys: list[Entry]) -> str:
    """One table of the file as one table of the page."""
    model = keys[0].section
    lines = [f"## `{header}`", "", _prose(model.__doc__ or "")]
    if not model.acts:
        lines += ["", DORMANT]
    lines += ["", "| key | default | allowed | what it does |", "|---|---|---|---|", *map(row, keys)]
    return "\n" + "\n".join(lines) + "\n"


def row(entry: Entry) -> str:
    """One key as one row."""
    default = "must be written" if entry.required else _default(entry)
    meaning = entry.key.meaning
    if entry.section.acts and not entry.key.acts:
        meaning = f"{meaning} {DORMANT_KEY}"
    if not meaning.endswith((".", ")", "limit")):
        raise ValueError(f"{entry.path}: a meaning is a sentence")
    cells = (f"`{entry.name}`", default, entry.key.setting.allowed(), meaning.removesuffix("."))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(entry: Entry) -> str:
    if entry.default is None:
        return "not set"
    if entry.name == "listen_address":
        (listen,) = entry.default
        return f'`"{listen.host}:{listen.port}"`'
    return f"`{entry.key.written(entry.default)}`"


def _header(entry: Entry) -> str:
    return entry.header


def _prose(text: str) -> str:
    return inspect.cleandoc(text).replace("``", "`")


def main(arguments: list[str]) -> Iterator[str]:
    """Print the page, or write it."""
    if arguments == ["--update"]:
        PAGE.write_text(page(), encoding="utf-8")
        yield f"wrote {PAGE}"
    else:
        yield page()


if __name__ == "__main__":
    for text in main(sys.argv[1:]):
        print(text)
