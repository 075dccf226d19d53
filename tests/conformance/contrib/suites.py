"""OpenTelemetry's own tests of its instrumentations, run with the SDK and with this library in its place.

The packages come as their authors published them and are not patched; their tests get a provider from
``TestBase``, and that is where ours is put (``light_provider``). Tests that look for the SDK itself are named
in ``reasons.toml``.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.harness import ROOT
from tests.conformance.peers import material
from tests.conformance.peers.outcomes import FAILED, SuiteFailedError, from_junit, with_second_run
from tests.conformance.peers.suites import finish, read, tail

HERE = Path(__file__).parent
VERSION = "0.66b1"
PACKAGES = (
    *("aiohttp-client", "aiohttp-server", "asgi", "asyncio", "asyncpg", "dbapi", "fastapi", "grpc", "httpx"),
    *("logging", "psycopg", "psycopg2", "requests", "sqlalchemy", "sqlite3", "threading", "wsgi"),
)
REQUIREMENTS = (
    f"opentelemetry-test-utils=={VERSION}",
    # What the suites' own lists of requirements name; with later ones some tests fail by themselves.
    "aiohttp==3.10.2",
    "aiosqlite==0.20.0",
    "asyncpg==0.30.0",
    "fastapi==0.137.2",
    "grpcio==1.75.1",
    "http-server-mock==1.7",
    "httpretty==1.1.4",
    "httpx==0.28.1",
    "mocket==3.14.1",
    "multidict==6.0.5",
    "protobuf==3.20.3",
    "psycopg[binary]==3.3.4",
    "psycopg2-binary==2.9.10",
    "pytest==7.4.4",
    "pytest-aiohttp==1.0.5",
    "pytest-asyncio==0.23.5",
    "requests>=2.33",
    "respx==0.22.0",
    "sqlalchemy[asyncio]==2.0.36",
    "yarl==1.9.4",
    "pytest-timeout>=2.3",
)
TEST_TIMEOUT_S = 60
PYTEST = "import gc, sys, pytest; gc.disable(); sys.exit(pytest.main())"
"""Some of the tests wait for 10 ms, and a collection of all this garbage takes longer."""
COUNTED = re.compile(r"^spans by seawall: (\d+), failures: (\d+)$", re.MULTILINE)


class Runner:
    """Runs the suites in one interpreter that has them installed.

    Args:
        folder: For what is fetched, and for reports.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trees = {
            package: material.sdist(
                folder, f"opentelemetry_instrumentation_{package.replace('-', '_')}", VERSION
            )
            for package in PACKAGES
        }
        installed = [f"opentelemetry-instrumentation-{package}=={VERSION}" for package in PACKAGES]
        self._python = material.environment(folder, "contrib", [*installed, *REQUIREMENTS])
        self.spans = 0
        """Spans that this library has made for the suites so far."""
        self.unseen = 0
        """What it counted as failed meanwhile: it raises nothing, so no test would tell."""

    def run(self, package: str, *, light: bool) -> dict[str, str]:
        """Run one package's tests with the SDK's provider, or with ours; twice if some fail, lest by chance.

        Raises:
            SuiteFailedError: It did not run to its end, or none of its spans were ours.
        """
        found = self._once(package, light=light)
        if FAILED in found.values():
            found = with_second_run(found, self._once(package, light=light))
        return {f"{package}: {name}": outcome for name, outcome in found.items()}

    def _once(self, package: str, *, light: bool) -> dict[str, str]:
        report = self._folder / f"report-contrib-{package}-{'light' if light else 'sdk'}.xml"
        log = report.with_suffix(".log")
        report.unlink(missing_ok=True)
        # Its own configuration, which is none, and not that of the repository that it lies in.
        command = [str(self._python), "-c", PYTEST, "-q", "-c", "pyproject.toml", "-p", "no:cacheprovider"]
        command += [f"--timeout={TEST_TIMEOUT_S}", f"--junitxml={report}"]
        extra = {}
        if light:
            command += ["-p", "light_provider"]
            extra["PYTHONPATH"] = f"{ROOT / 'src'}:{HERE}"
        finish([*command, "tests"], cwd=self._trees[package], extra=extra, log=log)
        found = read(from_junit, report, log)
        if light:
            self._count(package, log)
        return found

    def _count(self, package: str, log: Path) -> None:
        counted = COUNTED.search(log.read_text(errors="replace"))
        if counted is None or counted[1] == "0":
            raise SuiteFailedError(f"{package}: no span of this library was made:\n{tail(log)}")
        self.spans += int(counted[1])
        self.unseen += int(counted[2])
