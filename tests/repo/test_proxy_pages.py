"""The pages about the proxy say what the code says: columns, pins, SQLSTATEs, bounds, options, files."""

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from seawall.app import config
from seawall.cli import main, proxy_views
from seawall.proxy import admin
from seawall.proxy.ledger import Pin
from seawall.proxy.shared import COLUMNS
from seawall.wire.pgwire import sqlstate
from tests.repo import tree
from tests.repo.test_docs import blocks

SRC = tree.ROOT / "src" / "seawall"
PROXY = {path.stem: path for path in (SRC / "proxy").glob("*.py")}
NOT_SPOKEN = frozenset({"check", "check_socket", "election", "topology"})
"""They look at servers on the proxy's own behalf; no client hears of it."""
SPEAKING = [path for name, path in PROXY.items() if name not in NOT_SPOKEN] + [
    SRC / "wire" / "pgwire" / name for name in ("startup.py", "login.py", "messages.py", "scram.py")
]
STATE = re.compile(r"[0-9][0-9A-Z]{4}", re.ASCII)
BOUND = re.compile(r"_(LIMIT|MAX|KEPT)\Z|\A(BURST|BACKLOG|CACHE_BYTES|LONG_BYTES|SHORT_BYTES)\Z")
ROW = re.compile(r"^\| `(?P<first>[^`]*)` \| (?P<rest>.*) \|$(?!\n\|---)", re.MULTILINE)
"""A row of a table whose first cell is code, and no heading."""
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


