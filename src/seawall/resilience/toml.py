"""Guards from a TOML file: the same keys as in code, with every error of the file named at once.

::

    [guards.orders-db]
    timeout = "2s"

    [guards.orders-db.breaker]
    errors = "5%"
    p95 = "500ms"

    [guards.orders-db.retry]
    attempts = 3
    budget = { ratio = "10%" }

``breaker = "none"`` leaves the default breaker out; ``"none"`` also switches off any optional value.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from seawall.kernel.errors import PolicyError, Problem
from seawall.resilience import settings
from seawall.resilience.policy import NESTED, PARTS, Policy

FILE_MAX_BYTES: Final = 4 * 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")


def load_policies(path: str | Path) -> dict[str, Policy]:
    """Read the ``[guards]`` of a TOML file.

    Args:
        path: the file; at most 4 MiB, UTF-8.

    Returns:
        The policies by guard name.

    Raises:
        PolicyError: naming every wrong key and value of the file, or what is wrong with the file itself.
    """
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(FILE_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise PolicyError([Problem("file", source, "a readable file", why or "")], source) from None
    if len(raw) > FILE_MAX_BYTES:
        fix = "write a file per service"
        raise PolicyError([Problem("file", source, f"at most {FILE_MAX_BYTES} bytes", fix)], source)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError(
            [Problem("file", f"byte {error.start}", "UTF-8", "save it as UTF-8")], source
        ) from None
    return parse_policies(text, source)


def parse_policies(text: str, source: str = "TOML") -> dict[str, Policy]:
    """Read the ``[guards]`` of a TOML text; other tables are left alone.

    Args:
        text: the document.
        source: named in the error.

    Raises:
        PolicyError: naming every wrong key and value.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # A ValueError that is no TOMLDecodeError: a number with more digits than Python converts.
        raise PolicyError([Problem("file", str(error), "TOML 1.0")], source) from None
    found: list[Problem] = []
    policies: dict[str, Policy] = {}
    near = difflib.get_close_matches("guards", [key for key in document if key != "guards"], cutoff=0.8)
    found.extend(Problem(key, document[key], "no such table", "did you mean 'guards'?") for key in near)
    guards = document.get("guards", {})
    if not isinstance(guards, dict):
        raise PolicyError([Problem("guards", guards, "a table", "write [guards.NAME]")], source)
    for name, table in guards.items():
        path = f"guards.{name}"
        if not _NAME.fullmatch(name):
            found.append(Problem(path, name, "letters, digits and _ . : / -, at most 128"))
        elif not isinstance(table, dict):
            found.append(Problem(path, table, "a table", f"write [guards.{name}]"))
        else:
            policy, problems = policy_from(table, f"{path}.")
            found.extend(problems)
            if policy is not None:
                policies[name] = policy
    if found:
        raise PolicyError(found, source)
    return policies


def policy_from(table: Mapping[str, Any], path: str = "") -> tuple[Policy | None, list[Problem]]:
    """One guard's policy from its table, or every problem with it."""
    found: list[Problem] = []
    parts: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for key, raw in table.items():
        if key not in PARTS:
            values[key] = raw
        elif raw == "none":
            parts[key] = None
        else:
            part, problems = _part(key, raw, path)
            parts[key] = part
            found.extend(problems)
    policy, problems = settings.from_table(Policy, values, path, parts)
    found.extend(problems)
    return (None, found) if found else (policy, [])


def _part(key: str, raw: object, path: str) -> tuple[object, list[Problem]]:
    """A part's policy from its table, with the tables nested in it."""
    if not isinstance(raw, dict):
        return None, [Problem(f"{path}{key}", raw, 'a table or "none"', f"write [{path}{key}]")]
    found: list[Problem] = []
    nested: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for name, value in raw.items():
        kind = NESTED.get((key, name))
        if kind is None:
            plain[name] = value
        elif value == "none" and name == "budget":
            nested[name] = None
        elif not isinstance(value, dict):
            allowed = 'a table or "none"' if name == "budget" else "a table"
            found.append(Problem(f"{path}{key}.{name}", value, allowed, f"write [{path}{key}.{name}]"))
        else:
            made, problems = settings.from_table(kind, value, f"{path}{key}.{name}.")
            found.extend(problems)
            if made is not None:
                nested[name] = made
    part, problems = settings.from_table(PARTS[key], plain, f"{path}{key}.", nested)
    found.extend(problems)
    return part, found
