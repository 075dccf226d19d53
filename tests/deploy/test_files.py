"""Every file can be read by whom it is for, and names only ports, paths and verbs that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from seawall.app import config
from seawall.app.telemetry_files import Naming
from seawall.app.telemetry_files.naming import JOB
from seawall.app.telemetry_files.rule_files import rule_groups
from seawall.cli import main
from seawall.telemetry.otlp.settings import from_environment
from seawall.telemetry.serving.health import HEALTH_PATHS, Probe
from seawall.telemetry.serving.pages import METRICS_PATH
from tests.app.telemetry_files.rows import ROWS
from tests.deploy import reading
from tests.deploy.reading import (
    DEPLOY,
    METRICS_PORT,
    OTLP_PORTS,
    PROXY_PORT,
    STATUS_PORT,
    sections,
    table,
    text,
    yml,
)
from tests.repo import tree

FILES = sorted(path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*") if path.is_file())
OTHERS_PORTS = {
    "postgres": 5432,
    "alertmanager": 9093,
    "zipkin": 9411,
    "elasticsearch": 9200,
    "grafana": 3000,
    "jaeger": 16686,
    "collector's health": 13133,
}
PROMETHEUS = ["prometheus/scrape.yml", "prometheus/kubernetes.yml", "prometheus/compose.yml"]


@pytest.mark.parametrize(
    "name", [name for name in FILES if name.endswith((".yml", ".yaml", ".json", ".toml"))]
)
def test_a_file_can_be_read(name) -> None:
    assert table(name) if name.endswith((".json", ".toml")) else list(yaml.safe_load_all(text(name)))


@pytest.mark.parametrize("name", [name for name in FILES if "grafana/" not in name and "/tests/" not in name])
def test_a_file_names_no_port_that_nobody_serves(name) -> None:
    served = {PROXY_PORT, METRICS_PORT, STATUS_PORT, *OTLP_PORTS.values(), *OTHERS_PORTS.values()}
    named = {int(port) for port in re.findall(r"(?<=[\w\]]:)(\d{4,5})\b", text(name))}
    assert named <= served


@pytest.mark.parametrize("name", FILES)
def test_a_file_holds_no_secret_and_no_line_that_ends_in_blanks(name) -> None:
    assert not re.search(
        r"(?i)(password|token|key)\"?\s*[:=]\s*[\"']?[\w-]{8,}[\"']?$", text(name), re.MULTILINE
    )
    assert not re.search(r"[ \t]$", text(name), re.MULTILINE)
    assert text(name).endswith("\n")


def test_the_page_of_the_directory_tells_of_every_file() -> None:
    readme = text("README.md")
    told = re.findall(r"`([\w./*-]+)`", readme)
    for name in FILES:
        parents = {f"{parent.as_posix()}/" for parent in Path(name).parents}
        # The files that only docker-compose.yml needs are told with it.
        if name not in {"README.md", "Dockerfile.dockerignore"} and "/compose.yml" not in name:
            assert any(
                name == one or one in parents or Path(name).match(one) or one.rstrip("/") + "/" in parents
                for one in told
            ), name


# --- the program --------------------------------------------------------------------------------------------


def verb_of(arguments: list[str]) -> None:
    """Fails unless the command line names a verb and options of it."""
    command = typer.main.get_command(main.app).get_command(None, arguments[0])
    assert command is not None, arguments
    options = {name for parameter in command.params for name in parameter.opts}
    assert {one for one in arguments[1:] if one.startswith("-")} <= options


def test_what_is_started_is_a_verb() -> None:
    (start,) = [
        value for _, keys in sections("systemd/seawall.service") for key, value in keys if key == "ExecStart"
    ]
    program, *arguments = start.split()
    assert program.endswith("/seawall")
    verb_of(arguments)
    (command,) = re.findall(r"^CMD (\[.*\])$", text("Dockerfile"), re.MULTILINE)
    verb_of(json.loads(command))
    verb_of(yml("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["containers"][0]["args"])


def test_extras_that_are_installed_exist() -> None:
    (extras,) = re.findall(r'"/build\[([\w,]+)\]"', text("Dockerfile"))
    assert set(extras.split(",")) <= set(tree.project()["project"]["optional-dependencies"])


@pytest.mark.parametrize("where", ["seawall.toml", "kubernetes/configmap.yaml"])
def test_a_configuration_is_right(where, tmp_path) -> None:
    body = text(where) if where.endswith(".toml") else yml(where)["data"]["seawall.toml"]
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    loaded = config.loads(re.sub(r'(_file = )"[^"]*"', rf'\1"{secret}"', body), {}, source=where)
    (listen,) = loaded.settings.listen
    assert listen.port == PROXY_PORT
    told = loaded.observation
    assert (told.metrics.port, told.status.port) == (METRICS_PORT, STATUS_PORT)
    # Others read the metrics, with a token; the status stays on the machine.
    assert (told.metrics.host, told.metrics.token, told.status.host) == (
        "0.0.0.0",
        "0123456789abcdef",
        "127.0.0.1",
    )
    assert (told.namespace, told.state_numbering) == ("seawall", "seawall")
    assert told.tracing.enabled
    assert told.logs.form == "json"


def test_systemd_lets_it_drain() -> None:
    service = dict(dict(sections("systemd/seawall.service"))["Service"])
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) >= 60
    assert "Type" in service


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_knows_every_key_of_the_unit(tmp_path) -> None:
    unit = tmp_path / "seawall.service"
    unit.write_text(re.sub(r"/opt/\S+", "/bin/true", text("systemd/seawall.service")))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False, timeout=15
    )
    assert [line for line in done.stderr.splitlines() if "seawall.service" in line] == []


# --- who scrapes and asks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROMETHEUS)
def test_prometheus_scrapes_the_job_that_rules_are_about(name) -> None:
    content = yml(name)
    (job,) = content["scrape_configs"]
    assert job["job_name"] == JOB
    assert (job.get("scrape_interval") or content["global"]["scrape_interval"]) == "15s"
    assert job.get("metrics_path", METRICS_PATH) == METRICS_PATH
    for target in [target for each in job.get("static_configs", []) for target in each["targets"]]:
        assert int(target.rpartition(":")[2]) == METRICS_PORT
    assert job["authorization"]["credentials_file"].startswith("/")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("name", ["prometheus/scrape.yml", "prometheus/compose.yml"])
def test_promtool_can_read_the_configuration(name) -> None:
    # Not kubernetes.yml: Debian builds Prometheus without that discovery.
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", str(DEPLOY / name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_asks_pages_that_there_are() -> None:
    template = yml("kubernetes/deployment.yaml")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"postgresql": PROXY_PORT, "metrics": METRICS_PORT}
    for probe, meant in (("livenessProbe", Probe.LIVENESS), ("readinessProbe", Probe.READINESS)):
        asked = container[probe]["httpGet"]
        assert HEALTH_PATHS[asked["path"]] is meant
        assert asked["port"] in ports
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == METRICS_PATH
    assert int(annotations["prometheus.io/port"]) == METRICS_PORT


def test_kubernetes_parts_belong_together() -> None:
    resources = yml("kubernetes/kustomization.yaml")["resources"]
    assert {f"kubernetes/{name}" for name in resources} | {"kubernetes/kustomization.yaml"} == {
        name for name in FILES if name.startswith("kubernetes/")
    }
    deployment, service = yml("kubernetes/deployment.yaml"), yml("kubernetes/service.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [
        (PROXY_PORT, "postgresql")
    ]


def test_compose_mounts_files_that_exist_and_names_services_that_exist() -> None:
    compose = yml("docker-compose.yml")
    services = compose["services"]
    assert {"seawall", "prometheus", "grafana", "collector", "jaeger"} <= services.keys()
    for name, service in services.items():
        for volume in service.get("volumes", []):
            assert (DEPLOY / volume.split(":")[0]).exists(), volume
        assert set(service.get("depends_on", [])) <= services.keys(), name
        assert ":" in service.get("image", "built:here").rpartition("/")[2], f"{name} has no version"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), port
        assert set(service.get("secrets", [])) <= compose["secrets"].keys(), name
    environment = services["seawall"]["environment"]
    settings, problems = from_environment(environment)
    assert not problems
    assert (settings.url.hostname, settings.url.port) == ("collector", OTLP_PORTS["http/protobuf"])


# --- who takes what is sent ---------------------------------------------------------------------------------


def test_the_collector_listens_where_spans_are_sent_and_its_pipeline_is_whole() -> None:
    content = yml("otel-collector.yaml")
    protocols = content["receivers"]["otlp"]["protocols"]
    assert protocols["grpc"]["endpoint"].endswith(f":{OTLP_PORTS['grpc']}")
    assert protocols["http"]["endpoint"].endswith(f":{OTLP_PORTS['http/protobuf']}")
    assert protocols["grpc"]["max_recv_msg_size_mib"] * 2**20 >= reading.OtlpSettings().request_bytes
    (pipeline,) = content["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == content[kind].keys()
    assert pipeline["processors"][0] == "memory_limiter"
    assert {name.partition("/")[0] for name in pipeline["exporters"]} == {"otlp", "zipkin"}


def test_alertmanager_has_a_place_for_every_severity_and_inhibits_alerts_that_exist() -> None:
    content = yml("alertmanager/alertmanager.yml")
    receivers = {receiver["name"] for receiver in content["receivers"]}
    routes = {route["matchers"][0]: route["receiver"] for route in content["route"]["routes"]}
    alerts = [alert for group in rule_groups(Naming(), ROWS) for alert in group.alerts]
    assert routes.keys() == {f'severity="{alert.severity}"' for alert in alerts}
    assert {*routes.values(), content["route"]["receiver"]} == receivers
    by_name = {alert.name: alert for alert in alerts}
    components = {group.name for group in rule_groups(Naming(), ROWS)}
    for rule in content["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            name, value = re.fullmatch(r'(\w+)(?:=~|!=|=)"([^"]*)"', matcher).groups()
            known = by_name if name == "alertname" else components
            assert name in {"alertname", "component"}
            assert all(part in known for part in value.split("|")), matcher
        source = by_name[re.search(r'"(\w+)"', rule["source_matchers"][0])[1]]
        assert set(rule["equal"]) <= set(source.fires.labels)


@pytest.mark.skipif(
    shutil.which("amtool") is None, reason="amtool is not installed (Debian: prometheus-alertmanager)"
)
def test_amtool_can_read_the_routes() -> None:
    names = [str(DEPLOY / f"alertmanager/{name}.yml") for name in ("alertmanager", "compose")]
    done = subprocess.run(
        ["amtool", "check-config", *names], capture_output=True, text=True, check=False, timeout=10
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_is_told_of_its_data_source_by_the_interval_of_scrapes() -> None:
    sources = yml("grafana/provisioning/datasources.yml")["datasources"]
    (prometheus,) = [source for source in sources if source["type"] == "prometheus"]
    assert (
        prometheus["jsonData"]["timeInterval"] == yml("prometheus/compose.yml")["global"]["scrape_interval"]
    )
    (provider,) = yml("grafana/provisioning/dashboards.yml")["providers"]
    mounted = [volume.split(":")[1] for volume in yml("docker-compose.yml")["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
