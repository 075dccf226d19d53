"""A real Prometheus server for tests, with a folder of its own, gone afterwards."""

import contextlib
import inspect
import json
import re
import shutil
import subprocess
import threading
import time
from urllib.parse import urlencode

import httpx

PROGRAM = shutil.which("prometheus")
GIVE_UP_S = 20.0
LOOK_S = 0.05
LISTENING = re.compile(r'msg="Listening on" address=(127\.0\.0\.1:\d+)')

COMPLAINT = re.compile(r"level=(?:warn|error)")


class Prometheus:
    """Asks a server by its HTTP API.

    Args:
        address: Where it is.
    """

    def __init__(self, address):
        self._client = httpx.Client(base_url=f"http://{address}", trust_env=False)

    def close(self):
        """Let go of connections."""
        self._client.close()

    def get(self, path, **arguments):
        """What an endpoint of the API answers with."""
        answer = self._client.get(f"/api/v1/{path}?{urlencode(arguments)}").json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def vector(self, query):
        """The series that a query gives: labels, without the name, and value."""
        found = {}
        for one in self.get("query", query=query)["result"]:
            labels = tuple(sorted(pair for pair in one["metric"].items() if pair[0] != "__name__"))
            found[labels] = float(one["value"][1])
        return found

    def value(self, query):
        """The only value that a query gives; ``None`` if there is none yet."""
        values = list(self.vector(query).values())
        assert len(values) <= 1, values
        return values[0] if values else None

    def samples(self, selector):
        """All values of the only series that a selector for a range gives, in their order."""
        (found,) = self.get("query", query=selector)["result"]
        return [float(value) for _, value in found["values"]]

    def exemplars(self, query):
        """Trace id and value of all exemplars of the last hour."""
        now = time.time()
        found = self.get("query_exemplars", query=query, start=now - 3600, end=now + 3600)
        return sorted(
            (one["labels"]["trace_id"], float(one["value"]))
            for series in found
            for one in series["exemplars"]
        )


@contextlib.contextmanager
def prometheus(folder, jobs, *features):
    """Run a server that scrapes every second; it needs some seconds for its first scrape.

    Args:
        folder: For its configuration, its data and its log.
        jobs: URL and bearer token, or none, by name.
        *features: What to enable.
    """
    scraped = [
        {
            "job_name": name,
            "static_configs": [{"targets": [url.removeprefix("http://")]}],
            **({"authorization": {"credentials": token}} if token else {}),
        }
        for name, (url, token) in jobs.items()
    ]
    config, log = folder / "prometheus.yml", folder / "prometheus.log"
    # JSON is YAML.
    document = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": scraped}
    config.write_text(json.dumps(document))
    command = [PROGRAM, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += ["--web.listen-address=127.0.0.1:0", f"--enable-feature={','.join(features)}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: LISTENING.search(log.read_text()) or process.poll() is not None)
        address = LISTENING.search(log.read_text())
        assert address is not None, log.read_text()
        with contextlib.closing(Prometheus(address[1])) as asked:
            yield asked
        # What it couldn't read or keep it would have told there.
        complaints = [line for line in log.read_text().splitlines() if COMPLAINT.search(line)]
        assert not complaints, complaints
    finally:
        process.kill()
        process.wait()


def until(condition, timeout_s=GIVE_UP_S):
    """Wait for something that another process does; ends the test if it doesn't."""
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, f"not within {timeout_s} s: {inspect.getsource(condition)}"
        threading.Event().wait(LOOK_S)
