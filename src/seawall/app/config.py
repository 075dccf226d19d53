"""A configuration file, read and checked: TOML in, ``ProxySettings`` out, or every mistake at once.

The order: TOML → variables → what the command line and the environment put over it → values and unknown keys
→ what contradicts → secrets from files → settings. Every step but the last goes on after a mistake, so that
one error tells all of them. It starts nothing; the command line and :mod:`seawall.app.build` call it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from seawall.app import addresses, contradictions, environment, translate
from seawall.app.document import RECEIVERS, Document
from seawall.app.environment import Expanded, Place
from seawall.app.observation.sections import (
    BEARER_PATTERN,
    BEARER_UNIT,
    DOORS,
    DoorSection,
    observation,
)
from seawall.app.observation.settings import ObservationSettings
from seawall.app.problems import HIDDEN, NOTHING, PROBLEMS_MAX, ConfigError, Reader, Words
from seawall.app.secrets import Secret, SecretFileError, read_file
from seawall.kernel.errors import Problem
from seawall.proxy.settings import ProxySettings

__all__ = ["FILE_MAX_BYTES", "ConfigError", "Loaded", "Overrides", "load", "loads"]

FILE_MAX_BYTES: Final = 4 * 1024 * 1024
LOG_LEVEL_VARIABLES: Final = ("SEAWALL_LOG_LEVEL", "HELIOS_LOG_LEVEL")
"""They overrule ``observability.log_level``."""
LOG_LEVELS: Final = {
    "trace": "DEBUG",
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "error": "ERROR",
}
"""The words of a configuration, some of which come from other languages, in those of :mod:`logging`."""
BACKEND_PORT: Final = 5432


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """What the command line puts over the file.

    Attributes:
        listen: instead of ``proxy.listen_address``.
        workers: instead of ``proxy.workers``.
        backends: ``HOST:PORT``, instead of all of ``[[backends.instances]]``.
    """

    listen: tuple[str, ...] = ()
    workers: int | None = None
    backends: tuple[str, ...] = ()


DEFAULTS: Final = ObservationSettings()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration without mistakes.

    Attributes:
        settings: what the data plane is told.
        notices: what the file says and nothing acts on in this release.
        warnings: what its writer may not have meant.
        source: the file, or what else it came from.
        log_level: as :mod:`logging` names it.
        observation: what the telemetry is told.
    """

    settings: ProxySettings
    notices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    source: str = ""
    log_level: str = "INFO"
    observation: ObservationSettings = DEFAULTS


def load(
    path: str | Path | None,
    env: Mapping[str, str],
    *,
    trust_loopback: bool = False,
    overrides: Overrides | None = None,
) -> Loaded:
    """Read a configuration file.

    Args:
        path: the file, at most 4 MiB, UTF-8; ``None``: the one that ``$SEAWALL_CONFIG`` or ``$HELIOS_CONFIG``
            names.
        env: the variables; also of ``${NAME}`` in the file.
        trust_loopback: let in whoever connects from this machine, whatever the file says.
        overrides: what else the command line puts over it; with backends there, no file is needed.

    Raises:
        ConfigError: naming every mistake, or what is wrong with the file itself.
    """
    overrides = overrides or Overrides()
    chosen = path or environment.config_file(env)
    if chosen is None:
        if not overrides.backends:
            fix = f"give --config FILE or --backend HOST:PORT, or set {environment.CONFIG_VARIABLES[0]}"
            raise ConfigError(
                [Problem("--config", Words("nothing"), "a configuration file", fix)], "configuration"
            )
        return loads("", env, trust_loopback=trust_loopback, overrides=overrides, source="the command line")
    source = str(chosen)
    text = _text(source)
    directory = Path(source).parent
    return loads(
        text, env, trust_loopback=trust_loopback, overrides=overrides, source=source, directory=directory
    )


