"""The deployment files as data, and what Seawall itself serves."""

import json
import tomllib
from typing import Any

import yaml

from seawall.app.console import Place
from seawall.telemetry.otlp.settings import OtlpSettings
from seawall.telemetry.serving import server
from tests.repo import tree

DEPLOY = tree.ROOT / "deploy"

PROXY_PORT = Place.__dataclass_fields__["port"].default
METRICS_PORT = server.METRICS_BINDING.port
STATUS_PORT = server.STATUS_BINDING.port
OTLP_PORTS = {protocol: OtlpSettings(protocol=protocol).url.port for protocol in ("grpc", "http/protobuf")}


def text(name: str) -> str:
    """A file's text."""
    return (DEPLOY / name).read_text(encoding="utf-8")


def yml(name: str) -> Any:
    """A YAML file of one document."""
    return yaml.safe_load(text(name))


def table(name: str) -> dict[str, Any]:
    """A JSON or TOML file."""
    return json.loads(text(name)) if name.endswith(".json") else tomllib.loads(text(name))


def sections(name: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """A file of Fluent Bit or systemd: headings with their keys and values, in their order."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for line in map(str.strip, text(name).splitlines()):
        if line.startswith("[") and line.endswith("]"):
            found.append((line[1:-1], []))
        elif line and not line.startswith("#"):
            mark = "=" if "=" in line.split()[0] else None
            key, value = (line + " ").split(mark, 1)
            found[-1][1].append((key, value.strip()))
    return found