@cache
def page(name: str) -> str:
    """The text of a page."""
    return (tree.ROOT / "docs" / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands under a heading, down to the next one of whatever level."""
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"there is no {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> list[str]:
    """The first column of the tables in a text, where it is code."""
    return [match["first"] for match in ROW.finditer(text)]


@cache
def syntax(path: Path) -> ast.Module:
    """The syntax of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


# --- the console --------------------------------------------------------------------------------------------


def row_keys(function: str) -> list[str]:
    """The columns of the rows that a function of the console makes: the keys of its largest dictionary."""
    (found,) = (
        node
        for node in syntax(PROXY["admin"]).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    rows = [node for node in ast.walk(found) if isinstance(node, ast.Dict)]
    largest = max(rows, key=lambda row: len(row.keys))
    return [str(key.value) for key in largest.keys if isinstance(key, ast.Constant)]


@pytest.mark.parametrize("view", ["pools", "clients", "servers", "stats", "workers"])
def test_every_column_of_the_console_is_explained_in_its_order(view: str) -> None:
    columns = row_keys(view) + (list(COLUMNS) if view == "workers" else [])
    assert len(columns) > 5
    assert first_cells(section(page("reference/proxy-console.md"), f"## `SHOW {view.upper()}`")) == columns


def test_the_console_has_no_view_that_is_not_explained() -> None:
    headings = re.findall(r"^## `SHOW (\w+)`$", page("reference/proxy-console.md"), re.MULTILINE)
    assert [heading.lower() for heading in headings] == list(admin.VIEWS)


@pytest.mark.parametrize("view", admin.COLUMNS)
def test_every_column_that_is_always_there_is_explained_in_its_order(view: str) -> None:
    heading = "## `EXPLAIN FAILOVER`" if view == "explain" else f"## `SHOW {view.upper()}`"
    assert first_cells(section(page("reference/proxy-console.md"), heading)) == list(admin.COLUMNS[view])


def test_every_way_to_treat_a_client_is_explained_in_its_order() -> None:
    ways = section(page("reference/proxy-console.md"), "### Ways")
    assert first_cells(ways) == list(proxy_views.SEES)


def test_every_order_is_explained() -> None:
    told = re.findall(
        r"^`([A-Z]+)[^`]*`\n: ", section(page("reference/proxy-console.md"), "## Orders"), re.MULTILINE
    )
    orders = [command for command in admin.COMMANDS if admin.order_of(command.replace("[TO name]", ""))]
    assert told == [order.partition(" ")[0] for order in orders]


def test_every_reason_for_a_pin_is_explained_in_its_order() -> None:
    reasons = section(page("reference/proxy-console.md"), "### Reasons for a pin")
    assert first_cells(reasons) == [pin.value for pin in Pin]


# --- what the proxy itself answers --------------------------------------------------------------------------


def states_in(module: ast.Module) -> Iterator[str]:
    """SQLSTATEs in a module: written out, or by the names that ``sqlstate`` gives them."""
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATE.fullmatch(node.value):
            yield node.value
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "sqlstate":
            yield str(getattr(sqlstate, node.attr))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").endswith(".sqlstate"):
            for name in node.names:
                yield str(getattr(sqlstate, name.name))


def test_every_sqlstate_of_the_proxy_is_explained_and_no_other() -> None:
    spoken = {state for path in SPEAKING for state in states_in(syntax(path))}
    assert {"53300", "57P03", "08006"} <= spoken
    assert set(first_cells(page("reference/proxy-errors.md"))) == spoken


def test_a_state_is_found_however_it_is_written() -> None:
    text = (
        'a("57P01")\nb(sqlstate.DISK_FULL)\nfrom seawall.wire.pgwire.sqlstate import OUT_OF_MEMORY\n"x57P01"'
    )
    assert set(states_in(ast.parse(text))) == {"57P01", "53100", "53200"}


# --- bounds -------------------------------------------------------------------------------------------------


def bounds() -> dict[str, Any]:
    """The constants of the proxy that limit something, by module and name."""
    found: dict[str, Any] = {}
    for name, path in PROXY.items():
        for node in syntax(path).body:
            if (
                name not in NOT_SPOKEN
                and isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and BOUND.search(node.target.id)
            ):
                module = importlib.import_module(f"seawall.proxy.{name}")
                found[f"{name}.{node.target.id}"] = getattr(module, node.target.id)
    return found


def test_every_bound_is_explained_with_its_value() -> None:
    table = section(page("explanation/data-plane.md"), "## What bounds its memory")
    told = {match["first"]: int(match["rest"].partition(" |")[0]) for match in ROW.finditer(table)}
    assert len(told) > 20
    assert told == bounds()


# --- the command line ---------------------------------------------------------------------------------------


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and all below it."""
    yield path, command
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from commands(command.get_command(None, name), (*path, name))


VERBS = dict(commands(typer.main.get_command(main.app)))


def options_of(command: Any) -> set[str]:
    """Its long options, without the one for help."""
    return {
        name for one in command.params for name in (*one.opts, *one.secondary_opts) if name[:2] == "--"
    } - {"--help"}


def told_of(path: tuple[str, ...]) -> str:
    """What the page says about one verb."""
    text = page("reference/cli.md")
    if path[:1] == ("cluster",) and len(path) == 2:
        part = section(text, "## `seawall cluster`")
        match = re.search(
            rf"^`seawall cluster {path[1]}[^`\n]*`\n: .*?(?=^`seawall |\Z)", part, re.MULTILINE | re.DOTALL
        )
        assert match, f"nothing about {path}"
        return match[0] + "--dir --json"  # said once, for all of them
    heading = re.search(
        rf"^## `(seawall{''.join(' ' + name for name in path)}( FILE)?)`$", text, re.MULTILINE
    )
    assert heading, f"nothing about {path}"
    return section(text, heading[0])


@pytest.mark.parametrize("path", [path for path in VERBS if path not in {(), ("cluster",)}], ids=" ".join)
def test_every_verb_is_told_with_all_its_options_and_no_other(path: tuple[str, ...]) -> None:
    told = set(OPTION.findall(told_of(path)))
    own = options_of(VERBS[path])
    assert own <= told
    # A page may refer to "--config" of a sentence; but an option in a table or a usage line has to exist.
    listed = {name for cell in first_cells(told_of(path)) for name in OPTION.findall(cell)}
    assert listed <= own


def test_the_verbs_that_are_told_exist() -> None:
    headings = re.findall(r"^## `seawall((?: [a-z]+)*)(?: FILE)?`$", page("reference/cli.md"), re.MULTILINE)
    assert len(headings) > 5
    assert {tuple(heading.split()) for heading in headings} <= VERBS.keys()


# --- configuration files ------------------------------------------------------------------------------------


def toml_blocks() -> Iterable[tuple[str, str]]:
    """The TOML on the pages about the proxy."""
    for name in (
        *("run-the-proxy", "operate-the-proxy", "choose-a-pool-mode", "move-from-pgbouncer"),
        *("fail-over", "follow-patroni"),
        *("monitor-with-prometheus", "send-traces", "ship-logs"),
    ):
        for body in blocks(page(f"how-to/{name}.md"), "toml"):
            yield name, body


FRAME = {
    "[[backends.instances]]": '[[backends.instances]]\nname = "a"\nhost = "db.internal"\n',
    "[[auth.users]]": '[[auth.users]]\nname = "shop"\npassword = "s"\n',
}
"""What a block may leave out because it was told before."""


@pytest.mark.parametrize(("name", "body"), list(toml_blocks()))
def test_a_configuration_on_a_page_is_right(name: str, body: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    text = re.sub(r'(_file = )"[^"]*"', rf'\1"{secret}"', body)
    text += "".join(f"\n{part}" for header, part in FRAME.items() if header not in text)
    loaded = config.loads(text, {"SEAWALL_BOSS_PASSWORD": "s"}, source=name)
    assert loaded.settings.backends
    assert not loaded.warnings


def test_there_are_configurations_on_pages() -> None:
    assert len(list(toml_blocks())) >= 3