def loads(
    text: str,
    env: Mapping[str, str],
    *,
    trust_loopback: bool = False,
    overrides: Overrides | None = None,
    source: str = "TOML",
    directory: Path | None = None,
) -> Loaded:
    """Read a configuration.

    Args:
        text: the document.
        env: the variables, of ``${NAME}`` and of the log level.
        trust_loopback: let in whoever connects from this machine, whatever the document says.
        overrides: what else the command line puts over it.
        source: named in the error.
        directory: where ``*_file`` keys start from; ``None``: the current one.

    Raises:
        ConfigError: naming every mistake.
    """
    overrides = overrides or Overrides()
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem("file", Words(error), "TOML 1.0", "mend that line")], source) from None
    except (ValueError, RecursionError):
        # What Python can't hold: an integer of 5 000 digits, lists nested a thousand deep.
        problem = Problem("file", Words("a number or a nesting beyond all bounds"), "TOML 1.0")
        raise ConfigError([problem], source) from None
    draft = _Draft(raw, env)
    draft.put_over(overrides, trust_loopback=trust_loopback, env=env)
    return draft.finish(source, directory or Path())


class _Draft:
    """A document on its way to settings, with all that was found wrong so far."""

    __slots__ = ("env", "expanded", "origins", "problems", "raw", "skipped", "warnings")

    def __init__(self, raw: dict[str, object], env: Mapping[str, str]) -> None:
        self.raw = raw
        self.env = env
        self.expanded: Expanded = environment.expand(raw, env)
        self.origins: dict[Place, str] = {}
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.skipped: set[Place] = set()
        reader = Reader(raw)
        for place in self.expanded.malformed:
            fix = "close the brace and use letters, digits and _, or write $${ for the characters ${"
            self._complain(reader, place, Words("a text with ${"), "${NAME} or ${NAME:-default}", fix)
        for place, names in self.expanded.unset.items():
            if place not in RECEIVERS:
                fix = f"set {', '.join(names)}, or write ${{{names[0]}:-default}}"
                self._complain(reader, place, _references(names), "variables that are set", fix)
        self._switch_off_receivers()

    def _complain(self, reader: Reader, place: Place, value: object, allowed: str, fix: str) -> None:
        self.problems.append(Problem(reader.path(place), value, allowed, fix))
        self.skipped.add(place)

    def _switch_off_receivers(self) -> None:
        """A receiver whose variable is missing or empty is off: the file serves machines without one, too."""
        for section, key in RECEIVERS:
            table = self.expanded.document.get(section)
            if not isinstance(table, dict):
                continue
            names = self.expanded.unset.get((section, key))
            empty = isinstance(table.get(key), environment.FromEnvironment) and not table[key]
            if names or empty:
                del table[key]
                why = f"{', '.join(names)} is not set" if names else "its variable is empty"
                self.warnings.append(f"{section}.{key} is off: {why}")

    def put_over(self, overrides: Overrides, *, trust_loopback: bool, env: Mapping[str, str]) -> None:
        """Replace what the command line and the environment say otherwise."""
        if overrides.listen:
            self._replace("proxy", "listen_address", list(overrides.listen), "--listen")
        if overrides.workers is not None:
            self._replace("proxy", "workers", overrides.workers, "--workers")
        if trust_loopback:
            self._replace("auth", "trust_loopback", True, "--trust-loopback")
        if overrides.backends:
            tables = [self._backend(number, text) for number, text in enumerate(overrides.backends)]
            self._replace("backends", "instances", tables, "--backend")
        level = next((name for name in LOG_LEVEL_VARIABLES if env.get(name)), None)
        if level is not None:
            self._replace("observability", "log_level", env[level].lower(), level)

    def _replace(self, section: str, key: str, value: object, origin: str) -> None:
        for document in (self.raw, self.expanded.document):
            table = document.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = value
        self.origins[section, key] = origin

    def _backend(self, number: int, text: str) -> dict[str, object]:
        try:
            if text.startswith("/"):
                host, port = addresses.read_host(text), BACKEND_PORT
            else:
                host, port = addresses.read_host_port(text, default_port=BACKEND_PORT)
        except ValueError:
            allowed, fix = "HOST:PORT, or the directory of a unix socket", "for example db.internal:5432"
            self.problems.append(Problem("--backend", text, allowed, fix))
            host, port = "invalid", BACKEND_PORT
        return {"name": f"backend-{number + 1}", "host": host, "port": port}

    def finish(self, source: str, directory: Path) -> Loaded:
        """The settings, or every mistake."""
        reader = Reader(self.raw, self.origins)
        document, broken = self._validated(reader)
        for place, value, allowed, fix in contradictions.complaints(document, broken):
            written = reader.value(place)
            shown = value if isinstance(value, Words) or written is NOTHING else written
            self.problems.append(Problem(reader.path(place), shown, allowed, fix))
        files = self._secrets(document, reader, directory)
        if self.problems:
            raise ConfigError(_first(self.problems), source)
        level = LOG_LEVELS[document.observability.log_level]
        tokens = {
            name: files[place] for name in DOORS if (place := ("telemetry", name, "token_file")) in files
        }
        return Loaded(
            translate.settings(document, files),
            translate.notices(document),
            (*self.warnings, *contradictions.warnings(document)),
            source,
            level,
            observation(document.observability, document.telemetry, tokens, self.env, level),
        )

    def _validated(self, reader: Reader) -> tuple[Document, frozenset[str]]:
        """The document, and the names of the sections that have mistakes and so their defaults."""
        broken = {str(place[0]) for place in self.skipped}
        try:
            document = Document.model_validate(self.expanded.document)
        except ValidationError as error:
            self.problems.extend(reader.problems(error, frozenset(self.skipped)))
            broken.update(
                str(item["loc"][0]) for item in error.errors(include_url=False, include_input=False)
            )
        else:
            return document, frozenset(broken)
        sound = {
            name: value
            for name, value in self.expanded.document.items()
            if name not in broken and name in Document.model_fields
        }
        return Document.model_validate(sound), frozenset(broken)

    def _secrets(self, document: Document, reader: Reader, directory: Path) -> dict[Place, Secret]:
        """What the ``*_file`` keys lead to."""
        places: list[tuple[Place, str]] = []
        for number, user in enumerate(document.auth.users):
            place: Place = ("auth", "users", number)
            places.append(((*place, "password_file"), user.password_file or ""))
            places.append(((*place, "server_password_file"), user.server_password_file or ""))
        for number, database in enumerate(document.databases):
            place = ("databases", number, "server_password_file")
            places.append((place, database.server_password_file or ""))
        places.append((("failover", "password_file"), document.failover.password_file or ""))
        for name in DOORS:
            door: DoorSection = getattr(document.telemetry, name)
            places.append((("telemetry", name, "token_file"), door.token_file or ""))
        found: dict[Place, Secret] = {}
        for place, path in places:
            if not path:
                continue
            try:
                found[place] = Secret(read_file(path, directory))
            except SecretFileError as error:
                value = reader.value(place)
                self.problems.append(Problem(reader.path(place), value, "a file with one line", str(error)))
        self._unfit_files(document, reader, found)
        return found

    def _unfit_files(self, document: Document, reader: Reader, found: Mapping[Place, Secret]) -> None:
        for number, _ in enumerate(document.auth.users):
            place: Place = ("auth", "users", number, "password_file")
            unfit = contradictions.verifier_problem(found.get(place), document.auth.method)
            if unfit:
                self.problems.append(Problem(reader.path(place), HIDDEN, *unfit))
        for name in DOORS:
            place = ("telemetry", name, "token_file")
            if place in found and not re.fullmatch(BEARER_PATTERN, found[place].reveal()):
                self.problems.append(Problem(reader.path(place), HIDDEN, f"a file with {BEARER_UNIT}"))


def _first(problems: list[Problem]) -> list[Problem]:
    more = len(problems) - PROBLEMS_MAX
    if more <= 0:
        return problems
    rest = Problem("and", Words(f"{more} more"), "none of them", "mend those above first")
    return [*problems[:PROBLEMS_MAX], rest]


def _references(names: tuple[str, ...]) -> Words:
    return Words(", ".join(f"${{{name}}}" for name in names))


def _text(source: str) -> str:
    try:
        with Path(source).open("rb") as file:
            raw = file.read(FILE_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError([Problem("file", source, "a readable file", why or "")], source) from None
    if len(raw) > FILE_MAX_BYTES:
        raise ConfigError([Problem("file", source, f"at most {FILE_MAX_BYTES} bytes")], source)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = Problem("file", Words(f"byte {error.start}"), "UTF-8", "save it as UTF-8")
        raise ConfigError([problem], source) from None
