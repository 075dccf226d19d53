"""``seawall proxy`` as a program with all its telemetry, and what can be read of it from outside."""

import contextlib
import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.app.observation.scraping import samples
from tests.embedded.servers import until
from tests.integration.test_up import running
from tests.proxy.raw import RawClient
from tests.telemetry.otlp.reading import pairs, spans_in

PAGES = ("/health", "/ready", "/metrics")
RESOURCES = ("backends", "topology", "failovers", "workers", "telemetry")
FORMATS = ("text/plain", "application/openmetrics-text", "application/vnd.google.protobuf")
SERVED = re.compile(r"telemetry is served at (http://\S+:\d+)(/metrics|/openapi\.json)")


@dataclass(frozen=True)
class Page:
    """An answer of HTTP."""

    status: int
    body: bytes

    def json(self):
        return json.loads(self.body)


def get(url, token="", accept="*/*"):
    headers = {"Accept": accept, **({"Authorization": f"Bearer {token}"} if token else {})}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return Page(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code, error.read())


class Observed:
    """A proxy that runs, seen from outside."""

    def __init__(self, program, told):
        self.program = program
        self.port = told["listen"][0]["port"]
        self.dsn = told["dsn"]
        self.pids = told["worker_pids"]

    @property
    def urls(self):
        """Where it said that it is served, by path."""
        return {path: url for url, path in SERVED.findall(self.program.said())}

    def client(self, **parameters):
        return RawClient(self.port, **parameters)

    def get(self, path, **more):
        door = "/metrics" if path in PAGES else "/openapi.json"
        until(lambda: door in self.urls)
        return get(self.urls[door] + path, **more)

    def metrics(self, **more):
        return samples(self.get("/metrics", **more).body.decode())

    def show(self, resource, **more):
        return self.get(f"/api/v1/{resource}", **more).json()

    def spans(self, resource="telemetry"):
        return self.show(resource)["spans"]

    @property
    def lines(self):
        """What it has logged: objects of JSON."""
        found = []
        for line in self.program.said().splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [one for one in found if isinstance(one, dict)]


def written(path, *nodes, sections="", workers=1, size=5, endpoint="", trust=True):
    """A configuration in a file."""
    backends = "".join(
        f'[[backends.instances]]\nname = "{node.name}"\nhost = "{node.host}"\nport = {node.port}\n'
        for node in nodes
    )
    defaults = {
        "[observability]": 'metrics_port = 0\nlog_level = "debug"\n',
        "[telemetry.status]": "port = 0\n",
        "[telemetry.logs]": 'format = "json"\n',
        "[telemetry.tracing]": f'enabled = true\nslow = "300ms"\nendpoint = "{endpoint}"\n'
        if endpoint
        else "",
    }
    told = "".join(f"{head}\n{body}" for head, body in defaults.items() if body and head not in sections)
    trusted = "true" if trust else "false"
    path.write_text(
        f'[proxy]\nlisten_address = "127.0.0.1:0"\nworkers = {workers}\n'
        f"[auth]\ntrust_loopback = {trusted}\n[pool]\nsize = {size}\n{sections}\n{told}\n{backends}"
    )
    return path


@contextlib.contextmanager
def observed(directory, *nodes, **more):
    """A proxy in front of these servers; see ``written``."""
    file = written(directory / "seawall.toml", *nodes, **more)
    with running(directory / "log", "proxy", "--config", file, "--json") as program:
        yield Observed(program, program.ready())


def sent(collector):
    """All spans that have come, with their attributes as a mapping."""
    found = []
    for request in list(collector.requests):
        found += spans_in(ExportTraceServiceRequest.FromString(request.body))
    return [(span, pairs(span.attributes)) for span in found]


def parent_of(span):
    """The number of its parent; nothing for a root."""
    return int.from_bytes(span.parent_span_id, "big") if span.parent_span_id else None
