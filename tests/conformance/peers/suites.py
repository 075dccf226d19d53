"""The suites in Python: SQLAlchemy's PostgreSQL slice, Django's database slice, psycopg's own tests.

Each function runs a suite once against one address and returns the outcome of every test. Nothing is patched:
sources come as they were published, settings and options are those that the suites offer.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.peers import material
from tests.conformance.peers.arena import Address
from tests.conformance.peers.outcomes import FAILED, SuiteFailedError, from_json, from_junit, with_second_run

HERE = Path(__file__).parent
SUITE_TIMEOUT_S = 1800.0
TEST_TIMEOUT_S = 60

SQLALCHEMY = "2.1.9"
SQLALCHEMY_SLICE = ("test/dialect/postgresql", "test/dialect/test_suite.py", "test/engine")
DJANGO = "5.2.19"
DJANGO_SLICE = (
    "backends",
    "expressions",
    "introspection",
    "postgres_tests",
    "queries",
    "schema",
    "transactions",
)
PSYCOPG = "3.3.4"
PSYCOPG_SOURCE = "https://github.com/psycopg/psycopg"
PSYCOPG_MARKS = "not slow and not flakey and not timing"
"""What is left out waits on the clock or fails by itself now and then, as its authors marked it."""


@dataclass(frozen=True)
class Visit:
    """One run of one suite: where to, which database, where it may write."""

    address: Address
    database: str
    folder: Path
    name: str
    """Tells the two runs apart in file names."""
    mode: str
    """The pool mode that the clients are in for; a bare server can all that session mode can."""

    def report(self, suffix: str) -> Path:
        """Return a path for the report, with nothing there yet."""
        path = self.folder / f"report-{self.name}{suffix}"
        path.unlink(missing_ok=True)
        return path


def finish(
    command: Sequence[str], *, cwd: Path, extra: Mapping[str, str], log: Path
) -> subprocess.CompletedProcess[str]:
    """Run a suite to its end, whatever that is, with its output in a file and on the result.

    Raises:
        SuiteFailedError: It takes longer than ``SUITE_TIMEOUT_S``.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **extra},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(SUITE_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise SuiteFailedError(f"not done after {SUITE_TIMEOUT_S:g} s:\n{tail(log)}") from error
        finally:
            # A suite starts processes of its own; none may outlive it.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return subprocess.CompletedProcess(list(command), code, log.read_text(errors="replace"))


def tail(log: Path) -> str:
    """Return the end of a log."""
    return log.read_text(errors="replace")[-3000:]


def sqlalchemy(visit: Visit) -> dict[str, str]:
    """Run SQLAlchemy's tests of the PostgreSQL dialect, of all dialects, and of its engine."""
    source = material.sdist(visit.folder, "sqlalchemy", SQLALCHEMY)
    python = material.environment(
        visit.folder, "sqlalchemy", [str(source), "psycopg[binary]", "pytest", "pytest-timeout"]
    )
    report, log = visit.report(".xml"), visit.report(".log")
    url = f"postgresql+psycopg://postgres@{visit.address.host}:{visit.address.port}/{visit.database}"
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_TIMEOUT_S}"]
    finish(
        [*command, "--dburi", url, f"--junitxml={report}", *SQLALCHEMY_SLICE], cwd=source, extra={}, log=log
    )
    return read(from_junit, report, log)


def django(visit: Visit) -> dict[str, str]:
    """Run Django's tests of its database layer; its databases are made straight on the server before.

    A test database that is made through a pool can't be dropped through it, so they are kept (``--keepdb``).
    """
    source = material.sdist(visit.folder, "django", DJANGO)
    python = material.environment(
        visit.folder, "django", [str(source), "psycopg[binary,pool]", "sqlparse", "tblib"]
    )
    report, log = visit.report(".json"), visit.report(".log")
    extra = {
        "PEER_HOST": visit.address.host,
        "PEER_PORT": str(visit.address.port),
        "PEER_DATABASE": visit.database,
        "PEER_REPORT": str(report),
        "PYTHONPATH": str(HERE / "settings"),
    }
    command = [
        str(python),
        "runtests.py",
        "--settings=django_settings",
        "--keepdb",
        "--noinput",
        "--parallel=1",
    ]
    finish([*command, *DJANGO_SLICE], cwd=source / "tests", extra=extra, log=log)
    return read(from_json, report, log)


def psycopg(source: str) -> Callable[[Visit], dict[str, str]]:
    """Return the run of psycopg's tests, taken from that repository or mirror.

    What fails is run a second time: a few of its tests lose races on a busy machine.
    """

    def run(visit: Visit) -> dict[str, str]:
        tree = material.checkout(visit.folder, "psycopg", source, PSYCOPG)
        python = material.environment(
            visit.folder,
            "psycopg",
            [f"{tree}/psycopg[test]", "dnspython", "pytest-timeout"],
        )
        report, log = visit.report(".xml"), visit.report(".log")
        dsn = f"host={visit.address.host} port={visit.address.port} user=postgres dbname={visit.database}"
        # In one fixed order: a test that disturbs its neighbour would otherwise look like the proxy's fault.
        command = [str(python), "-m", "pytest", "-q", "-p", "no:randomly", f"--timeout={TEST_TIMEOUT_S}"]
        cache = visit.folder / "caches" / visit.name
        shutil.rmtree(cache, ignore_errors=True)
        command += ["-o", f"cache_dir={cache}", "-m", PSYCOPG_MARKS]
        # The pool is another distribution, which is not installed here.
        command += ["--ignore=tests/pool", "--test-dsn", dsn, f"--junitxml={report}"]
        extra = {"PSYCOPG_IMPL": "python"}
        finish([*command, "tests"], cwd=tree, extra=extra, log=log)
        found = read(from_junit, report, log)
        if FAILED not in found.values():
            return found
        report, log = visit.report("-again.xml"), visit.report("-again.log")
        command[-1] = f"--junitxml={report}"
        finish([*command, "--last-failed", "tests"], cwd=tree, extra=extra, log=log)
        return with_second_run(found, read(from_junit, report, log))

    return run


def read(reader: Callable[[Path], dict[str, str]], report: Path, log: Path) -> dict[str, str]:
    """Read a report; where there is none, say what the suite printed."""
    try:
        return reader(report)
    except SuiteFailedError as error:
        raise SuiteFailedError(f"{error}\n{tail(log)}") from error
